# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The benchmark that repeats a run with noisy images."""

import runpy

import numpy as np
import pytest

from mem3r_ros.data.sequence import SequenceFrame


@pytest.fixture
def spread(repository_dir, monkeypatch):
    """Return what the benchmark defines."""
    folder = repository_dir / 'benchmarks'
    monkeypatch.syspath_prepend(str(folder))
    return runpy.run_path(str(folder / 'odometry_spread.py'))


def test_runs_differ_by_noise_of_one_grey_level_and_a_run_can_be_repeated(spread):
    frames = [SequenceFrame(i, np.full((60, 80, 3), 100, np.uint8)) for i in range(3)]

    first, again, other = (
        np.stack([frame.image for frame in spread['with_noise'](frames, seed)])
        for seed in (1, 1, 2)
    )

    assert (first == again).all() and (first != other).any()
    noise = first.astype(float) - 100.0
    assert noise.std() == pytest.approx(1.04, abs=0.05)  # with the rounding
    assert abs(noise.mean()) < 0.05 and not (noise[0] == noise[1]).all()


def test_noise_does_not_leave_the_range_of_an_image(spread):
    frames = [SequenceFrame(0, np.array([[[0, 255, 128]]] * 400, np.uint8))]

    image = spread['with_noise'](frames, 1)[0].image

    assert image[..., 0].max() < 10 and image[..., 1].min() > 245


def test_a_line_has_the_geometric_means_and_the_runs_above_the_limit(spread):
    line = spread['row']('drive', [(1.0, 2.0), (4.0, 2.0)])

    cells = [cell.strip() for cell in line.split('|')[1:-1]]
    assert cells == [
        'drive', '2', '2.0000', '1.0000', '4.0000', '2.0000', '2.0000', '2.0000', '1.00',
        '2.00', '1',
    ]  # fmt: skip
