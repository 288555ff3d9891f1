# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Faster arithmetic on a CPU: int8 layers, dense heads, the choice of ``dtype: auto``."""

from __future__ import annotations

import copy
from dataclasses import replace
import gc
import subprocess
import sys

import psutil
import pytest
import torch
from torch import nn

from mem3r_ros.errors import UserError
from mem3r_ros.model import (
    FrameInput,
    ModelConfig,
    backend,
    build_model,
    freed_memory,
    int8,
    processor,
    speedups,
)
from mem3r_ros.model.backend import BackendConfig, load_backend
from mem3r_ros.model.bfloat16 import convert_camera_memory
from mem3r_ros.model.int8 import Int8Linear, convert_linear_layers, has_int8
from mem3r_ros.model.layers import (
    CrossAttention,
    Mlp,
    SelfAttention,
    attend,
    attend_bfloat16,
    use_neighbours,
)
from mem3r_ros.model.positions import PositionTables
from mem3r_ros.model.speedups import SpeedUps, arithmetic_of, choose_cpu_dtype
from mem3r_ros.two_view.recorded import Recorded

needs_int8 = pytest.mark.skipif(not has_int8(), reason='the processor does not compute in int8')
# Wide enough for int8, two blocks deep.
WIDE = ModelConfig(
    img_size=(64, 64),
    enc_embed_dim=256,
    enc_depth=2,
    enc_num_heads=4,
    dec_embed_dim=256,
    dec_depth=4,
    dec_num_heads=4,
    state_dec_num_heads=4,
    state_size=16,
    ray_enc_depth=0,
    dpt_feature_dim=32,
    dpt_last_dim=16,
    dpt_layer_dims=(16, 16, 32, 32),
    pose_memory='fast_weights',
    fast_num_heads=4,
    state_gate=True,
)


@pytest.fixture
def wide():
    torch.manual_seed(1)  # with 0 the pose multiplies rounding errors
    return build_model(WIDE).eval().requires_grad_(False)


@torch.inference_mode()
def last_of(model, num_frames=4):
    """Return the prediction and the state after some frames."""
    generator = torch.Generator().manual_seed(1)
    state = model.initial_state()
    for _ in range(num_frames):
        image = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
        prediction, state = model.step(FrameInput(image=image), state)
    return prediction, state


def relative(found, exact):
    """Return the error over the size of what is exact."""
    return float((found - exact).norm() / exact.norm())


@needs_int8
def test_int8_layer_is_within_two_percent_of_float32():
    torch.manual_seed(0)
    layer, tokens = nn.Linear(512, 512), torch.randn(2, 50, 512)
    with torch.inference_mode():
        assert relative(Int8Linear(layer)(tokens), layer(tokens)) < 0.02


@needs_int8
def test_large_token_does_not_cost_the_others_their_resolution():
    torch.manual_seed(0)
    layer, tokens = nn.Linear(512, 512), torch.randn(20, 512)
    tokens[3] *= 1e4
    with torch.inference_mode():
        others = [row for row in range(20) if row != 3]
        assert relative(Int8Linear(layer)(tokens)[others], layer(tokens)[others]) < 0.02


@torch.inference_mode()
def test_mlp_in_parts_gives_what_it_gives_at_once():
    torch.manual_seed(0)
    mlp, tokens = Mlp(32, 64), torch.randn(2, 50, 32)
    at_once = mlp(tokens)
    mlp.tokens_at_once = 16
    assert torch.allclose(mlp(tokens), at_once, atol=1e-6)


@needs_int8
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_value_that_is_not_finite_stays_in_its_token(value):
    layer, tokens = Int8Linear(nn.Linear(256, 256)), torch.randn(8, 256)
    tokens[5, 7] = value
    finite = layer(tokens).isfinite().all(dim=1)
    assert finite.tolist() == [row != 5 for row in range(8)]


@needs_int8
def test_camera_memory_state_gate_and_pose_head_keep_float32(wide):
    assert convert_linear_layers(wide) > 0
    kept = (wide.pose_memory, wide.state_gate, wide.predictor.pose_head)
    assert not any(isinstance(part, Int8Linear) for module in kept for part in module.modules())


