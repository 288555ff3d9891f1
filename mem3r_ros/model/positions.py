# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Rotary position embedding of rows and columns.

RoFormer (arXiv 2104.09864) on the row and column of a patch, as in CroCo v2 (arXiv 2211.10408).
"""

# N tokens, D head width

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MAX_KNOWN_GRIDS = 8  # image sizes whose tables are cached


class Positions:
    """
    Row and column of each token, and the rotation factors for each head width.

    Positions may be negative: the pose token is at (-1, -1).
    """

    def __init__(self, rows_columns: Tensor, base: float) -> None:
        """Keep positions [N, 2] (row, column); ``base`` is the rotary base."""
        self.rows_columns = rows_columns
        self._base = base
        self._tables: dict[int, tuple[Tensor, Tensor]] = {}
        self._turns: dict[int, Tensor] = {}

    def table(self, head_dim: int) -> tuple[Tensor, Tensor]:
        """
        Return the factors of each element and of its partner, [N, D] each.

        The factors of the partner are minus the sine for the first of a pair and the sine for the
        second. They are computed once per head width.
        """
        if head_dim not in self._tables:
            # Cached tables must not be inference tensors, because training may use them next.
            with torch.inference_mode(False):
                self._tables[head_dim] = self._make_table(head_dim // 4)
        return self._tables[head_dim]

    def turns(self, head_dim: int) -> Tensor:
        """Return the rotations as complex numbers, [N, D/2]: of the row, then of the column."""
        if head_dim not in self._turns:
            own, partner = self.table(head_dim)
            with torch.inference_mode(False):
                cosine = own.unflatten(1, (2, 2, -1))[:, :, 0]
                sine = partner.unflatten(1, (2, 2, -1))[:, :, 1]
                self._turns[head_dim] = torch.complex(cosine, sine).flatten(1)
        return self._turns[head_dim]

    def _make_table(self, quarter: int) -> tuple[Tensor, Tensor]:
        # In float32 on the CPU, as in the reference: a difference in the last bit can change a
        # float16 rounding in the encoder, which changes features by 1e-4.
        frequency = 1 / self._base ** (torch.arange(quarter, dtype=torch.float32) / quarter)
        angle = self.rows_columns.float().cpu()[:, :, None, None] * frequency  # [N, 2, 1, D/4]
        cosine, sine = angle.cos(), angle.sin()
        own, partner = torch.cat((cosine, cosine), dim=2), torch.cat((-sine, sine), dim=2)
        device = self.rows_columns.device
        return own.flatten(1).to(device), partner.flatten(1).to(device)


class PositionTables:
    """Positions of the tokens of one network, computed once per image size and device."""

    def __init__(self, base: float, state_size: int, state_pe: str) -> None:
        """
        Create empty caches.

        :param base: rotary base.
        :param state_pe: state tokens on a square ('2d'), on the diagonal ('1d') or nowhere.
        """
        self._base, self._state_size, self._state_pe = base, state_size, state_pe
        self._known: dict[tuple, Positions | None] = {}

    def image(
        self, grid: tuple[int, int], device: torch.device, with_pose: bool = False
    ) -> Positions:
        """Return the positions of ``grid`` = (rows, columns) patches, the pose token first."""
        return self._cached(self._make_image, grid, with_pose, device)

    def state(self, device: torch.device) -> Positions | None:
        """Return the positions of the state tokens; None if they have none."""
        return self._cached(self._make_state, device)

    def _cached(self, make: Callable[..., Positions | None], *key: object) -> Positions | None:
        if key not in self._known:
            if len(self._known) >= 2 * MAX_KNOWN_GRIDS:
                self._known.clear()
            # Not inference tensors, because training may use them next.
            with torch.inference_mode(False):
                self._known[key] = make(*key)
        return self._known[key]

    def _make_image(
        self, grid: tuple[int, int], with_pose: bool, device: torch.device
    ) -> Positions:
        rows_columns = torch.cartesian_prod(*(torch.arange(side) for side in grid))
        if with_pose:
            rows_columns = torch.cat((torch.full_like(rows_columns[:1], -1), rows_columns))
        return Positions(rows_columns.to(device), self._base)

    def _make_state(self, device: torch.device) -> Positions | None:
        if self._state_pe == 'none':
            return None
        index = torch.arange(self._state_size, device=device)
        if self._state_pe == '1d':
            return Positions(torch.stack((index, index), dim=1), self._base)
        width = int(self._state_size**0.5)
        width += width % 2  # the reference's square has an even width
        return Positions(torch.stack((index // width, index % width), dim=1), self._base)
