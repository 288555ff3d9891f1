# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of all formats, and damaged or hostile files."""

from __future__ import annotations

import argparse
from dataclasses import replace
import io
import json
import logging
import os
import pickle
import struct
import zipfile

import pytest
from safetensors.torch import save_file
from tiny_networks import CUT3R, MEM3R, frame, network, run, worst_difference
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.model import Mem3R, ModelConfig, build_model, load_model, save_checkpoint
from mem3r_ros.model.checkpoints.cut3r_config import parse_constructor
from mem3r_ros.model.checkpoints.cut3r_names import cut3r_name
from mem3r_ros.model.checkpoints.file_formats import open_checkpoint

CONSTRUCTOR = (
    "ARCroco3DStereo(ARCroco3DStereoConfig(state_size=12, state_pe='2d', pos_embed='RoPE100', "
    'rgb_head=True, pose_head=True, patch_embed_cls="ManyAR_PatchEmbed", img_size=(512, 512), '
    "head_type='dpt', output_mode='pts3d+pose', depth_mode=('exp', -inf, inf), "
    "conf_mode=('exp', 1, inf), pose_mode=('exp', -inf, inf), enc_embed_dim=32, enc_depth=2, "
    'enc_num_heads=4, dec_embed_dim=48, dec_depth=4, dec_num_heads=4, state_dec_num_heads=2, '
    'ray_num_heads=4, landscape_only=False))'
)
LINEAR = replace(CUT3R, head_type='linear', img_size=(224, 224))


class Node:
    """Has the attributes of an OmegaConf node when pickled."""

    def __init__(self, **values):
        self.__dict__.update(values)


def published(model: Mem3R, aliases: str = 'both', prefix: str = '') -> dict[str, torch.Tensor]:
    """Return a state dict as CUT3R publishes it."""
    tensors = {}
    for name, value in model.state_dict().items():
        name = cut3r_name(name)
        level = name.partition('.scratch.layer')[2]
        if level[1:] != '_rn.weight' or aliases != 'second':
            tensors[prefix + name] = value
        if level[1:] == '_rn.weight' and aliases != 'first':
            alias = name.replace(f'layer{level[0]}_rn', f'layer_rn.{int(level[0]) - 1}')
            tensors[prefix + alias] = value
    return tensors


def write_published(path, model, **options):
    args = argparse.Namespace(model=CONSTRUCTOR, lr=1e-6)
    save = {key: options.pop(key) for key in list(options) if key.startswith('_use')}
    torch.save({'model': published(model, **options), 'args': args, 'epoch': 3}, path, **save)
    return path


def assert_same_network(first: Mem3R, second: Mem3R) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    (one,), _ = run(first, [frame(0)])
    (two,), _ = run(second, [frame(0)])
    # Not bit-identical: the alignment of the weights changes the order of sums.
    assert worst_difference(one, two) <= 1e-5


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'aliases': 'first'},
        {'aliases': 'second'},
        {'prefix': 'module.'},
        {'_use_new_zipfile_serialization': False},
    ],
    ids=str,
)
def test_published_checkpoints_load_with_any_prefix_and_alias(tmp_path, options):
    model = network('cut3r')
    path = write_published(tmp_path / 'cut3r.pth', model, **options)

    loaded = load_model(path)

    assert loaded.config == replace(CUT3R, local_mem_size=6)
    assert not loaded.training
    assert_same_network(model, loaded)


@pytest.mark.parametrize(
    'args',
    [
        {'model': CONSTRUCTOR},
        Node(model=CONSTRUCTOR),
        Node(_metadata=None, _content={'model': Node(_val=CONSTRUCTOR, _metadata=Node())}),
    ],
    ids=['dict', 'namespace', 'omegaconf'],
)
def test_the_configuration_is_found_in_a_dict_a_namespace_and_omegaconf(tmp_path, args):
    model = network('cut3r')
    path = tmp_path / 'cut3r.pth'
    torch.save({'model': published(model), 'args': args}, path)

    assert load_model(path).config.enc_num_heads == 4


def test_linear_checkpoints_are_recognised_by_their_heads(tmp_path):
    torch.manual_seed(0)
    model, path = build_model(LINEAR).eval(), tmp_path / 'linear.pth'
    args = argparse.Namespace(model=CONSTRUCTOR.replace("head_type='dpt'", "head_type='linear'"))
    torch.save({'model': published(model), 'args': args}, path)

    loaded = load_model(path)

    assert loaded.config.head_type == 'linear'
    assert 'downstream_head.cross_proj.fc1.weight' in published(model)
    assert_same_network(model, loaded)
    (prediction,), _ = run(loaded, [frame(0)])
    assert float(prediction.points_camera[..., 2].min()) >= 0
    assert float(prediction.points_world[..., 2].min()) < 0


