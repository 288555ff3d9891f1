# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Losses and targets against values computed by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mem3r_ros.model import Prediction
from mem3r_ros.model.frame import TwoViewPrediction
from mem3r_ros.se3 import quaternion_wxyz_from_matrix
from mem3r_ros.training.batch import Batch
from mem3r_ros.training.config import LossConfig
from mem3r_ros.training.losses import chunk_target, loss_terms, total_loss
from mem3r_ros.two_view.bundle_adjustment import Prior
from mem3r_ros.two_view.stream_memory import DepthMemory

EVERYTHING = LossConfig(
    depth_gradient=1.0,
    points_metric=1.0,
    points_normalised=1.0,
    points_world=1.0,
    direction=1.0,
    flow=1.0,
    confidence_alpha=0.2,
)


def sliding_batch() -> Batch:
    """Two frames of a wall 2 m away; the camera moves 0.1 m to the right."""
    poses = torch.eye(4).repeat(2, 1, 1, 1)
    poses[1, 0, 0, 3] = 0.1
    flow = torch.zeros(2, 1, 2, 8, 8)
    flow[1, :, 0] = 10.0 * 0.1 / 2.0  # focal length times baseline over depth
    return Batch(
        image=torch.full((2, 1, 3, 8, 8), 100, dtype=torch.uint8),
        flow=flow,
        depth_m=torch.full((2, 1, 8, 8), 2.0),
        T_world_camera=poses,
        intrinsics=torch.tensor([[10.0, 10.0, 3.5, 3.5]]),
        moving=torch.zeros(2, 1, 8, 8, dtype=torch.bool),
        is_metric=torch.tensor([True]),
    )


def true_predictions(batch: Batch) -> list[Prediction]:
    target = chunk_target(batch, 0, 2)
    found = []
    for frame in range(2):
        pose = target.T_world_camera[frame]
        points = target.rays * target.depth_m[frame][..., None]
        quaternion = quaternion_wxyz_from_matrix(pose[:, :3, :3])
        found.append(
            Prediction(
                points_camera=points,
                points_world=points + pose[:, None, None, :3, 3],
                confidence_camera=torch.ones(1, 8, 8),
                confidence_world=torch.ones(1, 8, 8),
                camera_pose=torch.cat((pose[:, :3, 3], quaternion), dim=-1),
                T_previous_camera=target.T_previous_camera[frame],
                two_view=TwoViewPrediction(
                    prior=Prior(
                        T_previous_camera=target.T_previous_camera[frame],
                        motion_sigma=torch.full((1, 6), 0.01),
                        depth=points[..., 2],
                        depth_sigma=torch.full((1, 8, 8), 0.1),
                        flow_weight=torch.ones(1, 8, 8),
                    ),
                    single_image_depth=points[..., 2],
                    depth=DepthMemory(points[..., 2].log(), torch.full((1, 8, 8), 0.01)),
                    T_world_camera=pose.double(),
                ),
            )
        )
    return found


def with_prior(prediction: Prediction, **fields: torch.Tensor) -> Prediction:
    """Return the prediction with other values before the bundle adjustment."""
    two_view = prediction.two_view
    two_view = two_view._replace(prior=two_view.prior._replace(**fields))
    return dataclasses.replace(prediction, two_view=two_view)


def test_the_ground_truth_has_zero_loss():
    batch = sliding_batch()

    terms = loss_terms(true_predictions(batch), chunk_target(batch, 0, 2), EVERYTHING)

    assert {'log_depth', 'points_metric', 'points_world', 'rotation', 'flow'} <= set(terms)
    for name, value in terms.items():
        assert float(value) == pytest.approx(0, abs=2e-3), name


