# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the odometry: COLMAP's poses in place of the recorded ones."""

import importlib
import sys

import numpy as np
import pytest

from mem3r_ros.data.sequence import SequenceFrame
from mem3r_ros.errors import UserError
from mem3r_ros.geometry import se3_exp
from mem3r_ros.trajectory import Trajectory

NUM_FRAMES = 20


@pytest.fixture
def benchmark(repository_dir, monkeypatch):
    monkeypatch.syspath_prepend(str(repository_dir / 'benchmarks'))
    monkeypatch.delitem(sys.modules, 'odometry', raising=False)
    yield importlib.import_module('odometry')
    sys.modules.pop('odometry', None)


@pytest.fixture
def frames():
    """Return images on a curved path, with recorded poses."""
    poses = [np.eye(4)]
    for index in range(NUM_FRAMES - 1):
        poses.append(poses[-1] @ se3_exp(np.array([0.1, 0, 0.05, 0, 0.1, 0.02 * (index % 3)])))
    image = np.zeros((60, 80, 3), np.uint8)
    return [SequenceFrame(i, image, T_world_camera=T) for i, T in enumerate(poses)]


def located(frames, num_located):
    """Return the poses of the first images in another frame and scale, as COLMAP gives them."""
    turn = se3_exp(np.array([3.0, 1.0, 2.0, 0.3, 0.2, 1.0]))
    poses = np.stack([turn @ frame.T_world_camera for frame in frames[:num_located]])
    poses[:, :3, 3] *= 7.0
    return Trajectory(np.arange(num_located), poses)


def test_poses_of_colmap_get_frame_and_scale_of_the_recorded_ones(
    benchmark, frames, tmp_path, monkeypatch
):
    run = benchmark.Run(located(frames, NUM_FRAMES - 1))
    monkeypatch.setattr(benchmark, 'run_colmap', lambda *_: run)

    found = benchmark.with_colmap_truth(frames, tmp_path)

    for frame, other in zip(frames[:-1], found[:-1], strict=True):
        np.testing.assert_allclose(other.T_world_camera, frame.T_world_camera, atol=1e-6)
    assert found[-1].T_world_camera is None  # COLMAP has not located it


@pytest.mark.parametrize('num_located', [None, NUM_FRAMES // 2])
def test_few_located_images_are_no_truth(benchmark, frames, tmp_path, monkeypatch, num_located):
    run = None if num_located is None else benchmark.Run(located(frames, num_located))
    monkeypatch.setattr(benchmark, 'run_colmap', lambda *_: run)

    with pytest.raises(UserError, match=f'COLMAP locates {num_located or 0} of {NUM_FRAMES}'):
        benchmark.with_colmap_truth(frames, tmp_path)


def test_without_pycolmap_the_error_names_the_package(benchmark, frames, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycolmap', None)

    with pytest.raises(UserError, match='pip install pycolmap'):
        benchmark.run_colmap(frames, tmp_path)
