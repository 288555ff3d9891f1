# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Depth of whole sequences and reconstructions, against cases that are computed by hand."""

import numpy as np
import pytest

from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.depth_protocol import DepthScore, PixelPairs, mean_score
from mem3r_ros.evaluation.reconstruction_error import reconstruction_error, register


def pairs(predicted, true, **settings):
    store = PixelPairs(**settings)
    store.add(np.array([predicted], np.float32), np.array([true], np.float32))
    return store


def test_metric_depth_is_scored_as_it_is():
    score = pairs([1.0, 3.0, 5.0, 9.0], [1.0, 2.0, 4.0, np.nan]).score('metric')

    assert score.num_pixels == 3
    assert score.abs_rel == pytest.approx((0 + 0.5 + 0.25) / 3)
    assert score.delta1_percent == pytest.approx(100 / 3)  # a ratio of exactly 1.25 does not count
    assert score.rmse_m == pytest.approx(np.sqrt(2 / 3))


def test_one_factor_of_least_absolute_error_serves_all_frames_of_a_sequence():
    store = PixelPairs()
    for factor in (0.5, 0.5, 0.4):  # two of three frames agree: the median ratio wins
        true = np.linspace(1.0, 3.0, 50, dtype=np.float32).reshape(5, 10)
        store.add(factor * true, true)

    score = store.score('scale')

    assert score.scale == pytest.approx(2.0, rel=1e-3)
    assert score.abs_rel == pytest.approx(0.2 / 3, rel=1e-2)


def test_factor_and_offset_move_towards_the_truth_by_a_bounded_number_of_steps():
    true = np.linspace(1.0, 3.0, 500, dtype=np.float32)[None]
    store = PixelPairs()
    store.add(true - 0.05, true)

    score = store.score('scale_shift')

    assert abs(score.shift_m) <= 0.1 + 1e-9
    assert score.abs_rel < store.score('metric').abs_rel / 3


def test_true_depth_beyond_the_limit_is_left_out_and_estimates_are_clipped():
    store = pairs([1.0, 50.0, 90.0], [1.0, 40.0, 80.0], max_depth_m=70.0)

    assert store.num_pixels == 2
    assert store.score('metric', clip_m=44.0).abs_rel == pytest.approx(0.05)


def test_depth_of_another_size_is_brought_to_the_pixels_of_the_truth():
    store = PixelPairs()
    store.add(np.full((6, 8), 2.0, np.float32), np.full((48, 64), 2.0, np.float32))

    assert store.num_pixels == 48 * 64
    assert store.score('metric').abs_rel == pytest.approx(0.0, abs=1e-6)


def test_sequences_are_averaged_by_their_number_of_pixels():
    mean = mean_score([DepthScore(0.1, 90.0, 1.0, 100), DepthScore(0.4, 60.0, 4.0, 300)])

    assert mean.abs_rel == pytest.approx(0.325)
    assert mean.num_pixels == 400


def test_nothing_to_score_is_an_error_with_a_reason():
    with pytest.raises(UserError, match='no pixel'):
        pairs([np.nan], [1.0]).score('metric')
    with pytest.raises(UserError, match='alignment'):
        pairs([1.0], [1.0]).score('median')


def plane(spacing, height, side=1.0):
    axis = np.arange(0, side + 1e-9, spacing)
    x, y = np.meshgrid(axis, axis)
    return np.stack((x.ravel(), y.ravel(), np.full(x.size, height)), axis=1)


def test_a_plane_beside_a_plane_is_as_far_as_it_is_and_has_the_same_normals():
    error = reconstruction_error(plane(0.05, 0.03), plane(0.05, 0.0), icp_threshold_m=None)

    assert error.accuracy_m == pytest.approx(0.03)
    assert error.completeness_m == pytest.approx(0.03)
    assert error.chamfer_m == pytest.approx(0.03)
    assert error.normal_consistency == pytest.approx(1.0, abs=1e-6)


def test_half_a_plane_is_accurate_but_not_complete():
    whole = plane(0.05, 0.0)
    error = reconstruction_error(whole[whole[:, 0] < 0.5], whole, icp_threshold_m=None)

    assert error.accuracy_m == pytest.approx(0.0, abs=1e-12)
    assert error.completeness_m > 0.1


def test_registration_undoes_a_small_motion():
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (3000, 3))
    angle = 0.01
    R = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )

    moved = register(truth @ R.T + 0.005, truth, 0.1)

    assert np.abs(moved - truth).max() < 1e-4


def test_an_empty_cloud_is_refused():
    with pytest.raises(UserError, match='estimated cloud has 0'):
        reconstruction_error(np.full((9, 3), np.nan), plane(0.5, 0.0))