def test_clips_of_unknown_scale_have_no_metric_loss():
    config = dataclasses.replace(EVERYTHING, spread=1.0, world_pose=1.0)

    def terms(unit: float) -> dict[str, torch.Tensor]:
        true = sliding_batch()
        batch = dataclasses.replace(
            true, depth_m=true.depth_m * unit, is_metric=torch.tensor([False])
        )
        batch.T_world_camera[..., :3, 3] *= unit
        guess = guess_of(sliding_batch(), torch.tensor(1.1), torch.tensor(0.1))
        return loss_terms(guess, chunk_target(batch, 0, 2), config)

    metres, feet = terms(1.0), terms(3.28)

    assert {'spread', 'world_pose', 'log_depth'} <= set(feet)
    for name, value in feet.items():
        assert float(value) == pytest.approx(float(metres[name]), abs=2e-3), name


def test_only_frames_without_an_image_are_rendered():
    batch = dataclasses.replace(sliding_batch(), is_by_rays=(False, True))
    black = [dataclasses.replace(p, rgb=torch.zeros(1, 8, 8, 3)) for p in true_predictions(batch)]
    config = dataclasses.replace(EVERYTHING, rgb=1.0)

    asked = loss_terms(black, chunk_target(batch, 0, 2), config)
    given = loss_terms(black, chunk_target(sliding_batch(), 0, 2), config)

    assert float(asked['rgb']) == pytest.approx((100 / 127.5 - 1) ** 2, rel=1e-4)
    assert 'rgb' not in given


def test_zero_error_sky_does_not_reward_infinite_confidence():
    batch = sliding_batch()
    batch.depth_m[...] = torch.inf

    def loss(confidence: float) -> float:
        predictions = [
            dataclasses.replace(
                with_prior(p, depth=torch.full((1, 8, 8), 100.0)),
                points_camera=torch.full((1, 8, 8, 3), 100.0),
                confidence_camera=torch.full((1, 8, 8), confidence),
            )
            for p in true_predictions(sliding_batch())
        ]
        terms = loss_terms(predictions, chunk_target(batch, 0, 2), LossConfig(confidence_alpha=10))
        return float(terms['confidence'])

    assert loss(1e3) < loss(10.0)
    assert loss(1e6) > loss(1e3)


def guess_of(batch: Batch, depth_factor: torch.Tensor, sigma: torch.Tensor) -> list[Prediction]:
    """Predictions whose depth before the solver is off by a factor; after it, it is true."""
    return [
        with_prior(
            p,
            depth=p.two_view.prior.depth * depth_factor,
            depth_sigma=sigma.expand(1, 8, 8),
        )
        for p in true_predictions(batch)
    ]


def test_the_spread_loss_is_minimal_where_the_spread_equals_the_error():
    batch, config = sliding_batch(), dataclasses.replace(EVERYTHING, spread=1.0)
    # The scale of the whole frame does not count, what differs between pixels does.
    error = torch.full((8, 8), 0.8)
    error[:, :4] += 0.6

    def spread(sigma: float) -> float:
        predictions = guess_of(batch, error.exp(), torch.tensor(sigma))
        return float(loss_terms(predictions, chunk_target(batch, 0, 2), config)['spread'])

    # The mean of a Laplace distribution's absolute value is its spread over the root of two.
    right = 0.3 * math.sqrt(2)
    assert spread(right) < min(spread(0.7 * right), spread(1.4 * right))


def test_a_network_without_spreads_has_no_spread_loss():
    batch, config = sliding_batch(), dataclasses.replace(EVERYTHING, spread=1.0)

    plain = [dataclasses.replace(p, two_view=None) for p in true_predictions(batch)]

    terms = loss_terms(plain, chunk_target(batch, 0, 2), config)

    assert 'spread' not in terms


