# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A sequence of the EuRoC MAV data set as it is downloaded (Burri et al., IJRR 2016).

``mav0/cam0/data.csv`` lists stamps in nanoseconds and images of the left grey camera,
``cam0/sensor.yaml`` its calibration and its pose on the body, and
``state_groundtruth_estimate0/data.csv`` the poses of the body at 200 Hz.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.encodings import read_image
from mem3r_ros.data.sequence import ListedSequence, Selection, SequenceFrame, pose_at
from mem3r_ros.errors import UserError
from mem3r_ros.geometry import rotation_from_quaternion
from mem3r_ros.trajectory import Trajectory, text_rows

DISTORTION_MODELS = {'radial-tangential': 'plumb_bob', 'equidistant': 'equidistant'}
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
        image = read_image(self._images[item], self.bit_depth)
        return SequenceFrame(stamp_ns, image, self._camera, pose_at(self._truth, stamp_ns))


def mav_folder(path: Path) -> Path:
    """Return the folder that holds ``cam0``: the given one, or ``mav0`` in it."""
    return path / 'mav0' if (path / 'mav0').is_dir() else path


def is_euroc(path: Path) -> bool:
    """Return whether a folder has the layout of the data set."""
    return (mav_folder(path) / 'cam0' / 'data.csv').exists()


def _rows(path: Path) -> list[list[str]]:
    """Return the words of each line; the first must be a stamp in nanoseconds, sorted by it."""
    rows = []
    for number, words in text_rows(path):
        if len(words) < 2 or not words[0].isdigit():
            raise UserError(f'{path} line {number} does not begin with a stamp in nanoseconds')
        rows.append(words)
    return sorted(rows, key=lambda words: int(words[0]))


def _read_sensor(path: Path) -> tuple[Intrinsics, np.ndarray]:
    """Return the camera and T_body_camera, [4, 4]."""
    try:
        values: dict[str, Any] = yaml.safe_load(path.read_text(encoding='utf-8'))
        width, height = values['resolution']
        T_body_camera = np.array(values['T_BS']['data'], np.float64).reshape(4, 4)
        model = DISTORTION_MODELS.get(values['distortion_model'], values['distortion_model'])
        coefficients = tuple(float(value) for value in values['distortion_coefficients'])
        fx, fy, cx, cy = map(float, values['intrinsics'])
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(f'{path} is no sensor.yaml of EuRoC: {error}') from error
    return Intrinsics(fx, fy, cx, cy, int(width), int(height), model, coefficients), T_body_camera


def _read_truth(path: Path, T_body_camera: np.ndarray) -> Trajectory:
    rows = _rows(path)
    try:
        values = np.array([words[1:_TRUTH_COLUMNS] for words in rows], np.float64)
    except ValueError as error:
        raise UserError(f'{path} holds something other than numbers: {error}') from error
    if values.ndim != 2 or values.shape[1] != _TRUTH_COLUMNS - 1:
        raise UserError(f'{path} needs a stamp, a position and a quaternion in each line')
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    poses[:, :3, :3] = rotation_from_quaternion(np.roll(values[:, 3:], -1, axis=1))
    poses[:, :3, 3] = values[:, :3]
    return Trajectory(np.array([int(words[0]) for words in rows]), poses @ T_body_camera)
