# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The numbers of both networks under every rule, against the project's own recording."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file
from small_recording import FILE, NETWORKS, NUM_FRAMES, OUTPUTS, record
from tiny_networks import RULES


@pytest.fixture(scope='module')
def recorded(request):
    return load_file(request.getfixturevalue('repository_dir') / FILE)


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize('name', NETWORKS)
def test_every_frame_gives_the_recorded_numbers(recorded, name, rule):
    errors = {
        key: float(((found - recorded[key]).abs() / (1e-4 + 1e-3 * recorded[key].abs())).max())
        for key, found in record(name, rule)
    }

    worst = max(errors, key=errors.get)
    assert len(errors) == NUM_FRAMES * (len(OUTPUTS) + 2)
    assert errors[worst] <= 1, f'{worst} is off by {errors[worst]:.2g} tolerances'


def test_rules_and_networks_give_different_numbers(recorded):
    last = f'{NUM_FRAMES - 1}/points_camera'
    kept = [recorded[f'{name}/{rule}/{last}'] for name in NETWORKS for rule in RULES]

    assert all(
        float((one - other).abs().max()) > 1e-3
        for index, one in enumerate(kept)
        for other in kept[:index]
    )


def test_the_recording_is_small(repository_dir):
    assert (repository_dir / FILE).stat().st_size < 300_000
