# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Images per second, memory and error of a network on a GPU, for each way to run it.

    python benchmarks/gpu.py --preset mem3r-512-dpt --size 640x480 --frames 200 --output gpu.json

Run it twice: with ``--preset mem3r-512-dpt`` (the default) and with ``--preset mem3r-tiny``.
Each row goes from the image on the host to pose, depth and confidence on the host: upload,
resizing, step, download. ``waits`` is how often the host waits for the GPU per image. The error is
that of the last frame against the first row, which is float32 without a recording: rotation;
translation over its length; median of the depth error over the depth; state tokens over their
norm. Weights are random where a preset has none: the times do not depend on them. Without a GPU
nothing is measured; ``--device cpu`` runs the same code there, for a test of this program.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import copy
from dataclasses import asdict, dataclass
import json
from pathlib import Path
import statistics
import sys
import time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for plain.py and plain_variants.py
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from plain import machine
from plain_variants import Variant, errors
import torch

from mem3r_ros.cli.benchmark import moving_texture
from mem3r_ros.evaluation.host_waits import host_waits
from mem3r_ros.helper_threads import HelperThreads
from mem3r_ros.model import Mem3R, ModelConfig, build_model, load_model
from mem3r_ros.model.backend import choose_device
from mem3r_ros.model.checkpoints.find import shipped_weights
from mem3r_ros.model.checkpoints.load import half_precision
from mem3r_ros.model.device_queue import device_queue
from mem3r_ros.model.execution import compile_blocks
from mem3r_ros.model.speedups import choose_gpu_dtype
from mem3r_ros.model.static_step import StaticStep
from mem3r_ros.tracker.config import InputConfig
from mem3r_ros.tracker.frame import CameraFrame
from mem3r_ros.tracker.frame_validation import FrameValidation
from mem3r_ros.tracker.host_answer import Download
from mem3r_ros.tracker.image_preparation import Preparation
from mem3r_ros.tracker.network_input import Upload
from mem3r_ros.tracker.pixel_map import normalised
from mem3r_ros.two_view.flow_search import FlowSearch

OUTPUTS = frozenset({'T_world_camera', 'points_camera', 'confidence_camera'})
COLUMNS = (
    'way', 'images/s', 'median ms', '99 % ms', 'waits', 'GiB', 'rotation, deg', 'translation',
    'depth', 'state',
)  # fmt: skip
WARM_UP = 5  # frames: recordings are made, libraries choose their algorithms


@dataclass
class Row:
    """Figures of one way to run the network."""

    name: str
    rate_hz: float
    p50_ms: float
    p99_ms: float
    waits: int  # of the host, in one frame
    memory_gib: float  # largest, of the GPU
    rotation_deg: float
    translation: float
    depth: float
    state: float


def ways(model: Mem3R, with_compile: bool) -> Iterator[tuple[str, Mem3R | StaticStep, str]]:
    """Yield name, network and resampling of each row, one difference each."""
    on_gpu = model.device.type == 'cuda'
    dtype = choose_gpu_dtype(model) if on_gpu else torch.bfloat16
    short = str(dtype).removeprefix('torch.')
    yield 'float32, eager', model, 'exact'
    if model.front_end is not None:
        return
    yield 'float32, graph', StaticStep(model), 'exact'
    half = half_precision(copy.deepcopy(model), dtype)
    yield f'{short}, eager', half, 'exact'
    yield f'{short}, graph', StaticStep(half), 'exact'
    yield f'{short}, graph, resized on the device', StaticStep(half), 'device'
    if with_compile:
        compile_blocks(half)
        yield f'{short}, compiled, graph, resized on the device', StaticStep(half), 'device'


class Pipeline:
    """From the image on the host to pose and depth on the host."""

    def __init__(self, network: Mem3R | StaticStep, resampling: str) -> None:
        """Run a network on its device."""
        self.network = network
        self.queue = device_queue(network.device)
        self._upload, self._download = Upload(self.queue), Download(self.queue)
        self._preparation = Preparation(network.config)
        self._validation = FrameValidation()
        two_view = network.config.two_view
        self._search = (
            None if two_view is None else FlowSearch(two_view.flow_scale, HelperThreads())
        )
        self._input = InputConfig(resampling=resampling)
        self.state: Any = None
        self.prediction: Any = None

    def run(self, index: int, image: np.ndarray) -> None:
        """Process one image."""
        valid = self._validation.check(CameraFrame(index * 33_333_333, image))
        prepared = self._preparation.prepare(valid, self._input)
        frame = self._upload.frame_input(prepared)
        if self.state is None:
            size = frame.image.shape[-1], frame.image.shape[-2]
            self.state = self.network.initial_state(image_size=size)
        flow = None
        if self._search is not None and prepared.small is not None:
            small = normalised(torch.from_numpy(prepared.small))
            flow = self._search.start(small, prepared.fine_gray, self.state.motion)
            frame = self._upload.completed(frame, True, flow.result())
        answer = self.network.step(frame, self.state, None, OUTPUTS)
        self.prediction, self.state = answer
        if flow is not None:
            self._search.remember(self.state.motion, flow)
        self._download.fetch(answer, None, with_points=False)


