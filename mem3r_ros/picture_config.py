# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Limits of the pictures that are read."""

from __future__ import annotations

from mem3r_ros.config import setting, settings


@settings
class PictureConfig:
    """Which pictures are decoded."""

    # The largest phone cameras have 48 million pixels.
    max_pixels: int = setting(
        50_000_000,
        'a compressed image, picture file or video with more pixels is refused by its header, '
        'before it is decoded',
        low=1,
        high=2**30,
        unit='px',
    )
