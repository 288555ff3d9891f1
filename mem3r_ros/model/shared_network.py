# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One network for several trackers that run on threads of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
import threading
import time
from typing import Any

from torch import nn

from mem3r_ros.model.batching import Answer, StepRequest, run_together
from mem3r_ros.model.static_step import StaticStep


class _Waiting:
    """A request that waits for its answer."""

    def __init__(self, request: StepRequest) -> None:
        self.request = request
        self.answer: Answer | None = None


class SharedNetwork(nn.Module):
    """
    A network for several trackers, each on a thread of its own; steps that coincide are one batch.

    The thread that comes first runs the network for all that wait, so the network never runs twice
    at the same time. It waits for the steps that :meth:`announce` has announced, at most as long
    as the last run took. The answers are those of single steps, up to the rounding of a batch.
    """

    def __init__(self, network: Any) -> None:
        """
        Share a network.

        :param network: has ``config``, ``initial_state`` and ``step``; nobody else uses it.
        """
        super().__init__()
        self.network = network
        if isinstance(network, StaticStep):
            network.copies_results = True  # a thread reads its answer while another one steps
        self._waiting: list[_Waiting] = []
        self._coming: set[int] = set()  # threads that have announced a step
        self._changed = threading.Condition()
        self._running = threading.Lock()
        self._last_run_s = 0.0

    @property
    def config(self) -> Any:
        """Configuration of the network."""
        return self.network.config

    @property
    def device(self) -> Any:
        """Device of the network; None if it has none."""
        return getattr(self.network, 'device', None)

    @property
    def queue(self) -> Any:
        """Queue of the device of a network with recorded steps; None without them."""
        return getattr(self.network, 'queue', None)

    @property
    def dtype(self) -> Any:
        """Data type of the weights."""
        return self.network.dtype

    @property
    def predictor(self) -> Any:
        """Output heads of the network."""
        return self.network.predictor

    def initial_state(self, *size: Any, **named: Any) -> Any:
        """Return the state of new streams, as :meth:`Mem3R.initial_state`."""
        return self.network.initial_state(*size, **named)

    @contextmanager
    def announce(self) -> Iterator[None]:
        """Announce that this thread prepares a step; steps of other threads wait for it."""
        thread = threading.get_ident()
        with self._changed:
            self._coming.add(thread)
        try:
            yield
        finally:
            self._arrived(thread)

    def step(
        self,
        frame: Any,
        state: Any,
        rule: Any = None,
        outputs: Collection[str] | None = None,
    ) -> tuple[Any, Any]:
        """Advance one stream by one frame, as :meth:`Mem3R.step` does."""
        waiting = _Waiting(StepRequest(frame, state, rule, outputs))
        with self._changed:
            self._waiting.append(waiting)
        self._arrived(threading.get_ident())
        with self._running:
            if waiting.answer is None:
                self._run_all()
        if isinstance(waiting.answer, Exception):
            raise waiting.answer
        return waiting.answer

    def _arrived(self, thread: int) -> None:
        with self._changed:
            self._coming.discard(thread)
            self._changed.notify_all()

    def _run_all(self) -> None:
        """Answer every request that waits, this thread's among them."""
        with self._changed:
            self._changed.wait_for(lambda: not self._coming, self._last_run_s)
            batch, self._waiting = self._waiting, []
        start = time.monotonic()
        answers = run_together(self.network, [waiting.request for waiting in batch])
        self._last_run_s = time.monotonic() - start
        for waiting, answer in zip(batch, answers, strict=True):
            waiting.answer = answer
