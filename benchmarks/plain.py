# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Gain and error of each speed-up against a plain step, within one run.

    python benchmarks/plain.py
    python benchmarks/plain.py --preset cut3r-512-dpt --size 224x224 --frames 3 --output a.json
    python benchmarks/plain.py --compare a.json b.json

Without ``--preset`` two networks are measured: the small one, and one of full size. The plain
step is what the public code of CUT3R does: eager, float32, every output head, attention with an
explicit softmax, all projections of the memory write. Each lever is applied alone, then those of
each dtype together. All variants take turns within each frame, so other programs affect them
equally; a gain is the median ratio of processor times over the frames. Every variant keeps its
own state over all frames. Its errors against the plain step are given as the median over the
frames and the largest. With ``--rule ttt3r`` the plain step computes all logits of the attention
from state to image and keeps them until the end of the frame, as the public code does. Large
presets have random weights: the time does not depend on them, the errors do.

``--step-errors`` adds the errors of a single step: the variant starts each frame from the state of
the plain step, so that errors do not add up over the frames. ``--reference`` compares with another
variant than plain, which saves its time.

With ``--output`` each frame is written when it is measured, and the same command continues after
the last one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict, dataclass
import json
import os
from pathlib import Path
import statistics
import sys
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for plain_variants.py
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
from plain_variants import Variant, errors, variants
import torch

from mem3r_ros.cli.benchmark import moving_texture
from mem3r_ros.errors import UserError
from mem3r_ros.model import (
    FrameInput,
    Mem3R,
    ModelConfig,
    State,
    build_model,
    load_model,
    update_rule,
)
from mem3r_ros.model.checkpoints.find import shipped_weights
from mem3r_ros.model.processor import number_formats, processor_name
from mem3r_ros.model.update_rules import UPDATE_RULES

ERRORS = ('rotation_deg', 'translation', 'depth', 'state')
# Measured without --preset: the small network, and one of full size.
CASES = (
    {'preset': 'mem3r-tiny', 'size': '128x96', 'rule': 'cut3r', 'frames': 20},
    {'preset': 'cut3r-512-dpt', 'size': '512x384', 'rule': 'ttt3r', 'frames': 3},
)


@dataclass
class Row:
    """Figures of one variant; errors are medians over the frames, and the largest."""

    name: str
    wall_ms: float
    cpu_ms: float
    gain: float  # times as fast as plain
    rotation_deg: float  # error of the pose
    translation: float  # error of the pose over its length
    depth: float  # median relative error
    state: float  # error of the state tokens over their norm
    worst: tuple[float, ...]  # the four errors in the worst frame of each
    step: tuple[tuple[float, float], ...] = ()  # median and largest of those of single steps


