# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Several cameras at once: one network for all of them beside a network for each.

    python benchmarks/cameras.py --cameras 1,2,4 --frames 30

Each camera has a tracker on a thread of its own, as in the node, without the sliding window. The
images of all cameras come at the same time, the next ones when the last ones are done. A row gives
the images per second of all cameras together, the mean number of images in one run of the network,
and the memory of the weights. The arms run in turn within each round; a row is the median over the
rounds.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
import statistics
from threading import Barrier
import time
from typing import Any

from mem3r_ros.cli.benchmark import PERIOD_NS, moving_texture
from mem3r_ros.config import replace_path
from mem3r_ros.model.backend import BackendConfig, load_backend
from mem3r_ros.model.shared_network import SharedNetwork
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig

_SIZE = (320, 240)


def images_per_second(models: list[Any], images: list[Any], config: TrackerConfig) -> float:
    """
    Track the same images with each camera.

    :param models: network of each camera.
    :param images: RGB images.
    :param config: settings of the trackers.
    """
    trackers = [Tracker(model, config) for model in models]
    all_done = Barrier(len(trackers))

    def drive(tracker: Tracker) -> None:
        for index, image in enumerate(images):
            all_done.wait()
            with getattr(tracker.model, 'announce', nullcontext)():
                tracker.track(CameraFrame(index * PERIOD_NS, image))

    start = time.perf_counter()
    with ThreadPoolExecutor(len(trackers)) as threads:
        list(threads.map(drive, trackers))
    return len(trackers) * len(images) / (time.perf_counter() - start)


def counting(network: Any, sizes: list[int]) -> Any:
    """Let a network add the batch size of each step to a list."""
    step = network.step

    def counted(frame: Any, *rest: Any, **named: Any) -> Any:
        sizes.append(frame.image.shape[0])
        return step(frame, *rest, **named)

    network.step = counted
    return network


def weights_mib(models: list[Any]) -> float:
    """Return the memory of all different weights."""
    weights = {id(w): w.numel() * w.element_size() for m in models for w in m.parameters()}
    return sum(weights.values()) / 2**20


def main() -> None:
    """Print a row for each number of cameras and each arm."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--cameras', default='1,2,4', help='numbers of cameras')
    parser.add_argument('--frames', type=int, default=30, help='images of each camera')
    parser.add_argument('--rounds', type=int, default=3, help='each row is the median of them')
    parser.add_argument('--model', default=BackendConfig().model, help='preset or file')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    given = parser.parse_args()
    backend = BackendConfig(model=given.model, device=given.device)
    config = replace_path(TrackerConfig(), 'refinement.enabled', False)
    images = list(moving_texture(*_SIZE, given.frames))
    print('| cameras | network | images per second | images per run | weights, MiB |')
    print('| --- | --- | --- | --- | --- |')
    for number in map(int, given.cameras.split(',')):
        sizes: list[int] = []
        shared = SharedNetwork(counting(load_backend(backend)[0], sizes))
        arms = {
            'one for all': [shared] * number,
            'one for each': [load_backend(backend)[0] for _ in range(number)],
        }
        rates: dict[str, list[float]] = {arm: [] for arm in arms}
        for _ in range(given.rounds):
            for arm, models in arms.items():
                rates[arm].append(images_per_second(models, images, config))
        for arm, models in arms.items():
            batch = statistics.mean(sizes) if arm == 'one for all' else 1.0
            rate = statistics.median(rates[arm])
            print(f'| {number} | {arm} | {rate:.1f} | {batch:.1f} | {weights_mib(models):.0f} |')


if __name__ == '__main__':
    main()
