# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Nothing meets on two devices: seen on a GPU, and on a pretended one where there is none."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import pytest
import torch
from torch.utils import backend_registration

SCRIPT = Path(__file__).parent / 'pretended_device.py'
CAN_PRETEND = hasattr(backend_registration, '_setup_privateuseone_for_python_backend')


@pytest.mark.timeout(1800)  # a busy machine takes minutes
@pytest.mark.parametrize(
    'device, largest_difference',
    [
        pytest.param(
            'pretended',
            1e-4,
            marks=pytest.mark.skipif(not CAN_PRETEND, reason='this torch cannot pretend a device'),
        ),
        pytest.param(
            'cuda',
            2e-3,  # other orders of summation
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU here'),
        ),
    ],
)
def test_network_tracker_and_training_on_another_device_give_what_they_give_on_the_cpu(
    device, largest_difference
):
    # In a process of its own: the device stays known to torch, and its interface is experimental.
    command = [sys.executable, str(SCRIPT), device]
    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr[-3000:]
    differences = dict(line.split() for line in run.stdout.splitlines())
    # With more than one wait in a frame the device would be idle in between.
    assert float(differences.pop('waits')) <= 1
    assert set(differences) == {'rules', 'tracker', 'recorded', 'update'}
    assert all(float(value) < largest_difference for value in differences.values()), differences