def test_before_the_solver_depth_is_trained_and_after_it_the_confidence():
    batch = sliding_batch()
    predictions = guess_of(batch, torch.tensor(2.0), torch.tensor(0.3))
    for prediction in predictions:
        prediction.two_view.prior.depth.requires_grad_()
        prediction.confidence_camera.requires_grad_()
        prediction.points_camera.requires_grad_()

    terms = loss_terms(predictions, chunk_target(batch, 0, 2), EVERYTHING)
    terms['log_depth'].backward()

    assert float(terms['log_depth'].detach()) == pytest.approx(math.log(2), rel=1e-4)
    assert predictions[1].two_view.prior.depth.grad.abs().sum() > 0
    assert predictions[1].confidence_camera.grad is None

    terms['confidence'].backward()

    assert predictions[1].confidence_camera.grad.abs().sum() > 0
    assert predictions[1].points_camera.grad is None


def test_depth_from_the_image_alone_is_trained_even_with_little_weight_in_fusion():
    batch = sliding_batch()
    target = chunk_target(batch, 0, 2)
    seen = torch.full((1, 8, 8), 3.0, requires_grad=True)
    predictions = [
        dataclasses.replace(p, two_view=p.two_view._replace(single_image_depth=seen))
        for p in true_predictions(batch)
    ]
    config = LossConfig(depth_seen=1.0)

    terms = loss_terms(predictions, target, config)
    terms['depth_seen'].backward()

    assert float(terms['depth_seen'].detach()) == pytest.approx(math.log(1.5), rel=1e-5)
    assert seen.grad.sum() > 0  # nearer would be better


def test_the_scale_loss_is_the_log_error_of_the_size_of_a_frame():
    batch = sliding_batch()
    uneven = torch.ones(1, 8, 8)
    uneven[..., ::2] = 0.25  # half the pixels at an eighth of the depth of the others
    uneven[..., 1::2] = 4.0
    losses = {}
    for name, factor in (('uneven', uneven), ('double', 2 * torch.ones_like(uneven))):
        predictions = guess_of(batch, factor, torch.ones_like(factor))
        losses[name] = loss_terms(predictions, chunk_target(batch, 0, 2), LossConfig(scale=1.0))
    unknown = dataclasses.replace(batch, is_metric=torch.tensor([False]))
    target = chunk_target(unknown, 0, 2)

    assert float(losses['uneven']['scale']) == pytest.approx(0.0, abs=1e-5)
    assert float(losses['double']['scale']) == pytest.approx(math.log(2), abs=1e-4)
    assert float(loss_terms(predictions, target, LossConfig(scale=1.0))['scale']) == 0.0


def test_pixels_without_depth_affect_neither_loss_nor_gradient():
    batch = sliding_batch()
    batch.depth_m[:, :, :4] = float('nan')
    batch.depth_m[:, :, 4] = float('inf')
    predictions = true_predictions(sliding_batch())
    points = predictions[1].points_camera.clone().requires_grad_()
    predictions[1] = Prediction(points_camera=points, confidence_camera=torch.ones(1, 8, 8))
    predictions[0] = Prediction(
        points_camera=predictions[0].points_camera, confidence_camera=torch.ones(1, 8, 8)
    )

    terms = loss_terms(predictions, chunk_target(batch, 0, 2), EVERYTHING)
    total_loss(terms, EVERYTHING).backward()

    assert torch.isfinite(points.grad).all()
    assert (points.grad[:, :4] == 0).all()


def test_twice_the_depth_costs_a_log_of_two_only_where_scale_counts():
    batch = sliding_batch()
    far = [
        Prediction(points_camera=2 * p.points_camera, confidence_camera=p.confidence_camera)
        for p in true_predictions(batch)
    ]

    terms = loss_terms(far, chunk_target(batch, 0, 2), EVERYTHING)

    assert float(terms['log_depth']) == pytest.approx(math.log(2), rel=1e-4)
    assert float(terms['scale_free_depth']) == pytest.approx(0, abs=1e-5)
    assert float(terms['points_normalised']) == pytest.approx(0, abs=1e-5)


def test_weight_on_the_flow_of_a_moving_object_is_penalised():
    batch = sliding_batch()
    batch.moving[1] = True

    trusting = loss_terms(true_predictions(batch), chunk_target(batch, 0, 2), EVERYTHING)

    assert float(trusting['flow']) > 5
