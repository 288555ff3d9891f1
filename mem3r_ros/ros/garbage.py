# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Garbage collection of a node that must answer in time."""

from __future__ import annotations

import gc


def collect_and_freeze() -> None:
    """
    Free unused objects now, and leave the others out of the automatic collections.

    torch and rclpy have hundreds of thousands of objects. An automatic full collection visits each
    of them, and all threads of the node wait meanwhile: longer than an image takes. Objects that
    are left out are freed when nothing refers to them; reference cycles wait for the next call.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
