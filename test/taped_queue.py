# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A queue that records as a CUDA graph does, on the CPU: operations and their memory, no Python.

A repetition runs the recorded operations on the memory of the recording. What Python decides
during the recording stays decided, and a tensor that is not in fixed memory keeps its old values,
so a step that depends on either gives other numbers in the repetition.
"""

from __future__ import annotations

from collections.abc import Callable

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