@pytest.mark.parametrize(
    ('levers', 'limit'),
    [
        (SpeedUps(channels_last=True), 1e-4),
        (SpeedUps(rotated_pairs=True), 1e-4),
        (SpeedUps(bfloat16_heads=True), 0.03),
        (SpeedUps(bfloat16_attention=True), 0.03),
        pytest.param(SpeedUps(int8_linear=True), 0.05, marks=needs_int8),
    ],
    ids=['channels_last', 'rotated_pairs', 'bfloat16_heads', 'bfloat16_attention', 'int8_linear'],
)
def test_each_lever_changes_pose_depth_and_state_little(wide, levers, limit):
    prediction, state = last_of(wide)
    fast_prediction, fast_state = last_of(levers.apply(wide))
    assert relative(fast_prediction.T_world_camera, prediction.T_world_camera) < limit
    assert relative(fast_prediction.points_camera, prediction.points_camera) < limit
    assert relative(fast_state.tokens, state.tokens) < limit


def test_without_levers_nothing_changes(wide):
    before = {name: weight.clone() for name, weight in wide.state_dict().items()}
    SpeedUps().apply(wide)
    assert all(torch.equal(weight, before[name]) for name, weight in wide.state_dict().items())


def test_attention_in_bfloat16_keeps_the_camera_memory_exact(wide):
    SpeedUps(bfloat16_attention=True).apply(wide)
    changed = [name for name, part in wide.named_modules() if getattr(part, 'in_bfloat16', False)]
    assert changed
    assert not any(name.startswith('pose_memory') for name in changed)


def test_slots_of_cut3r_in_bfloat16_change_pose_and_memory_little():
    torch.manual_seed(0)
    config = replace(WIDE, pose_memory='local', local_mem_size=16, state_gate=False)
    exact = build_model(config).eval().requires_grad_(False)
    prediction, state = last_of(exact)
    fast = SpeedUps(bfloat16_memory=True).apply(exact)
    fast_prediction, fast_state = last_of(fast)
    assert fast_state.camera_memory.dtype == torch.float32
    error = relative(fast_state.camera_memory, state.camera_memory)
    assert 0 < error < 0.01
    assert relative(fast_prediction.T_world_camera, prediction.T_world_camera) < 0.03


def test_fast_weights_keep_float32_beside_slots_in_bfloat16(wide):
    assert convert_camera_memory(wide.pose_memory) == 0


@torch.inference_mode()
def test_attention_in_bfloat16_gives_each_head_its_own_values():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 5, 7, 16, generator=generator) for _ in range(3))
    found = attend_bfloat16(query, key[:, :, :6], value[:, :, :6])
    exact = attend(query, key[:, :, :6], value[:, :, :6])
    assert relative(found, exact) < 0.02


@torch.inference_mode()
@pytest.mark.parametrize('kind', [SelfAttention, CrossAttention])
@pytest.mark.parametrize('state_pe', ['2d', 'none'])
def test_rotated_pairs_may_lie_side_by_side(kind, state_pe):
    torch.manual_seed(0)
    layer = kind(64, 4)
    generator = torch.Generator().manual_seed(0)
    tokens, other = (torch.randn(2, size, 64, generator=generator) for size in (25, 16))
    tables = PositionTables(100.0, 16, state_pe)
    device = torch.device('cpu')
    grid, state = tables.image((4, 6), device, with_pose=True), tables.state(device)
    inputs = (tokens, other, grid, state) if kind is CrossAttention else (tokens, grid)
    changed = copy.deepcopy(layer)
    use_neighbours(changed)

    assert relative(changed(*inputs), layer(*inputs)) < 1e-5


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='counts page faults of Linux')
def test_freed_memory_is_taken_again_without_page_faults(repository_dir):
    program = (
        'import resource, sys, torch; from mem3r_ros.model.freed_memory import keep_freed_memory\n'
        'torch.set_num_threads(1); print(keep_freed_memory())\n'
        'faults = []\n'
        'for _ in range(20):\n'
        '    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n'
        '    torch.ones(20_000_000)\n'
        '    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n'
        'print(min(faults))'  # the first blocks may be new; without keeping, all are
    )
    run = subprocess.run(
        [sys.executable, '-c', program],
        cwd=repository_dir, capture_output=True, text=True, check=True,
    )  # fmt: skip
    is_known, faults = run.stdout.split()
    if is_known == 'False':
        pytest.skip('this C library has no mallopt')
    assert int(faults) < 1000  # 80 MB are 20,000 pages


