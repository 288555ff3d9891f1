# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How constant the scale of a path is: the scale of each short stretch against the truth."""

from __future__ import annotations

import numpy as np

from mem3r_ros.trajectory import Trajectory

STRETCH = 10  # frames
# A stretch on which the camera moves less than this part of the usual measures noise, not scale.
_LEAST_MOTION = 0.3


def stretch_scales(estimate: Trajectory, truth: Trajectory, stretch: int = STRETCH) -> np.ndarray:
    """
    Return the true size over the estimated one of every stretch of the path, [S].

    The size is the standard deviation of the positions. Stretches overlap by half; those on which
    the camera hardly moves are left out.

    :param estimate: poses at the stamps of the truth.
    :param truth: the true poses.
    :param stretch: frames of one stretch.
    """
    found = []
    for start in range(0, len(truth) - stretch, max(1, stretch // 2)):
        part = slice(start, start + stretch + 1)
        found.append([_size(path.positions[part]) for path in (truth, estimate)])
    sizes = np.array(found).reshape(-1, 2)
    if not len(sizes):
        return np.zeros(0)
    moves = (sizes[:, 0] >= _LEAST_MOTION * np.median(sizes[:, 0])) & (sizes[:, 1] > 0)
    return sizes[moves, 0] / sizes[moves, 1]


def scale_drift(estimate: Trajectory, truth: Trajectory, stretch: int = STRETCH) -> float:
    """Return the largest scale of a stretch over the smallest; NaN with fewer than two."""
    scales = stretch_scales(estimate, truth, stretch)
    return float(scales.max() / scales.min()) if len(scales) > 1 else float('nan')


def _size(positions: np.ndarray) -> float:
    return float(np.sqrt(((positions - positions.mean(axis=0)) ** 2).sum(axis=1).mean()))
