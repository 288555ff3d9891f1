# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Covariance: the fit to ground truth, and consistency by the NEES."""

from dataclasses import replace
import re
import subprocess
import sys

import numpy as np
from oracle import OracleNetwork, moving_scene, run
import pytest

from mem3r_ros.cli import main as cli
from mem3r_ros.config import load_yaml
from mem3r_ros.evaluation import covariance_fit
from mem3r_ros.geometry import se3_exp, so3_log
from mem3r_ros.tracker import Tracker, TrackerConfig
from mem3r_ros.tracker.config import CovarianceConfig, ScaleConfig
from mem3r_ros.tracker.uncertainty import (
    MAX_POSITION_VARIANCE,
    coasting_covariance,
    increment_covariance,
    limited,
)

NOISE = 0.004
SCENE = moving_scene(200)


class IncrementNoise(OracleNetwork):
    """An oracle with errors of increments, which accumulate."""

    def _answer(self, start, is_poisoned):
        from mem3r_ros.geometry import invert, se3_exp

        T = self._origin(start)
        for index in range(start, self.now):
            random = np.random.default_rng([index, self.seed])
            T = T @ invert(self.scene.T_world_camera[index]) @ self.scene.T_world_camera[index + 1]
            T = T @ se3_exp(random.normal(0, NOISE, 6))
        return T, self.scene.depth[self.now], 3.0


def noisy(seed):
    oracle = IncrementNoise(SCENE)
    oracle.seed = seed
    return oracle


def shown(oracle, num_frames):
    """Yield frames of the scene, and set the index of the oracle."""
    for index in range(num_frames):
        oracle.now = index
        yield SCENE.frame(index)


def known():
    """Return settings with exactly the noise of the oracle."""
    covariance = CovarianceConfig(
        position_floor_m=NOISE,
        position_share=0.0,
        rotation_floor_rad=NOISE,
        rotation_share=0.0,
        correlation=1.0,
    )
    scale = ScaleConfig(source='fixed', factor=1.0)
    return TrackerConfig(covariance=covariance, scale=scale)


def test_published_covariance_is_consistent_with_known_noise():
    nees = []
    for seed in range(12):
        oracle = noisy(seed)
        tracked = run(Tracker(oracle, known()), oracle, range(40), {'confidence'})[-1]
        truth = SCENE.T_odom_camera(39)
        wrong = np.concatenate(
            [
                tracked.T_odom_camera[:3, 3] - truth[:3, 3],
                so3_log(tracked.T_odom_camera[:3, :3] @ truth[:3, :3].T),
            ]
        )
        nees.append(wrong @ np.linalg.solve(tracked.covariance, wrong))

    assert 3.5 < np.mean(nees) < 9.5


def test_fit_recovers_the_noise_and_gives_a_consistent_covariance():
    oracle = noisy(1)
    tracker = Tracker(oracle)
    truth = SCENE.T_world_camera[:150]
    data = [covariance_fit.collect(tracker, shown(oracle, 150), truth, 'noisy')]
    wrong = CovarianceConfig(position_floor_m=0.2, rotation_floor_rad=0.2)

    fitted = covariance_fit.fit(data, wrong)

    total = np.hypot(fitted.position_floor_m, fitted.position_share * 0.05)
    assert total == pytest.approx(NOISE, rel=0.25)
    assert fitted.correlation < 2.0
    assert 4.0 < covariance_fit.window_nees(data[0], fitted, 0.0).mean() < 8.0
    assert covariance_fit.window_nees(data[0], wrong, 0.0).mean() < 1.0
    assert 'NEES' in covariance_fit.report(data, {'fitted': fitted})


def test_fit_separates_the_scale_error_from_other_errors():
    oracle = OracleNetwork(SCENE, unit=lambda start: 1.3, pose_noise=1e-3)
    tracker = Tracker(oracle)

    truth = SCENE.T_world_camera[:100]
    data = [covariance_fit.collect(tracker, shown(oracle, 100), truth, 'small')]

    fitted = covariance_fit.fit(data)

    assert fitted.model_scale_spread == pytest.approx(np.log(1.3), rel=0.05)
    assert fitted.position_share < 0.1


def test_fit_refuses_too_few_true_poses():
    oracle = OracleNetwork(SCENE)
    with pytest.raises(ValueError, match='5 are needed'):
        covariance_fit.collect(Tracker(oracle), [SCENE.frame(0)], [None], 'empty')