def test_a_missing_state_decoder_is_copied_from_the_image_decoder(tmp_path):
    config = replace(CUT3R, state_dec_num_heads=4)
    model, path = build_model(config), tmp_path / 'dust3r.pth'
    tensors = {k: v for k, v in published(model).items() if 'dec_blocks_state' not in k}
    torch.save({'model': tensors, 'args': None}, path)

    loaded = load_model(path, config=config)

    left, right = loaded.decoder.image_blocks[1], loaded.decoder.state_blocks[1]
    assert torch.equal(left.mlp.fc1.weight, right.mlp.fc1.weight)
    assert left.mlp.fc1.weight.data_ptr() != right.mlp.fc1.weight.data_ptr()


@pytest.mark.parametrize('names', ['ours', 'cut3r'])
@pytest.mark.parametrize('config', [CUT3R, MEM3R, LINEAR], ids=['cut3r', 'mem3r', 'linear'])
def test_saved_networks_load_unchanged(tmp_path, config, names):
    model, path = build_model(config).eval(), tmp_path / 'model.safetensors'
    save_checkpoint(model, path, {'note': 'x'}, names=names)

    loaded = load_model(path)

    assert loaded.config == config
    assert_same_network(model, loaded)
    assert list(tmp_path.iterdir()) == [path]


def test_half_precision_files_keep_the_camera_memory_exact(tmp_path):
    model, path = network('mem3r'), tmp_path / 'model.safetensors'
    save_checkpoint(model, path, dtype=torch.bfloat16)

    loaded = load_model(path, dtype=torch.bfloat16)

    assert torch.equal(loaded.pose_memory.initial_weights, model.pose_memory.initial_weights)
    assert loaded.decoder.image_norm.weight.dtype == torch.bfloat16
    assert load_model(path).decoder.image_norm.weight.dtype == torch.float32
    assert path.stat().st_size < 0.7 * sum(v.numel() * 4 for v in model.state_dict().values())


def test_cut3r_weights_initialise_a_mem3r_and_untrained_modules_are_logged(tmp_path, caplog):
    cut3r = network('cut3r')
    path = write_published(tmp_path / 'cut3r.pth', cut3r)

    with caplog.at_level(logging.WARNING):
        mem3r = load_model(path, config=MEM3R)
        again = load_model(path, config=MEM3R)

    assert 'tracking memory and the state gate are untrained' in caplog.text
    assert torch.equal(mem3r.pose_memory.query.weight, cut3r.pose_memory.query.weight)
    assert torch.equal(mem3r.decoder.image_embed.weight, cut3r.decoder.image_embed.weight)
    assert torch.equal(mem3r.pose_memory.initial_weights, again.pose_memory.initial_weights)
    run(mem3r, [frame(0), frame(1)])


def test_a_preset_can_be_filled_from_a_file(tmp_path):
    path = write_published(tmp_path / 'cut3r.pth', network('cut3r'))

    with pytest.raises(UserError, match='does not fit the network'):
        load_model(f'mem3r-512-dpt:{path}')
    with pytest.raises(UserError, match='neither a file nor one of'):
        load_model(f'mem3r-512-dpt:{path}.missing')
    with pytest.raises(UserError, match='cut3r-512-dpt:FILE'):
        load_model('cut3r-512-dpt')


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(UserError, match=r'cannot write .*absent'):
        save_checkpoint(network('small'), tmp_path / 'absent' / 'x.safetensors')


def test_names_are_those_of_the_published_state_dict(shared_dir):
    lines = (shared_dir / 'spec' / 'cut3r_state_dict.tsv').read_text(encoding='utf-8').splitlines()
    rows = [line.split()[:2] for line in lines if line and line[0] != '#']
    listed = {name: tuple(map(int, shape.split('x'))) for name, shape in rows}
    with torch.device('meta'):
        model = Mem3R(ModelConfig.preset('cut3r-512-dpt'))

    ours = {name: tuple(value.shape) for name, value in published(model).items()}

    assert len(listed) == 1248
    assert ours == listed


def test_parameters_that_do_not_fit_are_listed_with_a_remedy(tmp_path):
    tensors = published(network('cut3r'), aliases='first')
    tensors['stray'] = torch.zeros(3)
    tensors['pose_token'] = torch.zeros(1, 1, 7)
    del tensors['enc_norm.weight']
    path = tmp_path / 'broken.safetensors'
    save_file(tensors, path, {'config': json.dumps(CUT3R.to_metadata())})

    with pytest.raises(UserError) as caught:
        load_model(path)

    message = str(caught.value)
    assert '1 missing: image_encoder.norm.weight' in message
    assert '1 unexpected: stray' in message
    assert 'pose_token is (1, 1, 7) instead of (1, 1, 48)' in message
    assert 'Give the configuration' in message


