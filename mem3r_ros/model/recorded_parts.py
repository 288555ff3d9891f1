# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The parts of a small network as recorded programs, for predictions on a CPU.

Between two operations of a part Python waits for the lock of the interpreter, which the thread
that finishes the last frame may hold. A recorded part needs it once. Results are equal bit by bit.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mem3r_ros.model.decoder import Decoded, DualDecoder
from mem3r_ros.model.dense_heads import DptHead
from mem3r_ros.model.encoder import Encoder
from mem3r_ros.model.network import Mem3R
from mem3r_ros.model.positions import Positions
from mem3r_ros.two_view.recorded import Recorded


def record_parts(model: Mem3R) -> None:
    """Record encoder, decoder, dense head and geometry of a network with two-view geometry."""
    model.requires_grad_(False)
    model.front_end.record()
    _record_encoder(model.image_encoder)
    _record_decoder(model.decoder)
    if isinstance(model.predictor.camera_head, DptHead):
        _record_head(model.predictor.camera_head)


def _record_encoder(encoder: Encoder) -> None:
    original = encoder.forward

    def of_tensors(image: Tensor, positions: Positions) -> tuple[Tensor, ...]:
        features, finer = original(image, positions)
        return (features, *finer)

    recorded = Recorded(of_tensors)

    def forward(image: Tensor, positions: Positions) -> tuple[Tensor, list[Tensor]]:
        features, *finer = recorded(image, fixed=(positions,))
        return features, finer

    _replace(encoder, forward)


def _record_decoder(decoder: DualDecoder) -> None:
    original: Any = decoder.forward

    num_layers = len(decoder.state_blocks)

    def of_tensors(*arguments: Any) -> tuple[Tensor, ...]:
        *usual, kind = arguments
        observer = kind() if kind else None
        pose_token, image_tokens, levels, candidate = original(*usual, observer)
        totals = (observer.total[0],) if observer else ()
        return (pose_token, image_tokens, *levels, candidate, *totals)

    recorded = Recorded(of_tensors)

    def forward(
        prior_pose_token: Tensor,
        features: Tensor,
        state: Tensor,
        image_positions: Positions,
        state_positions: Positions | None,
        observer: Any = None,
    ) -> Decoded:
        fixed = (image_positions, state_positions, type(observer) if observer else None)
        found = recorded(prior_pose_token, features, state, fixed=fixed)
        pose_token, image_tokens, half, three_quarters, candidate, *totals = found
        if observer:
            observer.take(totals[0], num_layers)
        return Decoded(pose_token, image_tokens, (half, three_quarters), candidate)

    _replace(decoder, forward)


def _record_head(head: DptHead) -> None:
    original = head.forward

    def of_tensors(*parts: Any) -> tuple[Tensor, ...]:
        *tensors, num_levels, grid = parts
        return (original(tuple(tensors[:num_levels]), tensors[num_levels:], grid),)

    recorded = Recorded(of_tensors)

    def forward(levels: tuple[Tensor, ...], finer: list[Tensor], grid: tuple[int, int]) -> Tensor:
        return recorded(*levels, *finer, fixed=(len(levels), grid))[0]

    _replace(head, forward)


def _replace(module: nn.Module, forward: Any) -> None:
    """Let a module run another forward; its hooks stay."""
    module.forward = forward
