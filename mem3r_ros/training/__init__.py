# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Training: recipes, clip sources, losses, the loop, and what it writes."""

from mem3r_ros.training.config import TrainConfig
from mem3r_ros.training.trainer import Trainer

__all__ = ['TrainConfig', 'Trainer']
