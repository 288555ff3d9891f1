# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A queue that records as a CUDA graph does, on the CPU: operations and their memory, no Python.

A repetition runs the recorded operations on the memory of the recording. What Python decides
during the recording stays decided, and a tensor that is not in fixed memory keeps its old values,
so a step that depends on either gives other numbers in the repetition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from mem3r_ros.model.device_queue import DirectQueue


class TapedQueue(DirectQueue):
    """Records operations, and repeats them without the function."""

    def __init__(self) -> None:
        """Serve the CPU."""
        super().__init__(torch.device('cpu'))
        self.num_repeated = 0

    def record(
        self, function: Callable[[], list[Tensor]]
    ) -> tuple[list[Tensor], Callable[[], None]]:
        """See :class:`mem3r_ros.model.device_queue.DeviceQueue`."""
        tape = _Tape()
        with tape:
            results = function()

        def replay() -> None:
            self.num_repeated += 1
            tape.repeat()

        return results, replay


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self._operations: list[tuple] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        memory = {t.untyped_storage().data_ptr() for t in _tensors((args, kwargs))}
        # Views and results in given memory are up to date by themselves.
        new = [t for t in _tensors(result) if t.untyped_storage().data_ptr() not in memory]
        self._operations.append((func, args, kwargs, result, new))
        return result

    def forget_results(self) -> None:
        """Overwrite what the recording computed."""
        for *_, new in self._operations:
            for tensor in new:
                tensor.zero_()

    def repeat(self) -> None:
        for func, args, kwargs, result, new in self._operations:
            writes = func._schema.is_mutable
            if not (new or writes):
                continue
            fresh = func(*args, **kwargs)
            if new and not writes:
                for target, value in zip(_tensors(result), _tensors(fresh), strict=True):
                    target.copy_(value)


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


class FakeCuda:
    """Stands for the parts of torch.cuda that a recording needs; captures are tapes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Replace those parts."""
        self.calls: list[str] = []
        for name in ('Stream', 'stream', 'current_stream', 'device', 'Event', 'graph'):
            patch.setattr(torch.cuda, name, getattr(self, f'_{name.lower()}'))
        patch.setattr(torch.cuda, 'CUDAGraph', self._cuda_graph)
        patch.setattr(torch.cuda, 'graph_pool_handle', lambda: 'pool')

    def _stream(self, stream: object) -> object:
        return nullcontext() if isinstance(stream, SimpleNamespace) else self._current_stream()

    def _current_stream(self, device: object = None) -> SimpleNamespace:
        return SimpleNamespace(wait_stream=lambda other: self.calls.append('wait_stream'))

    def _device(self, device: object) -> object:
        return nullcontext()

    def _event(self) -> SimpleNamespace:
        return SimpleNamespace(
            record=lambda stream: self.calls.append('record'),
            synchronize=lambda: self.calls.append('synchronize'),
        )

    def _cuda_graph(self) -> SimpleNamespace:
        graph = SimpleNamespace(tape=_Tape())

        def replay() -> None:
            self.calls.append('replay')
            graph.tape.repeat()

        graph.replay = replay
        return graph

    @contextmanager
    def _graph(self, graph: SimpleNamespace, pool: str, capture_error_mode: str) -> Iterator[None]:
        self.calls.append(f'capture in {pool}')
        with graph.tape:
            yield
        graph.tape.forget_results()  # a capture computes nothing
