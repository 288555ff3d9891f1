# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Folders of images: bare ones, and the uniform layout with stamps, truth, depth and calibration.

The uniform layout is ``rgb/*.png|jpg``, ``timestamps.txt`` (seconds, one an image) and, where
known, ``groundtruth.txt`` (TUM), ``depth/*.png``, ``camera.json`` and ``meta.json``.
"""

from __future__ import annotations

from pathlib import Path
import re
from typing import Any

import numpy as np

from mem3r_ros import plausible
from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.calibration import camera_from_numbers
from mem3r_ros.data.encodings import read_depth, read_image
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame, pose_at
from mem3r_ros.errors import BadFrame, UserError
from mem3r_ros.files import visible
from mem3r_ros.plausible import number
from mem3r_ros.text_files import read_json, text_rows
from mem3r_ros.trajectory import (
    NANOSECONDS,
    Trajectory,
    decimal_stamp,
    read_tum,
    stamps_from_text,
)

# Stored units of depth in a metre: from metres to micrometres.
DEPTH_FACTOR_RANGE = (1.0, 1e6)
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')


class ImageFolder(ListedSequence):
    """Pictures of one folder in the order of their names, numbers counted as numbers."""

    def __init__(
        self,
        path: Path,
        selection: Selection,
        fps: float,
        images: list[Path],
        stamps_ns: list[int] | None = None,
        camera: Intrinsics | None = None,
    ) -> None:
        super().__init__(path, selection)
        self._images = images
        self.camera = camera
        self.stamps_ns = stamps_ns or [round(i * NANOSECONDS / fps) for i in range(len(images))]

    def _load(self, item: int) -> SequenceFrame:
        image = read_image(self._images[item], self.decoding)
        return SequenceFrame(self.stamps_ns[item], image, self.camera)


class SequenceFolder(ImageFolder):
    """The uniform layout: images with stamps, and truth, depth and calibration where known."""

    def __init__(self, path: Path, selection: Selection, fps: float) -> None:
        images = list_images(path / 'rgb')
        stamps_ns = None
        if (path / 'timestamps.txt').exists():
            stamps_ns = read_stamps(path / 'timestamps.txt')
            if len(stamps_ns) != len(images):
                raise UserError(
                    f'{path / "timestamps.txt"} has {len(stamps_ns)} stamps for '
                    f'{len(images)} images; give one a line'
                )
        super().__init__(path, selection, fps, images, stamps_ns, read_camera(path))
        meta = read_json(path / 'meta.json') if (path / 'meta.json').exists() else {}
        factor = meta.get('depth_factor') or 1000.0
        name = f'{path / "meta.json"}: depth_factor'
        self._depth_factor = number(factor, name, *DEPTH_FACTOR_RANGE, 'units in a metre')
        truth_file = path / 'groundtruth.txt'
        self._truth = read_tum(truth_file) if truth_file.exists() else None

    @property
    def truth(self) -> Trajectory | None:
        """Return the poses of groundtruth.txt."""
        return self._truth

    def _load(self, item: int) -> SequenceFrame:
        stamp_ns = self.stamps_ns[item]
        return SequenceFrame(
            stamp_ns,
            read_image(self._images[item], self.decoding),
            self.camera,
            pose_at(self._truth, stamp_ns),
            self._depth(self._images[item].stem),
        )

    def _depth(self, name: str) -> Any:
        path = self.path / 'depth' / f'{name}.png'
        if not self.selection.with_depth or not path.exists():
            return None
        try:
            return read_depth(path, self._depth_factor)
        except BadFrame:
            return None  # the image is what is tracked; depth only measures the result


def list_images(folder: Path) -> list[Path]:
    """
    List the pictures of a folder, frame 2 before frame 10.

    :raises UserError: the folder holds none.
    """
    images = [path for path in visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise UserError(f'no images in {folder}; expected files like *.jpg or *.png')
    return sorted(images, key=in_natural_order)


def in_natural_order(path: Path) -> list[Any]:
    """Return a key to sort by that has 2 before 10."""
    return [
        (1, int(part), '') if part.isdigit() else (0, 0, part)
        for part in re.split(r'(\d+)', path.stem)
    ]


def read_stamps(path: Path) -> list[int]:
    """
    Read one stamp a line, in decimal seconds or in whole milli-, micro- or nanoseconds.

    :return: nanoseconds.
    :raises UserError: a line holds no time.
    """
    words = []
    for line, row in text_rows(path):
        try:
            decimal_stamp(row[0])
        except UserError as error:
            raise UserError(f'{path} line {line}: {error}') from error
        words.append(row[0])
    return stamps_from_text(words, path).tolist()


def read_camera(folder: Path) -> Intrinsics | None:
    """
    Read ``camera.json``, whose keys are the fields of Intrinsics.

    :param folder: where it may lie.
    :return: the camera, None where there is no such file.
    :raises UserError: the file is not JSON or lacks a key.
    """
    path = folder / 'camera.json'
    if not path.exists():
        return None
    values = read_json(path)
    try:
        fx, fy, cx, cy, width, height = (
            values[key] for key in ('fx', 'fy', 'cx', 'cy', 'width', 'height')
        )
        distortion = values.get('distortion') or ()
        return camera_from_numbers(
            fx, fy, cx, cy, width, height, values.get('distortion_model'), distortion
        )
    except KeyError as error:
        raise UserError(f'{path} has no {error}; it needs fx fy cx cy width height') from error
    except UserError as error:
        raise UserError(f'{path}: {error}') from error
    except TypeError as error:
        raise UserError(f'{path} holds something other than numbers: {error}') from error


def read_pose_matrix(path: Path) -> np.ndarray | None:
    """
    Read T_world_camera from a text file of four rows.

    :return: [4, 4] float64; None if there is no file, or if its numbers mean "lost".
    :raises UserError: the file holds something else.
    """
    if not path.exists():
        return None
    pose = read_matrix(path)
    return plausible.pose_matrix(pose, str(path)) if np.all(np.isfinite(pose)) else None


def read_matrix(path: Path) -> np.ndarray:
    """
    Read a 4x4 matrix from a text file of four rows.

    :raises UserError: the file is missing or holds something else.
    """
    try:
        values = np.loadtxt(path, dtype=np.float64)
    except OSError as error:
        raise UserError(f'cannot read {path}: {error}') from error
    except ValueError as error:
        raise UserError(f'{path} does not hold a 4x4 matrix of numbers') from error
    if values.shape != (4, 4):
        raise UserError(f'{path} holds a matrix of shape {values.shape}; expected 4x4')
    return values
