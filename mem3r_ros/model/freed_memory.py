# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Freed memory is kept for the next frame instead of returned to the system.

A step of a large network on a CPU frees and takes the same hundreds of MiB in each frame, and the
node those of its messages. glibc gives large blocks back, and the system clears each page again
before its next use: about a hundred thousand page faults per frame at 512x384, a thousand per
cloud of points. The largest memory of the process is the same.
"""

from __future__ import annotations

import ctypes

# Of malloc.h: parameters of mallopt().
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEEP = {_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1}
_RETURN = {_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}  # the largest that glibc adapts to


def keep_freed_memory(keep: bool = True) -> bool:
    """
    Keep freed memory in this process, or return it again.

    :return: whether the C library of this system can do that.
    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return False
    values = _KEEP if keep else _RETURN
    return all(mallopt(name, value) for name, value in values.items())
