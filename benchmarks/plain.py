# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Gain and error of each speed-up against a plain step, within one run.

    python benchmarks/plain.py --preset cut3r-512-dpt --size 224x224 --frames 3 --output a.json
    python benchmarks/plain.py --preset mem3r-tiny --size 128x96 --frames 30
    python benchmarks/plain.py --compare a.json b.json

The plain step is what the public code of CUT3R does: eager, float32, every output head, attention
with an explicit softmax, all projections of the memory write. Each lever is applied alone, then
those of each dtype together. All variants take turns within each frame, so other programs affect
them equally; a gain is the median ratio of processor times over the frames. Every variant keeps
its own state over all frames. Its errors against the plain step are given as the median over the
frames and the largest. With ``--rule ttt3r`` the plain step computes all logits of the attention
from state to image and keeps them until the end of the frame, as the public code does.
Large presets have random weights: the time does not depend on them, the errors do.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
import copy
from dataclasses import asdict, dataclass, field
import json
import os
from pathlib import Path
import statistics
import sys
import time
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import torch
from torch import Tensor

from mem3r_ros.cli.benchmark import moving_texture
from mem3r_ros.errors import UserError
from mem3r_ros.model import (
    FrameInput,
    Mem3R,
    ModelConfig,
    Prediction,
    State,
    UpdateRule,
    build_model,
    layers,
    load_model,
    update_rule,
)
from mem3r_ros.model.checkpoints.find import shipped_weights
from mem3r_ros.model.int8 import has_int8
from mem3r_ros.model.processor import multiplies_bfloat16, number_formats, processor_name
from mem3r_ros.model.speedups import SpeedUps
from mem3r_ros.model.update_rules import UPDATE_RULES, AttentionMean

ODOMETRY_AND_DEPTH = ('T_world_camera', 'points_camera', 'confidence_camera')


def explicit_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend as the formula is printed, keeping the whole matrix of weights."""
    weights = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(dim=-1)
    return weights @ value


def full_cross_attention(
    self: layers.CrossAttention,
    tokens: Tensor,
    other: Tensor,
    positions: object,
    other_positions: object,
    observer: layers.AttentionObserver | None = None,
) -> Tensor:
    """Project and attend, also where there is a single key."""
    query, key, value = (
        part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        for part in (self.query(tokens), self.key(other), self.value(other))
    )
    query, key = layers.rotate(query, positions), layers.rotate(key, other_positions)
    if observer is not None:
        observer.add(query, key)
    return self.proj(explicit_attention(query, key, value).transpose(1, 2).flatten(2))


def full_logits(self: AttentionMean, query: Tensor, key: Tensor) -> None:
    """Compute and keep all logits of a layer, then take their mean."""
    logits = query.float() @ key.float().transpose(-2, -1) * query.shape[-1] ** -0.5
    self.__dict__.setdefault('kept', []).append(logits)
    mean = logits.mean(dim=(1, 3))
    self._sum = mean if self._sum is None else self._sum + mean
    self._layers += 1


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute every attention explicitly, and the gate of TTT3R from all logits."""
    with (
        mock.patch.object(layers, 'attend', explicit_attention),
        mock.patch.object(layers.CrossAttention, 'forward', full_cross_attention),
        mock.patch.object(AttentionMean, 'add', full_logits),
    ):
        yield


@dataclass
class Variant:
    """One variant of the step, its stream and its times."""

    name: str
    model: Mem3R
    fused: bool = False  # the project's attention
    outputs: tuple[str, ...] | None = None
    rule: UpdateRule | None = None
    state: State | None = None
    prediction: Prediction | None = None
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    errors: list[tuple[float, ...]] = field(default_factory=list)  # against plain, of each frame

    def step(self, frame: FrameInput) -> None:
        """Advance by one frame and record the time."""
        if self.state is None:
            size = frame.image.shape[-1], frame.image.shape[-2]
            self.state = self.model.initial_state(image_size=size)
        with nullcontext() if self.fused else plain_attention():
            wall, cpu = time.perf_counter(), time.process_time()
            self.prediction, self.state = self.model.step(
                frame, self.state, self.rule, self.outputs
            )
            self.cpu_s.append(time.process_time() - cpu)
            self.wall_s.append(time.perf_counter() - wall)


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


def variants(model: Mem3R) -> list[Variant]:
    """Return the plain step, each lever alone, and all of them."""
    int8, half = has_int8(), multiplies_bfloat16() and model.front_end is None
    found = [
        Variant('plain', model),
        Variant('fused attention', model, fused=True),
        Variant('wanted heads only', model, outputs=ODOMETRY_AND_DEPTH),
        Variant('channels-last heads', with_levers(model, SpeedUps(channels_last=True))),
    ]
    exact = with_levers(model, SpeedUps())
    if half:
        found.append(Variant('bfloat16 heads', with_levers(model, SpeedUps(bfloat16_heads=True))))
        levers = SpeedUps(bfloat16_attention=True)
        found.append(Variant('bfloat16 attention', with_levers(model, levers), fused=True))
    if int8:
        found.append(Variant('int8 linear layers', with_levers(model, SpeedUps(int8_linear=True))))
    found.append(Variant('dtype float32', exact, True, ODOMETRY_AND_DEPTH))
    if int8:
        levers = SpeedUps.int8(model)
        found.append(Variant('dtype int8', with_levers(model, levers), True, ODOMETRY_AND_DEPTH))
    return found


