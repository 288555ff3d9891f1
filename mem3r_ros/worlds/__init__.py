# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Procedural worlds, rendered on the fly with exact depth and pose."""

from mem3r_ros.worlds.config import WorldConfig
from mem3r_ros.worlds.renderer import Clip, render_clip

__all__ = ['Clip', 'WorldConfig', 'render_clip']
