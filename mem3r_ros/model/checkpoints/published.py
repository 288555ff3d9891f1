# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Published weights of these networks: sources and licences."""

from __future__ import annotations

from dataclasses import dataclass

CUT3R_LICENCE = (
    'CUT3R weights are under CC BY-NC-SA 4.0: not for commercial use, share alike, credit the '
    'authors (https://creativecommons.org/licenses/by-nc-sa/4.0)'
)


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """A file on Google Drive, linked by its authors."""

    preset: str
    file_name: str
    drive_id: str
    num_bytes: int | None = None
    # Computed from the public file; the authors state none.
    sha256: str | None = None
    licence: str = CUT3R_LICENCE

    @property
    def page(self) -> str:
        """Web page of the file."""
        return f'https://drive.google.com/file/d/{self.drive_id}/view'


# From the README of https://github.com/CUT3R/CUT3R.
PUBLISHED_WEIGHTS = {
    weights.preset: weights
    for weights in (
        PublishedWeights(
            'cut3r-512-dpt', 'cut3r_512_dpt_4_64.pth', '1Asz-ZB3FfpzZYwunhQvNPZEUA8XUNAYD'
        ),
        PublishedWeights(
            'cut3r-224-linear',
            'cut3r_224_linear_4.pth',
            '11dAgFkWHpaOHsR6iuitlB_v4NFFBrWjy',
            num_bytes=2_994_205_002,
            sha256='7a7d83e47f822e040980c8f5aff4c15aa94366d469d3ceae51fa30cc2f62327d',
        ),
    )
}
