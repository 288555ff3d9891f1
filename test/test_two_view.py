# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Optical flow, depth memory and bundle adjustment, on scenes known in closed form."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
import tiny_networks
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.model import FrameInput, ModelConfig, load_model, update_rule
from mem3r_ros.model.recorded_step import RecordedStep
from mem3r_ros.model.update_rules import UPDATE_RULES
from mem3r_ros.se3 import se3_exp
from mem3r_ros.two_view.bundle_adjustment import BundleAdjustment, Prior
from mem3r_ros.two_view.observation import complete_intrinsics
from mem3r_ros.two_view.optical_flow import (
    checked_flow,
    enlarged,
    gray_from_image,
    optical_flow,
)
from mem3r_ros.two_view.pixels import pixel_rays
from mem3r_ros.two_view.stream_memory import DepthMemory

HEIGHT, WIDTH = 48, 64
INTRINSICS = torch.tensor([[60.0, 60.0, 31.5, 23.5]])


def texture(seed: int, height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 4, width // 4), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def hills() -> torch.Tensor:
    """Depth of a wavy surface 1.5 to 4.5 m away, [1, H, W]."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing='ij')
    return (3.0 + torch.sin(x / 9.0) + 0.5 * torch.cos(y / 7.0))[None]


def true_flow(depth: torch.Tensor, T_previous_camera: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the flow [1, 2, H, W] and the depth in the previous camera [1, H, W]."""
    rays = pixel_rays(INTRINSICS, HEIGHT, WIDTH)
    points = torch.cat((rays, torch.ones_like(rays[:, :1])), dim=1) * depth[:, None]
    moved = (T_previous_camera[:, :3, :3] @ points.flatten(2)).unflatten(2, (HEIGHT, WIDTH))
    moved = moved + T_previous_camera[:, :3, 3, None, None]
    focal = INTRINSICS[:, :2, None, None]
    return (moved[:, :2] / moved[:, 2:] - rays) * focal, moved[:, 2]


def prior(depth: torch.Tensor, depth_sigma: float, weight: float = 1.0) -> Prior:
    """Zero motion with a large standard deviation; depth with a given one."""
    return Prior(
        torch.eye(4)[None],
        torch.tensor([[3.0, 3.0, 3.0, 0.3, 0.3, 0.3]]),
        depth,
        torch.full_like(depth, depth_sigma),
        torch.full_like(depth, weight),
    )


def angle_between(first: torch.Tensor, second: torch.Tensor) -> float:
    turn = first[0, :3, :3].T @ second[0, :3, :3]
    return float((turn - torch.eye(3)).norm() / math.sqrt(2))


MOTION = se3_exp(torch.tensor([[0.12, -0.03, 0.1, 0.02, -0.03, 0.01]]))


def test_bundle_adjustment_finds_the_motion_and_corrects_the_depth():
    depth = hills()
    flow, _ = true_flow(depth, MOTION)
    noise = 0.25 * torch.randn(depth.shape, generator=torch.Generator().manual_seed(0))

    # The flow is exact here.
    solver = BundleAdjustment(steps=8, pixel_sigma=0.3)
    found = solver.solve(prior(depth * noise.exp(), 0.25), flow, INTRINSICS)

    assert angle_between(found.T_previous_camera, MOTION) < 0.3 * angle_between(
        torch.eye(4)[None], MOTION
    )
    shift, true_shift = found.T_previous_camera[0, :3, 3], MOTION[0, :3, 3]
    assert torch.nn.functional.cosine_similarity(shift, true_shift, dim=0) > 0.97
    before = noise[:, 2::4, 2::4].abs().mean()
    after = (found.depth.log_depth - depth.log())[:, 2::4, 2::4].abs().mean()
    assert after < 0.85 * before


def test_a_remembered_depth_gives_the_translation_its_length():
    depth = hills()
    flow, depth_before = true_flow(depth, MOTION)
    memory = DepthMemory(depth_before.log(), torch.full_like(depth, 0.02**2))
    # The prior depth is 40 % too large, with a large standard deviation.
    wrong = prior(1.4 * depth, 0.5)
    solver = BundleAdjustment(steps=8)

    without = solver.solve(wrong, flow, INTRINSICS)
    found = solver.solve(wrong, flow, INTRINSICS, memory)

    length = MOTION[0, :3, 3].norm()
    assert float(without.T_previous_camera[0, :3, 3].norm() / length) > 1.25
    assert float(found.T_previous_camera[0, :3, 3].norm() / length) == pytest.approx(1, abs=0.08)
    assert (found.depth.log_depth - depth.log()).abs().mean() < 0.08
    assert found.depth.variance.mean() < 0.5 * without.depth.variance.mean()


def test_remembered_depth_of_an_object_that_left_is_rejected():
    depth = hills()
    flow, depth_before = true_flow(depth, MOTION)
    remembered = depth_before.log()
    remembered[:, :, :16] -= 1.0  # a near object in a quarter of the image
    memory = DepthMemory(remembered, torch.full_like(depth, 0.05**2))

    found = BundleAdjustment(steps=8).solve(prior(depth, 0.1), flow, INTRINSICS, memory)

    error = (found.depth.log_depth - depth.log()).abs()
    assert error[:, :, :16].mean() < 0.15
    assert (found.T_previous_camera[0, :3, 3] - MOTION[0, :3, 3]).norm() < 0.03


def test_flow_without_weight_leaves_the_prior_unchanged():
    depth = hills()
    flow, _ = true_flow(depth, MOTION)

    found = BundleAdjustment(steps=4).solve(prior(depth, 0.2, weight=0.0), flow, INTRINSICS)

    assert torch.allclose(found.T_previous_camera, torch.eye(4)[None], atol=1e-5)
    assert torch.allclose(found.depth.log_depth, depth.log(), atol=1e-3)


def test_a_remembered_depth_is_warped_and_its_variance_grows():
    log_depth = torch.arange(WIDTH, dtype=torch.float32).expand(1, HEIGHT, WIDTH)
    flow = torch.zeros(1, 2, HEIGHT, WIDTH)
    flow[:, 0] = 3.0

    warped = DepthMemory(log_depth, torch.full_like(log_depth, 0.01)).warped(flow)

    assert torch.allclose(warped.log_depth[..., :-3], log_depth[..., 3:], atol=1e-3)
    assert (warped.variance > 0.01).all()


@pytest.mark.parametrize('shift', [0, 2, 14, 32])
def test_flow_is_found_for_slow_and_fast_rotations(shift):
    wide = texture(0, 96, 192)

    flow = optical_flow(wide[:, 16 : 16 + 128], wide[:, 16 + shift : 16 + shift + 128])

    inner = flow[16:-16, 24:-40]
    assert np.median(np.abs(inner[..., 0] - shift)) < 0.3
    assert np.median(np.abs(inner[..., 1])) < 0.3


def zoomed(picture: np.ndarray, factor: float) -> np.ndarray:
    """The middle 128x96 of an image, enlarged around its centre."""
    height, width = picture.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, factor)
    large = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_CUBIC)
    return large[(height - 96) // 2 :, (width - 128) // 2 :][:96, :128]


def test_fast_motion_is_found_from_the_previous_flow():
    # As on a road: the image grows by half from frame to frame.
    picture = cv2.GaussianBlur(texture(3, 192, 256), (0, 0), 1.0)
    frames = [zoomed(picture, factor) for factor in (1.5, 1.5**2)]
    y, x = np.mgrid[:96, :128].astype(np.float32)
    true = np.stack((63.5 - x, 47.5 - y), axis=-1) * (1 - 1 / 1.5)
    rough = true * 0.9  # of the previous frame
    rim = (slice(8, -8), slice(8, -8))

    def error(flow: np.ndarray) -> float:
        return float(np.linalg.norm(flow - true, axis=-1)[rim].mean())

    from_rest = optical_flow(*frames)
    found = optical_flow(*frames, rough)

    assert error(from_rest) > 2.0
    assert error(found) < 0.5


def test_flow_is_zero_when_a_fast_camera_stops():
    picture = texture(0, 96, 128)
    fast = np.full((96, 128, 2), 20.0, np.float32)

    flow = optical_flow(picture, picture, fast)

    assert np.abs(flow).max() < 0.2


def half_a_pixel_apart() -> tuple[np.ndarray, np.ndarray]:
    """Two views of a wall, 256x192; at half the size they are half a pixel apart."""
    wall = cv2.GaussianBlur(texture(5, 192, 272), (0, 0), 0.7)
    return wall[:, 8 : 8 + 256], wall[:, 9 : 9 + 256]


def reduced(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (128, 96), interpolation=cv2.INTER_AREA)


def test_flow_is_more_accurate_on_larger_images():
    fine = half_a_pixel_apart()
    coarse = [reduced(picture) for picture in fine]
    rim = (slice(8, -8), slice(8, -8), 0)

    rough = optical_flow(*coarse)
    found = optical_flow(*coarse, fine=fine)

    assert found.shape == rough.shape
    assert np.abs(found[rim] - 0.5).mean() < 0.7 * np.abs(rough[rim] - 0.5).mean()


def test_a_fast_rotation_is_found_on_larger_images():
    wide = cv2.GaussianBlur(texture(6, 192, 384), (0, 0), 1.0)
    fine = wide[:, 32 : 32 + 256], wide[:, 72 : 72 + 256]

    flow = checked_flow(*map(reduced, fine), fine=fine)

    inner = flow[16:-16, 24:-40]
    assert np.median(np.abs(inner[..., 0] - 20)) < 0.3
    assert np.median(inner[..., 2]) < 0.3


def test_the_network_measures_flow_on_the_given_larger_image():
    model = tiny_networks.network('small')
    grey = torch.zeros(1, 3, *tiny_networks.SIZE)  # uniform: only the larger image has texture
    wall = torch.from_numpy(texture(7, 64, 112).copy())
    frames = [
        tiny_networks.frame(0, image=grey, fine_gray=wall[None, :, left : left + 96].contiguous())
        for left in (0, 4)
    ]

    _, state = tiny_networks.run(model, frames)

    flow = state.motion.previous_flow[0, 0, 8:-8, 8:-8]
    assert float(flow.median()) == pytest.approx(2.0, abs=0.2)


def test_frames_with_and_without_a_larger_image_can_be_mixed():
    model = tiny_networks.network('small')
    first, second = tiny_networks.frame(1), tiny_networks.frame(2)
    given = dataclasses.replace(second, fine_gray=enlarged(gray_from_image(second.image), 2))

    without, _ = tiny_networks.run(model, [first, second])
    mixed, state = tiny_networks.run(model, [first, given])

    assert tiny_networks.worst_difference(without[1], mixed[1]) == 0
    assert state.motion.previous_fine.shape == (1, 64, 96)


def test_the_stream_remembers_its_flow_until_a_reset():
    model = tiny_networks.network('small')
    _, state = tiny_networks.run(model, [tiny_networks.frame(1), tiny_networks.frame(2)])

    assert state.motion.previous_flow.abs().max() > 0
    start = dataclasses.replace(tiny_networks.frame(3), reset=torch.tensor([True]))
    _, after = tiny_networks.run(model, [start], state)
    assert not after.motion.previous_flow.any()


def test_flow_of_an_occluded_area_has_a_forward_backward_error():
    wide = texture(0, 96, 160)
    previous, frame = wide[:, 16 : 16 + 128], wide[:, 18 : 18 + 128].copy()
    frame[30:70, 40:90] = texture(1, 96, 160)[30:70, 40:90]  # an object appeared

    missed = checked_flow(previous, frame)[..., 2]

    assert np.median(missed[36:64, 46:84]) > 1.0
    assert np.median(missed[16:-16, 100:-8]) < 0.1


def test_the_network_uses_the_remembered_depth():
    model = tiny_networks.network('small')
    frames = [tiny_networks.frame(1), tiny_networks.frame(2)]
    _, state = tiny_networks.run(model, frames[:1])
    near = dataclasses.replace(
        state, motion=dataclasses.replace(state.motion, log_depth=state.motion.log_depth - 1)
    )

    (usual,), _ = tiny_networks.run(model, frames[1:], state)
    (nearer,), _ = tiny_networks.run(model, frames[1:], near)

    assert nearer.two_view.prior.depth.median() < 0.9 * usual.two_view.prior.depth.median()


def test_depth_of_another_segment_has_no_effect():
    model = tiny_networks.network('small')
    fresh = model.initial_state()
    altered = dataclasses.replace(
        fresh, motion=dataclasses.replace(fresh.motion, log_depth=fresh.motion.log_depth - 1)
    )

    (usual,), _ = tiny_networks.run(model, [tiny_networks.frame(1)], fresh)
    (other,), _ = tiny_networks.run(model, [tiny_networks.frame(1)], altered)

    assert torch.equal(usual.T_previous_camera, torch.eye(4)[None])
    assert tiny_networks.worst_difference(usual, other) == 0


def test_values_that_are_not_finite_are_not_remembered():
    model = tiny_networks.network('small')
    fresh = model.initial_state()
    (_,), state = tiny_networks.run(model, [tiny_networks.frame(0)], fresh)
    with torch.no_grad():
        model.predictor.camera_head.last_layer.bias[0] = float('nan')

    (_,), after = tiny_networks.run(model, [tiny_networks.frame(1)], state)

    assert torch.isfinite(after.motion.log_depth).all()
    assert torch.equal(after.tokens, state.tokens)


def test_a_reset_clears_the_depth():
    model = tiny_networks.network('small')
    start = dataclasses.replace(tiny_networks.frame(0), reset=torch.tensor([True]))

    (_,), after = tiny_networks.run(model, [start])

    assert torch.equal(after.motion.log_depth, model.initial_state().motion.log_depth)


def test_an_image_of_another_size_has_no_previous_frame_and_keeps_the_pose():
    model = tiny_networks.network('small')
    other = tiny_networks.image(3, size=(48, 32))
    _, before = tiny_networks.run(model, [tiny_networks.frame(0), tiny_networks.frame(1)])

    (skipped,), same = tiny_networks.run(
        model, [tiny_networks.frame(3, image=other, update=[False])], before
    )
    (found,), after = tiny_networks.run(model, [tiny_networks.frame(3, image=other)], same)

    for prediction in (skipped, found):
        assert torch.equal(prediction.T_previous_camera, torch.eye(4)[None])
    assert torch.allclose(after.motion.T_world_camera, before.motion.T_world_camera)
    assert after.image_size == (32, 48)
    assert bool(after.motion.has_previous)
    assert not bool(same.motion.has_previous)


@pytest.mark.parametrize('size', [(32, 48), (48, 32)])
def test_the_nominal_focal_length_is_the_same_in_both_orientations(size):
    intrinsics, known = complete_intrinsics(None, torch.zeros(1, 3, *size))

    assert intrinsics[0, :2].tolist() == pytest.approx([0.85 * 48] * 2)
    assert intrinsics[0, 2:].tolist() == [(size[1] - 1) / 2, (size[0] - 1) / 2]
    assert not known.any()


def test_one_output_of_the_pose_head_scales_the_depth_of_the_frame():
    model = tiny_networks.network('small')
    before = tiny_networks.run(model, [tiny_networks.frame(0)])[0][0]
    with torch.no_grad():
        model.predictor.pose_head.fc2.bias[-1] += math.log(2)

    after = tiny_networks.run(model, [tiny_networks.frame(0)])[0][0]

    depth, scaled = before.two_view.single_image_depth, after.two_view.single_image_depth
    inside = (depth > 0.1) & (depth < 100)  # depth is clamped outside
    assert torch.allclose(scaled[inside], 2 * depth[inside], rtol=1e-4)
    assert torch.allclose(after.focal_px, before.focal_px)


def test_two_view_settings_need_two_view_geometry():
    fields = ModelConfig.preset('mem3r-512-dpt').to_metadata()

    with pytest.raises(UserError, match=r'global_scale.*motion_input and points: depth'):
        ModelConfig.from_metadata(fields | {'global_scale': True})
    with pytest.raises(UserError, match='motion_input is True and points is'):
        ModelConfig.from_metadata(fields | {'motion_input': True})


@pytest.mark.parametrize('rule', UPDATE_RULES)
def test_recorded_steps_give_the_same_results_bit_by_bit(rule):
    eager = load_model('mem3r-tiny')
    recorded = RecordedStep(load_model('mem3r-tiny'))
    generator = torch.Generator().manual_seed(0)
    wide = torch.rand(1, 3, 96, 140, generator=generator) * 2 - 1
    images = [wide[..., i : i + 128] for i in (0, 2, 3, 7, 4)]
    images += [torch.cat((image, image)) for image in images[:2]]  # another batch size
    images += [image.transpose(-1, -2) for image in images[:2]]  # as many tokens, another grid

    with torch.inference_mode():
        for sequence in (images[:5], images[5:7], images[7:]):
            states = [model.initial_state(len(sequence[0])) for model in (eager, recorded)]
            for image in sequence:
                frame, found = FrameInput(image=image), []
                for index, model in enumerate((eager, recorded)):
                    prediction, states[index] = model.step(frame, states[index], update_rule(rule))
                    found.append((prediction.T_world_camera, prediction.points_camera))
                for one, other in zip(*found, strict=True):
                    assert torch.equal(one, other)
            assert torch.equal(states[0].tokens, states[1].tokens)
            assert torch.equal(states[0].motion.log_depth, states[1].motion.log_depth)
