# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a run shows or writes beside its results: the live view, ``run.rrd`` and the video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mem3r_ros.reports import RunRecorder

RERUN_FILE = 'run.rrd'
VIDEO_FILE = 'video.mp4'


@contextmanager
def open_listeners(recorder: RunRecorder, kinds: frozenset[str]) -> Iterator[list[Any]]:
    """
    Open what was asked for; each listener has a method ``frame(frame, tracked)``.

    :param recorder: of the run; files go to its folder.
    :param kinds: some of 'view', 'rerun' and 'video'.
    :raises UserError: one of them cannot be opened.
    """
    if kinds:
        recorder.begin()
    with ExitStack() as stack:
        listeners = [_opened(kind, recorder.work_dir) for kind in sorted(kinds)]
        for listener in listeners:
            stack.callback(listener.close)
        yield listeners


def _opened(kind: str, folder: Path) -> Any:
    if kind == 'video':
        from mem3r_ros.reports.run_video import RunVideo

        return RunVideo(folder / VIDEO_FILE)
    from mem3r_ros.reports.rerun_log import RerunLog

    return RerunLog(folder / RERUN_FILE if kind == 'rerun' else None)
