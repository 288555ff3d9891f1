# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Recordings in which images are missing, as on a slow network or a busy machine."""

from __future__ import annotations

from mem3r_ros.data.sequence import SequenceFrame
from mem3r_ros.errors import UserError

_BURST = 10
DROPS = ('nothing', 'every-third', 'every-second', 'two-of-three', 'burst')


def without_dropped(frames: list[SequenceFrame], drop: str) -> list[SequenceFrame]:
    """
    Return the frames that are left.

    :param drop: one of ``DROPS``; a burst is ten images in the middle.
    :raises UserError: a burst would leave nothing on one of its sides.
    """
    if drop == 'burst' and len(frames) < _BURST + 2:
        raise UserError(f'{len(frames)} images are too few to leave out {_BURST} in the middle')
    middle = (len(frames) - _BURST) // 2
    return {
        'nothing': frames,
        'every-third': [frame for index, frame in enumerate(frames) if index % 3 != 2],
        'every-second': frames[::2],
        'two-of-three': frames[::3],
        'burst': frames[:middle] + frames[middle + _BURST :],
    }[drop]
