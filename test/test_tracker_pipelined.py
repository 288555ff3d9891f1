# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A tracker on two threads gives the results of one on one thread, bit for bit."""

from dataclasses import astuple, fields, replace
import time

import numpy as np
from oracle import FRAME_NS, OracleNetwork, rendered_scene
import pytest

from mem3r_ros.model import load_model
from mem3r_ros.places import PlacesConfig
from mem3r_ros.tracker import BadFrame, PipelinedTracker, Tracker, TrackerConfig
from mem3r_ros.tracker.config import ScaleConfig

SIZE = (192, 128)
NUM_FRAMES = 44
DARK, STILL, LATE, UNSURE, OUTSIDE = {12, 13}, {16, 17, 18}, 30, {22, 23}, range(34, 37)
STALE = 26  # a gap before it


class Source:
    """A stream with a boundary every seven frames and one of every trouble."""

    def __init__(self):
        scene = rendered_scene(6, NUM_FRAMES, SIZE)
        images = scene.images.copy()
        images[list(DARK)] = 1
        images[list(STILL)] = images[min(STILL) - 1]
        self.scene = replace(scene, images=images)

    def network(self):
        return OracleNetwork(
            self.scene,
            shrink=2,
            pose_noise=0.003,
            depth_noise=0.02,
            unit=lambda start: 1.0 + 0.05 * start,
            confidence=lambda index: 1.1 if index in UNSURE else 3.0,
            wild=[9],
        )

    def frame(self, index):
        stamp_ns = (index + 1) * FRAME_NS + 8_000_000_000 * (index >= STALE)
        if index == LATE:
            stamp_ns = FRAME_NS
        outside = self.scene.T_odom_camera(index) if index in OUTSIDE else None
        return self.scene.frame(
            index, stamp_ns, wheel_path_m=0.1 * index, T_outside_camera=outside
        )


SOURCE = Source()
CONFIGS = {
    'wheels': TrackerConfig(reset_interval=7, scale=ScaleConfig(source='wheel')),
    'height': TrackerConfig(
        scale=ScaleConfig(source='camera_height'), places=PlacesConfig(enabled=True, wait=True)
    ),
}


def plain(value):
    """Return a value that can be compared; times differ from run to run."""
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), value.tobytes()
    return str(value)


def contents(tracked):
    found = {item.name: plain(getattr(tracked, item.name)) for item in fields(tracked)}
    found['health'] = [plain(value) for value in astuple(replace(tracked.health, stage_ms={}))]
    found['correction'] = None
    return found


def run(config, is_parallel, outputs, between=lambda index, frames: None, delay_s=0.0):
    """Track the whole stream; return results and the state at the end."""
    network = SOURCE.network()
    tracker = Tracker(network, config)
    if delay_s:
        finish = tracker.finish
        tracker.finish = lambda accepted: time.sleep(delay_s) or finish(accepted)
    frames, results = PipelinedTracker(tracker, is_parallel), []
    for index in range(NUM_FRAMES):
        network.now = index
        between(index, frames)
        try:
            results.append(frames.track(SOURCE.frame(index), outputs))
        except BadFrame as error:
            results.append(str(error))
    assert frames.wait()
    found = [one if isinstance(one, str) else contents(one.result()) for one in results]
    snapshot = tracker.snapshot()
    tensors = {name: plain(tensor.numpy()) for name, tensor in snapshot.tensors.items()}
    frames.close()
    return found, snapshot.values, tensors


@pytest.mark.parametrize('outputs', [None, ()], ids=['everything', 'odometry'])
@pytest.mark.parametrize('name', sorted(CONFIGS))
def test_two_threads_give_the_results_of_one(name, outputs):
    expected = run(CONFIGS[name], False, outputs)

    # The second half follows each frame at once, or only when the next frame has been measured.
    for delay_s in (0.0, 0.03):
        found = run(CONFIGS[name], True, outputs, delay_s=delay_s)
        for index, (first, second) in enumerate(zip(expected[0], found[0], strict=True)):
            assert first == second, f'frame {index}'
        assert found[1:] == expected[1:]

    statuses = {one['status'] for one in expected[0] if isinstance(one, dict)}
    assert {'Status.TRACKING', 'Status.DEGRADED'} <= statuses
    assert isinstance(expected[0][LATE], str)
    assert max(int(one['segment']) for one in expected[0] if isinstance(one, dict)) >= 1


def test_flow_on_threads_of_its_own_gives_the_results_of_the_network():
    scene = SOURCE.scene
    model = load_model('mem3r-tiny')

    def tracked(is_parallel):
        tracker, results = Tracker(model), []
        if is_parallel:
            tracker.use_helpers()
        frames = PipelinedTracker(tracker, is_parallel)
        for index in range(9, 21):  # dark at 12 and 13, at rest from 16 to 18, a break at 20
            stamp_ns = (index + 90 * (index == 20)) * FRAME_NS
            results.append(frames.track(scene.frame(index, stamp_ns, remember=index != 10)))
        frames.close()
        return [contents(result.result()) for result in results]

    expected = tracked(False)

    assert tracked(True) == expected
    assert expected[-1]['segment'] == '1'


def test_settings_resets_and_snapshots_between_two_frames_are_in_order(tmp_path):
    slow = TrackerConfig(reset_interval=5)

    def between(index, frames):
        if index in (8, 15, 21, 28, 33):
            assert frames.wait()
        if index == 8:
            frames.tracker.configure(slow)
        if index == 15:
            frames.tracker.request_reset()
        if index == 21:
            frames.tracker.snapshot(tmp_path / 'state')
        if index == 28:
            frames.tracker.reset()
        if index == 33:
            frames.tracker.restore(tmp_path / 'state')

    expected = run(TrackerConfig(), False, (), between)

    assert run(TrackerConfig(), True, (), between, delay_s=0.01) == expected


@pytest.mark.parametrize('is_parallel', [True, False])
def test_actions_run_in_the_order_of_the_frames(is_parallel):
    network = SOURCE.network()
    frames, order = PipelinedTracker(Tracker(network), is_parallel), []
    for index in range(12):
        network.now = index
        result = frames.track(SOURCE.frame(index), ())
        frames.then(lambda index=index, result=result: order.append((index, result.done())))
    frames.wait()
    frames.close()

    assert order == [(index, True) for index in range(12)]


@pytest.mark.parametrize('is_parallel', [True, False])
def test_an_error_of_the_second_half_belongs_to_its_frame(is_parallel):
    network = SOURCE.network()
    tracker = Tracker(network)
    frames, results = PipelinedTracker(tracker, is_parallel), []
    finish = tracker.finish

    def finish_or_fail(accepted):
        if accepted.context.number == 2:
            raise RuntimeError('no memory left')
        return finish(accepted)

    tracker.finish = finish_or_fail
    for index in range(5):
        network.now = index
        results.append(frames.track(SOURCE.frame(index), ()))
    frames.wait()
    frames.close()

    assert [str(result.exception() or '') for result in results] == [
        '',
        '',
        'no memory left',
        '',
        '',
    ]


def test_at_most_two_frames_are_on_their_way():
    network = SOURCE.network()
    tracker = Tracker(network)
    finish, on_their_way, most = tracker.finish, [], []

    def finish_slowly(accepted):
        most.append(len(on_their_way))
        time.sleep(0.02)
        on_their_way.pop()
        return finish(accepted)

    tracker.finish = finish_slowly
    frames = PipelinedTracker(tracker)
    for index in range(10):
        network.now = index
        on_their_way.append(index)
        frames.track(SOURCE.frame(index), ())
    frames.wait()
    frames.close()

    assert max(most) <= 2
