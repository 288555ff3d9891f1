# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Two cores for one camera: a frame is finished while the next one is measured.

The network state of a frame is settled in ``Tracker.advance``; path, scale and depth follow in
``Tracker.finish``, on a thread of its own. The image is checked beside the search of its optical
flow. torch, OpenCV and numpy release the interpreter lock in their large
operations. The results equal those of ``Tracker.track``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from mem3r_ros.tracker.frame import CameraFrame, TrackedFrame
from mem3r_ros.tracker.tracker import Tracker

_MAX_ACTIONS = 4  # that wait; a slow receiver of results slows the caller down


class PipelinedTracker:
    """
    Tracks one camera on two threads; used from one thread.

    One frame is finished at a time, so at most two are on their way.
    """

    def __init__(self, tracker: Tracker, is_parallel: bool = True) -> None:
        """
        Use a tracker.

        :param tracker: touch it only behind :meth:`wait`.
        :param is_parallel: False finishes each frame before the call returns.
        """
        self.tracker = tracker
        self._thread = ThreadPoolExecutor(1, 'finish') if is_parallel else None
        if is_parallel:
            tracker.use_helpers()
        self._finishing: Future | None = None
        self._actions: deque[Future] = deque()

    def track(
        self, frame: CameraFrame, outputs: Collection[str] | None = None
    ) -> Future[TrackedFrame]:
        """
        Measure a frame as soon as that is possible; its result follows.

        :param outputs: as in :meth:`Tracker.track`.
        :return: the result, or an error of its second half.
        :raises BadFrame: the frame is rejected; the stream continues with the next one.
        """
        accepted = self.tracker.advance(frame, outputs)
        if self._finishing is not None:
            wait([self._finishing])
        self._finishing = self._run(lambda: self.tracker.finish(accepted))
        return self._finishing

    def then(self, action: Callable[[], Any]) -> Future:
        """Run an action behind all frames so far, on the thread that finishes them."""
        if len(self._actions) >= _MAX_ACTIONS:
            wait([self._actions.popleft()])
        self._actions.append(self._run(action))
        return self._actions[-1]

    def wait(self, timeout_s: float | None = None) -> bool:
        """
        Wait until all frames are finished and all actions have run.

        :param timeout_s: longest wait.
        :return: whether they have.
        """
        waiting = [*self._actions, *filter(None, [self._finishing])]
        return not wait(waiting, timeout_s).not_done

    def close(self) -> None:
        """Finish all frames and end the thread."""
        if self._thread is not None:
            self._thread.shutdown()

    def _run(self, action: Callable[[], Any]) -> Future:
        if self._thread is not None:
            return self._thread.submit(action)
        done: Future = Future()
        try:
            done.set_result(action())
        except Exception as error:  # kept for the caller, as a thread does
            done.set_exception(error)
        return done