class Progress:
    """What is measured so far, in a file beside the result."""

    def __init__(self, output: Path | None, settings: dict[str, Any]) -> None:
        """Belong to the result ``output``; None keeps nothing."""
        self.path = output and output.with_suffix('.part')
        self.settings = settings

    def load(self, found: list[Variant]) -> int:
        """
        Give the variants their states and figures.

        :return: the number of frames that are done.
        :raises UserError: the file is of other settings.
        """
        if self.path is None or not self.path.exists():
            return 0
        kept = torch.load(self.path, weights_only=True)
        if kept['settings'] != self.settings or set(kept['variants']) != {v.name for v in found}:
            raise UserError(f'{self.path} is of other settings; delete it to start again')
        for variant in found:
            figures = kept['variants'][variant.name]
            variant.state = State.from_dict(figures.pop('state'))
            for name, values in figures.items():
                setattr(variant, name, values)
        return kept['frames']

    def save(self, found: list[Variant], frames: int) -> None:
        """Keep states and figures after some frames."""
        if self.path is None:
            return
        kept = {
            variant.name: {
                'state': dict(variant.state.to_dict()),
                **{name: getattr(variant, name) for name in ('wall_s', 'cpu_s')},
                **{name: getattr(variant, name) for name in ('errors', 'step_errors')},
            }
            for variant in found
        }
        new = self.path.with_suffix('.new')
        torch.save({'settings': self.settings, 'frames': frames, 'variants': kept}, new)
        new.replace(self.path)

    def remove(self) -> None:
        """Delete the file, because the result is written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def network_of(preset: str) -> Mem3R:
    """Return a network in evaluation mode, with random weights where none are shipped."""
    torch.manual_seed(0)
    if shipped_weights(preset) is not None:
        return load_model(preset)
    return build_model(ModelConfig.preset(preset)).eval().requires_grad_(False)


@torch.inference_mode()
def measure(options: argparse.Namespace) -> list[Row]:
    """Run all variants over the frames; the first frame warms up and its times do not count."""
    width, height = map(int, options.size.split('x'))
    model = network_of(options.preset)
    wanted = {options.reference, *options.steps} if options.steps else ()
    found = variants(model, wanted)
    reference = next(variant for variant in found if variant.name == options.reference)
    found.sort(key=lambda variant: variant is not reference)
    for variant in found:
        variant.rule = update_rule(options.rule)
    progress = Progress(options.output, settings_of(options))
    done = progress.load(found)
    for index, picture in enumerate(moving_texture(width, height, options.frames + 1)):
        if index < done:
            continue
        image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        measure_frame(found, FrameInput(image=image), options.step_errors)
        progress.save(found, index + 1)
        print(f'frame {index} of {options.frames}', file=sys.stderr, flush=True)
    rows = [_row(variant, reference) for variant in found]
    progress.remove()
    return rows


def measure_frame(found: list[Variant], frame: FrameInput, with_step_errors: bool) -> None:
    """Advance every variant; the first one is the reference."""
    reference = found[0]
    before = reference.state
    for variant in found:
        variant.step(frame)
        variant.errors.append(errors(variant, reference))
        if with_step_errors:
            alone = variant
            if before is not None and variant is not reference:
                alone = variant.step_from(frame, before)
            variant.step_errors.append(errors(alone, reference))


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a result depends on, besides the number of frames."""
    names = ('preset', 'size', 'rule', 'reference', 'step_errors', 'threads')
    return {name: getattr(options, name) for name in names}


def _row(variant: Variant, reference: Variant) -> Row:
    gain = statistics.median(
        a / b for a, b in zip(reference.cpu_s[1:], variant.cpu_s[1:], strict=True)
    )
    wall, cpu = (1e3 * statistics.median(times[1:]) for times in (variant.wall_s, variant.cpu_s))
    by_kind = list(zip(*variant.errors, strict=True))
    worst = tuple(max(values) for values in by_kind)
    steps = tuple(
        (statistics.median(values), max(values))
        for values in zip(*variant.step_errors, strict=True)
    )
    return Row(variant.name, wall, cpu, gain, *map(statistics.median, by_kind), worst, steps)


