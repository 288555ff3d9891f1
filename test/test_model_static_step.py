# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Recorded steps: the same numbers as direct ones, few recordings, and states that stay usable."""

from __future__ import annotations

import numpy as np
import pytest
from taped_queue import FakeCuda, TapedQueue
from tiny_networks import RULES, SIZE, network, tracked_network
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.model import FrameInput, backend, speedups, update_rule
from mem3r_ros.model.backend import BackendConfig, load_backend
from mem3r_ros.model.checkpoints.load import half_precision
from mem3r_ros.model.device_queue import CudaQueue
from mem3r_ros.model.execution import prepared_for
from mem3r_ros.model.shared_network import SharedNetwork
from mem3r_ros.model.static_step import StaticStep
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig
from mem3r_ros.tracker.network_input import resampled
from mem3r_ros.tracker.pixel_map import plan_pixels


def images(count, batch_size=1, seed=0):
    """Return random images of the tiny networks."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, batch_size, 3, *SIZE, generator=generator) * 2 - 1


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('name', ['cut3r', 'mem3r'])
@torch.inference_mode()
def test_recorded_steps_equal_direct_ones_with_two_recordings(name, rule):
    model, queue = network(name), TapedQueue()
    recorded, chosen = StaticStep(model, queue), update_rule(rule)
    here = there = model.initial_state(2)
    kept = []
    for index, image in enumerate(images(8, batch_size=2)):
        frame = FrameInput(
            image=image,
            update=torch.tensor([True, index != 2]),
            reset=torch.tensor([index == 4, False]),
        )
        expected, here = model.step(frame, here, chosen)
        found, there = recorded.step(frame, there, chosen)
        kept.append((expected, here, found, there))
    # Later steps do not change what a caller holds.
    for expected, here, found, there in kept:
        assert_same(there.to_dict(), here.to_dict())
        assert torch.equal(found.points_camera, expected.points_camera)
        assert_same(found.telemetry, expected.telemetry)
    assert (recorded.num_recordings, queue.num_repeated) == (2, 6)


@torch.inference_mode()
def test_cuda_graphs_are_captured_in_one_pool_and_replayed(monkeypatch):
    cuda = FakeCuda(monkeypatch)
    queue, model = CudaQueue(torch.device('cpu')), network('mem3r')
    recorded = StaticStep(model, queue)
    here = there = model.initial_state()
    for image in images(5):
        expected, here = model.step(FrameInput(image=image), here)
        found, there = recorded.step(FrameInput(image=image), there)
        queue.wait()
        assert torch.equal(found.points_camera, expected.points_camera)
    assert_same(there.to_dict(), here.to_dict())
    assert cuda.calls.count('capture in pool') == 2
    assert cuda.calls.count('replay') == 5
    assert cuda.calls.count('synchronize') == queue.num_waits == 5


@torch.inference_mode()
def test_two_streams_share_recordings_and_keep_their_states():
    model = network('mem3r')
    recorded = StaticStep(model)
    expected = [model.initial_state(), model.initial_state()]
    found = [recorded.initial_state(), recorded.initial_state()]
    for first, second in zip(images(5), images(5, seed=1)):
        for stream, image in enumerate((first, second)):
            frame = FrameInput(image=image)
            _, expected[stream] = model.step(frame, expected[stream])
            _, found[stream] = recorded.step(frame, found[stream])
    for stream in range(2):
        assert_same(found[stream].to_dict(), expected[stream].to_dict())
    assert recorded.num_recordings <= 2


@torch.inference_mode()
def test_step_from_an_older_state_gives_the_same_again():
    model = network('mem3r')
    recorded = StaticStep(model)
    first, second, third = (FrameInput(image=image) for image in images(3))
    _, after_first = recorded.step(first, recorded.initial_state())
    once, after = recorded.step(second, after_first)
    recorded.step(third, after)
    again, _ = recorded.step(second, after_first)
    assert torch.equal(once.points_camera, again.points_camera)


@torch.inference_mode()
def test_memory_of_the_state_is_used_again_and_not_copied():
    model = network('mem3r')
    recorded = StaticStep(model)
    state, places = recorded.initial_state(), []
    for image in images(8):
        _, state = recorded.step(FrameInput(image=image), state)
        places.append(state.tokens.data_ptr())
    assert len(set(places)) == 2
    assert places[::2] == [places[0]] * 4


@pytest.mark.parametrize('rule', ['cut3r', 'ttsa3r'])
def test_tracker_gives_the_same_with_recorded_steps(rule):
    generator = np.random.default_rng(0)
    wall = generator.integers(0, 255, (80, 160, 3), dtype=np.uint8)
    tracked = []
    for wrap in (lambda model: model, lambda model: StaticStep(model, TapedQueue())):
        tracker = Tracker(
            wrap(tracked_network()), TrackerConfig(update_rule=rule, reset_interval=5)
        )
        tracker.warm_up(96, 64)
        for index in range(12):
            image = np.ascontiguousarray(wall[8:72, 2 * index : 2 * index + 96])
            result = tracker.track(CameraFrame(index * 33_000_000, image))
        tracked.append(result)
    direct, recorded = tracked
    assert direct.segment == recorded.segment > 0
    assert np.array_equal(direct.T_odom_camera, recorded.T_odom_camera)
    assert np.array_equal(direct.depth, recorded.depth, equal_nan=True)


@torch.inference_mode()
def test_shared_network_gives_results_that_later_steps_leave_alone():
    model = network('mem3r')
    shared = SharedNetwork(StaticStep(model))
    assert (shared.device, shared.queue.device) == (model.device, model.device)
    state, held = shared.initial_state(), []
    for image in images(4):
        prediction, state = shared.step(FrameInput(image=image), state)
        held.append((prediction.points_camera[0], prediction.points_camera[0].clone()))
    # Views too, which threads read while another one steps.
    assert all(torch.equal(view, before) for view, before in held)


def test_settings_choose_how_a_step_runs():
    model = network('mem3r')
    assert prepared_for('auto', model) is model  # a recording gains nothing on a CPU
    assert prepared_for('eager', model) is model
    assert isinstance(prepared_for('graph', model), StaticStep)


def test_network_with_optical_flow_is_not_recorded():
    with pytest.raises(UserError, match='set execution to eager'):
        load_backend(BackendConfig(device='cpu', execution='graph', num_threads=1))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_half_precision_keeps_memories_poses_and_points_in_float32(dtype):
    model = half_precision(network('mem3r'), dtype)
    assert model.dtype == dtype
    exact = (model.pose_memory, model.state_gate, model.predictor.pose_head)
    exact += (model.predictor.camera_head.last_layer, model.predictor.world_head.last_layer)
    assert {p.dtype for part in exact for p in part.parameters()} == {torch.float32}
    recorded = StaticStep(model)
    frame = FrameInput(image=images(1)[0])
    found, state = recorded.step(frame, recorded.initial_state())
    exact_found, exact_state = network('mem3r').step(frame, network('mem3r').initial_state())
    assert found.points_camera.dtype == found.T_world_camera.dtype == torch.float32
    assert state.tokens.dtype == state.camera_memory.dtype == torch.float32
    difference = (found.points_camera - exact_found.points_camera).norm()
    assert 0 < difference < 0.1 * exact_found.points_camera.norm()
    assert (state.tokens - exact_state.tokens).norm() < 0.1 * exact_state.tokens.norm()


@pytest.mark.parametrize('has_bfloat16', [True, False])
def test_auto_is_half_precision_for_a_large_network_on_a_gpu(monkeypatch, has_bfloat16):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: has_bfloat16)
    model = network('mem3r')
    assert speedups.choose_gpu_dtype(model) == torch.float32
    monkeypatch.setattr(speedups, 'LARGE_NETWORK', 1)
    expected = torch.bfloat16 if has_bfloat16 else torch.float16
    assert speedups.choose_gpu_dtype(model) == expected
    # The settings do the same; the meta device stands for a GPU.
    monkeypatch.setattr(backend, 'choose_device', lambda name: 'meta')
    loaded, _ = load_backend(BackendConfig(dtype='auto', num_threads=1))
    assert (loaded.device.type, loaded.dtype) == ('meta', expected)


def test_image_resampled_on_the_device_is_near_that_of_the_exact_filter():
    generator = np.random.default_rng(0)
    coarse = torch.rand(1, 3, 30, 40, generator=torch.Generator().manual_seed(0)) * 255
    smooth = torch.nn.functional.interpolate(coarse, (480, 640), mode='bicubic').clamp(0, 255)
    image = smooth[0].permute(1, 2, 0).to(torch.uint8).numpy()
    image = np.clip(image + generator.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    pixels = plan_pixels(640, 480, (512, 512), 16)
    found = resampled(torch.from_numpy(image), pixels).numpy()
    assert found.shape == (pixels.height, pixels.width, 3)
    difference = np.abs(found - pixels.apply(image).astype(np.float32))
    assert difference.mean() < 0.6
    assert difference.max() < 8
