# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Flow that is searched on the host, from images of the host, while the network has a device."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from mem3r_ros.cli.benchmark import PERIOD_NS, moving_texture, waits_per_frame
from mem3r_ros.evaluation.host_waits import host_waits
from mem3r_ros.model import load_model
from mem3r_ros.model.device_queue import device_queue
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig
from mem3r_ros.tracker.config import InputConfig


@pytest.fixture(scope='module')
def tiny():
    return load_model('mem3r-tiny')


def early(model, config=None):
    tracker = Tracker(model, config)
    tracker.use_helpers()
    return tracker


def frames(num_frames, first=0):
    images = islice(moving_texture(160, 120, first + num_frames), first, None)
    return [CameraFrame(i * PERIOD_NS, image) for i, image in enumerate(images, start=first)]


def states_after(tracker, images):
    found = []
    for frame in images:
        tracker.track(frame)
        found.append({name: value.clone() for name, value in tracker.state.to_dict().items()})
    return found


def waits(tracker, images):
    counts = []
    for frame in images:
        with host_waits(device_queue(torch.device('cpu'))) as places:
            tracker.track(frame)
        counts.append(places.total())
    return counts


def test_state_is_that_of_a_network_that_searches_the_flow_itself(tiny):
    config = TrackerConfig(reset_interval=3)
    found = states_after(early(tiny, config), frames(6))
    for one, other in zip(found, states_after(Tracker(tiny, config), frames(6)), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_steady_frame_asks_the_device_for_nothing_before_the_download(tiny):
    images = frames(5)
    assert waits(early(tiny), images)[2:] == [0, 0, 0]
    assert min(waits(Tracker(tiny), images)[2:]) > 1  # the network reads the images back


def test_state_from_elsewhere_is_read_once(tiny):
    tracker = early(tiny)
    states_after(tracker, frames(3))
    tracker.restore(tracker.snapshot())
    restored, steady = waits(tracker, frames(2, first=3))
    assert restored > steady == 0


def test_frame_that_is_not_remembered_is_not_the_one_before(tiny):
    images = frames(4)
    dark = CameraFrame(images[2].stamp_ns, np.zeros_like(images[2].image_rgb_uint8))
    flows = []
    for make in (early, Tracker):
        tracker = make(tiny)
        states_after(tracker, [*images[:2], dark, images[3]])
        flows.append(tracker.state.motion.previous_flow)
    assert torch.equal(*flows)


def test_network_searches_the_flow_where_the_device_resizes(tiny):
    tracker = early(tiny, TrackerConfig(input=InputConfig(resampling='device')))
    states_after(tracker, frames(2))
    assert float(tracker.state.motion.previous_flow.abs().max()) > 0


def test_the_benchmark_counts_the_waits_of_a_camera_that_moves_on(tiny):
    tracker = Tracker(tiny)
    for frame in frames(2, first=100):
        tracker.track(frame)

    assert waits_per_frame(tracker, 102, (160, 120), set()) == {}
