# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""After a break the camera is found among the landmarks of the window, and the scale goes on."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
from oracle import FRAME_NS, OracleNetwork, Scene, rendered_scene
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, rotation_angle
from mem3r_ros.odometry import DepthImage, FrameInput, RefinementConfig, SlidingWindow
import mem3r_ros.odometry.window as window_module
from mem3r_ros.tracker import CameraFrame, Tracker
from mem3r_ros.tracker.decision import Decision
from mem3r_ros.tracker.image_quality import Flaw
from mem3r_ros.tracker.measurement import is_near
from mem3r_ros.tracker.odometry import Odometry
from mem3r_ros.worlds import WorldConfig, render_clip

WORLD = WorldConfig(world='room', path='handheld', moving_share=0.0, motion_blur_share=0.0)
CONFIG = RefinementConfig()
LAST, AGAIN, NUM_FRAMES = 11, 16, 28  # images before and after a break, and all
NEW_UNIT = 1.5  # of the network after the break, which begins with an empty memory


@pytest.fixture(scope='module')
def scene():
    """Return images of a hand-held camera in a room, 2 cm and 0.6 degrees a frame."""
    clip = render_clip(2, NUM_FRAMES, (320, 240), WORLD)
    camera = Intrinsics(*(float(value) for value in clip.intrinsics), 320, 240)
    return Scene(
        clip.image.numpy(), clip.depth_m.numpy(), clip.T_world_camera.double().numpy(), camera
    )


def given(scene, index, unit=1.0, is_after_break=False):
    """Return what a network with this unit gives the window."""
    T = None
    if index and not is_after_break:
        T = invert(scene.T_world_camera[index - 1]) @ scene.T_world_camera[index]
        T[:3, 3] *= unit
    depth = (unit * scene.depth[index])[::4, ::4].astype(np.float32)
    return FrameInput(
        stamp_ns=index * FRAME_NS,
        grey=cv2.cvtColor(scene.images[index], cv2.COLOR_RGB2GRAY),
        camera=scene.camera,
        T_previous_camera=T,
        depth=DepthImage(depth, scene.camera.resized(80, 60)),
    )


def started(scene):
    window = SlidingWindow()
    for index in range(LAST + 1):
        window.process(given(scene, index), CONFIG)
    return window


def length_ratio(estimates, scene, first):
    """Return the length of steps over the true one."""
    found = sum(np.linalg.norm(e.T_previous_camera[:3, 3]) for e in estimates)
    return found / sum(np.linalg.norm(true_motion(scene, i - 1, i)[:3, 3]) for i in later(first))


def true_motion(scene, before, index):
    return invert(scene.T_world_camera[before]) @ scene.T_world_camera[index]


def later(first):
    return range(first, NUM_FRAMES)


@pytest.fixture(scope='module')
def unbroken(scene):
    """Return a window without a break, and the length of its path over the true one."""
    window = started(scene)
    estimates = [window.process(given(scene, i), CONFIG) for i in later(LAST + 1)]
    return window, length_ratio(estimates, scene, LAST + 1)


@pytest.fixture(scope='module')
def usual(unbroken):
    """Return the length of the path over the true one without a break."""
    return unbroken[1]


def test_the_motion_over_a_break_is_measured_and_the_scale_goes_on(scene, unbroken, usual):
    window = started(scene)

    over = window.process(given(scene, AGAIN, NEW_UNIT, is_after_break=True), CONFIG)

    true = true_motion(scene, LAST, AGAIN)
    true[:3, 3] *= usual
    wrong = invert(true) @ over.T_previous_camera
    assert np.linalg.norm(wrong[:3, 3]) < 0.05 * np.linalg.norm(true[:3, 3])
    assert rotation_angle(wrong[:3, :3]) < np.radians(0.3)
    assert over.covariance is not None
    after = [window.process(given(scene, i, NEW_UNIT), CONFIG) for i in later(AGAIN + 1)]
    assert length_ratio(after, scene, AGAIN + 1) == pytest.approx(usual, rel=0.05)
    assert window.depth_scale == pytest.approx(unbroken[0].depth_scale / NEW_UNIT, rel=0.05)


def test_without_enough_landmarks_a_new_window_begins_there_in_the_old_scale(
    scene, usual, monkeypatch
):
    window = started(scene)
    monkeypatch.setattr(window_module, '_LEAST_FOUND', 10_000)

    over = window.process(given(scene, AGAIN, NEW_UNIT, is_after_break=True), CONFIG)

    wrong = invert(true_motion(scene, LAST, AGAIN)) @ over.T_previous_camera
    assert np.linalg.norm(wrong[:3, 3]) < 0.03
    assert 'features' in over.reason
    after = [window.process(given(scene, i, NEW_UNIT), CONFIG) for i in later(AGAIN + 1)]
    assert length_ratio(after, scene, AGAIN + 1) == pytest.approx(usual, rel=0.15)


@pytest.mark.parametrize('image', ['noise', 'blank', 'another scene'])
def test_an_image_that_shares_nothing_begins_a_new_window(scene, image):
    window, frame = started(scene), given(scene, AGAIN, is_after_break=True)
    grey = {
        'noise': np.random.default_rng(0).integers(0, 255, frame.grey.shape, np.uint8),
        'blank': np.full_like(frame.grey, 120),
        'another scene': cv2.cvtColor(
            rendered_scene(9, 2, (320, 240)).images[1], cv2.COLOR_RGB2GRAY
        ),
    }[image]

    assert window.process(replace(frame, grey=grey), CONFIG) is None
    assert len(window.keyframes) == 1


def test_a_camera_that_may_be_elsewhere_is_not_searched_among_the_landmarks(scene):
    window, frame = started(scene), given(scene, AGAIN, is_after_break=True)

    assert window.process(replace(frame, is_near=False), CONFIG) is None
    assert len(window.keyframes) == 1


def test_odometry_goes_on_over_missing_images_as_if_they_were_there(scene):
    def error_m(gap_ns, indices):
        oracle = OracleNetwork(scene, shrink=2)
        tracker = Tracker(oracle)
        for index in indices:
            oracle.now = index
            stamp_ns = index * FRAME_NS + (gap_ns if index >= AGAIN else 0)
            tracked = tracker.track(CameraFrame(stamp_ns, scene.images[index], scene.camera))
            reasons.append(tracked.reason)
        true = scene.T_odom_camera(NUM_FRAMES - 1)
        return float(np.linalg.norm(tracked.T_odom_camera[:3, 3] - true[:3, 3]))

    reasons = []
    without = error_m(0, range(NUM_FRAMES))
    assert not any('stale' in reason for reason in reasons)

    error = error_m(3_000_000_000, [*range(LAST + 1), *later(AGAIN)])

    stale = next(reason for reason in reasons if reason.startswith('stale'))
    assert stale.endswith('the motion over the break is measured')
    assert error < without + 0.02


@pytest.mark.parametrize(
    'gap_s, decided, is_searched',
    [
        (3.0, {}, True),
        (12.0, {}, False),
        (3.0, {'is_after_restore': True}, False),
        (3.0, {'gives_up_scale': True}, False),
    ],
)
def test_a_camera_is_searched_after_short_breaks_in_a_scale_that_is_kept(
    gap_s, decided, is_searched
):
    odometry = Odometry()
    odometry.start(1_000_000_000)
    decision = Decision(Flaw(), False, True, 'stale input', **decided)
    context = SimpleNamespace(stamp_ns=1_000_000_000 + int(1e9 * gap_s), decision=decision)

    assert is_near(context, SimpleNamespace(odometry=odometry)) is is_searched