def test_integer_weights_are_refused(tmp_path):
    tensors = published(network('cut3r'), aliases='first')
    tensors['pose_token'] = torch.zeros(1, 1, 48, dtype=torch.int64)
    path = tmp_path / 'whole.safetensors'
    save_file(tensors, path, {'config': json.dumps(CUT3R.to_metadata())})

    with pytest.raises(UserError, match=r'pose_token is torch.int64; weights are floating-point'):
        load_model(path)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ('{', 'not JSON'),
        ('[1]', 'expected names, values'),
        ('[' * 100_000, 'not JSON'),
        ('{"enc_depth": 1000000000}', 'at most 256'),
        ('{"enc_embed_dim": "1024"}', 'must be of type int'),
        ('{"dpt_layer_dims": [[1], 2, 3, 4]}', 'whole numbers'),
        ('{"surprise": 1}', "no setting 'surprise'"),
        ('{"conf_mode": ["exp", 0, "inf"]}', 'is implemented'),
        ('{"pos_embed": "RoPE-1"}', 'expected e.g. RoPE100'),
        ('{"motion_input": true, "points": "depth", "pose_head": false}', 'needs pose_head'),
        ('{"stem": "convolution", "stem_dims": [8], "patch_size": 4}', 'at least two widths'),
    ],
)
def test_a_bad_configuration_inside_a_file_is_refused(tmp_path, values, message):
    path = tmp_path / 'model.safetensors'
    save_file({'pose_token': torch.zeros(1)}, path, {'config': values})

    with pytest.raises(UserError, match=message):
        load_model(path)


# Damaged and hostile files: they must not run code and must not allocate what they declare.


class Runs:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


def hostile_objects(marker) -> dict[str, object]:
    command = f'touch {marker}'
    return {
        'shell': Runs(os.system, command),
        'eval': Runs(eval, f'__import__("os").system({command!r})'),
        'exec': Runs(exec, f'open({str(marker)!r}, "w").close()'),
        'import': Runs(__import__, 'antigravity'),
        'attribute': Runs(getattr, 'x', 'upper'),
        'inside the state dict': {'model': {'w': Runs(os.system, command)}},
        'beside the state dict': {
            'model': published(network('cut3r')),
            'args': Runs(os.system, command),
        },
    }


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('case', sorted(hostile_objects('x')))
def test_code_in_a_pickle_never_runs(tmp_path, case, zipped):
    marker, path = tmp_path / 'was_run', tmp_path / 'hostile.pth'
    torch.save(hostile_objects(marker)[case], path, _use_new_zipfile_serialization=zipped)

    if case == 'beside the state dict':
        load_model(path, config=CUT3R)
    else:
        with pytest.raises(UserError):
            load_model(path)

    assert not marker.exists()


def test_source_text_is_parsed_and_never_evaluated(tmp_path):
    marker = tmp_path / 'was_run'
    call = f"open('{marker}', 'w')"

    found = parse_constructor(f'Net(Config(enc_depth={call}, dec_depth=4, enc_embed_dim=2**20))')

    assert found == {'dec_depth': 4}
    assert not marker.exists()
    for text in ('(' * 5000, '-' * 9000 + '1', 'x' * 10**6, '\0', "Net(enc_depth=-'x')"):
        assert parse_constructor(text) == {}


def zip_of(path, data: bytes, numbers: bytes = b'', **options) -> None:
    with zipfile.ZipFile(path, 'w', **options) as archive:
        archive.writestr('archive/data.pkl', data)
        archive.writestr('archive/data/0', numbers)
        archive.writestr('archive/version', '3')


def pickled_tensor(shape, stride=None, count=4, offset=0) -> bytes:
    """Return the pickle of one float tensor with a declared shape."""
    buffer = io.BytesIO()
    storage = object()

    class Rebuild:
        def __reduce__(self):
            steps = stride or tuple(1 for _ in shape)
            return torch._utils._rebuild_tensor_v2, (storage, offset, shape, steps, False, None)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ('storage', torch.FloatStorage, '0', 'cpu', count) if value is storage else None

    Pickler(buffer, protocol=2).dump({'pose_token': Rebuild()})
    return buffer.getvalue()


