# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Epipolar geometry on scenes known in closed form."""

from __future__ import annotations

from dataclasses import replace
import math

import pytest
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.model.config import TwoViewConfig
from mem3r_ros.se3 import se3_exp
from mem3r_ros.two_view.epipolar import fit_epipolar
from mem3r_ros.two_view.observation import EPIPOLAR_CHANNELS, observe, with_epipolar
from mem3r_ros.two_view.pixels import pixel_rays
from mem3r_ros.two_view.stream_memory import MotionState

HEIGHT, WIDTH = 96, 128
INTRINSICS = torch.tensor([[110.0, 110.0, 63.5, 47.5]])
SIDEWAYS = (0.12, -0.03, 0.02, 0.02, -0.03, 0.01)
FORWARD = (0.01, 0.01, 0.30, 0.0, 0.02, 0.0)
BACKWARD = (0.01, 0.01, -0.30, 0.0, 0.02, 0.0)
FAST_TURN = (0.10, 0.0, 0.05, 0.05, 0.17, 0.03)


def blocks() -> torch.Tensor:
    """Depth of a surface in steps of 1.5 to 4.5 m, [1, H, W]."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing='ij')
    return (3.0 + 1.5 * torch.sin(0.9 * (x // 16) + 1.7 * (y // 16)))[None]


def hills() -> torch.Tensor:
    """Depth of a smooth surface 1.2 to 2.8 m away, [1, H, W]."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing='ij')
    return (2.0 + 0.4 * torch.sin(x / 20.0) + 0.4 * torch.cos(y / 15.0))[None]


def scene(
    twist: tuple, noise_px: float = 0.0, seed: int = 0, depth: torch.Tensor | None = None
) -> tuple[torch.Tensor, ...]:
    """Return motion [1, 4, 4], depth [1, H, W] and flow to the previous frame [1, 2, H, W]."""
    motion, depth = se3_exp(torch.tensor([twist])), blocks() if depth is None else depth
    rays = pixel_rays(INTRINSICS, HEIGHT, WIDTH)
    points = torch.cat((rays, torch.ones_like(rays[:, :1])), dim=1) * depth[:, None]
    moved = torch.einsum('bij,bjhw->bihw', motion[:, :3, :3], points)
    moved = moved + motion[:, :3, 3, None, None]
    flow = (moved[:, :2] / moved[:, 2:] - rays) * INTRINSICS[:, :2, None, None]
    generator = torch.Generator().manual_seed(seed)
    return motion, depth, flow + noise_px * torch.randn(flow.shape, generator=generator)


def rotation_error_deg(rotation: torch.Tensor, motion: torch.Tensor) -> float:
    difference = rotation[0].T @ motion[0, :3, :3] - torch.eye(3)
    return math.degrees(float(difference.norm() / math.sqrt(2)))


def direction_error_deg(direction: torch.Tensor, motion: torch.Tensor) -> float:
    true = torch.nn.functional.normalize(motion[0, :3, 3], dim=0)
    return math.degrees(math.acos(min(1.0, float(direction[0] @ true))))


@pytest.mark.parametrize('twist', [SIDEWAYS, FORWARD, BACKWARD, FAST_TURN])
def test_rotation_and_direction_are_found_without_depth(twist):
    motion, _, flow = scene(twist, noise_px=0.2)

    fit = fit_epipolar(flow, INTRINSICS)

    assert rotation_error_deg(fit.rotation, motion) < 0.2
    assert direction_error_deg(fit.direction, motion) < 4.0


def test_a_direction_that_puts_the_scene_behind_the_camera_is_rejected():
    # On a smooth surface the epipolar lines alone confuse this motion with another one.
    motion, _, flow = scene(
        (0.0246, -0.017, -0.0015, -0.0089, 0.0064, -0.0064), 0.3, seed=7, depth=hills()
    )

    fit = fit_epipolar(flow, INTRINSICS)

    assert direction_error_deg(fit.direction, motion) < 45.0


def test_the_sign_of_a_translation_below_half_a_pixel_is_found():
    motion, _, flow = scene((-0.0041, -0.0057, -0.0039, 0.0029, 0.0338, -0.0211), 0.05, seed=26)

    fit = fit_epipolar(flow, INTRINSICS)

    assert direction_error_deg(fit.direction, motion) < 45.0


def test_a_moving_object_is_off_its_epipolar_lines_and_does_not_change_the_rotation():
    motion, _, flow = scene(SIDEWAYS, noise_px=0.1)
    flow[:, 1, 30:70, 20:60] += 3.0  # an object, 13 % of the image, moves down

    fit = fit_epipolar(flow, INTRINSICS)

    assert rotation_error_deg(fit.rotation, motion) < 0.3
    assert fit.line_distance[0, 30:70, 20:60].median() > 2.0
    assert fit.line_distance.median() < 0.3


