# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The optical flow of one stream, both directions at the same time.

A frame's flow needs its image and the memory of the stream only, so it is searched while the
image is checked. The result is that of :func:`mem3r_ros.two_view.optical_flow.checked_flow`.
"""

# H x W pixels

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple
import weakref

import numpy as np
import torch
from torch import Tensor

from mem3r_ros.helper_threads import HelperThreads, Job
from mem3r_ros.two_view.optical_flow import (
    backward_flow,
    enlarged,
    gray_from_image,
    optical_flow,
    with_error,
)
from mem3r_ros.two_view.stream_memory import MotionState


class SeenFrame(NamedTuple):
    """What the search needs of the frame before."""

    gray: np.ndarray  # [H, W] uint8
    fine: np.ndarray | None  # [kH, kW] uint8
    flow: np.ndarray  # [H, W, 2] px, to the frame before it


class PendingFlow:
    """The flow of one frame, which is searched."""

    def __init__(
        self,
        memory: MotionState,
        gray: np.ndarray,
        fine: np.ndarray | None,
        searches: tuple[Callable[[], np.ndarray], Job[np.ndarray]] | None,
    ) -> None:
        """
        Wait for both directions.

        :param memory: of the stream before the frame.
        :param searches: forward and backward; None: there is no previous frame.
        """
        self.memory = memory
        self._gray, self._fine, self._searches = gray, fine, searches
        self._forward: np.ndarray | None = None
        self._found: np.ndarray | None = None

    def search(self) -> None:
        """Search forwards, the longer way, on this thread."""
        if self._searches is not None and self._forward is None:
            self._forward = self._searches[0]()

    def result(self) -> Tensor:
        """Return the flow and its forward-backward error, px, [1, 3, H, W]."""
        if self._found is None:
            if self._searches is None:
                self._found = np.zeros((*self._gray.shape, 3), np.float32)
            else:
                self.search()
                self._found = with_error(self._forward, self._searches[1].result())
        return torch.from_numpy(self._found)[None].permute(0, 3, 1, 2)

    @property
    def frame(self) -> SeenFrame:
        """The frame, for the search of the next one."""
        self.result()
        return SeenFrame(self._gray, self._fine, self._found[..., :2])


class FlowSearch:
    """
    Searches the flow of the frames of one stream.

    The memory of a stream lies on the device of the network. What the search needs of it is kept
    here, from the frame that it remembers, so nothing is read back. Only a memory from elsewhere
    (a snapshot, a new segment) is read from the device once.
    """

    def __init__(self, flow_scale: int, threads: HelperThreads) -> None:
        """
        Start without a frame.

        :param flow_scale: size of the images on which flow is measured, over that of the network.
        :param threads: one of them searches backwards.
        """
        self._flow_scale = flow_scale
        self._threads = threads
        self._known: tuple[weakref.ref, SeenFrame] | None = None  # image in a memory, its frame

    def start(
        self, image: Tensor, fine_gray: np.ndarray | None, memory: MotionState
    ) -> PendingFlow:
        """
        Start the search of one frame; the calling thread goes on with :meth:`PendingFlow.search`.

        :param image: on the host, [1, 3, H, W] in [-1, 1].
        :param fine_gray: [kH, kW] uint8, k = flow_scale; None = ``image``, enlarged.
        :param memory: of the stream before the frame.
        """
        gray, fine = gray_from_image(image), fine_gray
        if fine is None:
            larger = enlarged(gray, self._flow_scale)
            fine = None if larger is None else larger[0].numpy()
        now = gray[0].numpy()
        before = self._before(memory)
        if before is None or before.gray.shape != now.shape:
            return PendingFlow(memory, now, fine, None)
        pair = None if fine is None else (before.fine, fine)
        backward = self._threads.start(backward_flow, before.gray, now)
        forward = partial(optical_flow, before.gray, now, before.flow, pair)
        return PendingFlow(memory, now, fine, (forward, backward))

    def remember(self, memory: MotionState, flow: PendingFlow) -> None:
        """Keep a frame as the one that this memory remembers."""
        self._known = weakref.ref(memory.previous_gray), flow.frame

    def _before(self, memory: MotionState) -> SeenFrame | None:
        if self._known is not None and self._known[0]() is memory.previous_gray:
            return self._known[1]
        if not bool(memory.has_previous.all()):
            return None
        fine = memory.previous_fine
        frame = SeenFrame(
            memory.previous_gray[0].cpu().numpy(),
            None if fine is None else fine[0].cpu().numpy(),
            memory.previous_flow[0].permute(1, 2, 0).float().cpu().numpy(),
        )
        self._known = weakref.ref(memory.previous_gray), frame
        return frame
