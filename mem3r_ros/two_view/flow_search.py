# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The optical flow of one stream on threads of its own: both directions at the same time.

A frame's flow needs its image and the memory of the stream only, so it is searched while the
image is checked. The result is that of :func:`mem3r_ros.two_view.optical_flow.checked_flow`.
"""

# H x W pixels

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from mem3r_ros.two_view.optical_flow import (
    backward_flow,
    enlarged,
    gray_from_image,
    optical_flow,
    with_error,
)
from mem3r_ros.two_view.stream_memory import MotionState


class PendingFlow:
    """The flow of one frame, which is searched."""

    def __init__(self, memory: MotionState, forward: Future, backward: Future) -> None:
        """Wait for both directions; ``memory`` is that of the stream before the frame."""
        self.memory = memory
        self._forward, self._backward = forward, backward

    def result(self) -> Tensor:
        """Return the flow and its forward-backward error, px, [1, 3, H, W]."""
        flow = with_error(self._forward.result(), self._backward.result())
        return torch.from_numpy(flow)[None].permute(0, 3, 1, 2)


class FlowSearch:
    """Searches the flow of the frames of one stream."""

    def __init__(self, flow_scale: int) -> None:
        """
        Start the threads with the first frame.

        :param flow_scale: size of the images on which flow is measured, over that of the network.
        """
        self._flow_scale = flow_scale
        self._threads = ThreadPoolExecutor(2, 'flow')

    def start(
        self, image: Tensor, fine_gray: Tensor | None, memory: MotionState | None
    ) -> PendingFlow | None:
        """
        Start the search of one frame.

        :param image: [1, 3, H, W] in [-1, 1].
        :param fine_gray: [1, kH, kW] uint8, k = flow_scale; None = ``image``, enlarged.
        :param memory: of the stream before the frame.
        :return: None if there is no previous frame of the same size.
        """
        size = (image.shape[-1], image.shape[-2])
        if memory is None or memory.image_size != size or not bool(memory.has_previous.all()):
            return None
        gray = gray_from_image(image)
        previous, now = memory.previous_gray[0].numpy(), gray[0].numpy()
        before = memory.previous_flow[0].permute(1, 2, 0).float().numpy()
        fine = enlarged(gray, self._flow_scale) if fine_gray is None else fine_gray
        pair = None if fine is None else (memory.previous_fine[0].numpy(), fine[0].numpy())
        return PendingFlow(
            memory,
            self._threads.submit(optical_flow, previous, now, before, pair),
            self._threads.submit(backward_flow, previous, now),
        )
