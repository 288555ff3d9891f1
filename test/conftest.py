# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the repository's folder, recorded data beside it, fixed seeds."""

import os
from pathlib import Path
import random
import signal
import sys

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent

# Tests run in several processes; one thread in each keeps them from fighting over the cores.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# A shell starts background programs with SIGINT ignored; programs under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope='session')
def repository_dir() -> Path:
    """Return the root of the repository."""
    return ROOT


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """Return the folder of recorded data and reference values beside the repository."""
    folder = ROOT.parent / 'shared'
    if not folder.is_dir():
        pytest.skip('needs recorded data: there is no folder "shared" beside the repository')
    return folder


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start every test from the same random numbers, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  libraries use the old generator
    torch = sys.modules.get('torch')
    if torch is not None:
        torch.manual_seed(0)
        torch.set_num_threads(1)
