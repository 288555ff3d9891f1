# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Time of one step of the network by update rule, output and dtype.

    python benchmarks/step.py --preset mem3r-tiny --size 128x96
    python benchmarks/step.py --preset cut3r-512-dpt --size 224x224 --frames 3

All variants take turns within each round, so other programs affect them equally. Ratios are
medians over the rounds, relative to the first line. Weights are random: the time does not depend
on them. The processor time is printed beside the wall time: with one thread it does not depend on
other programs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import copy
from dataclasses import dataclass, field
from pathlib import Path
import statistics
import sys
import time

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mem3r_ros.model import (
    FrameInput,
    Mem3R,
    ModelConfig,
    State,
    build_model,
    update_rule,
)

POSE = ('T_world_camera',)
DEPTH = ('T_world_camera', 'points_camera', 'confidence_camera')


@dataclass
class Variant:
    """One variant of the step, and its times."""

    name: str
    model: Mem3R
    rule: str = 'cut3r'
    outputs: tuple[str, ...] | None = DEPTH
    state: State | None = None
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def step(self, frame: FrameInput) -> None:
        """Advance by one frame and record the time."""
        if self.state is None:
            width, height = frame.image.shape[-1], frame.image.shape[-2]
            self.state = self.model.initial_state(image_size=(width, height))
        finish: Callable[[], None] = (
            torch.cuda.synchronize if frame.image.is_cuda else lambda: None
        )
        finish()
        wall, cpu = time.perf_counter(), time.process_time()
        _, self.state = self.model.step(frame, self.state, update_rule(self.rule), self.outputs)
        finish()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)


def variants(model: Mem3R, with_bfloat16: bool) -> list[Variant]:
    """Return the baseline and what is held against it, one difference each."""
    found = [
        Variant('rule cut3r, pose and depth', model),
        Variant('  rule ttt3r', model, rule='ttt3r'),
        Variant('  rule ttsa3r', model, rule='ttsa3r'),
        Variant('  rule memix', model, rule='memix'),
        Variant('  rule filt3r', model, rule='filt3r'),
        Variant('  pose only', model, outputs=POSE),
        Variant('  every output', model, outputs=None),
    ]
    if with_bfloat16:
        found.append(Variant('  bfloat16', copy.deepcopy(model).bfloat16()))
    return found


def measure(options: argparse.Namespace) -> list[Variant]:
    """Run the rounds; the first one warms up and does not count."""
    width, height = map(int, options.size.split('x'))
    torch.manual_seed(0)
    model = build_model(ModelConfig.preset(options.preset), options.device).eval()
    found = variants(model, not options.no_bfloat16)
    with torch.inference_mode():
        for i in range(options.frames + 1):
            image = torch.rand(1, 3, height, width, device=options.device) * 2 - 1
            for variant in found:
                variant.step(FrameInput(image=image))
                if i == 0:
                    variant.wall_s.clear()
                    variant.cpu_s.clear()
    return found


def table(found: list[Variant], use_cpu_time: bool) -> str:
    """Return the figures as text."""
    lines = [f'{"":<28}{"clock":>12}{"processor":>12}{"ratio":>8}']
    kind = 'cpu_s' if use_cpu_time else 'wall_s'
    baseline = getattr(found[0], kind)
    for variant in found:
        times = getattr(variant, kind)
        ratio = statistics.median(a / b for a, b in zip(times, baseline, strict=True))
        wall, cpu = (1e3 * statistics.median(t) for t in (variant.wall_s, variant.cpu_s))
        lines.append(f'{variant.name:<28}{wall:>9.1f} ms{cpu:>9.1f} ms{ratio:>8.2f}')
    return '\n'.join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--preset', default='mem3r-tiny')
    parser.add_argument('--size', default='128x96', metavar='WxH', help='input size, px')
    parser.add_argument('--frames', type=int, default=20, help='measured rounds (20)')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads (1)')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--no-bfloat16', action='store_true', help='omit the line of bfloat16')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = measure(options)
    print(f'{options.preset}, {options.size}, {options.device}, {options.threads} thread(s)')
    print(table(found, use_cpu_time=options.device == 'cpu'))


if __name__ == '__main__':
    main()
