# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Textbook visual odometry on OpenCV, as a yardstick; nothing of it is tuned.

- ``klt_essential``: corners tracked from image to image, essential matrix, scale carried by the
  triangulated points.
- ``orb_essential``: the same chain with matched ORB features.
- ``klt_bundle``: tracked corners, PnP against triangulated points, keyframes, bundle adjustment of
  the last keyframes.
- ``depth_pnp``: tracked corners, PnP against the true depth of keyframes. It is no rival: where it
  follows, its errors include those of the truth itself.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert, matrix, orthonormalise
from mem3r_ros.odometry.adjustment import adjust
from mem3r_ros.odometry.pinhole import camera_array, rays_of
from mem3r_ros.odometry.problem import Problem

Matcher = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

NUM_CORNERS = 1000
RANSAC_PX = 1.0
PNP_PX = 2.0
MIN_POINTS = 30
KEY_PX = 20.0  # median motion since the last keyframe
WINDOW = 7  # keyframes


def tracked_corners(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return corners of the first image and where the second shows them, [N, 2] each."""
    corners = cv2.goodFeaturesToTrack(first, NUM_CORNERS, 0.01, 8)
    if corners is None:
        return np.zeros((0, 2)), np.zeros((0, 2))
    found, good = follow(first, second, corners[:, 0])
    return corners[good, 0].astype(float), found[good].astype(float)


def follow(
    first: np.ndarray, second: np.ndarray, corners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Track corners [N, 2], and return which come back to their start."""
    if not len(corners):
        return np.zeros((0, 2), np.float32), np.zeros(0, bool)
    start = corners.astype(np.float32)[:, None]
    options = {'winSize': (21, 21), 'maxLevel': 3}
    moved, ahead, _ = cv2.calcOpticalFlowPyrLK(first, second, start, None, **options)
    back, behind, _ = cv2.calcOpticalFlowPyrLK(second, first, moved, None, **options)
    near = np.linalg.norm((back - start)[:, 0], axis=1) < 1.0
    return moved[:, 0], near & (ahead.ravel() == 1) & (behind.ravel() == 1)


def matched_orb(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return matched ORB features of two images, [N, 2] each."""
    orb = cv2.ORB_create(2000)
    points, descriptors = zip(*(orb.detectAndCompute(image, None) for image in (first, second)))
    if any(d is None or len(d) < 2 for d in descriptors):
        return np.zeros((0, 2)), np.zeros((0, 2))
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(*descriptors)
    return tuple(
        np.array([points[k][(m.queryIdx, m.trainIdx)[k]].pt for m in matches]).reshape(-1, 2)
        for k in (0, 1)
    )


def relative_pose(
    first: np.ndarray, second: np.ndarray, K: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return T_first_second with a step of length 1 and the inliers [N]; None if undetermined."""
    if len(first) < 8:
        return None
    E, mask = cv2.findEssentialMat(first, second, K, cv2.RANSAC, 0.999, RANSAC_PX)
    if E is None or E.shape != (3, 3):
        return None
    num_ahead, R, t, mask = cv2.recoverPose(E, first, second, K, mask=mask)
    if num_ahead < 8:
        return None
    return invert(matrix(R, t.ravel())), mask.ravel() > 0


def triangulate(
    T_first_second: np.ndarray, first: np.ndarray, second: np.ndarray, K: np.ndarray
) -> np.ndarray:
    """Return points in the first camera, [N, 3]."""
    P = K @ np.eye(4)[:3], K @ invert(T_first_second)[:3]
    points = cv2.triangulatePoints(*P, first.T.astype(float), second.T.astype(float))
    return (points[:3] / points[3]).T


def essential_chain(images: list[np.ndarray], camera: Intrinsics, match: Matcher) -> np.ndarray:
    """Chain relative poses; the depth of points in two pairs carries the scale."""
    K, poses = camera.K, [np.eye(4)]
    T = np.eye(4)
    before: tuple[np.ndarray, np.ndarray] | None = None  # pixels and depths in this image
    length = 1.0
    for previous, image in pairwise(images):
        first, second = match(previous, image)
        found = relative_pose(first, second, K)
        if found is None:
            poses.append(poses[-1] @ T)  # as before
            before = None
            continue
        T, inliers = found
        first, second = first[inliers], second[inliers]
        points = triangulate(T, first, second, K)
        if before is not None:
            length = length_by(before, first, points[:, 2], length)
        T = T.copy()
        T[:3, 3] *= length
        poses.append(poses[-1] @ T)
        in_second = points * length @ invert(T)[:3, :3].T + invert(T)[:3, 3]
        good = (points[:, 2] > 0) & (in_second[:, 2] > 0)
        before = second[good], in_second[good, 2]
    return np.stack(poses)


def length_by(
    before: tuple[np.ndarray, np.ndarray], pixels: np.ndarray, depth: np.ndarray, usual: float
) -> float:
    """Return the length of a step from points that the pair before has seen as well."""
    if not len(before[0]) or not len(pixels):
        return usual
    distance = np.linalg.norm(before[0][:, None] - pixels[None], axis=2)
    nearest = distance.argmin(axis=1)
    shared = (distance[np.arange(len(nearest)), nearest] < 1.0) & (depth[nearest] > 0)
    if shared.sum() < 5:
        return usual
    return float(np.median(before[1][shared] / depth[nearest][shared]))


def klt_essential(images: list[np.ndarray], camera: Intrinsics) -> np.ndarray:
    """Return the poses T_first_camera [F, 4, 4] by tracked corners and essential matrices."""
    return essential_chain(images, camera, tracked_corners)


def orb_essential(images: list[np.ndarray], camera: Intrinsics) -> np.ndarray:
    """Return the poses T_first_camera [F, 4, 4] by matched features and essential matrices."""
    return essential_chain(images, camera, matched_orb)


class BundleOdometry:
    """Tracked corners, PnP, keyframes, bundle adjustment over the newest of them."""

    def __init__(self, camera: Intrinsics) -> None:
        """Start without a map."""
        self.camera, self.K = camera_array(camera), camera.K
        self.keys = np.zeros((0, 4, 4))  # poses of the keyframes
        self.seen = np.zeros((0, 0, 2))  # [N, K, 2] corners in the keyframes, NaN
        self.points = np.zeros((0, 3))  # of the corners, NaN: not triangulated
        self.now = np.zeros((0, 2))  # where the newest image shows the corners; NaN: lost
        self.image: np.ndarray | None = None
        self.T = np.eye(4)
        self.step = np.eye(4)

    def add(self, image: np.ndarray) -> np.ndarray:
        """Take the next image; return its pose."""
        if self.image is None:
            self.image = image
            self._add_key()
            return self.T
        alive = np.isfinite(self.now[:, 0])
        found, good = follow(self.image, image, self.now[alive])
        self.now[alive] = np.where(good[:, None], found, np.nan)
        self.image = image
        before = self.T
        is_located = self._locate()
        if not is_located:
            self.T = before @ self.step
        self.step = invert(before) @ self.T
        if self._is_key():
            self._add_key()
            self._triangulate()
            self._adjust()
        return self.T

    def _locate(self) -> bool:
        usable = np.isfinite(self.points[:, 0]) & np.isfinite(self.now[:, 0])
        if usable.sum() >= MIN_POINTS:
            return self._by_points(usable)
        both = np.isfinite(self.seen[:, -1, 0]) & np.isfinite(self.now[:, 0])
        found = relative_pose(self.seen[both, -1], self.now[both], self.K)
        if found is None:
            return False
        T = found[0]
        T[:3, 3] *= max(float(np.linalg.norm(self.step[:3, 3])), 0.0) or 1.0
        self.T = self.keys[-1] @ T
        return True

    def _by_points(self, usable: np.ndarray) -> bool:
        ok, rotation, translation, inliers = cv2.solvePnPRansac(
            self.points[usable], self.now[usable], self.K, None, reprojectionError=PNP_PX
        )
        if not ok or inliers is None or len(inliers) < MIN_POINTS // 2:
            return False
        rows = np.flatnonzero(usable)
        wrong = np.setdiff1d(np.arange(len(rows)), inliers)
        self.now[rows[wrong]] = np.nan
        self.T = invert(matrix(cv2.Rodrigues(rotation)[0], translation.ravel()))
        return True

    def _is_key(self) -> bool:
        both = np.isfinite(self.seen[:, -1, 0]) & np.isfinite(self.now[:, 0])
        if both.sum() < 2 * MIN_POINTS:
            return True
        moved = np.linalg.norm(self.seen[both, -1] - self.now[both], axis=1)
        return float(np.median(moved)) > KEY_PX

    def _add_key(self) -> None:
        tracked = self.now[np.isfinite(self.now[:, 0])]
        mask = np.full(self.image.shape, 255, np.uint8)
        for x, y in tracked:
            cv2.circle(mask, (round(float(x)), round(float(y))), 8, 0, -1)
        wanted = max(1, NUM_CORNERS // 2 - len(tracked))
        new = cv2.goodFeaturesToTrack(self.image, wanted, 0.01, 8, mask=mask)
        new = np.zeros((0, 2)) if new is None else new[:, 0].astype(float)
        self.now = np.concatenate([self.now, new])
        self.points = np.concatenate([self.points, np.full((len(new), 3), np.nan)])
        unseen = np.full((len(new), self.seen.shape[1], 2), np.nan)
        self.seen = np.concatenate([self.seen, unseen])
        self.seen = np.concatenate([self.seen, self.now[:, None]], axis=1)[:, -WINDOW:]
        self.keys = np.concatenate([self.keys, self.T[None]])[-WINDOW:]
        kept = np.isfinite(self.seen[..., 0]).any(axis=1)
        self.now, self.points, self.seen = self.now[kept], self.points[kept], self.seen[kept]

    def _triangulate(self) -> None:
        """Give points to corners that two keyframes see under more than a degree."""
        new = np.flatnonzero(~np.isfinite(self.points[:, 0]) & np.isfinite(self.now[:, 0]))
        for row in new:
            first = int(np.isfinite(self.seen[row, :, 0]).argmax())
            if first == len(self.keys) - 1:
                continue
            T = invert(self.keys[first]) @ self.keys[-1]
            a, b = (rays_of(self.seen[row, k][None], self.camera)[0] for k in (first, -1))
            b = T[:3, :3] @ b
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            if cosine > np.cos(np.radians(1.0)):
                continue
            point = triangulate(T, self.seen[row, first][None], self.seen[row, -1][None], self.K)
            if point[0, 2] > 0:
                pose = self.keys[first]
                self.points[row] = pose[:3, :3] @ point[0] + pose[:3, 3]

    def _adjust(self) -> None:
        seen = np.isfinite(self.seen[..., 0])
        rows = np.flatnonzero((seen.sum(axis=1) > 1) & np.isfinite(self.points[:, 0]))
        if len(rows) < MIN_POINTS or len(self.keys) < 3:
            return
        anchor = seen[rows].argmax(axis=1)
        poses = self.keys[anchor]
        depth = np.einsum('nj,nj->n', self.points[rows] - poses[:, :3, 3], poses[:, :3, 2])
        rows, anchor, depth = rows[depth > 0], anchor[depth > 0], depth[depth > 0]
        later = seen[rows].copy()
        later[np.arange(len(rows)), anchor] = False
        landmark, frame = np.nonzero(later)
        pixels = self.seen[rows, anchor]
        problem = Problem(
            T_window_camera=self.keys,
            is_fixed=np.arange(len(self.keys)) < 2,
            anchor=anchor,
            anchor_pixels=pixels,
            guess_pixels=pixels,
            inverse_depth=1 / depth,
            prior_inverse_depth=1 / depth,
            prior_sigma=100 / depth,
            landmark=landmark,
            frame=frame,
            pixels=self.seen[rows[landmark], frame],
            camera=self.camera,
            pixel_sigma=1.0,
        )
        try:
            solution = adjust(problem)
        except np.linalg.LinAlgError:
            return
        self.keys = solution.T_window_camera
        self.T = self.keys[-1]
        rays = rays_of(solution.anchor_pixels, self.camera) / solution.inverse_depth[:, None]
        poses = self.keys[anchor]
        self.points[rows] = np.einsum('nij,nj->ni', poses[:, :3, :3], rays) + poses[:, :3, 3]


def klt_bundle(images: list[np.ndarray], camera: Intrinsics) -> np.ndarray:
    """Return the poses T_first_camera [F, 4, 4] by PnP and bundle adjustment."""
    odometry = BundleOdometry(camera)
    return np.stack([odometry.add(image).copy() for image in images])


def depth_pnp(
    images: list[np.ndarray], depths: list[np.ndarray | None], camera: Intrinsics
) -> np.ndarray:
    """
    Return the poses T_first_camera [F, 4, 4] by PnP against the true depth of keyframes.

    :param depths: m, 0 or NaN: unknown, [H, W] each; None: an image without depth.
    """
    T_key, poses, step = np.eye(4), [np.eye(4)], np.eye(4)
    points = pixels = np.zeros((0, 3))
    for index, image in enumerate(images):
        if index:
            found, good = follow(images[index - 1], image, pixels)
            points, pixels = points[good], found[good]
            T = _by_depth(points, pixels, camera.K)
            poses.append(orthonormalise(poses[-1] @ step if T is None else T_key @ T))
            step = invert(poses[-2]) @ poses[-1]
        is_due = len(points) < NUM_CORNERS // 4 or index % WINDOW == 0
        if is_due and depths[index] is not None:
            T_key = poses[-1]
            points, pixels = points_by_depth(image, depths[index], camera)
    return np.stack(poses)


def points_by_depth(
    image: np.ndarray, depth: np.ndarray, camera: Intrinsics
) -> tuple[np.ndarray, np.ndarray]:
    """Return corners off the edges of the depth, as points [N, 3] and as pixels [N, 2]."""
    corners = cv2.goodFeaturesToTrack(image, NUM_CORNERS, 0.01, 8)
    if corners is None:
        return np.zeros((0, 3)), np.zeros((0, 2))
    depth = np.nan_to_num(depth).astype(np.float32)
    kernel = np.ones((7, 7), np.uint8)
    is_flat = cv2.dilate(depth, kernel) < 1.1 * cv2.erode(depth, kernel)
    rows, columns = np.round(corners[:, 0, ::-1]).astype(int).T
    good = is_flat[rows, columns]
    pixels = corners[good, 0].astype(float)
    rays = rays_of(pixels, camera_array(camera))
    return rays * depth[rows, columns][good, None], pixels


def _by_depth(points: np.ndarray, pixels: np.ndarray, K: np.ndarray) -> np.ndarray | None:
    """Return T_key_camera by PnP; None if undetermined."""
    if len(points) < MIN_POINTS:
        return None
    pixels = pixels.astype(float)
    ok, rotation, translation, inliers = cv2.solvePnPRansac(
        points, pixels, K, None, reprojectionError=PNP_PX
    )
    if not ok or inliers is None or len(inliers) < MIN_POINTS // 2:
        return None
    inside = inliers.ravel()
    rotation, translation = cv2.solvePnPRefineLM(
        points[inside], pixels[inside], K, None, rotation, translation
    )
    return invert(matrix(cv2.Rodrigues(rotation)[0], translation.ravel()))


BASELINES = {'KLT+E': klt_essential, 'ORB+E': orb_essential, 'KLT+BA': klt_bundle}
