# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Metadata of dataclass fields: how a snapshot of the state treats them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NOT_PACKED: Final[Mapping[str, bool]] = {'is_packed': False}  # another stage saves it, or none
ADDED: Final[Mapping[str, bool]] = {'is_added': True}  # older snapshots do not have them
