# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Weights to start from, and what of them may be missing."""

from __future__ import annotations

from torch import nn

from mem3r_ros.errors import UserError
from mem3r_ros.model import load_model


def start_weights(model: nn.Module, source: str, is_partial: bool) -> list[str]:
    """
    Copy the weights of a checkpoint whose names and shapes fit.

    From CUT3R to Mem3R everything but the pose memory is taken over; the query projection of
    the fast weights is CUT3R's ``pose_retriever.proj_q`` and keeps its name.

    :param source: anything load_model takes.
    :param is_partial: whether modules that the checkpoint lacks may start fresh.
    :return: the names that start fresh.
    :raises UserError: something is missing and ``is_partial`` is false, or nothing fits.
    """
    given = load_model(source).state_dict()
    own = model.state_dict()
    fitting = {
        name: value
        for name, value in given.items()
        if name in own and own[name].shape == value.shape
    }
    fresh = sorted(set(own) - set(fitting))
    if not fitting:
        raise UserError(f'no weight of {source} fits the model; choose the preset it was made for')
    if fresh and not is_partial:
        raise UserError(
            f'{source} lacks {len(fresh)} weights of the model ({", ".join(fresh[:3])}, ...); '
            'set is_partial_start: true to train those from scratch'
        )
    model.load_state_dict(fitting, strict=False)
    return fresh
