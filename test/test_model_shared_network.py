# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One network for trackers on several threads: the results of single trackers, in fewer runs."""

from concurrent.futures import ThreadPoolExecutor
import threading

import numpy as np
from oracle import rendered_scene
import pytest
from tiny_networks import network
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.model import FrameInput
from mem3r_ros.model.shared_network import SharedNetwork
from mem3r_ros.tracker import Tracker, TrackerConfig

SIZE = (48, 32)
NUM_CAMERAS = 3


@pytest.fixture(scope='module')
def model():
    return network('small')


class Together:
    """Runs an action for each camera on its own thread; all start at the same time."""

    def __init__(self, number):
        self._barrier = threading.Barrier(number)
        self._threads = ThreadPoolExecutor(number)

    def __call__(self, actions):
        def run(action):
            self._barrier.wait()
            return action()

        return [future.result() for future in [self._threads.submit(run, a) for a in actions]]


def counted(model, monkeypatch):
    """Return the list to which each run of the network adds its batch size."""
    sizes, step = [], model.step

    def count(frame, *rest, **named):
        sizes.append(frame.image.shape[0])
        return step(frame, *rest, **named)

    monkeypatch.setattr(model, 'step', count)
    return sizes


def test_trackers_on_threads_give_the_results_of_single_trackers(model):
    scenes = [rendered_scene(seed, 8, SIZE) for seed in range(NUM_CAMERAS)]
    configs = [TrackerConfig(update_rule=rule) for rule in ('cut3r', 'ttt3r', 'cut3r')]
    shared, together = SharedNetwork(model), Together(NUM_CAMERAS)
    trackers = [Tracker(shared, config) for config in configs]
    singles = [Tracker(model, config) for config in configs]

    for index in range(8):
        frames = [scene.frame(index) for scene in scenes]
        results = together(
            [lambda t=t, f=f: t.track(f) for t, f in zip(trackers, frames, strict=True)]
        )
        for result, single, frame in zip(results, singles, frames, strict=True):
            expected = single.track(frame)
            assert np.allclose(result.T_odom_camera, expected.T_odom_camera, atol=1e-4)
            assert np.allclose(result.depth, expected.depth, rtol=1e-3, atol=1e-3, equal_nan=True)
            assert result.status is expected.status


def test_announced_steps_run_as_one_batch(model, monkeypatch):
    sizes = counted(model, monkeypatch)
    shared, together = SharedNetwork(model), Together(NUM_CAMERAS)
    shared._last_run_s = 30.0  # the longest wait; nobody reaches it
    frame = FrameInput(image=torch.zeros(1, 3, 32, 48))
    all_announced = threading.Barrier(NUM_CAMERAS)

    def step():
        with torch.inference_mode(), shared.announce():
            all_announced.wait()
            return shared.step(frame, shared.initial_state(1))

    together([step] * NUM_CAMERAS)

    assert sizes == [NUM_CAMERAS]


def test_an_announced_step_that_does_not_come_delays_no_other_one_for_ever(model):
    shared = SharedNetwork(model)
    frame = FrameInput(image=torch.zeros(1, 3, 32, 48))
    leaves = threading.Event()

    def announce_only():
        with shared.announce():
            leaves.wait(30.0)

    thread = threading.Thread(target=announce_only)
    thread.start()
    with torch.inference_mode():
        prediction, _ = shared.step(frame, shared.initial_state(1))

    assert prediction.T_world_camera.shape == (1, 4, 4)
    leaves.set()
    thread.join()


def test_a_request_that_fails_does_not_affect_the_others(model, monkeypatch):
    shared, together = SharedNetwork(model), Together(2)
    good = FrameInput(image=torch.zeros(1, 3, 32, 48))
    step = model.step

    def refuse_bright(frame, *rest, **named):
        if frame.image.amax() > 0.5:
            raise UserError('too bright')
        return step(frame, *rest, **named)

    monkeypatch.setattr(model, 'step', refuse_bright)
    shared._last_run_s = 30.0
    all_announced = threading.Barrier(2)

    def answer(frame):
        with torch.inference_mode(), shared.announce():
            all_announced.wait()
            try:
                return shared.step(frame, shared.initial_state(1))
            except UserError as error:
                return error

    bright = FrameInput(image=torch.ones(1, 3, 32, 48))
    first, second = together([lambda: answer(good), lambda: answer(bright)])

    assert torch.isfinite(first[0].T_world_camera).all()
    assert str(second) == 'too bright'
