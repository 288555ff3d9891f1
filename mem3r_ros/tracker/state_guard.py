# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Keeps numbers out of the stream that no memory recovers from: not finite, or exploding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mem3r_ros.plausible import MAX_POSITION_M

# Tokens and fast weights stay below a hundred; float16 ends at 65,504.
MAX_STATE_VALUE = 1e6


def flaw_of_pose(T_world_camera: np.ndarray) -> str:
    """Return why a pose of the network must not be used; empty if it may be."""
    if not np.isfinite(T_world_camera).all():
        return 'network gave no finite pose'
    farthest = float(np.abs(T_world_camera[:3, 3]).max())
    if farthest > MAX_POSITION_M:
        return f'network gave a pose {farthest:.3g} m away'
    # A rotation of half precision errs by a few thousandths; zeros are none.
    if abs(float(np.linalg.det(T_world_camera[:3, :3])) - 1.0) > 0.1:
        return 'network gave no rotation'
    return ''


def largest_value(state: Any) -> torch.Tensor:
    """Return the largest magnitude in a state, a tensor of one number; NaN if a value is NaN."""
    values = [tensor for tensor in state.to_dict().values() if tensor.is_floating_point()]
    # amax passes NaN on.
    largest = [tensor.detach().abs().amax().float() for tensor in values if tensor.numel()]
    return torch.stack(largest).amax() if largest else torch.zeros(())


def flaw_of_state(largest: float) -> str:
    """
    Return why a state of the network must not be kept; empty if it may be.

    :param largest: see :func:`largest_value`.
    """
    if largest <= MAX_STATE_VALUE:  # false for NaN
        return ''
    if not np.isfinite(largest):
        return 'network gave no finite memory'
    return f'network gave a memory with values up to {largest:.3g}'
