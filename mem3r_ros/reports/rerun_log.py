# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Runs as .rrd files for the Rerun viewer; needs the optional package rerun-sdk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mem3r_ros.errors import UserError

if TYPE_CHECKING:
    from mem3r_ros.data.sequence import SequenceFrame
    from mem3r_ros.tracker import TrackedFrame

PATH_LENGTH = 1000  # poses of the path that is drawn
PATH_EVERY = 10  # frames


class RerunLog:
    """Writes images, poses, depth and points of tracked frames over the time of their stamps."""

    def __init__(self, path: Path) -> None:
        """
        Open the file.

        :param path: ``.rrd`` file to write.
        :raises UserError: the package is not installed.
        """
        self._rerun = rerun = require_rerun()
        self._recording = rerun.RecordingStream('mem3r_ros')
        path.parent.mkdir(parents=True, exist_ok=True)
        self._recording.save(str(path))
        self._recording.log('odom', rerun.ViewCoordinates.FLU, static=True)
        self._path: deque[np.ndarray] = deque(maxlen=PATH_LENGTH)
        self._count = 0

    def frame(self, frame: SequenceFrame, tracked: TrackedFrame) -> None:
        """Log one frame and its results."""
        rerun, recording = self._rerun, self._recording
        recording.set_time('stamp', timestamp=np.datetime64(frame.stamp_ns, 'ns'))
        T = tracked.T_odom_camera
        recording.log('odom/camera', rerun.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
        self._path.append(T[:3, 3].copy())
        if self._count % PATH_EVERY == 0:  # the whole path is written each time
            recording.log('odom/path', rerun.LineStrips3D([np.array(self._path)]))
        self._count += 1
        if tracked.intrinsics is not None:
            camera = tracked.intrinsics
            recording.log(
                'odom/camera/image',
                rerun.Pinhole(
                    image_from_camera=camera.K,
                    resolution=[camera.width, camera.height],
                    camera_xyz=rerun.ViewCoordinates.RDF,
                ),
            )
        recording.log('input', rerun.Image(frame.image).compress(jpeg_quality=80))
        if tracked.depth is not None:
            recording.log('odom/camera/image/depth', rerun.DepthImage(tracked.depth, meter=1.0))
        if tracked.points is not None:
            recording.log(
                'odom/camera/points', rerun.Points3D(tracked.points, colors=tracked.colours)
            )
        recording.log('status', rerun.TextLog(f'{tracked.status.value} {tracked.reason}'))

    def close(self) -> None:
        """Write the buffered data and close the file."""
        self._recording.flush()
        self._recording.disconnect()


def require_rerun() -> Any:
    """
    Return the package.

    :raises UserError: it is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise UserError(
            'writing .rrd needs the package rerun-sdk; install it with: pip install rerun-sdk'
        ) from error
    return rerun


@contextmanager
def open_log(path: Path | None) -> Iterator[Any]:
    """Open a log for a block; without a path, the block gets None."""
    if path is None:
        yield None
        return
    log = RerunLog(path)
    try:
        yield log
    finally:
        log.close()
