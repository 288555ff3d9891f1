# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The TUM RGB-D benchmark as it is downloaded (Sturm et al., IROS 2012).

``rgb.txt`` and ``depth.txt`` list stamps and files, ``groundtruth.txt`` the poses of the colour
camera at 100 Hz; depth is registered to colour, 5000 units a metre.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import re

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.encodings import read_depth, read_image
from mem3r_ros.data.folder import read_camera
from mem3r_ros.data.sequence import (
    MATCH_TOLERANCE_NS,
    Selection,
    Sequence,
    SequenceFrame,
    pose_at,
)
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.text_files import parsed_rows
from mem3r_ros.trajectory import (
    Trajectory,
    decimal_stamp,
    nearest_index,
    read_tum,
    stamps_from_text,
)

DEPTH_FACTOR = 5000.0
# Colour calibrations published by the benchmark; the folder name identifies the camera.
CAMERAS = {
    '1': (517.3, 516.5, 318.6, 255.3, (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    '2': (520.9, 521.0, 325.1, 249.7, (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    '3': (535.4, 539.2, 320.1, 247.6, ()),
}


class TumSequence(Sequence):
    """One downloaded sequence of the benchmark."""

    depth_factor = DEPTH_FACTOR  # stored units in a metre

    def __init__(self, path: Path, selection: Selection) -> None:
        super().__init__(path, selection)
        self._images = _read_list(path / 'rgb.txt')
        if not self._images:
            raise UserError(f'{path / "rgb.txt"} lists no images; expected "stamp file" lines')
        has_depth = selection.with_depth and (path / 'depth.txt').exists()
        self._depths = _read_list(path / 'depth.txt') if has_depth else []
        self._depth_stamps_ns = np.array([stamp for stamp, _ in self._depths], dtype=np.int64)
        truth_file = path / 'groundtruth.txt'
        self._truth = read_tum(truth_file) if truth_file.exists() else None
        self._camera = read_camera(path) or _published_camera(path.resolve().name)

    @property
    def truth(self) -> Trajectory | None:
        """Return the poses of groundtruth.txt, at the rate of the motion capture."""
        return self._truth

    def _num_items(self) -> int:
        return len(self._images)

    def _items(self) -> Iterator[tuple[int, str]]:
        yield from self._images

    def _load(self, item: tuple[int, str]) -> SequenceFrame:
        stamp_ns, file = item
        image = read_image(self.path / file, self.decoding)
        return SequenceFrame(
            stamp_ns, image, self._camera, pose_at(self._truth, stamp_ns), self._depth(stamp_ns)
        )

    def _depth(self, stamp_ns: int) -> np.ndarray | None:
        if not self._depths:
            return None
        index = int(nearest_index(self._depth_stamps_ns, np.array([stamp_ns]))[0])
        depth_stamp_ns, file = self._depths[index]
        if abs(depth_stamp_ns - stamp_ns) > MATCH_TOLERANCE_NS:
            return None
        try:
            return read_depth(self.path / file, self.depth_factor)
        except BadFrame:
            return None


def _read_list(path: Path) -> list[tuple[int, str]]:
    rows = parsed_rows(path, lambda words: (decimal_stamp(words[0]), words[1]), '"stamp file"')
    kept = [row.words for row in rows if row.value is not None]
    stamps_ns = stamps_from_text([words[0] for words in kept], path).tolist()
    return sorted(zip(stamps_ns, (words[1] for words in kept), strict=True))


def _published_camera(name: str) -> Intrinsics | None:
    match = re.search(r'(?:freiburg|fr)([123])', name)
    if match is None:
        return None
    fx, fy, cx, cy, distortion = CAMERAS[match.group(1)]
    model = 'plumb_bob' if distortion else 'none'
    return Intrinsics(fx, fy, cx, cy, 640, 480, model, distortion)
