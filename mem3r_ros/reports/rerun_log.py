# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Runs in the Rerun viewer, live or as .rrd files; needs the optional package rerun-sdk."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mem3r_ros.errors import UserError

if TYPE_CHECKING:
    from mem3r_ros.data.sequence import SequenceFrame
    from mem3r_ros.tracker import TrackedFrame

PATH_LENGTH = 1000  # poses of the path that is drawn
PATH_EVERY = 10  # frames
FRUSTA = 60  # cameras along the path
MAP_POINTS = 50_000
MAP_EVERY = 15  # frames
VIEWER_MEMORY = '2GB'  # the viewer drops the oldest data beyond it


class RerunLog:
    """Logs images, depth, confidence, path, frusta, map and status over the time of the stamps."""

    def __init__(self, path: Path | None) -> None:
        """
        Open the file, or the viewer.

        :param path: ``.rrd`` file to write; None: open the viewer and send everything to it.
        :raises UserError: the package is not installed.
        """
        from mem3r_ros.cloud import VoxelMap

        self._rerun = rerun = require_rerun()
        self._recording = rerun.RecordingStream('mem3r_ros')
        if path is None:
            self._recording.spawn(memory_limit=VIEWER_MEMORY, default_blueprint=_layout())
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._recording.save(str(path), default_blueprint=_layout())
        self._recording.log('odom', rerun.ViewCoordinates.FLU, static=True)
        self._path: deque[np.ndarray] = deque(maxlen=PATH_LENGTH)
        self._frusta: deque[np.ndarray] = deque(maxlen=FRUSTA)
        self._map = VoxelMap(0.05, MAP_POINTS)
        self._count = 0

    def frame(self, frame: SequenceFrame, tracked: TrackedFrame) -> None:
        """Log one frame and its results."""
        from mem3r_ros.reports.depth_pictures import millimetres

        rerun, recording = self._rerun, self._recording
        recording.set_time('stamp', timestamp=np.datetime64(frame.stamp_ns, 'ns'))
        T = tracked.T_odom_camera
        recording.log('odom/camera', rerun.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
        self._log_path(T)
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
            # Millimetres take half the room of metres; the map below has the points.
            depth = rerun.DepthImage(millimetres(tracked.depth), meter=1000.0)
            recording.log('odom/camera/image/depth', depth)
        if tracked.confidence is not None:
            confidence = tracked.confidence.astype(np.float16)
            recording.log('confidence', rerun.DepthImage(confidence, colormap='viridis'))
        if tracked.points is not None:
            self._log_map(T, tracked)
        recording.log('status', rerun.TextLog(f'{tracked.status.value} {tracked.reason}'))
        self._count += 1

    def _log_path(self, T: np.ndarray) -> None:
        """Log the path and its frusta now and then: they are written as a whole each time."""
        rerun = self._rerun
        self._path.append(T[:3, 3].copy())
        if self._count % PATH_EVERY:
            return
        self._recording.log(
            'odom/path', rerun.LineStrips3D([np.array(self._path)], colors=(255, 146, 43))
        )
        self._frusta.append(frustum(T))
        self._recording.log(
            'odom/frusta', rerun.LineStrips3D(list(self._frusta), colors=(255, 212, 59))
        )

    def _log_map(self, T: np.ndarray, tracked: TrackedFrame) -> None:
        from mem3r_ros.geometry import transform_points

        points = transform_points(T, np.asarray(tracked.points))
        self._map.add(points, tracked.colours, tracked.weights)
        if self._count % MAP_EVERY == 0:
            self._recording.log(
                'odom/map', self._rerun.Points3D(self._map.points(), colors=self._map.colours())
            )

    def close(self) -> None:
        """Write the buffered data and close the file; the viewer stays open."""
        self._recording.flush()
        self._recording.disconnect()


def frustum(T_odom_camera: np.ndarray, side_m: float = 0.08) -> np.ndarray:
    """Return the edges of a small camera as one line [10, 3] m in the odom frame."""
    x, y, z = side_m * np.array([1.0, 0.75, 1.2])
    tip = (0.0, 0.0, 0.0)
    a, b, c, d = (-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)
    line = np.array([tip, a, b, tip, c, d, tip, d, a, b])
    return line @ T_odom_camera[:3, :3].T + T_odom_camera[:3, 3]


def _layout() -> Any:
    """Return the arrangement of the views: map on the left, pictures and status on the right."""
    import rerun.blueprint as views

    places = {'input': 'input', 'depth': 'odom/camera/image', 'confidence': 'confidence'}
    pictures = [views.Spatial2DView(origin=place, name=name) for name, place in places.items()]
    status = views.TextLogView(origin='status', name='status')
    return views.Blueprint(
        views.Horizontal(
            # The depth image would cover the coloured map with its own points.
            views.Spatial3DView(
                origin='odom', contents=['$origin/**', '- $origin/camera/image/depth'], name='odom'
            ),
            views.Vertical(*pictures, status),
            column_shares=[3, 1],
        ),
        collapse_panels=True,
    )


def require_rerun() -> Any:
    """
    Return the package.

    :raises UserError: it is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise UserError(
            'the Rerun viewer and .rrd files need the package rerun-sdk; install it with: '
            'pip install rerun-sdk'
        ) from error
    return rerun
