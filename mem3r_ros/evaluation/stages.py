# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Stages of a frame as a tree: where its time goes, and which setting reduces it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
import time
from typing import Any

SEPARATOR = '/'  # between a stage and a part of it
TOTAL = 'total'
REST = 'rest'
_PARTS = {'image_encoder': 'encoder', 'decoder': 'decoder', 'predictor': 'heads'}
RELIEF = {
    'prepare': 'tracking.input.resampling: fast',
    'continuity': 'tracking.health.check_continuity: false (wrong images are then tracked)',
    'stillness': 'tracking.stillness.enabled: false',
    'network': 'device: cuda, or dtype: auto for a large network',
    'refinement': 'tracking.refinement.num_corners or tracking.refinement.num_keyframes: fewer',
    'depth': 'tracking.depth.resolution: network',
    'outputs': 'tracking.cloud.stride: 2, or fewer outputs',
}


@contextmanager
def network_parts(network: Any) -> Iterator[dict[str, float]]:
    """
    Measure the parts of each network step on a CPU.

    :param network: a Mem3R; its forward hooks are removed at the end. Meanwhile Python runs each
        operation of a network with recorded steps, which takes a little longer.
    :return: milliseconds by part, which the caller clears after each frame.
    """
    spent_ms: dict[str, float] = {}
    started: dict[str, float] = {}
    hooks = []
    is_recorded = getattr(network, 'is_recorded', False)
    if is_recorded:
        network.is_recorded = False
    for attribute, name in _PARTS.items():

        def before(*_: Any, name: str = name) -> None:
            started[name] = time.perf_counter()

        def after(*_: Any, name: str = name) -> None:
            spent = 1e3 * (time.perf_counter() - started.pop(name))
            spent_ms[name] = spent_ms.get(name, 0.0) + spent

        module = getattr(network, attribute, None)
        if module is None:  # an exported step has no parts
            continue
        hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield spent_ms
    finally:
        for hook in hooks:
            hook.remove()
        if is_recorded:
            network.is_recorded = True


def stage_tree(
    total_ms: float, stage_ms: Mapping[str, float], part_ms: Mapping[str, float]
) -> dict[str, float]:
    """
    Return the times of one frame by path, each stage before its parts.

    :param total_ms: of the whole frame.
    :param stage_ms: of each stage of the tracker.
    :param part_ms: of each part of the network.
    :return: e.g. ``total``, ``total/network``, ``total/network/decoder``; what no part explains is
        the part ``rest``.
    """
    tree = {TOTAL: total_ms}
    for stage, spent in stage_ms.items():
        tree[f'{TOTAL}{SEPARATOR}{stage}'] = spent
        if stage == 'network' and part_ms:
            path = f'{TOTAL}{SEPARATOR}{stage}{SEPARATOR}'
            tree |= {path + part: time_ms for part, time_ms in part_ms.items()}
            tree[path + REST] = max(0.0, spent - sum(part_ms.values()))
    tree[f'{TOTAL}{SEPARATOR}{REST}'] = max(0.0, total_ms - sum(stage_ms.values()))
    return tree


def in_tree_order(paths: Iterable[str]) -> list[str]:
    """Return paths with each stage before its parts, otherwise in the order given."""
    given = list(paths)
    rank = {path: number for number, path in enumerate(given)}

    def key(path: str) -> list[int]:
        names = path.split(SEPARATOR)
        above = [SEPARATOR.join(names[: depth + 1]) for depth in range(len(names))]
        return [rank[name] for name in above]

    return sorted(given, key=key)


def indented(path: str) -> str:
    """Return the last name of a path, two spaces further right for each level."""
    *above, name = path.split(SEPARATOR)
    return '  ' * len(above) + name


def bottleneck(times_ms: Mapping[str, float]) -> tuple[str, float, str]:
    """
    Return the longest stage of a frame, its share of the frame, and the setting that reduces it.

    :param times_ms: by path, see :func:`stage_tree`.
    :return: name, 0 to 1, and the setting (empty: there is none).
    """
    stages = {
        path.split(SEPARATOR)[1]: spent
        for path, spent in times_ms.items()
        if path.count(SEPARATOR) == 1
    }
    name = max(stages, key=lambda stage: stages[stage])
    total = times_ms[TOTAL] or 1.0
    return name, stages[name] / total, RELIEF.get(name, '')
