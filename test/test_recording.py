# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The numbers of both networks under every rule, against the project's own recording."""

from __future__ import annotations

from agreement import Agreement
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
    agreement, num_tensors = Agreement(), 0
    for key, found in record(name, rule):
        agreement.add(key, found, recorded[key])
        num_tensors += 1

    assert agreement, agreement
    assert num_tensors == NUM_FRAMES * (len(OUTPUTS) + 2)


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
