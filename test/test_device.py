# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Nothing meets on two devices: seen on a pretended one where there is no GPU."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import pytest
from torch.utils import backend_registration

SCRIPT = Path(__file__).parent / 'pretended_device.py'


@pytest.mark.skipif(
    not hasattr(backend_registration, '_setup_privateuseone_for_python_backend'),
    reason='this torch cannot pretend a device',
)
def test_network_tracker_and_training_on_another_device_give_what_they_give_on_the_cpu():
    # In a process of its own: the device stays known to torch, and its interface is experimental.
    run = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=300, check=False
    )

    assert run.returncode == 0, run.stderr[-3000:]
    differences = dict(line.split() for line in run.stdout.splitlines())
    assert set(differences) == {'rules', 'tracker', 'update'}
    assert all(float(value) < 1e-4 for value in differences.values()), differences