def test_covariance_grows_with_motion_flaws_and_low_confidence():
    config, step, far = CovarianceConfig(), np.eye(4), np.eye(4)
    far[0, 3] = 0.5

    usual = np.trace(increment_covariance(step, 1.0, False, config))

    assert np.trace(increment_covariance(far, 1.0, False, config)) > usual
    assert np.trace(increment_covariance(step, 0.4, False, config)) > usual
    assert np.trace(increment_covariance(step, 1.0, True, config)) > usual
    assert np.trace(increment_covariance(step, float('nan'), False, config)) == usual


def test_covariance_includes_tiny_rotations():
    config = CovarianceConfig(rotation_floor_rad=1e-6, rotation_share=10.0, correlation=1.0)
    increment = se3_exp(np.array([0.0, 0.0, 0.0, 1e-8, 0.0, 0.0]))

    covariance = increment_covariance(increment, 1.0, False, config)

    assert covariance[3, 3] == pytest.approx(1e-6**2 + 1e-7**2, rel=1e-4, abs=0.0)


def test_scale_uncertainty_adds_position_variance_along_the_path():
    oracle = OracleNetwork(SCENE)
    config = replace(known(), scale=ScaleConfig())

    tracked = run(Tracker(oracle, config), oracle, range(30))[-1]

    path = tracked.T_odom_camera[:3, 3]
    along = path / np.linalg.norm(path)
    sigma = np.sqrt(along @ tracked.covariance[:3, :3] @ along)
    spread = config.covariance.model_scale_spread
    assert sigma == pytest.approx(spread * np.linalg.norm(path), rel=0.2)


def test_coasting_covariance_grows_with_time_squared():
    once = coasting_covariance(1.0, 0.5, 0.0, 1.0)
    halves = coasting_covariance(1.0, 0.5, 0.0, 0.5) + coasting_covariance(1.0, 0.5, 0.5, 1.0)

    assert np.allclose(once, halves)
    assert coasting_covariance(1.0, 0.5, 0.0, 2.0)[0, 0] == pytest.approx(4 * once[0, 0])


def test_limited_covariance_is_positive_and_keeps_its_correlations():
    random = np.random.default_rng(0).normal(size=(6, 6))
    huge = random @ random.T * 1e8

    small = limited(huge)

    assert np.diag(small)[:3].max() <= MAX_POSITION_VARIANCE * (1 + 1e-9)
    assert np.linalg.eigvalsh(small).min() > 0
    correlation = huge[0, 1] / np.sqrt(huge[0, 0] * huge[1, 1])
    assert small[0, 1] / np.sqrt(small[0, 0] * small[1, 1]) == pytest.approx(correlation)


def test_the_command_prints_the_nees_before_and_after_and_writes_the_settings(capsys, tmp_path):
    output = tmp_path / 'covariance.yaml'

    code = cli.main(['fit-covariance', '--worlds', '1', '--output', str(output)])

    printed = capsys.readouterr().out
    assert code == 0
    assert '| rendered 0 |' in printed and '| before |' in printed and '| fitted |' in printed
    mean = re.search('mean of the sequences: ([0-9.]+) before, ([0-9.]+) fitted', printed)
    assert 0.8 < float(mean[2]) < 1.3
    assert 'true scale within the stated 95 % interval, of 1: 1 before' in printed
    assert load_yaml(CovarianceConfig, output) != CovarianceConfig()


def test_the_command_reports_an_error_in_one_line(capsys, tmp_path):
    missing = ['fit-covariance', str(tmp_path / 'nothing'), '--model', str(tmp_path / 'none')]

    for words in (['fit-covariance'], missing):
        assert cli.main(words) == 2
        assert capsys.readouterr().err.count('\n') == 1


def test_the_former_name_of_the_command_forwards_to_it():
    program = [sys.executable, '-m', 'mem3r_ros.tracker.calibration']

    result = subprocess.run(program, capture_output=True, text=True)

    assert result.returncode == 2
    assert 'note: this command is now mem3r fit-covariance' in result.stderr
    assert 'there is nothing to fit' in result.stderr


def test_a_fit_scales_what_the_window_states_to_the_errors():
    random = np.random.default_rng(0)
    true = np.stack([se3_exp(np.array([0.02, 0, 0, 0, 0.01, 0]))] * 300)
    measured = np.stack([T @ se3_exp(random.normal(0, 0.01, 6)) for T in true])
    data = covariance_fit.Increments(
        'noise',
        measured,
        true,
        np.full(300, 1.0),
        np.zeros(300, bool),
        np.full(300, 0.1),
        np.stack([np.eye(6) * 1e-6] * 300),
    )

    fitted = covariance_fit.fit([data])

    nees = covariance_fit.window_nees(data.scaled(), fitted, 1.0).mean()
    assert 4.0 < nees < 8.0
    assert fitted.position_share == CovarianceConfig().position_share
    assert fitted.window_factor > 1.5 * CovarianceConfig().window_factor
