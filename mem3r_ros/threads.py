# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
CPU threads on a machine that other programs share.

OpenMP threads that wait for each other spin by default: they occupy a core and compute nothing.
Beside other busy programs the thread with work then waits for a core that a waiting thread holds.
Here waiting threads sleep, and there are no more threads than idle cores. The matrices of numpy
are small in this package, so its own pool of threads would only wait: it gets one thread.
"""

from __future__ import annotations

from collections.abc import MutableMapping
import math
import os
from pathlib import Path
import sys
import time

_CPU_QUOTA = Path('/sys/fs/cgroup/cpu.max')  # of a container: 'quota period' or 'max period'
_SAMPLE_S = 0.1
_SWITCH_S = 0.0002  # measured with benchmarks/node_rate.py
# Read by libgomp, libiomp, OpenCV's pool and numpy's OpenBLAS when they are loaded.
_ENVIRONMENT = {
    'OMP_WAIT_POLICY': 'PASSIVE',
    'OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER': '0',
    'OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN': '0',
    'OPENBLAS_NUM_THREADS': '1',
}


def set_thread_variables(environment: MutableMapping[str, str] = os.environ) -> None:
    """
    Let threads that wait sleep, and numpy compute in one thread.

    A variable that the user has set keeps its value. Has an effect only before torch, OpenCV and
    numpy are imported.
    """
    for name, value in _ENVIRONMENT.items():
        environment.setdefault(name, value)


def share_interpreter() -> None:
    """
    Let a thread that waits for the interpreter run after 0.2 ms instead of 5 ms.

    The two halves of a frame, and the threads of ROS, take the interpreter many times per image.
    Python's 5 ms at each of them would add up. For processes of this package alone.
    """
    sys.setswitchinterval(_SWITCH_S)


def usable_cores() -> int:
    """Return how many cores this process may use: by its affinity and its container's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _CPU_QUOTA.read_text(encoding='ascii').split()
        return max(1, min(cores, math.floor(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores  # no container, or one without a quota


def idle_cores(sample_s: float = _SAMPLE_S) -> float:
    """Return how many of the usable cores no program uses, sampled over ``sample_s`` seconds."""
    import psutil

    usable = os.sched_getaffinity(0)
    psutil.cpu_percent(percpu=True)
    time.sleep(sample_s)
    busy = psutil.cpu_percent(percpu=True)
    return sum(1.0 - busy[core] / 100.0 for core in usable if core < len(busy))


def choose_num_threads(requested: int) -> int:
    """
    Return the number of compute threads.

    :param requested: a number, or 0 for as many as there are idle cores, at least one.
    """
    return requested or max(1, min(usable_cores(), round(idle_cores())))


def runs_in_parallel(is_wanted: bool) -> bool:
    """Return whether a frame is finished beside the next one: if wanted, and with two cores."""
    return is_wanted and usable_cores() > 1


def use_num_threads(number: int) -> None:
    """Set the pools of torch and OpenCV to ``number``."""
    import cv2
    import torch

    torch.set_num_threads(number)
    cv2.setNumThreads(number)
