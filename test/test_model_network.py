# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One step of the network, and its state."""

from __future__ import annotations

from dataclasses import replace
import re

import numpy as np
import psutil
import pytest
from tiny_networks import (
    CONFIGS,
    CUT3R,
    MEM3R,
    RULES,
    SIZE,
    frame,
    image,
    network,
    run,
    tensors,
    worst_difference,
)
import torch
from torch import nn

from mem3r_ros.errors import UserError
from mem3r_ros.model import (
    FrameInput,
    Mem3R,
    ModelConfig,
    State,
    build_model,
    update_rule,
)

NAMES = sorted(CONFIGS)
COUNTS = {
    'cut3r-512-dpt': 793_307_858,
    'mem3r-512-dpt': 643_549_058,
    'cut3r-224-linear': 748_443_655,
}
# They add up to the totals that the papers state (793M and 644M).
MODULES = {
    'image_encoder.stem': 787_456,
    'ray_encoder.stem': 1_573_888,
    'image_encoder': 302_311_424 + 787_456,
    'ray_encoder': 25_194_496 + 1_573_888,
    'decoder.image_blocks': 113_441_280 - 1_536,
    'decoder.state_blocks': 113_441_280 - 1_536,
    'decoder.image_norm': 1_536,
    'decoder.image_embed': 787_200,
    'decoder.state_embed': 787_200,
    'predictor.camera_head': 20_201_668,
    'predictor.world_head': 20_201_668,
    'predictor.rgb_head': 20_201_539,
    'predictor.world_blocks': 18_900_480,
    'predictor.pose_head': 2_383_879,
}
SHALLOW = {'enc_depth': 1, 'dec_depth': 1, 'retriever_depth': 1}
# Parameters without a gradient from images: the ray-map branch, the unused unit of published
# files, and queries and keys of the attention to the single key of a memory write.
UNREACHED = re.compile(
    r'ray_encoder\.|masked_(image|ray)_token|fusion\.3\.skip\.'
    r'|write_blocks\.\d\.(norm2|cross_attention\.(query|key))\.'
)


def on_meta(preset: str) -> Mem3R:
    """Build a full-size network without memory."""
    with torch.device('meta'):
        return Mem3R(ModelConfig.preset(preset))


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize('preset', COUNTS)
def test_presets_have_the_published_number_of_parameters(preset):
    assert count(on_meta(preset)) == COUNTS[preset]


def test_the_small_preset_has_25_million_parameters_and_four_times_the_pixels_of_the_tiny_one():
    tiny, small = (ModelConfig.preset(name) for name in ('mem3r-tiny', 'mem3r-small'))

    assert 24e6 < count(on_meta('mem3r-small')) < 26e6
    assert np.prod(small.img_size) == 4 * np.prod(tiny.img_size)
    assert small.two_view == tiny.two_view


def test_modules_have_the_published_number_of_parameters():
    cut3r, mem3r = on_meta('cut3r-512-dpt'), on_meta('mem3r-512-dpt')

    assert {name: count(cut3r.get_submodule(name)) for name in MODULES} == MODULES
    assert {name: count(mem3r.get_submodule(name)) for name in MODULES} == MODULES
    assert count(cut3r.pose_memory) == 152_305_152
    assert count(mem3r.pose_memory) == 787_200 + 1_562_160 - 787_200
    assert count(mem3r.state_gate) == 984_192
    assert cut3r.register_tokens.numel() == 786_432
    assert cut3r.pose_token.numel() == 768
    assert cut3r.masked_image_token.numel() + cut3r.masked_ray_token.numel() == 2_048


