# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Poses that survive wrong correspondences: five points (Nister 2004) and PnP, both by RANSAC.

OpenCV draws its samples from a fixed seed, so equal input gives equal output.
"""

from __future__ import annotations

import cv2
import numpy as np

from mem3r_ros.geometry import invert, matrix
from mem3r_ros.odometry.pinhole import camera_matrix, rays_of

_MIN_POINTS = 20  # fewer leave an essential matrix undetermined
_CONFIDENCE = 0.999
_MIN_SHARE = 0.5  # of inliers; below, the scene is no rigid one seen twice
_MAX_TRIALS = 250  # of five points; with that share of inliers 220 reach the confidence


def epipolar_inliers(
    first: np.ndarray, second: np.ndarray, camera: np.ndarray, limit_px: float
) -> np.ndarray | None:
    """
    Find the correspondences that one rigid motion explains.

    :param first: [P, 2] px.
    :param second: the same points in another image, [P, 2] px.
    :param camera: fx, fy, cx, cy.
    :param limit_px: distance from the epipolar line.
    :return: [P] bool; None where the essential matrix is not determined.
    """
    found = _essential_matrix(first, second, camera, limit_px)
    return None if found is None else found[1]


def relative_pose(
    first: np.ndarray, second: np.ndarray, camera: np.ndarray, limit_px: float
) -> np.ndarray | None:
    """
    Find the motion between two images, with a step of length 1; parameters as above.

    :return: T_first_second, [4, 4]; None where the essential matrix is not determined.
    """
    found = _essential_matrix(first, second, camera, limit_px)
    if found is None:
        return None
    E, inliers = found
    mask = inliers.astype(np.uint8)
    _, R, t, _ = cv2.recoverPose(E, first, second, camera_matrix(camera), mask=mask)
    return invert(matrix(R, t.ravel()))


def epipolar_distance(
    first: np.ndarray, second: np.ndarray, camera: np.ndarray, T_first_second: np.ndarray
) -> np.ndarray:
    """
    Return how far correspondences are from fitting a motion with any depth (Sampson distance).

    :param first: [P, 2] px.
    :param second: the same points in another image, [P, 2] px.
    :param camera: fx, fy, cx, cy.
    :param T_first_second: the motion, [4, 4]; the length of its step does not count.
    :return: [P] px; 0 where the motion has no step.
    """
    rays, other_rays = rays_of(first, camera), rays_of(second, camera)
    R, t = T_first_second[:3, :3], T_first_second[:3, 3]
    line = np.cross(t, other_rays @ R.T)
    other_line = np.cross(rays, t) @ R
    slope = np.hstack([line[:, :2], other_line[:, :2]]) / np.tile(camera[:2], 2)
    return np.abs((rays * line).sum(axis=1)) / np.maximum(np.linalg.norm(slope, axis=1), 1e-12)


def _essential_matrix(
    first: np.ndarray, second: np.ndarray, camera: np.ndarray, limit_px: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the essential matrix [3, 3] and its inliers [P] bool, if it is determined."""
    moved = np.linalg.norm(first - second, axis=1)
    if len(first) < _MIN_POINTS or np.median(moved) < 1.5 * limit_px:
        return None
    try:
        E, inliers = cv2.findEssentialMat(
            first,
            second,
            camera_matrix(camera),
            cv2.USAC_MAGSAC,
            _CONFIDENCE,
            limit_px,
            _MAX_TRIALS,
        )
    except cv2.error:
        return None
    if E is None or E.shape != (3, 3) or inliers is None or inliers.mean() < _MIN_SHARE:
        return None
    return E, inliers.ravel() > 0


def pose_from_points(
    points: np.ndarray, pixels: np.ndarray, camera: np.ndarray, limit_px: float
) -> np.ndarray | None:
    """
    Find a camera from points and their pixels.

    :param points: [P, 3].
    :param pixels: [P, 2].
    :param camera: fx, fy, cx, cy.
    :param limit_px: reprojection error of an inlier.
    :return: T_points_camera, [4, 4]; None where there is no consensus.
    """
    if len(points) < 8:
        return None
    try:
        is_found, rotation, translation, inliers = cv2.solvePnPRansac(
            points,
            pixels,
            camera_matrix(camera),
            None,
            iterationsCount=200,
            reprojectionError=limit_px,
            confidence=_CONFIDENCE,
            flags=cv2.SOLVEPNP_AP3P,
        )
    except cv2.error:
        return None
    if not is_found or inliers is None or len(inliers) < 8:
        return None
    T = invert(matrix(cv2.Rodrigues(rotation)[0], translation.ravel()))
    return T if np.isfinite(T).all() else None
