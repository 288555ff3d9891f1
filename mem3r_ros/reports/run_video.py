# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A run as a video: image, depth, path from above and map from above, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mem3r_ros.cloud import VoxelMap
from mem3r_ros.errors import UserError
from mem3r_ros.geometry import transform_points
from mem3r_ros.reports.depth_pictures import DepthRange, colour_depth

if TYPE_CHECKING:
    from mem3r_ros.data.sequence import SequenceFrame
    from mem3r_ros.tracker import TrackedFrame

PANEL = (480, 360)  # width, height of each of the four pictures, px
FPS = 15.0
_BACKGROUND = (16, 20, 28)
_INK = (222, 226, 230)
_PATH = (255, 212, 59)
_MAX_POINTS = 60_000
_MAX_PATH = 20_000
_MARGIN = 1.15


class RunVideo:
    """Writes one picture of four panels for each tracked frame; memory is bounded."""

    def __init__(self, path: Path, fps: float = FPS) -> None:
        """
        Open the file.

        :param path: ``.mp4`` file to write.
        :param fps: pictures per second of the video.
        :raises UserError: OpenCV cannot write it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 2 * PANEL[0], 2 * PANEL[1]
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, size)
        if not self._writer.isOpened():
            raise UserError(f'OpenCV cannot write the video {path}; leave out --video')
        self._path: list[np.ndarray] = []
        self._stride, self._count = 1, 0
        self._map = VoxelMap(0.05, _MAX_POINTS)
        self._range: DepthRange | None = None

    def frame(self, frame: SequenceFrame, tracked: TrackedFrame) -> None:
        """Add one frame and its results."""
        T = tracked.T_odom_camera
        if self._count % self._stride == 0:
            self._path.append(T[:3, 3].copy())
            if len(self._path) > _MAX_PATH:
                self._path, self._stride = self._path[::2], 2 * self._stride
        self._count += 1
        if tracked.points is not None and len(tracked.points):
            points = transform_points(T, tracked.points)
            self._map.add(points, tracked.colours, tracked.weights)
        self._writer.write(np.ascontiguousarray(self.picture(frame, tracked)[..., ::-1]))

    def picture(self, frame: SequenceFrame, tracked: TrackedFrame) -> np.ndarray:
        """Return the four panels [H, W, 3] uint8 RGB of a frame that was added."""
        view = _TopView(np.array([*self._path, tracked.T_odom_camera[:3, 3]]), self._map.points())
        panels = (
            _fitted(frame.image, f'image   {tracked.status.value}'),
            _fitted(self._depth(tracked), self._depth_title()),
            view.path_panel(tracked.T_odom_camera),
            view.map_panel(self._map.colours(), tracked.T_odom_camera),
        )
        return np.vstack([np.hstack(panels[:2]), np.hstack(panels[2:])])

    def _depth(self, tracked: TrackedFrame) -> np.ndarray | None:
        if tracked.depth is None:
            return None
        known = tracked.depth[np.isfinite(tracked.depth) & (tracked.depth > 0)]
        if known.size:
            near_m, far_m = (float(m) for m in np.percentile(known, (1, 99)))
            old = self._range
            # The range only grows, so that a colour keeps its meaning as far as possible.
            if old is not None:
                near_m, far_m = min(near_m, old.near_m), max(far_m, old.far_m)
            self._range = DepthRange(near_m, max(far_m, 1.2 * near_m))
        return None if self._range is None else colour_depth(tracked.depth, self._range)

    def _depth_title(self) -> str:
        if self._range is None:
            return 'depth'
        return f'depth   {self._range.near_m:.1f} m bright, {self._range.far_m:.1f} m dark'

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()


class _TopView:
    """The odom frame from above on a panel: x to the right, y up, to scale."""

    def __init__(self, path: np.ndarray, points: np.ndarray) -> None:
        self.path, self.points = path, points
        low, high = path[:, :2].min(axis=0), path[:, :2].max(axis=0)
        if len(points):
            near, far = np.percentile(points[:, :2], (3, 97), axis=0)
            low, high = np.minimum(low, near), np.maximum(high, far)
        self._centre = 0.5 * (low + high)
        extent = np.maximum(high - low, 0.5) * _MARGIN
        self._px_per_m = float(min(PANEL[0] / extent[0], (PANEL[1] - 30) / extent[1]))

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return the pixels [N, 2] of points [N, 3] m."""
        offset = (points[:, :2] - self._centre) * self._px_per_m
        return np.rint(offset * (1, -1) + (PANEL[0] / 2, PANEL[1] / 2 + 12)).astype(np.int32)

    def path_panel(self, T_odom_camera: np.ndarray) -> np.ndarray:
        """Draw the path and a bar of one round length."""
        canvas = _canvas()
        cv2.polylines(canvas, [self.pixels(self.path)], False, _PATH, 2, cv2.LINE_AA)
        self._camera(canvas, T_odom_camera)
        lengths = [m * 10.0**e for e in range(-2, 4) for m in (1, 2, 5)]
        bar_m = max((m for m in lengths if m * self._px_per_m < PANEL[0] / 3), default=lengths[0])
        end = 16 + round(bar_m * self._px_per_m)
        cv2.line(canvas, (16, PANEL[1] - 16), (end, PANEL[1] - 16), _INK, 2)
        _write(canvas, f'{bar_m:g} m', (16, PANEL[1] - 24))
        return _titled(canvas, 'path from above')

    def map_panel(self, colours: np.ndarray, T_odom_camera: np.ndarray) -> np.ndarray:
        """Draw the points, high ones over low ones, and the camera."""
        canvas = _canvas()
        if len(self.points):
            order = np.argsort(self.points[:, 2], kind='stable')
            u, v = self.pixels(self.points[order]).T
            for du in (0, 1):
                for dv in (0, 1):
                    x, y = u + du, v + dv
                    inside = (x >= 0) & (x < PANEL[0]) & (y >= 0) & (y < PANEL[1])
                    canvas[y[inside], x[inside]] = colours[order][inside]
        cv2.polylines(canvas, [self.pixels(self.path)], False, _PATH, 1, cv2.LINE_AA)
        self._camera(canvas, T_odom_camera)
        return _titled(canvas, 'map from above')

    def _camera(self, canvas: np.ndarray, T: np.ndarray) -> None:
        """Draw the view of the camera as a triangle."""
        side = 26.0 / self._px_per_m
        corners = np.array([[0, 0, 0], [-0.6, 0, 1], [0.6, 0, 1]]) * side
        pixels = self.pixels(transform_points(T, corners))
        cv2.fillPoly(canvas, [pixels], (81, 207, 102), cv2.LINE_AA)


def _canvas() -> np.ndarray:
    return np.full((PANEL[1], PANEL[0], 3), _BACKGROUND, np.uint8)


def _fitted(picture: Any, title: str) -> np.ndarray:
    """Return a picture in the middle of a panel; None is an empty panel."""
    canvas = _canvas()
    if picture is not None:
        scale = min(PANEL[0] / picture.shape[1], PANEL[1] / picture.shape[0])
        width, height = (max(1, round(scale * side)) for side in picture.shape[1::-1])
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        left, top = (PANEL[0] - width) // 2, (PANEL[1] - height) // 2
        canvas[top : top + height, left : left + width] = small
    return _titled(canvas, title)


def _titled(canvas: np.ndarray, title: str) -> np.ndarray:
    canvas[:24] = canvas[:24] // 4
    _write(canvas, title, (10, 17))
    return canvas


def _write(canvas: np.ndarray, text: str, place: tuple[int, int]) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
