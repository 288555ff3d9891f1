# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Focal length of a camera without calibration, estimated with the window."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
from oracle import OracleNetwork, Scene
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert
from mem3r_ros.odometry import DepthImage, FrameInput, RefinementConfig, SlidingWindow
from mem3r_ros.odometry.focal_length import FocalLength
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig
from mem3r_ros.tracker import tracker as tracker_stages
from mem3r_ros.worlds import WorldConfig, render_clip

WORLD = WorldConfig(world='hall', path='walk', moving_share=0.0, motion_blur_share=0.0)
CONFIG = RefinementConfig()


def rendered(index, config, num_frames):
    clip = render_clip(index, num_frames, (320, 240), config)
    fx, fy, _, _ = (float(value) for value in clip.intrinsics)
    camera = Intrinsics(fx, fy, 159.5, 119.5, 320, 240)
    return Scene(
        clip.image.numpy(), clip.depth_m.numpy(), clip.T_world_camera.double().numpy(), camera
    )


@pytest.fixture(scope='module')
def scene():
    """Return 30 rendered images of a camera that walks and turns."""
    return rendered(0, WORLD, 30)


@pytest.fixture(scope='module')
def room():
    """Return 40 rendered images of a hand-held camera."""
    return rendered(0, replace(WORLD, world='room', path='handheld'), 40)


def run(scene, factor, is_calibrated, config=CONFIG):
    """Track with a focal length that is wrong by a factor; return the window."""
    window, camera = SlidingWindow(), scene.camera
    wrong = Intrinsics(camera.fx * factor, camera.fy * factor, camera.cx, camera.cy, 320, 240)
    for index in range(len(scene)):
        T = None
        if index:
            T = invert(scene.T_world_camera[index - 1]) @ scene.T_world_camera[index]
        depth = DepthImage(scene.depth[index][::4, ::4], wrong.resized(80, 60))
        grey = cv2.cvtColor(scene.images[index], cv2.COLOR_RGB2GRAY)
        frame = FrameInput(index * 66_000_000, grey, wrong, T, depth, is_calibrated=is_calibrated)
        window.process(frame, config)
    return window


@pytest.mark.parametrize('factor', [0.8, 1.0, 1.3])
def test_a_wrong_focal_length_is_found_while_the_camera_turns(scene, factor):
    ratio, spread = run(scene, factor, False).focal.estimate

    error = np.log(ratio * 320 / scene.camera.fx)
    assert abs(error) < 0.08
    assert abs(error) < 3 * spread + 0.02
    assert spread < 0.2


def test_a_right_calibration_is_hardly_changed(room):
    window = run(room, 1.0, True)

    assert window.focal.estimate is None
    assert window.image_camera.fx == pytest.approx(room.camera.fx, rel=0.01)


@pytest.mark.parametrize('factor', [0.9, 1.1])
def test_a_calibration_that_is_wrong_by_a_tenth_is_corrected(room, factor):
    window = run(room, factor, True)

    assert window.image_camera.fx == pytest.approx(room.camera.fx, rel=0.03)
    assert window.focal.factor == pytest.approx(1 / factor, rel=0.03)


def test_an_exact_calibration_is_not_touched(room):
    window = run(room, 1.1, True, RefinementConfig(calibration_sigma=0.0))

    assert window.image_camera.fx == 1.1 * room.camera.fx


def test_a_focal_length_departs_from_its_calibration_by_a_quarter_at_most():
    focal, step = FocalLength(calibrated=0.0, log_departure=0.2), 0.1
    solution = SimpleNamespace(log_focal=step, log_focal_sigma=0.003)

    assert focal.update(solution) == pytest.approx(np.exp(0.05))
    assert focal.factor == pytest.approx(np.exp(0.25))


def test_another_calibration_starts_without_a_departure():
    focal = FocalLength(calibrated=0.0, log_departure=0.1)
    camera = Intrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)

    assert focal.camera(camera, is_calibrated=True) == camera
    assert focal.factor == 1.0


def follow(room):
    """Track with a calibration that is wrong by a tenth; return the tracker and its results."""
    camera, oracle = room.camera.zoomed(1.1), OracleNetwork(room)
    tracker, results = Tracker(oracle), []
    for index, image in enumerate(room.images):
        oracle.now = index
        results.append(tracker.track(CameraFrame((index + 1) * 66_000_000, image, camera)))
    return tracker, results


def test_a_wrong_calibration_is_reported_once(room):
    _, results = follow(room)

    notices = [frame.notice for frame in results if 'calibration' in frame.notice]
    assert len(notices) == 1
    assert 'shorter than the calibration' in notices[0]
    assert results[-1].health.counts['calibration contradicted'] == 1
    assert results[-1].health.focal_departure == pytest.approx(1 / 1.1 - 1, abs=0.03)


def test_a_wrong_calibration_is_counted_beside_another_notice(room, monkeypatch):
    monkeypatch.setattr(tracker_stages, 'observe_scale', lambda *_: 'another notice')

    _, results = follow(room)

    assert results[-1].health.counts['calibration contradicted'] == 1


def test_without_the_window_the_calibration_is_used_as_it_is(room):
    tracker, results = follow(room)
    assert results[-1].health.focal_departure != 0.0

    tracker.configure(TrackerConfig(refinement=RefinementConfig(enabled=False)))
    last = CameraFrame((len(room) + 1) * 66_000_000, room.images[-2], room.camera.zoomed(1.1))

    assert tracker.track(last).health.focal_departure == 0.0