@pytest.mark.parametrize('name', NAMES)
def test_every_output_has_its_shape_and_is_finite(name):
    model = network(name)
    (first, second), state = run(model, [frame(0), frame(1)])

    height, width = SIZE
    for prediction in (first, second):
        assert prediction.points_camera.shape == (1, height, width, 3)
        assert prediction.points_world.shape == (1, height, width, 3)
        assert prediction.confidence_camera.shape == (1, height, width)
        assert prediction.camera_pose.shape == (1, 7)
        assert prediction.T_world_camera.shape == (1, 4, 4)
        assert bool((prediction.confidence_camera > 1).all())
        assert float(prediction.camera_pose[0, 3]) >= 0
    assert all(bool(tensor.isfinite().all()) for tensor in state.to_dict().values())


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('name', NAMES)
def test_after_a_reset_a_stream_equals_a_new_one(name, rule):
    model, rule = network(name), update_rule(rule)
    frames = [frame(i, reset=[i == 2]) for i in range(6)]

    after_reset, state = run(model, frames, rule=rule)
    fresh, fresh_state = run(model, frames[3:], rule=rule)

    for first, second in zip(after_reset[3:], fresh, strict=True):
        assert worst_difference(first, second) <= 1e-6
    assert worst_difference(state, fresh_state) <= 1e-6


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('name', NAMES)
def test_a_frame_without_update_changes_nothing(name, rule):
    model, rule = network(name), update_rule(rule)
    _, before = run(model, [frame(0), frame(1)], rule=rule)

    _, after = run(model, [frame(2, update=[False])], before, rule)

    assert worst_difference(before, after) == 0


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('name', NAMES)
def test_a_batch_of_two_streams_equals_two_streams(name, rule):
    model, rule = network(name), update_rule(rule)
    # The first stream is reset, the second skips a frame: their running values differ.
    flags = [{'reset': [i == 2, False], 'update': [True, i != 3]} for i in range(6)]
    pairs = [image(i, batch_size=2) for i in range(6)]

    together, state = run(
        model,
        [FrameInput(image=pair, **_flags(flag)) for pair, flag in zip(pairs, flags, strict=True)],
        model.initial_state(2),
        rule,
    )
    for stream in range(2):
        alone, alone_state = run(
            model,
            [
                FrameInput(image=pair[stream : stream + 1], **_flags(flag, stream))
                for pair, flag in zip(pairs, flags, strict=True)
            ],
            rule=rule,
        )
        # The bundle adjustment amplifies rounding, and the state accumulates it.
        limit = 2e-4 if name == 'small' else 2e-5
        for both, one in zip(together, alone, strict=True):
            assert worst_difference(both, one, stream) <= limit
        assert worst_difference(state.select([stream]), alone_state) <= limit


def _flags(flags, stream=None):
    keep = slice(None) if stream is None else slice(stream, stream + 1)
    return {name: torch.tensor(value)[keep] for name, value in flags.items()}


@pytest.mark.parametrize('rule', RULES)
def test_streams_of_different_age_can_share_a_batch(rule):
    model, rule = network('mem3r'), update_rule(rule)
    _, old = run(model, [frame(0), frame(1)], rule=rule)

    joined = State.cat([old, model.initial_state()])
    _, after = run(model, [frame(2, image=image(2).repeat(2, 1, 1, 1))], joined, rule)

    _, old_alone = run(model, [frame(2)], old, rule)
    _, new_alone = run(model, [frame(2)], rule=rule)
    assert worst_difference(after.select([0]), old_alone) <= 2e-5
    assert worst_difference(after.select([1]), new_alone) <= 2e-5


@pytest.mark.parametrize(('name', 'num_frames'), [('mem3r', 1000), ('cut3r', 400), ('small', 400)])
def test_state_and_process_do_not_grow_over_many_frames(name, num_frames):
    config = replace(CONFIGS[name], **SHALLOW)
    if config.two_view is not None:
        config = replace(config, two_view=replace(config.two_view, motion_solver_steps=0))
    model, rule = build_model(config).eval(), update_rule('ttsa3r')
    frames = [frame(i, image=image(i, size=(16, 24 if name == 'small' else 16))) for i in range(4)]
    state, shapes, memory = model.initial_state(), [], []
    with torch.inference_mode():
        for i in range(num_frames):
            _, state = model.step(frames[i % 4], state, rule, {'T_world_camera'})
            if i in (0, 100, num_frames - 1):
                shapes.append({k: (v.shape, v.dtype) for k, v in state.to_dict().items()})
                memory.append(psutil.Process().memory_info().rss)

    assert shapes[0] == shapes[1] == shapes[2]
    assert memory[2] - memory[1] < 10e6
    assert all(bool(tensor.isfinite().all()) for tensor in state.to_dict().values())


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('name', NAMES)
def test_a_restored_state_continues_exactly(name, rule):
    model, rule = network(name), update_rule(rule)
    _, state = run(model, [frame(0), frame(1)], rule=rule)

    restored = State.from_dict({key: value.clone() for key, value in state.to_dict().items()})
    (expected,), after = run(model, [frame(2)], state, rule)
    (found,), after_restored = run(model, [frame(2)], restored, rule)

    assert worst_difference(expected, found) == 0
    assert worst_difference(after, after_restored) == 0


@pytest.mark.parametrize(
    ('name', 'missing'), [('cut3r', 'tokens'), ('mem3r', 'is_first'), ('small', 'has_previous')]
)
def test_an_incomplete_saved_state_is_refused(name, missing):
    state = network(name).initial_state().to_dict()
    del state[missing]

    with pytest.raises(UserError, match=f'lacks {missing}'):
        State.from_dict(state)


