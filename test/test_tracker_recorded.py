# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Recorded sequences through the tracker with the small network, end to end."""

from itertools import islice, pairwise

import numpy as np
import pytest

from mem3r_ros.cli.demo import sample_bag
from mem3r_ros.data import open_sequence
from mem3r_ros.model import ModelConfig, build_model, load_model
from mem3r_ros.tracker import CameraFrame, Status, Tracker, TrackerConfig
from mem3r_ros.tracker.config import DepthConfig, HealthConfig

SEQUENCES = [
    'indoor_redkitchen',
    'indoor_tum_fr2desk_mini',
    'outdoor_kitti_a',
    'bag_kitti_a_mono8_mcap',
    'bag_redkitchen_mcap',
    'bag_redkitchen_sqlite3',
    'bag_tum_fr2desk_mini_rgb8_mcap',
]


@pytest.fixture(scope='module')
def model():
    return build_model(ModelConfig.preset('mem3r-tiny')).eval()


@pytest.mark.parametrize('name', SEQUENCES)
def test_recorded_sequences_run_end_to_end(shared_dir, model, name):
    path = shared_dir / 'data' / name
    if not path.is_dir():
        pytest.skip(f'there is no {name} among the recorded data')
    tracker = Tracker(model, TrackerConfig(depth=DepthConfig(resolution='camera')))

    tracked = [
        tracker.track(CameraFrame(frame.stamp_ns, frame.image, frame.camera))
        for frame in islice(open_sequence(path), 5)
    ]

    # INITIALISING until the window has seen enough motion for its scale.
    assert {t.status for t in tracked[1:]} <= {Status.INITIALISING, Status.TRACKING}
    for t in tracked:
        height, width = t.depth.shape
        assert (t.intrinsics.width, t.intrinsics.height) == (width, height)
        assert np.isfinite(t.depth).any()
        assert np.isfinite(t.T_odom_camera).all()
        assert np.linalg.eigvalsh(t.covariance).min() > -1e-12
        assert len(t.points) == len(t.colours) > 1000


def test_a_recorded_camera_keeps_its_own_calibration(shared_dir, model):
    frame = next(iter(open_sequence(shared_dir / 'data' / 'indoor_tum_fr2desk_mini')))
    assert frame.camera.is_distorted
    tracker = Tracker(model, TrackerConfig(depth=DepthConfig(resolution='camera')))

    tracked = tracker.track(CameraFrame(frame.stamp_ns, frame.image, frame.camera))

    assert np.allclose(tracked.intrinsics.K, frame.camera.K)
    assert not tracked.intrinsics.is_distorted


@pytest.mark.parametrize(
    'kept', [(50, 52, 56, 58, 61, 64, 75, 76, 77), (90, 94, 96, 101, 105, 108, 109)]
)
def test_dropped_images_cause_no_jump(kept):
    frames = [frame for index, frame in enumerate(open_sequence(sample_bag())) if index in kept]
    anything_goes = HealthConfig(max_acceleration=0.0)
    tracker = Tracker(load_model('mem3r-tiny'), TrackerConfig(health=anything_goes))

    tracked = [tracker.track(CameraFrame(f.stamp_ns, f.image, f.camera)) for f in frames]

    for before, after in pairwise(tracked):
        step_m = np.linalg.norm(after.T_odom_camera[:3, 3] - before.T_odom_camera[:3, 3])
        assert step_m < 0.2 + 1e-9 * (after.stamp_ns - before.stamp_ns)  # 1 m/s
