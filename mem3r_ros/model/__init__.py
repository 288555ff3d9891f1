# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The Mem3R network and its CUT3R base: weights in a module, memory in an immutable state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mem3r_ros.names import imported_at_use

if TYPE_CHECKING:
    from mem3r_ros.model.checkpoints.load import build_model, load_model, save_checkpoint
    from mem3r_ros.model.config import ModelConfig
    from mem3r_ros.model.frame import FrameInput, Prediction
    from mem3r_ros.model.network import Mem3R
    from mem3r_ros.model.state import State
    from mem3r_ros.model.update_rules import UPDATE_RULES, UpdateRule, update_rule

__all__ = [
    'UPDATE_RULES',
    'FrameInput',
    'Mem3R',
    'ModelConfig',
    'Prediction',
    'State',
    'UpdateRule',
    'build_model',
    'load_model',
    'save_checkpoint',
    'update_rule',
]

__getattr__ = imported_at_use(
    __name__,
    {
        'UPDATE_RULES': 'update_rules',
        'FrameInput': 'frame',
        'Mem3R': 'network',
        'ModelConfig': 'config',
        'Prediction': 'frame',
        'State': 'state',
        'UpdateRule': 'update_rules',
        'build_model': 'checkpoints.load',
        'load_model': 'checkpoints.load',
        'save_checkpoint': 'checkpoints.load',
        'update_rule': 'update_rules',
    },
)