def test_streams_of_different_networks_cannot_share_a_batch():
    with pytest.raises(UserError, match='different networks'):
        State.cat([network('cut3r').initial_state(), network('mem3r').initial_state()])


@pytest.mark.parametrize('name', NAMES)
def test_a_step_does_not_change_its_input_state(name):
    model = network(name)
    _, state = run(model, [frame(0), frame(1)])
    copy = state.clone()

    (first,), _ = run(model, [frame(2)], state)
    (again,), _ = run(model, [frame(2)], state)

    assert worst_difference(state, copy) == 0
    assert worst_difference(first, again) == 0


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_frame_that_is_not_finite_changes_no_memory(name, rule, value):
    model, rule = network(name), update_rule(rule)
    _, before = run(model, [frame(0), frame(1)], rule=rule)
    bad = image(2)
    bad[0, 0, 3, 5] = value

    _, after = run(model, [frame(2, image=bad)], before, rule)
    (found,), _ = run(model, [frame(3)], after, rule)

    assert worst_difference(before, after) == 0
    assert bool(found.points_camera.isfinite().all())


@pytest.mark.parametrize('name', NAMES)
def test_a_first_frame_that_is_not_finite_does_not_count(name):
    model = network(name)
    bad = torch.full((1, 3, *SIZE), float('nan'))

    (_, second), state = run(model, [frame(0, image=bad), frame(1)])

    (expected,), expected_state = run(model, [frame(1)])
    assert worst_difference(second, expected) == 0
    assert worst_difference(state, expected_state) == 0


def test_a_stream_that_is_not_finite_does_not_affect_others():
    model = network('mem3r')
    pair = image(0, batch_size=2)
    pair[0] = float('nan')
    before = model.initial_state(2)

    _, after = run(model, [FrameInput(image=pair)], before)

    _, alone = run(model, [FrameInput(image=pair[1:])])
    assert worst_difference(after.select([0]), before.select([0])) == 0
    assert worst_difference(after.select([1]), alone) <= 2e-5


HEADS = ('predictor.camera_head', 'predictor.world_head', 'predictor.rgb_head')


@pytest.mark.parametrize(
    ('outputs', 'expected'),
    [
        ({'T_world_camera'}, ()),
        ({'points_camera'}, HEADS[:1]),
        ({'confidence_world', 'camera_pose'}, HEADS[1:2]),
        ({'rgb', 'telemetry'}, HEADS[2:]),
        (None, HEADS),
    ],
)
def test_heads_of_other_outputs_are_not_computed(outputs, expected):
    model, called = network('cut3r'), []
    for name in HEADS:
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: called.append(name))

    prediction, _ = model.step(frame(0), model.initial_state(), outputs=outputs)

    assert sorted(called) == sorted(expected)
    given = {name for name in prediction.__slots__ if getattr(prediction, name) is not None}
    assert given == (outputs or model.predictor.available)


@pytest.mark.parametrize('outputs', [{'T_world_camera'}, {'points_camera'}, {'points_world'}])
@pytest.mark.parametrize('name', NAMES)
def test_an_output_does_not_depend_on_the_others(name, outputs):
    model = network(name)
    with torch.inference_mode():
        few, few_state = model.step(frame(0), model.initial_state(), outputs=outputs)
        every, state = model.step(frame(0), model.initial_state())

    for output in outputs:
        assert torch.equal(getattr(few, output), getattr(every, output))
    assert worst_difference(few_state, state) == 0


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('name', NAMES)
def test_training_reaches_every_parameter(name, rule):
    model, rule = network(name).train(), update_rule(rule)
    state, loss = model.initial_state(), 0
    for i in range(3):
        prediction, state = model.step(frame(i), state, rule)
        for value in _outputs(prediction):
            loss = loss + value.square().mean()
    loss.backward()

    without = [
        parameter
        for parameter, value in model.named_parameters()
        if value.grad is None or not bool((value.grad != 0).any())
    ]
    assert [parameter for parameter in without if not UNREACHED.search(parameter)] == []
    assert all(
        bool(value.grad.isfinite().all()) for value in model.parameters() if value.grad is not None
    )


def test_ray_maps_train_the_ray_encoder():
    model = network('cut3r').train()
    rays = torch.randn(1, *SIZE, 6)
    prediction, _ = model.step(frame(0, ray_map=rays), model.initial_state())
    sum(value.square().mean() for value in _outputs(prediction)).backward()

    gradients = [value.grad for value in model.ray_encoder.parameters()]
    assert all(gradient is not None and bool(gradient.any()) for gradient in gradients)


