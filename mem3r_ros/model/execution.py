# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How the step of a network runs: directly, recorded, or compiled and recorded."""

from __future__ import annotations

import logging

import torch
from torch import nn

from mem3r_ros.errors import UserError
from mem3r_ros.model.dense_heads import DptHead
from mem3r_ros.model.layers import DecoderBlock, EncoderBlock, ModulatedBlock
from mem3r_ros.model.network import Mem3R
from mem3r_ros.model.recorded_step import RecordedStep
from mem3r_ros.model.speedups import arithmetic_of
from mem3r_ros.model.static_step import StaticStep

logger = logging.getLogger(__name__)

Network = Mem3R | StaticStep | RecordedStep
_COMPILED = (EncoderBlock, DecoderBlock, ModulatedBlock, DptHead)


def prepared_for(execution: str, model: Mem3R) -> Network:
    """
    Return the network ready to run in the way of the setting.

    :param execution: auto, eager, graph or compile.
    :raises UserError: the network has two-view geometry and must be recorded.
    """
    is_on_gpu = model.device.type == 'cuda'
    if execution == 'auto' and _is_small_on_cpu(model):
        return RecordedStep(model)
    if execution == 'auto':
        execution = 'graph' if is_on_gpu and model.front_end is None else 'eager'
    if execution == 'eager':
        return model
    if model.front_end is not None:
        raise UserError(
            f'execution is {execution!r}, but the optical flow of this network runs on the host; '
            f'set execution to eager'
        )
    if execution == 'compile':
        compile_blocks(model)
        # On a CPU a recording only adds copies.
        return StaticStep(model) if is_on_gpu else model
    return StaticStep(model)


def compile_blocks(model: nn.Module) -> None:
    """
    Compile transformer blocks and dense heads in place.

    Blocks of one class share their code, so a network of 60 blocks compiles in the time of a few.
    """
    found = [part for part in model.modules() if isinstance(part, _COMPILED)]
    for part in found:
        part.compile(dynamic=False)
    logger.info('%d blocks are compiled at the first image of each size', len(found))


def _is_small_on_cpu(model: Mem3R) -> bool:
    """Return whether a network is one of those whose operations are short."""
    is_plain = model.dtype == torch.float32 and arithmetic_of(model) == 'float32'
    return model.front_end is not None and model.device.type == 'cpu' and is_plain
