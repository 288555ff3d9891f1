# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A chunk of frames through the network: the unit of truncated back-propagation."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mem3r_ros.model import FrameInput, Prediction, State, update_rule
from mem3r_ros.training.batch import Batch
from mem3r_ros.training.config import LossConfig
from mem3r_ros.training.losses import chunk_target, loss_terms, total_loss


class ChunkLoss(nn.Module):
    """
    Runs the frames of a chunk in order and returns their loss.

    The gradient passes from frame to frame through the tokens and through the fast-weight update
    (meta-gradient). This is a module so that DistributedDataParallel can wrap it.
    """

    def __init__(
        self, model: nn.Module, rule: str, use_bf16: bool = False, use_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self._rule = update_rule(rule)
        self._use_bf16, self._use_checkpointing = use_bf16, use_checkpointing

    def forward(
        self, batch: Batch, state: State | None, start: int, stop: int, losses: LossConfig
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        """
        Run frames ``start`` to ``stop`` (exclusive).

        :param state: state after the previous chunk; None begins the clips, and the gradient
            reaches the initial values of the memories.
        :return: the loss, its unweighted terms and the state after the last frame (detached).
        """
        predictions = []
        if state is None:
            state = self.model.initial_state(batch.batch_size)
        with self._precision(batch):
            for index in range(start, stop):
                prediction, state = self._step(frame_input(batch, index), state)
                predictions.append(prediction)
        terms = loss_terms(predictions, chunk_target(batch, start, stop), losses)
        detached = {name: value.detach() for name, value in terms.items()}
        return total_loss(terms, losses), detached, state.detach()

    def _step(self, frame: FrameInput, state: State) -> tuple[Prediction, State]:
        if not self._use_checkpointing:
            return self.model.step(frame, state, self._rule)
        return checkpoint(self.model.step, frame, state, self._rule, use_reentrant=False)

    def _precision(self, batch: Batch) -> contextlib.AbstractContextManager:
        if self._use_bf16:
            return torch.autocast(batch.image.device.type, torch.bfloat16)
        return contextlib.nullcontext()


def frame_input(batch: Batch, index: int) -> FrameInput:
    """Return one frame of a batch as the network takes it."""
    if batch.is_by_rays and batch.is_by_rays[index]:
        return FrameInput(ray_map=batch.ray_map(index))
    return FrameInput(
        image=batch.network_image(index),
        intrinsics=batch.intrinsics if batch.is_focal_known else None,
        flow=None if batch.flow is None else batch.flow[index],
    )
