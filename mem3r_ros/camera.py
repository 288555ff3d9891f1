# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Pinhole cameras: effect of a resize or crop on K, lens distortion, focal length.

Pixel centres have integer coordinates, as in ROS and OpenCV: a resize by s therefore maps
column u to (u + 0.5) s - 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
import math
from statistics import median

import numpy as np

from mem3r_ros.errors import UserError

# Names of sensor_msgs/CameraInfo, and the allowed numbers of coefficients.
DISTORTION_MODELS = {
    'none': (0,),
    'plumb_bob': (0, 4, 5),
    'rational_polynomial': (8, 12, 14),
    'equidistant': (4,),
}
_FOCAL_VOTES = 64
_ASPECT_TOLERANCE = 0.02
NOMINAL_FOCAL = 0.85  # of the longer side of the image: a common lens, in both orientations


def nominal_focal_px(width: int, height: int) -> float:
    """Return the focal length of a camera without calibration or estimate, px."""
    return NOMINAL_FOCAL * max(width, height)


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A pinhole camera of a given image size, with or without lens distortion."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion_model: str = 'none'
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse impossible calibrations."""
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if not all(math.isfinite(number) for number in numbers):
            raise UserError(f'calibration is {numbers}; every number must be finite')
        if self.fx <= 0 or self.fy <= 0:
            raise UserError(f'focal length is ({self.fx}, {self.fy}) px; it must be positive')
        if self.width <= 0 or self.height <= 0:
            raise UserError(f'image size is {self.width}x{self.height}; it must be positive')
        allowed = DISTORTION_MODELS.get(self.distortion_model)
        if allowed is None:
            raise UserError(
                f'distortion model is {self.distortion_model!r}; '
                f'choose one of {", ".join(DISTORTION_MODELS)}'
            )
        object.__setattr__(self, 'distortion', tuple(float(d) for d in self.distortion))
        if len(self.distortion) not in allowed:
            raise UserError(
                f'{self.distortion_model} has {len(self.distortion)} coefficients; '
                f'it takes {" or ".join(map(str, allowed))}'
            )

    @property
    def K(self) -> np.ndarray:
        """Camera matrix, [3, 3] float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def is_distorted(self) -> bool:
        """Whether the lens distorts the image."""
        return self.distortion_model != 'none' and any(self.distortion)

    def undistorted(self) -> Intrinsics:
        """Return the camera of the rectified image: same K, no distortion."""
        return replace(self, distortion_model='none', distortion=())

    def resized(self, width: int, height: int) -> Intrinsics:
        """Return the camera of the image resized to ``width`` x ``height`` pixels."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            width=width,
            height=height,
        )

    def zoomed(self, factor: float) -> Intrinsics:
        """Return the camera with ``factor`` times the focal length."""
        return replace(self, fx=self.fx * factor, fy=self.fy * factor)

    def matched(self, width: int, height: int) -> Intrinsics | None:
        """
        Return the calibration at the size of an image, ``width`` x ``height`` pixels.

        Drivers publish the calibration of the full sensor beside a smaller image: it is scaled.
        None if the aspect ratios differ by more than 2 %, which means another camera or a crop.
        """
        if (self.width, self.height) == (width, height):
            return self
        ratio = (width * self.height) / (height * self.width)
        return self.resized(width, height) if abs(ratio - 1.0) <= _ASPECT_TOLERANCE else None

    def cropped(self, left: int, top: int, width: int, height: int) -> Intrinsics:
        """Return the camera of the window at (left, top), which may exceed the image."""
        return replace(self, cx=self.cx - left, cy=self.cy - top, width=width, height=height)

    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x / z of each column [width] and y / z of each row [height], float32."""
        x = (np.arange(self.width, dtype=np.float64) - self.cx) / self.fx
        y = (np.arange(self.height, dtype=np.float64) - self.cy) / self.fy
        return x.astype(np.float32), y.astype(np.float32)

    def rays(self) -> np.ndarray:
        """Return K^-1 (u, v, 1) of every pixel, [height, width, 3] float32, z = 1."""
        x, y = self.slopes()
        rays = np.ones((self.height, self.width, 3), np.float32)
        rays[..., 0] = x
        rays[..., 1] = y[:, None]
        return rays

    def project(self, points_camera: np.ndarray) -> np.ndarray:
        """Return pixels [P, 2] of points [P, 3]; NaN where a point is behind the camera."""
        z = points_camera[:, 2]
        with np.errstate(divide='ignore', invalid='ignore'):
            pixels = points_camera[:, :2] / z[:, None] * (self.fx, self.fy) + (self.cx, self.cy)
        pixels[z <= 0] = np.nan
        return pixels


