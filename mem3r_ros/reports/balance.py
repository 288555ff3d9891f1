# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What became of each image of a run: promised, read, tracked, with a pose; and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Balance:
    """Numbers of images from the recording to the trajectory, each at most the one before."""

    promised: int | None  # number stated by the recording; None: not stated
    found: int  # images that are there, damaged ones included
    read: int  # decoded and given to the tracker
    tracked: int  # answered with a status
    posed: int  # with a line in the trajectory
    published: int | None = None  # with odometry on its topic; None: not a run of the node
    is_interrupted: bool = False  # by the user, before the end of the recording
    refused: Mapping[str, int] = field(default_factory=dict)  # reason -> number, of all stages

    @property
    def is_even(self) -> bool:
        """Whether each image that was promised has a pose."""
        return self.promised in (None, self.posed) and self.found == self.posed

    def line(self) -> str:
        """Return the numbers as one line."""
        promised = '' if self.promised is None else f'{self.promised} promised, '
        published = '' if self.published is None else f', {self.published} published'
        return (
            f'{promised}{self.found} found, {self.read} read, '
            f'{self.tracked} tracked, {self.posed} with a pose{published}'
        )

    def sentences(self) -> list[str]:
        """Return what is missing and has no reason among the refused ones."""
        found = []
        if self.is_interrupted:
            found.append(f'The run was interrupted after {self.found} images.')
        elif self.promised is not None and self.found < self.promised:
            found.append(
                f'The recording promises {self.promised} images, {self.found} are there: '
                'it was cut off, or its counts are wrong.'
            )
        if self.posed < self.tracked:
            found.append(
                f'{self.tracked - self.posed} of {self.tracked} tracked images have no pose.'
            )
        return found
