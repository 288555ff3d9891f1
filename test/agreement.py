# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Decide whether a run of the network agrees with recorded numbers, on any processor.

The image encoder rounds queries and keys to float16. Matrix kernels of another processor sum in
another order, and single values then round the other way: a few outputs exceed the tolerance,
most do not. A mistake in the network moves many values, or some of them far. So the distribution
of the errors is judged, not the worst value alone.
"""

from __future__ import annotations

import torch

SHARE_WITHIN_TOLERANCE = 0.999
WORST_ERROR = 10.0  # tolerances


class Agreement:
    """The errors of one case in units of the tolerance ``absolute + relative * |expected|``."""

    def __init__(self, absolute: float = 1e-4, relative: float = 1e-3) -> None:
        """Start without values."""
        self._absolute, self._relative = absolute, relative
        self._errors: dict[str, list[torch.Tensor]] = {}

    def add(self, name: str, found: torch.Tensor, expected: torch.Tensor) -> None:
        """Compare the values of one tensor; NaN counts as infinitely wrong."""
        assert found.shape == expected.shape, f'{name}: {found.shape}, not {expected.shape}'
        tolerance = self._absolute + self._relative * expected.abs()
        errors = ((found.detach() - expected).abs() / tolerance).flatten()
        self._errors.setdefault(name, []).append(errors.nan_to_num(nan=torch.inf))

    @property
    def num_values(self) -> int:
        """Number of values compared."""
        return len(self._all())

    @property
    def worst(self) -> float:
        """The largest error, in tolerances."""
        return float(self._all().max())

    @property
    def share_within_tolerance(self) -> float:
        """Share of the values that are off by at most one tolerance."""
        return float((self._all() <= 1).double().mean())

    def __bool__(self) -> bool:
        """Return whether 99.9 % of the values are within 1 tolerance and all are within 10."""
        return self.share_within_tolerance >= SHARE_WITHIN_TOLERANCE and self.worst <= WORST_ERROR

    def __repr__(self) -> str:
        """Describe the distribution of the errors and the tensor with the largest one."""
        worst = max(self._errors, key=lambda name: max(float(e.max()) for e in self._errors[name]))
        return (
            f'{self.share_within_tolerance:.4%} of {self.num_values} values within the tolerance,'
            f' worst off by {self.worst:.3g} tolerances in {worst}'
        )

    def _all(self) -> torch.Tensor:
        return torch.cat([errors for parts in self._errors.values() for errors in parts])