def test_flow_with_a_forward_backward_error_gets_no_weight():
    motion, depth, flow = scene(SIDEWAYS, noise_px=0.1)
    flow_error = torch.zeros(1, HEIGHT, WIDTH)
    flow[..., :70] = torch.tensor([9.0, -6.0])[
        :, None, None
    ]  # wrong in more than half of the image
    flow_error[..., :70] = 4.0

    fit = fit_epipolar(flow, INTRINSICS, flow_error)

    assert rotation_error_deg(fit.rotation, motion) < 0.3
    assert (fit.triangulated(fit.translation_length(depth)).variance[..., :70].sqrt() > 0.2).all()


@pytest.mark.parametrize('twist', [SIDEWAYS, FORWARD])
def test_the_length_of_the_translation_turns_parallax_into_depth(twist):
    motion, depth, flow = scene(twist, noise_px=0.1)

    fit = fit_epipolar(flow, INTRINSICS)
    length = fit.translation_length(depth)
    found = fit.triangulated(length)

    assert float(length) == pytest.approx(float(motion[0, :3, 3].norm()), rel=0.05)
    assert torch.allclose(fit.pose(length), motion, atol=0.02)
    sure = found.variance.sqrt() < 0.15
    assert sure.float().mean() > 0.5
    assert (found.log_depth - depth.log())[sure].abs().median() < 0.08


def test_variance_is_larger_with_little_parallax():
    _, _, flow = scene(FORWARD)

    found = fit_epipolar(flow, INTRINSICS).triangulated(torch.tensor([0.3]))

    middle, border = found.variance[0, 40:56, 56:72].mean(), found.variance[0, :, :16].mean()
    assert middle > 4 * border


def test_a_rotating_camera_has_no_translation():
    motion, depth, flow = scene((0.0, 0.0, 0.0, 0.02, 0.08, 0.0), noise_px=0.2)

    fit = fit_epipolar(flow, INTRINSICS)

    assert rotation_error_deg(fit.rotation, motion) < 0.15
    assert float(fit.translation_length(depth)) < 0.003
    assert (fit.triangulated(fit.translation_length(depth)).variance.sqrt() > 0.3).all()


@pytest.mark.parametrize('size', [(16, 16), (96, 128)])
def test_zero_flow_and_small_images_give_finite_results(size):
    flow = torch.zeros(2, 2, *size)

    fit = fit_epipolar(flow, INTRINSICS.expand(2, -1))

    assert torch.allclose(fit.rotation, torch.eye(3).expand(2, -1, -1), atol=1e-5)
    length = fit.translation_length(torch.ones(2, *size))
    for value in (*fit, length, *fit.triangulated(length), fit.pose(length)):
        assert value.isfinite().all()


def test_streams_of_a_batch_are_independent():
    flows = [
        scene(twist, noise_px=0.2, seed=seed)[2] for seed, twist in ((0, SIDEWAYS), (1, FORWARD))
    ]

    both = fit_epipolar(torch.cat(flows), INTRINSICS.expand(2, -1))

    for index, flow in enumerate(flows):
        alone = fit_epipolar(flow, INTRINSICS)
        assert torch.allclose(both.rotation[index], alone.rotation[0], atol=1e-4)
        assert torch.allclose(both.direction[index], alone.direction[0], atol=1e-3)


def seen(flow: torch.Tensor, has_previous: bool = True):
    memory = MotionState.empty(1, (HEIGHT, WIDTH), torch.device('cpu'))
    memory = replace(memory, has_previous=torch.tensor([has_previous]))
    return observe(torch.zeros(1, 3, HEIGHT, WIDTH), memory, flow, INTRINSICS)


def test_autocast_does_not_change_the_fit():
    _, _, flow = scene(SIDEWAYS, noise_px=0.2)
    exact = with_epipolar(seen(flow)).epipolar

    with torch.autocast('cpu', torch.bfloat16):
        found = with_epipolar(seen(flow)).epipolar

    assert torch.equal(found.rotation, exact.rotation)


def test_the_first_frame_has_neutral_channels():
    motion = with_epipolar(seen(torch.zeros(1, 2, HEIGHT, WIDTH), has_previous=False))

    depth, spread, line_distance = motion.channels[0, -EPIPOLAR_CHANNELS:]
    assert not depth.any()
    assert (spread == 1).all()
    assert not line_distance.any()


def test_epipolar_input_needs_the_depth_memory():
    with pytest.raises(UserError, match='depth_memory'):
        TwoViewConfig(epipolar_input=True)