def test_a_recorded_program_is_freed_with_its_owner():
    def record():
        weight = torch.ones(5_000_000)  # 20 MB, a constant of the program
        with torch.inference_mode():
            Recorded(lambda x: (x + weight,))(torch.zeros(1))
        gc.collect()
        return psutil.Process().memory_info().rss

    # The first ones fill the memory that the process keeps, a different amount in each process.
    first = [record() for _ in range(8)][-1]
    last = [record() for _ in range(8)][-1]

    assert last - first < 80e6  # 160e6 if nothing were freed


def test_a_recorded_program_runs_without_the_private_functions_of_torch(monkeypatch):
    def grid(x):
        return (x + torch.arange(x.shape[0]) * 2,)

    for name in ('_jit_pass_cse', '_create_function_from_graph'):
        monkeypatch.delattr(torch._C, name)
    with torch.inference_mode():
        assert torch.equal(Recorded(grid)(torch.ones(3))[0], torch.tensor([1.0, 3.0, 5.0]))


def test_network_keeps_freed_memory(monkeypatch):
    kept = []
    monkeypatch.setattr(freed_memory, 'keep_freed_memory', lambda: kept.append(True))
    load_backend(BackendConfig(device='cpu', num_threads=1))
    assert kept


def test_two_view_heads_stay_float32_under_int8(monkeypatch):
    monkeypatch.setattr(speedups, 'multiplies_bfloat16', lambda: True)
    model = build_model(ModelConfig.preset('mem3r-tiny'))
    levers = SpeedUps.int8(model)
    assert not levers.bfloat16_heads
    assert not levers.bfloat16_attention


@pytest.mark.parametrize(('gain', 'chosen'), [(4.0, 'int8'), (1.0, 'float32')])
def test_auto_picks_int8_where_it_is_measured_faster(wide, monkeypatch, gain, chosen):
    monkeypatch.setattr(speedups, 'LARGE_NETWORK', 1)
    monkeypatch.setattr(speedups, 'has_int8', lambda: True)
    monkeypatch.setattr(speedups, 'measured_int8_gain', lambda model: gain)
    assert choose_cpu_dtype(wide) == chosen


def test_auto_keeps_a_small_network_in_float32():
    model, _ = load_backend(BackendConfig(device='cpu', dtype='auto', num_threads=1))
    assert arithmetic_of(model) == 'float32'


@needs_int8
def test_int8_of_the_settings_reaches_the_network():
    model, _ = load_backend(BackendConfig(device='cpu', dtype='int8', num_threads=1))
    assert arithmetic_of(model) == 'int8'


def test_int8_is_refused_where_the_processor_lacks_it(monkeypatch):
    monkeypatch.setattr(int8, 'has_int8', lambda: False)
    with pytest.raises(UserError, match='VNNI or AMX'):
        load_backend(BackendConfig(device='cpu', dtype='int8', num_threads=1))


def test_int8_is_refused_on_a_gpu(monkeypatch):
    monkeypatch.setattr(backend, 'choose_device', lambda name: 'cuda')
    with pytest.raises(UserError, match='int8 is for device cpu'):
        load_backend(BackendConfig(dtype='int8'))


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_dtype_that_the_processor_emulates_is_reported(monkeypatch, caplog, dtype):
    monkeypatch.setattr(backend, f'multiplies_{dtype}', lambda: False)
    load_backend(BackendConfig(device='cpu', dtype=dtype, num_threads=1))
    assert f'does not multiply {dtype} in hardware' in caplog.text


def test_formats_are_read_from_the_description_of_the_processor(monkeypatch, tmp_path):
    text = (
        'model name\t: Some CPU\nflags\t\t: fpu avx512_vnni avx512_bf16\n\nmodel name\t: Other\n'
    )
    (tmp_path / 'cpuinfo').write_text(text, encoding='utf-8')
    monkeypatch.setattr(processor, '_CPUINFO', tmp_path / 'cpuinfo')
    processor._cpuinfo.cache_clear()
    try:
        assert processor.processor_name() == 'Some CPU'
        assert processor.number_formats() == ('int8', 'bfloat16')
    finally:
        processor._cpuinfo.cache_clear()