def with_levers(model: Mem3R, levers: SpeedUps) -> Mem3R:
    """Return a network with levers; weights that no lever changes are shared."""
    shared = {id(weight): weight for weight in model.parameters()}
    if levers.channels_last or levers.bfloat16_heads:
        for name, weight in model.named_parameters():
            if '_head.' in name:
                del shared[id(weight)]
    return levers.apply(copy.deepcopy(model, shared))


def errors(variant: Variant, plain: Variant) -> tuple[float, float, float, float]:
    """Return rotation (deg), translation, depth and state error against the plain step."""
    pose, exact = (v.prediction.T_world_camera[0].double() for v in (variant, plain))
    turn = pose[:3, :3].T @ exact[:3, :3]
    sine = torch.stack((turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]))
    rotation = torch.atan2(sine.norm(), turn.trace() - 1).rad2deg()
    length = exact[:3, 3].norm().clamp(min=1e-9)
    depth, depth_exact = (v.prediction.points_camera[..., 2].double() for v in (variant, plain))
    tokens, tokens_exact = variant.state.tokens, plain.state.tokens
    return (
        float(rotation),
        float((pose[:3, 3] - exact[:3, 3]).norm() / length),
        float(((depth - depth_exact) / depth_exact).abs().median()),
        float((tokens - tokens_exact).norm() / tokens_exact.norm()),
    )


def measure(options: argparse.Namespace) -> list[Row]:
    """Run all variants over the frames; the first frame warms up and does not count."""
    width, height = map(int, options.size.split('x'))
    torch.manual_seed(0)
    if shipped_weights(options.preset) is not None:
        model = load_model(options.preset)
    else:
        model = build_model(ModelConfig.preset(options.preset)).eval().requires_grad_(False)
    found = [
        variant
        for variant in variants(model)
        if variant.name == 'plain' or not options.steps or variant.name in options.steps
    ]
    for variant in found:
        variant.rule = update_rule(options.rule)
    with torch.inference_mode():
        for picture in moving_texture(width, height, options.frames + 1):
            image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
            for variant in found:
                variant.step(FrameInput(image=image))
                variant.errors.append(errors(variant, found[0]))
    return [_row(variant, found[0]) for variant in found]


def _row(variant: Variant, plain: Variant) -> Row:
    gain = statistics.median(
        a / b for a, b in zip(plain.cpu_s[1:], variant.cpu_s[1:], strict=True)
    )
    wall, cpu = (1e3 * statistics.median(times[1:]) for times in (variant.wall_s, variant.cpu_s))
    by_kind = list(zip(*variant.errors, strict=True))
    worst = tuple(max(values) for values in by_kind)
    return Row(variant.name, wall, cpu, gain, *map(statistics.median, by_kind), worst)


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


def table(rows: list[dict[str, object]]) -> str:
    """Return the figures as a Markdown table; an error is its median and its largest value."""
    lines = [
        '| step | processor ms | clock ms | gain | rotation, deg | translation | depth | state |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        medians = [row[name] for name in ('rotation_deg', 'translation', 'depth', 'state')]
        pairs = [f'{a:.1e} to {b:.1e}' for a, b in zip(medians, row['worst'], strict=True)]
        lines.append(
            f'| {row["name"]} | {row["cpu_ms"]:.0f} | {row["wall_ms"]:.0f} | {row["gain"]:.2f} '
            f'| {" | ".join(pairs)} |'
        )
    return '\n'.join(lines)


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


def main() -> None:
    """Measure and print, or compare two results."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--preset', default='mem3r-tiny', help='network (mem3r-tiny)')
    parser.add_argument('--size', default='128x96', metavar='WxH', help='input size, px (128x96)')
    parser.add_argument('--frames', type=int, default=20, help='measured frames (20)')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads (1)')
    parser.add_argument('--rule', default='cut3r', choices=UPDATE_RULES, help='(cut3r)')
    parser.add_argument(
        '--steps', nargs='*', metavar='NAME', help='measure only these beside plain (all)'
    )
    parser.add_argument('--output', type=Path, help='write the figures there as JSON')
    parser.add_argument('--compare', nargs=2, type=Path, metavar=('A', 'B'), help='two results')
    options = parser.parse_args()
    if options.compare:
        print(comparison(*(json.loads(path.read_text('utf-8')) for path in options.compare)))
        return
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    rows = [asdict(row) for row in measure(options)]
    result = {
        'preset': options.preset,
        'size': options.size,
        'rule': options.rule,
        'frames': options.frames,
        'machine': machine(options.threads),
        'rows': rows,
    }
    print(f'{options.preset}, {options.size}, rule {options.rule}, {options.frames} frames')
    print('; '.join(f'{key}: {value}' for key, value in result['machine'].items()) + '\n')
    print(table(rows))
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
