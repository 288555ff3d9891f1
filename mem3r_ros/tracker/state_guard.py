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


def flaw_of_state(state: Any) -> str:
    """
    Return why a state of the network must not be kept; empty if it may be.

    One number is brought to the host, however many tensors there are.
    """
    values = [tensor for tensor in state.to_dict().values() if tensor.is_floating_point()]
    largest = [tensor.detach().abs().amax().float() for tensor in values if tensor.numel()]
    if not largest:
        return ''
    # amax passes NaN on, so that the comparison fails for it.
    highest = float(torch.stack(largest).amax())
    if highest <= MAX_STATE_VALUE:
        return ''
    if not np.isfinite(highest):
        return 'network gave no finite memory'
    return f'network gave a memory with values up to {highest:.3g}'