def machine(threads: int) -> dict[str, object]:
    """Describe the machine."""
    return {
        'processor': processor_name(),
        'cores': len(os.sched_getaffinity(0)),
        'formats in hardware': ', '.join(number_formats()) or 'float32 only',
        'threads': threads,
        'torch': torch.__version__,
        'load at the end': round(os.getloadavg()[0], 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as Markdown; an error is its median and its largest value."""
    lines = [
        '| step | processor ms | clock ms | gain | rotation, deg | translation | depth | state |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        pairs = zip((row[name] for name in ERRORS), row['worst'], strict=True)
        lines.append(
            f'| {row["name"]} | {row["cpu_ms"]:.0f} | {row["wall_ms"]:.0f} | {row["gain"]:.2f} '
            f'| {_ranges(pairs)} |'
        )
    if any(row['step'] for row in rows):
        lines += ['', 'Errors of single steps:', '']
        lines += [
            '| step | rotation, deg | translation | depth | state |',
            '|---|---|---|---|---|',
        ]
        lines += [f'| {row["name"]} | {_ranges(row["step"])} |' for row in rows]
    return '\n'.join(lines)


def _ranges(pairs: Iterable[tuple[float, float]]) -> str:
    return ' | '.join(f'{median:.1e} to {largest:.1e}' for median, largest in pairs)


def comparison(first: dict, second: dict) -> str:
    """
    Return the gains of two results side by side, and how the machines differ.

    :raises UserError: the results are of different networks or image sizes.
    """
    for name in ('preset', 'size', 'rule'):
        pair = [result.get(name, 'cut3r') for result in (first, second)]
        if pair[0] != pair[1]:
            raise UserError(f'the results have {name} {pair[0]} and {pair[1]}')
    lines = [f'{first["preset"]}, {first["size"]}', '', '| machine | A | B |', '|---|---|---|']
    lines += [
        f'| {key} | {first["machine"][key]} | {second["machine"][key]} |'
        for key in first['machine']
    ]
    lines += [
        '',
        '| step | gain A | gain B | B / A | processor ms A | processor ms B |',
        '|---|---|---|---|---|---|',
    ]
    others = {row['name']: row for row in second['rows']}
    for row in first['rows']:
        other = others.get(row['name'])
        if other is None:
            lines.append(f'| {row["name"]} | {row["gain"]:.2f} | | | {row["cpu_ms"]:.0f} | |')
            continue
        lines.append(
            f'| {row["name"]} | {row["gain"]:.2f} | {other["gain"]:.2f} '
            f'| {other["gain"] / row["gain"]:.2f} | {row["cpu_ms"]:.0f} | {other["cpu_ms"]:.0f} |'
        )
    return '\n'.join(lines)


def report(options: argparse.Namespace) -> str:
    """Measure one network, write the result, and return it as Markdown."""
    rows = [asdict(row) for row in measure(options)]
    result = {**settings_of(options), 'frames': options.frames, 'rows': rows}
    result['machine'] = machine(options.threads)
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    return '\n'.join(
        [
            f'{options.preset}, {options.size}, rule {options.rule}, {options.frames} frames, '
            f'gains over {options.reference}',
            '; '.join(f'{key}: {value}' for key, value in result['machine'].items()),
            '',
            table(rows),
            '',
        ]
    )


def main() -> None:
    """Measure and print, or compare two results."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--preset', help='network (mem3r-tiny, then cut3r-512-dpt)')
    parser.add_argument('--size', metavar='WxH', help='input size, px (128x96; 512x384)')
    parser.add_argument('--frames', type=int, help='measured frames (20; 3)')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads (1)')
    parser.add_argument('--rule', choices=UPDATE_RULES, help='(cut3r; ttt3r)')
    parser.add_argument(
        '--steps', nargs='*', metavar='NAME', help='measure only these beside the reference (all)'
    )
    parser.add_argument('--reference', default='plain', metavar='NAME', help='(plain)')
    parser.add_argument(
        '--step-errors', action='store_true', help='also the errors of single steps (no)'
    )
    parser.add_argument('--output', type=Path, help='write the figures there as JSON')
    parser.add_argument('--compare', nargs=2, type=Path, metavar=('A', 'B'), help='two results')
    options = parser.parse_args()
    if options.compare:
        print(comparison(*(json.loads(path.read_text('utf-8')) for path in options.compare)))
        return
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    given = {name: value for name, value in vars(options).items() if value is not None}
    cases = [case for case in CASES if options.preset in (None, case['preset'])]
    for case in cases or [CASES[0]]:
        one = argparse.Namespace(**{**vars(options), **case, **given})
        if options.output and options.preset is None:
            one.output = options.output.with_stem(f'{options.output.stem}_{case["preset"]}')
        print(report(one), flush=True)


if __name__ == '__main__':
    main()
