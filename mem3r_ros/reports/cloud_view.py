# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The coloured cloud as a picture, and as packed points for an interactive view in a browser."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

# 9 bytes a point, a third more as text: 80,000 points are about 1 MB of the page.
MAX_POINTS = 80_000
MAX_PATH_POINTS = 500
MAX_FRUSTA = 24
NEIGHBOURS = 6
LEAST_CONFIDENT = 0.1  # share of the points
OUTLIER_SPREADS = 2.0
# Seen from behind, from the left and from above, at so many radii of the cloud.
DIRECTION = (-1.0, 0.35, 0.55)
DISTANCE = 1.4
_QUANTA = 32000
_BACKGROUND = (16, 20, 28)
FIELD_OF_VIEW = 0.6  # half the height of the picture over its distance


@dataclass(frozen=True, slots=True)
class CloudView:
    """Points to draw and the viewpoint."""

    points: np.ndarray  # [P, 3] m, odom: x forward, y left, z up
    colours: np.ndarray  # [P, 3] uint8
    path: np.ndarray  # [N, 3] m
    centre: np.ndarray  # [3] m
    frusta: np.ndarray  # [L, 3] m, ends of the edges of some cameras
    radius_m: float

    def packed(self) -> dict[str, Any]:
        """Return the data of the page's viewer; points as 16-bit steps around the centre."""
        step_m = 4.0 * self.radius_m / _QUANTA
        near = np.abs(self.points - self.centre).max(axis=1, initial=0) < 4.0 * self.radius_m
        steps = np.rint((self.points[near] - self.centre) / step_m).astype('<i2')
        return {
            'count': len(steps),
            'step': step_m,
            'radius': self.radius_m,
            'direction': DIRECTION,
            'distance': DISTANCE * self.radius_m,
            'view': FIELD_OF_VIEW,
            'centre': np.round(self.centre, 3).tolist(),
            'frusta': np.round(self.frusta - self.centre, 3).reshape(-1).tolist(),
            'points': base64.b64encode(steps.tobytes()).decode('ascii'),
            'colours': base64.b64encode(self.colours[near].tobytes()).decode('ascii'),
            'path': np.round(_dense(self.path, 2000) - self.centre, 3).reshape(-1).tolist(),
        }

    def picture(self, width: int = 1100, height: int = 560) -> np.ndarray:
        """
        Draw the cloud as seen from behind and above the start of the path.

        :param width: of the picture in px.
        :param height: of the picture in px.
        :return: [H, W, 3] uint8 RGB.
        """
        eye = self.centre + self.radius_m * DISTANCE * _unit(np.array(DIRECTION))
        canvas = np.full((height, width, 3), _BACKGROUND, np.uint8)
        depth = np.full((height, width), np.inf)
        _splat(canvas, depth, eye, self.centre, self.points, self.colours, 3)
        path = _dense(self.path, 1500)
        _splat(canvas, depth, eye, self.centre, path, np.full((len(path), 3), (255, 212, 59)), 3)
        return canvas


def cloud_view(
    points: np.ndarray, colours: np.ndarray, path: np.ndarray, poses: np.ndarray | None = None
) -> CloudView | None:
    """
    Choose points and the viewpoint.

    :param points: [P, 3] m in the odom frame.
    :param colours: [P, 3] uint8.
    :param path: positions of the camera [N, 3] m.
    :param poses: T_odom_camera [N, 4, 4]; some are drawn as frusta.
    :return: the view, None without points.
    """
    finite = np.isfinite(points).all(axis=1)
    points, colours = points[finite], colours[finite]
    if not len(points):
        return None
    points, colours = without_outliers(points, colours)
    if len(points) > MAX_POINTS:
        # Deterministic: the same points for the same data.
        chosen = np.random.default_rng(0).permutation(len(points))[:MAX_POINTS]
        points, colours = points[chosen], colours[chosen]
    if len(path) > MAX_PATH_POINTS:
        path = path[np.linspace(0, len(path) - 1, MAX_PATH_POINTS).round().astype(int)]
    # A few far points must not shrink all others.
    low, high = np.percentile(points, (4, 96), axis=0)
    low, high = np.minimum(low, path.min(axis=0)), np.maximum(high, path.max(axis=0))
    radius_m = max(0.5 * float(np.linalg.norm(high - low)), 0.05)
    frusta = _frusta(poses, 0.04 * radius_m)
    return CloudView(points, colours, path, 0.5 * (low + high), frusta, radius_m)


