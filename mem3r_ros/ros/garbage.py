# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Garbage collection of a node that must answer in time."""

from __future__ import annotations

import gc


def collect_and_freeze() -> None:
    """
    Free unused objects now, and leave the others out of the automatic collections.

    torch and rclpy have 300,000 objects. An automatic full collection looks at each of them, about
    once a minute, and stops all threads of the node for a quarter of a second. Objects that are
    left out are freed when nothing refers to them; reference cycles wait for the next call.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
