# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Odometry during and after coasting: velocity and covariance."""

import numpy as np
from oracle import FRAME_NS, OracleNetwork, moving_scene, run
import pytest

from mem3r_ros.geometry import se3_exp
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig
from mem3r_ros.tracker.config import ScaleConfig
from mem3r_ros.tracker.odometry import Odometry
from mem3r_ros.tracker.uncertainty import coasting_covariance

METRES = TrackerConfig(scale=ScaleConfig(source='fixed', factor=1.0))
DARK = np.zeros((48, 64, 3), np.uint8)
STEP = se3_exp(np.array([0.03, 0.0, 0.04, 0.0, 0.01, 0.0]))
NOISE = np.eye(6) * 1e-4
COAST_S = 0.5


def driven(num_frames=10):
    """Return odometry of a camera that moves 5 cm every 0.1 s, and its last stamp."""
    odometry = Odometry()
    odometry.start(0)
    for index in range(1, num_frames):
        odometry.advance(STEP, NOISE, 0.0, index * FRAME_NS)
    return odometry, (num_frames - 1) * FRAME_NS


def coasted(odometry, stamp_ns, num_frames):
    for _ in range(num_frames):
        stamp_ns += FRAME_NS
        odometry.coast(stamp_ns, COAST_S)
    return stamp_ns


def test_repeated_dark_periods_do_not_reuse_an_old_velocity():
    scene = moving_scene()
    oracle = OracleNetwork(scene)
    tracker = Tracker(oracle, METRES)
    run(tracker, oracle, range(20))
    stamp = 20 * FRAME_NS
    positions = []
    for _ in range(5):
        for picture in [DARK] * 15 + [scene.images[20]]:  # dark, then the same visible image
            stamp += FRAME_NS
            oracle.now = 20
            tracked = tracker.track(CameraFrame(stamp, picture, scene.camera))
        positions.append(tracked.T_odom_camera[:3, 3])

    assert np.ptp(positions, axis=0).max() < 1e-9
    assert (tracked.twist == 0).all()


def test_after_a_long_gap_no_old_velocity_is_published():
    scene = moving_scene()
    oracle = OracleNetwork(scene)
    tracker = Tracker(oracle, METRES)
    run(tracker, oracle, range(10))
    oracle.now = 30

    after = tracker.track(scene.frame(30, 10 * FRAME_NS + 60 * 10**9))

    assert (after.twist == 0).all()
    assert np.diag(after.twist_covariance).min() > 1.0


def test_the_twist_is_unknown_at_the_first_frame_and_known_at_rest():
    odometry = Odometry()
    odometry.start(0)
    unknown = np.diag(odometry.published().twist_covariance).copy()

    odometry.hold(FRAME_NS)

    assert unknown.min() > 1.0
    assert np.diag(odometry.published().twist_covariance).max() == pytest.approx(1e-4)


def test_the_last_velocity_is_published_only_while_coasting():
    odometry, stamp = driven()
    moving = odometry.published().twist

    stamp = coasted(odometry, stamp, 5)
    assert (odometry.published().twist == moving).all()
    coasted(odometry, stamp, 1)

    assert (odometry.published().twist == 0).all()
    assert np.diag(odometry.published().twist_covariance).min() > 1.0


def test_the_twist_after_coasting_has_a_large_covariance():
    odometry, stamp = driven()
    stamp = coasted(odometry, stamp, 3)

    odometry.advance(STEP @ STEP @ STEP @ STEP, NOISE, 0.0, stamp + FRAME_NS)

    assert np.diag(odometry.published().twist_covariance).min() > 0.05


def test_the_covariance_of_coasting_ends_with_the_next_measurement():
    odometry, stamp = driven()
    through, _ = driven()
    bridge = STEP @ STEP @ STEP @ STEP
    through.advance(bridge, NOISE, 0.0, stamp + 4 * FRAME_NS)
    stamp = coasted(odometry, stamp, 3)
    blind = np.diag(odometry.published().covariance).copy()

    odometry.advance(bridge, NOISE, 0.0, stamp + FRAME_NS)
    after = np.diag(odometry.published().covariance)

    assert (blind[:3] > 2 * after[:3]).all()
    # The remaining part is the correction to the measured path, which is small here.
    assert np.allclose(after, np.diag(through.published().covariance), rtol=0.01, atol=1e-5)


def test_the_covariance_of_coasting_ends_when_the_camera_is_at_rest():
    odometry, stamp = driven()
    before = odometry.published().covariance
    stamp = coasted(odometry, stamp, 3)
    left_m = np.linalg.norm(odometry.T_odom_camera[:3, 3] - odometry.T_odom_measured[:3, 3])

    odometry.hold(stamp + FRAME_NS)

    added = np.trace((odometry.published().covariance - before)[:3, :3])
    assert added == pytest.approx(left_m**2, rel=0.05)


def test_a_start_after_coasting_keeps_the_covariance():
    odometry, stamp = driven()
    stamp = coasted(odometry, stamp, 10)
    blind = odometry.published().covariance

    odometry.start(stamp)

    assert np.allclose(odometry.published().covariance, blind)
    assert np.trace(blind) > np.trace(coasting_covariance(0.0, 0.0, 0.0, 1.0))
    odometry.advance(STEP, NOISE, 0.0, stamp + FRAME_NS)
    assert np.trace(odometry.published().covariance) > np.trace(blind)