def _outputs(prediction):
    return [value for value in tensors(prediction).values() if value.requires_grad]


def test_rules_can_be_switched_between_frames():
    model = network('mem3r')
    _, state = run(model, [frame(0)], None, update_rule('cut3r'))
    after = {
        name: run(model, [frame(1)], state.clone(), update_rule(name))[1].to_dict()
        for name in RULES
    }

    tokens = {name: values['tokens'] for name, values in after.items()}
    assert all(
        bool(value.isfinite().all()) for values in after.values() for value in values.values()
    )
    assert not torch.equal(tokens['cut3r'], tokens['ttt3r'])  # the second frame has its own rule


def test_a_query_does_not_change_the_state_and_needs_a_ray_encoder():
    model = network('cut3r')
    _, state = run(model, [frame(0)])
    copy = state.clone()

    with torch.inference_mode():
        prediction = model.query(torch.randn(1, *SIZE, 6), state, {'points_camera'})

    assert prediction.points_camera.shape == (1, *SIZE, 3)
    assert worst_difference(state, copy) == 0
    small = network('small')
    with pytest.raises(UserError, match='ray-map encoder'):
        small.query(torch.randn(1, *SIZE, 6), small.initial_state())


def test_a_network_can_be_trained_after_inference_mode():
    model = network('cut3r')
    run(model, [frame(0, ray_map=torch.randn(1, *SIZE, 6))])

    prediction, _ = model.step(frame(0), model.initial_state())
    prediction.points_camera.sum().backward()

    assert bool(model.pose_token.grad.any())


def test_flags_that_are_off_change_nothing():
    model = network('cut3r')

    plain, state = run(model, [frame(0), frame(1)])
    flagged, flagged_state = run(model, [frame(i, reset=[False], update=[True]) for i in range(2)])

    assert worst_difference(plain[1], flagged[1]) == 0
    assert worst_difference(state, flagged_state) == 0


def test_cut3r_streaming_reads_the_initial_memory_after_a_reset():
    config = replace(CUT3R, pose_token_after_reset=False)
    model = build_model(config).eval()

    _, state = run(model, [frame(0, reset=[True])])

    assert not bool(state.is_first)
    assert torch.equal(state.tokens, model.initial_state().tokens)


@pytest.mark.parametrize('name', NAMES)
def test_bfloat16_stays_close_and_keeps_float32_memories(name):
    model = network(name)
    (_, exact), _ = run(model, [frame(0), frame(1)])
    half = network(name).bfloat16()

    (_, rough), state = run(half, [frame(0), frame(1)])

    assert state.tokens.dtype == state.camera_memory.dtype == torch.float32
    assert rough.points_camera.dtype == torch.float32
    error = (rough.points_camera - exact.points_camera).norm() / exact.points_camera.norm()
    assert float(error) < 0.1


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        (FrameInput(), 'neither an image nor a ray map'),
        (FrameInput(image=torch.zeros(1, 3, 30, 48)), 'multiples of 16'),
        (FrameInput(image=torch.zeros(1, 3, 0, 48)), 'multiples of 16'),
        (FrameInput(image=torch.zeros(2, 3, 32, 48)), r'expected \(1, 3, 32, 48\)'),
        (FrameInput(image=torch.zeros(1, 4, 32, 48)), 'image has shape'),
        (FrameInput(image=torch.zeros(1, 3, 32, 48), reset=torch.zeros(2)), 'reset has shape'),
    ],
)
def test_frames_of_a_wrong_shape_are_refused_with_it(broken, message):
    model = network('cut3r')

    with pytest.raises(UserError, match=message):
        model.step(broken, model.initial_state())


def test_a_larger_image_of_a_wrong_size_is_refused():
    model = network('small')
    fine = torch.zeros(1, 32, 48, dtype=torch.uint8)

    with pytest.raises(UserError, match=r'fine_gray has shape \(1, 32, 48\).*\(1, 64, 96\)'):
        model.step(frame(0, fine_gray=fine), model.initial_state())


def test_unknown_outputs_are_refused_by_name():
    model = network('small')

    with pytest.raises(UserError, match='unknown output depth'):
        model.step(frame(0), model.initial_state(), outputs={'depth'})
    with pytest.raises(UserError, match='no head for rgb'):
        model.step(frame(0), model.initial_state(), outputs={'rgb'})


def test_a_new_network_starts_without_biases_in_encoder_and_decoder():
    model = build_model(MEM3R)

    for part in (model.image_encoder, model.decoder):
        layers = [m for m in part.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
        assert layers
        assert all(bool((layer.bias == 0).all()) for layer in layers)
