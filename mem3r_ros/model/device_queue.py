# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Work queue of a device: asynchronous copies, recorded steps and the wait for their results.

On a GPU a call only adds work to a queue, and the host continues. The host must wait before it
reads a result; a frame should wait once. On a CPU every call has finished when it returns, so the
same code runs there without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

_WARM_UP_RUNS = 3  # before a recording: libraries choose their algorithms and allocate


class DeviceQueue(Protocol):
    """What the step of the network and the tracker need of a device."""

    device: torch.device
    num_waits: int  # how often the host has waited since the start

    def host_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return host memory from and to which the device copies while the host continues."""

    def copy(self, source: Tensor, target: Tensor) -> None:
        """Add a copy to the queue; the source must not change until it has run."""

    def wait(self) -> None:
        """Wait until everything in the queue has run."""

    def record(
        self, function: Callable[[], list[Tensor]]
    ) -> tuple[list[Tensor], Callable[[], None]]:
        """
        Record the work of a function that reads and writes the same memory in each run.

        :return: the tensors that the function returned, and a call that computes them again, in
            the same memory.
        """


class DirectQueue:
    """Runs everything at once: a CPU, or a device without recording."""

    def __init__(self, device: torch.device) -> None:
        """Serve a device."""
        self.device = device
        self.num_waits = 0

    def host_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """See :class:`DeviceQueue`."""
        return torch.empty(shape, dtype=dtype)

    def copy(self, source: Tensor, target: Tensor) -> None:
        """See :class:`DeviceQueue`."""
        target.copy_(source, non_blocking=True)

    def wait(self) -> None:
        """See :class:`DeviceQueue`."""
        self.num_waits += 1

    def record(
        self, function: Callable[[], list[Tensor]]
    ) -> tuple[list[Tensor], Callable[[], None]]:
        """Return a call that runs the function again and copies its results to the first ones."""
        results = function()

        def replay() -> None:
            for target, value in zip(results, function(), strict=True):
                target.copy_(value)

        return results, replay


class CudaQueue:
    """The current stream of a CUDA device; recordings are CUDA graphs in one memory pool."""

    def __init__(self, device: torch.device) -> None:
        """Serve a CUDA device."""
        self.device = device
        self.num_waits = 0
        self._pool = torch.cuda.graph_pool_handle()
        self._event = torch.cuda.Event()

    def host_buffer(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return page-locked memory, which the device reaches without the host."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def copy(self, source: Tensor, target: Tensor) -> None:
        """See :class:`DeviceQueue`."""
        target.copy_(source, non_blocking=True)

    def wait(self) -> None:
        """See :class:`DeviceQueue`."""
        self._event.record(torch.cuda.current_stream(self.device))
        self._event.synchronize()
        self.num_waits += 1

    def record(
        self, function: Callable[[], list[Tensor]]
    ) -> tuple[list[Tensor], Callable[[], None]]:
        """Capture the function as a CUDA graph."""
        with torch.cuda.device(self.device):
            return self._captured(function)

    def _captured(
        self, function: Callable[[], list[Tensor]]
    ) -> tuple[list[Tensor], Callable[[], None]]:
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                function()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode='thread_local'):
            results = function()
        graph.replay()  # a capture computes nothing
        return results, graph.replay


_queues: dict[torch.device, DeviceQueue] = {}


def device_queue(device: torch.device) -> DeviceQueue:
    """Return the queue of a device, one per process."""
    if device not in _queues:
        _queues[device] = (CudaQueue if device.type == 'cuda' else DirectQueue)(device)
    return _queues[device]