def confident(
    points: np.ndarray, colours: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """
    Leave out the points that were seen least often and with the lowest confidence.

    :param points: [P, 3] m.
    :param colours: [P, 3] uint8.
    :param weights: summed confidence of each point [P]; None: all stay.
    :return: at least nine tenths of the points, and their colours.
    """
    if weights is None or not len(points):
        return points, colours
    stays = weights >= np.quantile(weights, LEAST_CONFIDENT)
    return points[stays], colours[stays]


def without_outliers(points: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Leave out points whose neighbours are far: flying points at edges of depth.

    :param points: [P, 3] m.
    :param colours: [P, 3] uint8.
    :return: the points that stay, and their colours; at least nine tenths of them.
    """
    from scipy.spatial import cKDTree

    if len(points) <= NEIGHBOURS:
        return points, colours
    distances_m = cKDTree(points).query(points, NEIGHBOURS + 1)[0][:, 1:].mean(axis=1)
    limit_m = max(
        distances_m.mean() + OUTLIER_SPREADS * distances_m.std(), np.percentile(distances_m, 90)
    )
    stays = distances_m <= limit_m
    return points[stays], colours[stays]


def _frusta(poses: np.ndarray | None, size_m: float) -> np.ndarray:
    """Return the ends [L, 3] of the edges of up to MAX_FRUSTA cameras."""
    if poses is None or not len(poses):
        return np.empty((0, 3))
    chosen = np.linspace(0, len(poses) - 1, min(MAX_FRUSTA, len(poses))).round().astype(int)
    sides = [[-1, -0.75, 1.2], [1, -0.75, 1.2], [1, 0.75, 1.2], [-1, 0.75, 1.2]]
    corners = size_m * np.array(sides)
    tip = np.zeros(3)
    edges = [[tip, c, c, corners[(i + 1) % 4]] for i, c in enumerate(corners)]
    ends = np.array(edges).reshape(-1, 3)
    return np.concatenate([ends @ T[:3, :3].T + T[:3, 3] for T in poses[chosen]])


def _splat(
    canvas: np.ndarray,
    depth: np.ndarray,
    eye: np.ndarray,
    target: np.ndarray,
    points: np.ndarray,
    colours: np.ndarray,
    size: int,
) -> None:
    """Draw points as small squares, near ones over far ones."""
    height, width = depth.shape
    forward = _unit(target - eye)
    right = _unit(np.cross(forward, [0.0, 0.0, 1.0]))
    down = np.cross(forward, right)
    seen = (points - eye) @ np.stack([right, down, forward], axis=1)
    visible = seen[:, 2] > 1e-3
    seen, colours = seen[visible], colours[visible]
    focal_px = 0.5 * height / FIELD_OF_VIEW
    order = np.argsort(-seen[:, 2], kind='stable')  # far first, so that near ones stay
    seen, colours = seen[order], colours[order]
    u = np.rint(seen[:, 0] / seen[:, 2] * focal_px + width / 2).astype(int)
    v = np.rint(seen[:, 1] / seen[:, 2] * focal_px + height / 2).astype(int)
    for row in range(size):
        for column in range(size):
            x, y = u + column - size // 2, v + row - size // 2
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            x, y, z = x[inside], y[inside], seen[inside, 2]
            nearer = z <= depth[y, x] + 0.02 * z
            canvas[y[nearer], x[nearer]] = colours[inside][nearer]
            depth[y[nearer], x[nearer]] = z[nearer]


def _dense(path: np.ndarray, count: int) -> np.ndarray:
    """Return points along the path, dense enough to appear as a line."""
    if len(path) < 2:
        return path
    position = np.linspace(0, len(path) - 1, count)
    known = np.arange(len(path))
    return np.stack([np.interp(position, known, path[:, axis]) for axis in range(3)], axis=1)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
