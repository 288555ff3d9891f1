# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Cholesky factors of the blocks of all landmarks at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class BlockRoots:
    """Cholesky factors of symmetric 3x3 matrices, [N] each."""

    l00: np.ndarray
    l10: np.ndarray
    l20: np.ndarray
    l11: np.ndarray
    l21: np.ndarray
    l22: np.ndarray

    @classmethod
    def of(cls, h: np.ndarray, damping: float) -> BlockRoots:
        """
        Factorise matrices [3, 3, N] whose diagonals are enlarged.

        :raises numpy.linalg.LinAlgError: one is not positive definite.
        """
        grown = 1.0 + damping
        with np.errstate(invalid='ignore', divide='ignore'):
            l00 = np.sqrt(h[0, 0] * grown)
            l10, l20 = h[1, 0] / l00, h[2, 0] / l00
            l11 = np.sqrt(h[1, 1] * grown - l10 * l10)
            l21 = (h[2, 1] - l20 * l10) / l11
            l22 = np.sqrt(h[2, 2] * grown - l20 * l20 - l21 * l21)
        # What is not finite or not positive earlier reaches the last one.
        if not (l22 > 0.0).all():
            raise np.linalg.LinAlgError('the equations of a landmark are singular')
        return cls(l00, l10, l20, l11, l21, l22)

    def solve(
        self, first: np.ndarray, second: np.ndarray, third: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the solution x of L x = y, [..., N] for each component."""
        x0 = first / self.l00
        x1 = (second - self.l10 * x0) / self.l11
        return x0, x1, (third - self.l20 * x0 - self.l21 * x1) / self.l22

    def solve_transposed(
        self, first: np.ndarray, second: np.ndarray, third: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the solution x of L^T x = y, [..., N] for each component."""
        x2 = third / self.l22
        x1 = (second - self.l21 * x2) / self.l11
        return (first - self.l10 * x1 - self.l20 * x2) / self.l00, x1, x2