def damaged_files(folder) -> dict[str, bytes]:
    good = folder / 'good.pth'
    torch.save({'model': published(network('cut3r')), 'args': None}, good)
    legacy = folder / 'legacy.pth'
    torch.save({'w': torch.ones(999)}, legacy, _use_new_zipfile_serialization=False)
    tensors = folder / 'good.safetensors'
    save_file({'w': torch.ones(999)}, tensors)
    protocol = pickle.PROTO + b'\x02'
    return {
        'empty': b'',
        'text': b'not a checkpoint at all',
        'web page': b'<!DOCTYPE html><html>quota exceeded</html>',
        'zeros': bytes(4096),
        'truncated zip': good.read_bytes()[:-5000],
        'truncated legacy': legacy.read_bytes()[:-500],
        'truncated pickle': legacy.read_bytes()[:40],
        'truncated safetensors': tensors.read_bytes()[:-100],
        'absurd safetensors header': struct.pack('<Q', 1 << 62) + b'{' + bytes(99),
        'safetensors beyond its end': struct.pack('<Q', 61)
        + b'{"w":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,4]}}'[:61],
        'deep nesting': protocol + b'(' * 200_000 + b't' * 200_000 + b'.',
        'deep lists': protocol + b']' * 100_000 + b'a' * 99_999 + b'.',
        'huge text': protocol + b'X' + struct.pack('<I', 1 << 31) + b'.',
        'huge bytes': pickle.PROTO + b'\x05\x96' + struct.pack('<Q', 1 << 60) + b'.',
        'huge memo': protocol + b']r' + struct.pack('<I', (1 << 32) - 1) + b'.',
        'huge number': protocol + b'\x8b' + struct.pack('<i', (1 << 31) - 1) + b'.',
        'registry': protocol + b'\x82\x01.',
    }


CASES = [
    'empty',
    'text',
    'web page',
    'zeros',
    'truncated zip',
    'truncated legacy',
    'truncated pickle',
    'truncated safetensors',
    'absurd safetensors header',
    'safetensors beyond its end',
    'deep nesting',
    'deep lists',
    'huge text',
    'huge bytes',
    'huge memo',
    'huge number',
    'registry',
]


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('case', CASES)
def test_damaged_and_foreign_files_give_one_clear_error(tmp_path, case, suffix):
    path = tmp_path / f'file{suffix}'
    path.write_bytes(damaged_files(tmp_path)[case])

    with pytest.raises(UserError) as caught:
        load_model(path)

    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('case', [name for name in CASES if name.startswith(('deep', 'huge'))])
def test_hostile_pickles_inside_a_zip_are_refused(tmp_path, case):
    path = tmp_path / 'file.pth'
    zip_of(path, damaged_files(tmp_path)[case])

    with pytest.raises(UserError):
        load_model(path)


@pytest.mark.parametrize(
    'options',
    [
        {'shape': (1, 1, 48), 'count': 1 << 60},
        {'shape': (1 << 50,), 'count': 1 << 60},
        {'shape': (1, 1, 48), 'stride': (48, 48, 1), 'offset': 1 << 40},
        {'shape': (1, 1, 48), 'stride': (48, 48, -1), 'offset': 47},
        {'shape': (1, 1, -48), 'stride': (48, 48, 1)},
        {'shape': (1, 1, 48), 'stride': (1 << 62, 1 << 62, 1 << 62)},
    ],
    ids=str,
)
def test_tensors_larger_than_their_storage_are_refused(tmp_path, options):
    path = tmp_path / 'declared.pth'
    zip_of(path, pickled_tensor(**options), bytes(16))

    # A single tensor is no network, so the tensor is also read directly.
    with pytest.raises(UserError):
        load_model(path)
    with pytest.raises(UserError), open_checkpoint(path) as stored:
        stored.tensor('pose_token')


def test_compressed_archives_and_torchscript_are_refused(tmp_path):
    path = tmp_path / 'compressed.pth'
    zip_of(path, pickled_tensor((4,)), bytes(1 << 20), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match='compressed or truncated'):
        load_model(path)

    script = tmp_path / 'script.pt'
    zip_of(script, pickled_tensor((4,)), bytes(16))
    with zipfile.ZipFile(script, 'a') as archive:
        archive.writestr('archive/constants.pkl', b'\x80\x02).')
    with pytest.raises(UserError, match='without a torch state dict'):
        load_model(script)


def test_training_a_mapped_network_does_not_change_its_file(tmp_path):
    for name, save in (
        ('model.safetensors', lambda model, path: save_checkpoint(model, path)),
        ('model.pth', lambda model, path: write_published(path, model)),
    ):
        model, path = network('cut3r'), tmp_path / name
        save(model, path)
        before = path.read_bytes()

        loaded = load_model(path)
        with torch.no_grad():
            loaded.pose_token.add_(1)

        assert torch.equal(loaded.pose_token, model.pose_token + 1)
        assert path.read_bytes() == before
