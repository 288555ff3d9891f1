# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A sequence of the EuRoC MAV data set as it is downloaded (Burri et al., IJRR 2016).

``mav0/cam0/data.csv`` lists stamps in nanoseconds and images of the left grey camera,
``cam0/sensor.yaml`` its calibration and its pose on the body, and
``state_groundtruth_estimate0/data.csv`` the poses of the body at 200 Hz.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mem3r_ros import plausible
from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.calibration import camera_from_numbers
from mem3r_ros.data.encodings import read_image
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame, pose_at
from mem3r_ros.errors import UserError
from mem3r_ros.text_files import Row, parsed_rows, read_yaml
from mem3r_ros.trajectory import (
    NANOSECONDS,
    Trajectory,
    decimal_stamp,
    pose_of_words,
    stamps_from_text,
)

_TRUTH_COLUMNS = 8  # stamp, position, quaternion w x y z; velocities and biases follow


class EurocSequence(ListedSequence):
    """One sequence, seen by its left camera."""

    def __init__(self, path: Path, selection: Selection) -> None:
        super().__init__(path, selection)
        folder = mav_folder(path)
        camera_folder = folder / 'cam0'
        rows = list(_rows(camera_folder / 'data.csv'))
        if not rows:
            raise UserError(f'{camera_folder / "data.csv"} lists no images')
        self._stamps_ns = [int(words[0]) for words in rows]
        self._images = [camera_folder / 'data' / words[1] for words in rows]
        self._camera, T_body_camera = _read_sensor(camera_folder / 'sensor.yaml')
        truth_file = folder / 'state_groundtruth_estimate0' / 'data.csv'
        self._truth = _read_truth(truth_file, T_body_camera) if truth_file.exists() else None

    @property
    def truth(self) -> Trajectory | None:
        """Return the poses of the left camera."""
        return self._truth

    def _load(self, item: int) -> SequenceFrame:
        stamp_ns = self._stamps_ns[item]
        image = read_image(self._images[item], self.decoding)
        return SequenceFrame(stamp_ns, image, self._camera, pose_at(self._truth, stamp_ns))


def mav_folder(path: Path) -> Path:
    """Return the folder that holds ``cam0``: the given one, or ``mav0`` in it."""
    return path / 'mav0' if (path / 'mav0').is_dir() else path


def is_euroc(path: Path) -> bool:
    """Return whether a folder has the layout of the data set."""
    return (mav_folder(path) / 'cam0' / 'data.csv').exists()


def _rows(path: Path) -> list[list[str]]:
    """Return the words of each line; the first must be a stamp in nanoseconds, sorted by it."""

    def stamp_of(words: list[str]) -> int:
        if len(words) < 2 or not (words[0].isdecimal() and len(words[0]) < 20):
            raise UserError('it does not begin with a stamp in nanoseconds')
        return int(words[0])

    rows = parsed_rows(path, stamp_of, 'stamps in nanoseconds and files')
    return [row.words for row in sorted((r for r in rows if r.value is not None), key=_stamp)]


def _stamp(row: Row) -> int:
    return row.value


def _read_sensor(path: Path) -> tuple[Intrinsics, np.ndarray]:
    """Return the camera and T_body_camera, [4, 4]."""
    try:
        values: Mapping[str, Any] = read_yaml(path)
        width, height = values['resolution']
        T_body_camera = np.array(values['T_BS']['data'], np.float64).reshape(4, 4)
        fx, fy, cx, cy = values['intrinsics']
        model, distortion = values['distortion_model'], values['distortion_coefficients']
        camera = camera_from_numbers(fx, fy, cx, cy, width, height, model, distortion)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'{path} is no sensor.yaml of EuRoC: {error}') from error
    return camera, plausible.pose_matrix(T_body_camera, f'{path}: T_BS', plausible.MAX_LINK_M)


def _read_truth(path: Path, T_body_camera: np.ndarray) -> Trajectory:
    rows = parsed_rows(path, _pose_of, 'a stamp, a position and a quaternion')
    kept = [row for row in rows if row.value is not None]
    stamps_ns = stamps_from_text([row.words[0] for row in kept], path, NANOSECONDS)
    poses = np.array([row.value for row in kept]).reshape(-1, 4, 4)
    return Trajectory(stamps_ns, poses @ T_body_camera)


def _pose_of(words: list[str]) -> np.ndarray:
    decimal_stamp(words[0])
    return pose_of_words(words[1:_TRUTH_COLUMNS], is_w_first=True)
