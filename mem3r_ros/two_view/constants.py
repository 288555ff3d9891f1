# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Constant tensors, copied to each device once: the host waits for such a copy to a GPU."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

_MAX_KEPT = 64


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Return the values with dtype and device of ``like``; do not write to the result."""
    return _made(values, like.dtype, like.device)


@lru_cache(_MAX_KEPT)
def _made(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # Not an inference tensor, because training may use it next.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