def estimate_focal(
    points_camera: np.ndarray,
    principal_point: tuple[float, float] | None = None,
    mode: str = 'weiszfeld',
    iterations: int = 10,
) -> float:
    """
    Estimate the focal length under which a pointmap projects to its own pixel grid.

    The estimator of the public reference: least absolute distances by the iteration of
    Weiszfeld, or the median of the votes of all pixels.

    :param points_camera: points of each pixel in the camera frame, [H, W, 3].
    :param principal_point: (x, y) in px; default (W // 2, H // 2).
    :param mode: 'weiszfeld' or 'median'.
    :return: focal length in px, one for both axes.
    """
    points = np.asarray(points_camera, np.float32)
    height, width = points.shape[:2]
    px, py = principal_point if principal_point is not None else (width // 2, height // 2)
    u = np.broadcast_to(np.arange(width, dtype=np.float32) - np.float32(px), (height, width))
    v = np.broadcast_to(
        (np.arange(height, dtype=np.float32) - np.float32(py))[:, None], (height, width)
    )
    with np.errstate(divide='ignore', invalid='ignore'):
        if mode == 'median':
            votes = np.concatenate(
                [
                    (u * points[..., 2] / points[..., 0]).ravel(),
                    (v * points[..., 2] / points[..., 1]).ravel(),
                ]
            )
            votes = np.sort(votes[~np.isnan(votes)])
            # The lower one of two middle votes, as in the reference.
            return float(votes[(len(votes) - 1) // 2]) if len(votes) else float('nan')
        rays = points[..., :2] / points[..., 2:]
    rays = np.where(np.isfinite(rays), rays, 0.0).reshape(-1, 2)
    pixels = np.stack([u, v], axis=-1).reshape(-1, 2)
    ray_pixel = (rays * pixels).sum(axis=-1)
    ray_ray = (rays * rays).sum(axis=-1)
    if not ray_ray.any():
        return float('nan')
    focal = ray_pixel.mean() / ray_ray.mean()
    for _ in range(iterations):
        distance = np.linalg.norm(pixels - focal * rays, axis=-1)
        weight = 1.0 / np.maximum(distance, 1e-8)
        focal = (weight * ray_pixel).mean() / (weight * ray_ray).mean()
    return max(float(focal), 0.0)


@dataclass(slots=True)
class FocalEstimate:
    """
    The focal length of an uncalibrated camera, estimated over many frames.

    Estimates of single frames are votes in log focal length per image width. The result is the
    median of the newest votes, and its spread is their scaled median deviation.
    """

    log_votes: list[float] = field(default_factory=list)  # log of focal length per image width

    def add(self, focal_px: float, width: int) -> None:
        """Add the estimate of one frame; views below 5 or above 170 degrees are ignored."""
        if math.isfinite(focal_px) and 0.04 * width < focal_px < 12.0 * width:
            self.log_votes.append(math.log(focal_px / width))
            del self.log_votes[:-_FOCAL_VOTES]

    @property
    def count(self) -> int:
        """Number of votes."""
        return len(self.log_votes)

    def focal_px(self, width: int) -> float:
        """Return the focal length in px for an image of this width; NaN without votes."""
        if not self.log_votes:
            return math.nan
        return math.exp(median(self.log_votes)) * width

    @property
    def spread(self) -> float:
        """Relative standard deviation of the votes (1.4826 median deviation); NaN below 3."""
        if self.count < 3:
            return math.nan
        votes = np.asarray(self.log_votes)
        return 1.4826 * float(np.median(np.abs(votes - np.median(votes))))


class Rectifier:
    """
    Removes lens distortion by tables that are computed once per camera.

    The rectified image has the same size and K, so its camera_info differs by the distortion only.
    """

    def __init__(self, camera: Intrinsics) -> None:
        """Compute the tables of ``camera``; a camera without distortion has none."""
        self.camera = camera
        self.rectified = camera.undistorted()
        self.valid: np.ndarray | None = None  # [H, W] bool; None: all pixels
        self._maps: tuple[np.ndarray, np.ndarray] | None = None
        if camera.is_distorted:
            self._make_maps()

    def _make_maps(self) -> None:
        import cv2

        camera, size = self.camera, (self.camera.width, self.camera.height)
        coefficients = np.asarray(camera.distortion)
        if camera.distortion_model == 'equidistant':
            make = cv2.fisheye.initUndistortRectifyMap
        else:
            make = cv2.initUndistortRectifyMap
        x, y = make(camera.K, coefficients, np.eye(3), camera.K, size, cv2.CV_32FC1)
        inside = (x >= 0) & (x <= size[0] - 1) & (y >= 0) & (y <= size[1] - 1)
        self.valid = None if inside.all() else inside
        # remap is about twice as fast with fixed-point tables as with float tables.
        self._maps = cv2.convertMaps(x, y, cv2.CV_16SC2)

    def image(self, image: np.ndarray) -> np.ndarray:
        """
        Return the rectified image; outside the source image its border is repeated.

        A black rim does not move with the camera, and optical flow would detect a camera at rest.
        """
        if self._maps is None:
            return image
        import cv2

        return cv2.remap(image, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Return the rectified mask [H, W] uint8, nonzero = ignore."""
        if self._maps is None:
            return mask
        import cv2

        return cv2.remap(mask, *self._maps, cv2.INTER_NEAREST)


@lru_cache(maxsize=4)
def rectifier(camera: Intrinsics) -> Rectifier:
    """Return the rectifier of a camera from a cache."""
    return Rectifier(camera)