def measured(name: str, pipeline: Pipeline, images: list[np.ndarray]) -> tuple[Row, Variant]:
    """Run all images; the first ones warm up. Return the figures and the last answer."""
    device, spent_s = pipeline.network.device, []
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    with torch.inference_mode():
        for index, image in enumerate(images):
            start = time.perf_counter()
            pipeline.run(index, image)
            spent_s.append(time.perf_counter() - start)
        spent_s = spent_s[WARM_UP:]
        # Afterwards, because counting takes time.
        answer = Variant(name, pipeline.network, state=pipeline.state.clone())
        answer.prediction = pipeline.prediction
        with host_waits(pipeline.queue) as waits:
            pipeline.run(len(images), images[-1])
    memory = float('nan')
    if device.type == 'cuda':
        memory = torch.cuda.max_memory_allocated(device) / 2**30
    p50_ms, p99_ms = (1e3 * float(np.percentile(spent_s, rank)) for rank in (50, 99))
    rate_hz = 1 / statistics.mean(spent_s)
    return Row(name, rate_hz, p50_ms, p99_ms, waits.total(), memory, 0, 0, 0, 0), answer


def measure(options: argparse.Namespace) -> list[Row]:
    """Measure every way to run the network on the same images."""
    width, height = map(int, options.size.split('x'))
    torch.manual_seed(0)
    if shipped_weights(options.preset) is not None:
        model = load_model(options.preset, device=options.device)
    else:
        model = build_model(ModelConfig.preset(options.preset), options.device)
    model = model.eval().requires_grad_(False)
    images = list(moving_texture(width, height, options.frames + WARM_UP))
    rows, exact = [], None
    for name, network, resampling in ways(model, options.compile):
        row, answer = measured(name, Pipeline(network, resampling), images)
        exact = exact or answer
        row.rotation_deg, row.translation, row.depth, row.state = errors(answer, exact)
        rows.append(row)
        print(line(row), flush=True)
    return rows


def line(row: Row) -> str:
    """Return one row of the table."""
    return (
        f'| {row.name} | {row.rate_hz:.1f} | {row.p50_ms:.1f} | {row.p99_ms:.1f} | {row.waits} '
        f'| {row.memory_gib:.2f} | {row.rotation_deg:.1e} | {row.translation:.1e} '
        f'| {row.depth:.1e} | {row.state:.1e} |'
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--preset', default='mem3r-512-dpt', help='network (mem3r-512-dpt)')
    parser.add_argument('--size', default='640x480', metavar='WxH', help='of images (640x480)')
    parser.add_argument('--frames', type=int, default=200, help='measured images (200)')
    parser.add_argument('--device', default='cuda', help='cuda, cuda:N or cpu (cuda)')
    parser.add_argument('--compile', action='store_true', help='add a row with torch.compile')
    parser.add_argument('--output', type=Path, help='write the figures there as JSON')
    options = parser.parse_args()
    if options.device != 'cpu' and not torch.cuda.is_available():
        print('There is no GPU here, so nothing was measured.')
        return
    options.device = choose_device(options.device)
    torch.backends.cudnn.allow_tf32 = False
    place = machine(torch.get_num_threads())
    if options.device != 'cpu':
        place['GPU'] = torch.cuda.get_device_name(options.device)
    print(f'{options.preset}, images of {options.size}, {options.frames} frames')
    print('; '.join(f'{key}: {value}' for key, value in place.items()) + '\n')
    print(
        '| way | images/s | median ms | 99 % ms | waits | GiB | rotation, deg | translation ',
        end='',
    )
    print('| depth | state |\n|' + '---|' * 10)
    rows = measure(options)
    if options.output:
        result = {'preset': options.preset, 'size': options.size, 'machine': place}
        result |= {'frames': options.frames, 'rows': [asdict(row) for row in rows]}
        options.output.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
