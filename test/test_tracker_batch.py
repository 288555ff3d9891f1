# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Several streams on one network give the results of single trackers."""

from dataclasses import replace

import numpy as np
from oracle import FRAME_NS, OracleNetwork, moving_scene, rendered_scene
import pytest

from mem3r_ros.model import ModelConfig, build_model
from mem3r_ros.tracker import BadFrame, BatchTracker, CameraFrame, Tracker, TrackerConfig

SIZE = (64, 48)
SCENES = [moving_scene(12, SIZE), rendered_scene(1, 12, SIZE), rendered_scene(2, 12, SIZE)]


@pytest.fixture(scope='module')
def model():
    config = replace(ModelConfig.preset('mem3r-tiny'), img_size=SIZE)
    return build_model(config).eval()


def close(batched, single):
    assert np.allclose(batched.T_odom_camera, single.T_odom_camera, atol=1e-4)
    assert batched.status is single.status
    assert batched.segment == single.segment
    assert np.allclose(batched.depth, single.depth, rtol=1e-3, atol=1e-3, equal_nan=True)


def test_synchronised_cameras_give_the_results_of_single_trackers(model):
    configs = [TrackerConfig(reset_interval=n) for n in (0, 4, 5)]
    batch = BatchTracker(model, configs)
    singles = [Tracker(model, config) for config in configs]

    for index in range(12):
        frames = [scene.frame(index) for scene in SCENES]
        for batched, tracker, frame in zip(batch.track(frames), singles, frames):
            close(batched, tracker.track(frame))


def test_the_network_runs_once_per_set_of_frames(monkeypatch, model):
    batch, sizes = BatchTracker(model, [None] * 3), []
    step = model.step

    def counted(frame, *rest, **named):
        sizes.append(frame.image.shape[0])
        return step(frame, *rest, **named)

    monkeypatch.setattr(model, 'step', counted)
    for index in range(3):
        batch.track([scene.frame(index) for scene in SCENES])

    assert sizes == [3, 3, 3]


def test_a_bad_frame_of_one_camera_does_not_affect_the_others(model):
    batch, single = BatchTracker(model, [None, None, None]), Tracker(model)
    for index in range(6):
        frames = [SCENES[0].frame(index), SCENES[1].frame(index), None]
        if index == 3:
            frames[1] = CameraFrame(4 * FRAME_NS, np.zeros((48, 64, 3), np.uint8))
        if index == 4:
            frames[1] = CameraFrame(1, SCENES[1].images[4])
        results = batch.track(frames)

        close(results[0], single.track(frames[0]))
        assert results[2] is None
        if index == 3:
            assert results[1].reason.startswith('dark')
        if index == 4:
            assert isinstance(results[1], BadFrame)


def test_trackers_with_one_network_share_no_other_state():
    oracle = OracleNetwork(SCENES[0])
    first, second = Tracker(oracle), Tracker(oracle)
    for index in range(8):
        oracle.now = index
        first.track(SCENES[0].frame(index))
    oracle.now = 0

    tracked = second.track(SCENES[0].frame(0))

    assert np.allclose(tracked.T_odom_camera, SCENES[0].T_odom_camera(0))
    assert tracked.health.segment_age == 1
