# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Fused depth of the tracker: finer than the network's, in step with the path, and optional."""

from functools import lru_cache

import cv2
from layered_scene import LayeredScene, sideways
import numpy as np
from oracle import FRAME_NS, OracleNetwork, Scene, run
import pytest

from mem3r_ros.odometry.fusion_config import DepthFusionConfig
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig
from mem3r_ros.tracker.config import DepthConfig

NUM_FRAMES = 12


@lru_cache(maxsize=1)
def scene():
    """Return a clip of a plate before a wall, whose depth the oracle sees through fog."""
    layers, poses = LayeredScene(), sideways(NUM_FRAMES)
    views = [layers.view(T) for T in poses]
    images = np.stack([np.repeat(grey[..., None], 3, axis=2) for grey, _ in views])
    return Scene(images, np.stack([depth for _, depth in views]), poses, layers.camera)


class FoggyOracle(OracleNetwork):
    """Knows the motion exactly and the depth without its edges."""

    def _answer(self, start, is_poisoned):
        pose, depth, confidence = super()._answer(start, is_poisoned)
        return pose, cv2.GaussianBlur(depth, (0, 0), 5), confidence


def tracker(**depth):
    oracle = FoggyOracle(scene(), shrink=5)
    return Tracker(oracle, TrackerConfig(depth=DepthConfig(**depth))), oracle


def without_fusion():
    return DepthFusionConfig(enabled=False)


def abs_rel(depth, truth):
    return float((np.abs(depth - truth) / truth).mean())


def test_fused_depth_has_the_size_of_the_image_and_is_nearer_to_the_truth():
    fused = run(*tracker(), range(NUM_FRAMES))[-1]
    network = run(*tracker(fusion=without_fusion(), resolution='camera'), range(NUM_FRAMES))[-1]
    truth = scene().depth[-1]

    assert fused.depth.shape == fused.confidence.shape == truth.shape
    assert fused.intrinsics == scene().camera
    assert abs_rel(fused.depth, truth) < 0.6 * abs_rel(network.depth, truth)
    assert (fused.confidence > 1).all()


def test_without_fusion_depth_is_that_of_the_network():
    tracked = run(*tracker(fusion=without_fusion()), range(3))[-1]

    assert tracked.depth.shape == (48, 64)
    assert (tracked.intrinsics.width, tracked.intrinsics.height) == (64, 48)


@pytest.mark.parametrize(('resolution', 'size'), [('network', (64, 48)), ('camera', (320, 240))])
def test_fused_depth_is_given_at_the_asked_resolution(resolution, size):
    tracked = run(*tracker(resolution=resolution), range(3))[-1]

    assert tracked.depth.shape == tracked.confidence.shape == size[::-1]
    assert (tracked.intrinsics.width, tracked.intrinsics.height) == size
    assert tracked.intrinsics.fx == pytest.approx(scene().camera.fx * size[0] / 320)


def test_fusion_costs_nothing_where_no_depth_is_asked_for():
    stream, oracle = tracker()

    tracked = run(stream, oracle, range(3), outputs=())[-1]

    assert 'depth' not in tracked.health.stage_ms
    assert len(stream.snapshot().tensors['depth_fusion.images']) == 0


def test_depth_asked_for_now_and_then_is_fused_too():
    stream, oracle = tracker()
    for index in range(NUM_FRAMES):
        outputs = None if index % 2 or index == NUM_FRAMES - 1 else ()
        tracked = run(stream, oracle, [index], outputs=outputs)[-1]
    truth = scene().depth[-1]
    fog = cv2.GaussianBlur(truth, (0, 0), 20)
    scale = np.median(truth / tracked.depth)

    assert scale == pytest.approx(1.0, abs=0.08)
    assert abs_rel(scale * tracked.depth, truth) < 0.5 * abs_rel(fog, truth)


def test_a_restored_stream_goes_on_with_its_fused_depth():
    stream, oracle = tracker()
    run(stream, oracle, range(6))
    snapshot = stream.snapshot()
    expected = run(stream, oracle, [6])[-1]
    restored, oracle = tracker()
    restored.restore(snapshot)

    found = run(restored, oracle, [6])[-1]

    np.testing.assert_array_equal(found.depth, expected.depth)
    np.testing.assert_array_equal(found.confidence, expected.confidence)


def test_masked_pixels_have_no_depth():
    stream, oracle = tracker()
    mask = np.zeros((240, 320), np.uint8)
    mask[:, :120] = 255
    for index in range(4):
        oracle.now = index
        frame = CameraFrame((index + 1) * FRAME_NS, scene().images[index], scene().camera, mask)
        tracked = stream.track(frame)

    assert np.isnan(tracked.depth[:, :110]).all()
    assert np.isfinite(tracked.depth[:, 130:]).all()


def test_far_and_unsure_depth_follows_rep_117():
    tracked = run(*tracker(max_range_m=3.0), range(6))[-1]
    is_far = scene().depth[5] > 3.5

    assert np.isposinf(tracked.depth[is_far]).mean() > 0.9
    unsure = run(*tracker(min_confidence=1e5), range(3))[-1]
    assert np.isnan(unsure.depth).all()
