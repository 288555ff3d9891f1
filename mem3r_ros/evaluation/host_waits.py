# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Counts where the host waits for the device, or would wait if it were a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import sys
from typing import Any
import warnings

import torch
from torch.overrides import TorchFunctionMode

from mem3r_ros.model.device_queue import DeviceQueue

DOWNLOAD = 'download of the results'
# Not by its name alone: a checkout may have the same name, with tests and benchmarks in it.
_PACKAGE = Path(__file__).resolve().parents[1]
# Their result is a number or lies on the host, so the host waits for the values.
_ASKING = {
    getattr(torch.Tensor, name)
    for name in ('item', 'tolist', 'cpu', 'nonzero', '__bool__', '__float__', '__int__')
}


@contextmanager
def host_waits(queue: DeviceQueue) -> Iterator[Counter[str]]:
    """
    Count the waits by source line while the block runs.

    On a GPU torch reports them. On a CPU the operations that would wait are counted.

    :param queue: of the network's device; its own waits are counted as the download.
    """
    places: Counter[str] = Counter()
    before = queue.num_waits
    count = _reported_by_cuda if queue.device.type == 'cuda' else _seen_by_torch
    with count(places):
        yield places
    places[DOWNLOAD] += queue.num_waits - before
    places += Counter()  # drops a place without a wait


@contextmanager
def _reported_by_cuda(places: Counter[str]) -> Iterator[None]:
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    for warning in caught:
        if 'synchroniz' in str(warning.message):
            places[_short(warning.filename, warning.lineno)] += 1


@contextmanager
def _seen_by_torch(places: Counter[str]) -> Iterator[None]:
    with _Asked(places):
        yield


class _Asked(TorchFunctionMode):
    """Notes the source line of each operation whose result the host needs."""

    def __init__(self, places: Counter[str]) -> None:
        super().__init__()
        self._places = places

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func in _ASKING:
            self._places[_caller()] += 1
        return func(*args, **(kwargs or {}))


def _caller() -> str:
    """Return the innermost line of this package on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name != __file__ and Path(name).is_relative_to(_PACKAGE):
            return _short(name, frame.f_lineno)
        frame = frame.f_back
    return 'elsewhere'


def _short(path: str, line: int) -> str:
    """Return a source line with the path from the package on; of other files the name alone."""
    file = Path(path)
    if file.is_relative_to(_PACKAGE):
        return f'{file.relative_to(_PACKAGE.parent).as_posix()}:{line}'
    return f'{file.name}:{line}'
