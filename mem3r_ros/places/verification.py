# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Checks by geometry whether an image shows a remembered place.

Features of both images are matched, the pose follows by P3P and RANSAC on the stored depth, and
then every stored feature that must be in view is searched where the pose puts it. Places that only
look alike share an object or a texture, but not the features of the whole view.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mem3r_ros.geometry import hat, invert, matrix, so3_exp
from mem3r_ros.places.sighting import Features

_RATIO = 0.85  # of the best to the second descriptor distance (Lowe 2004)
_MAX_HAMMING = 64  # bits of 256
_TOLERANCE_PX = 3.0  # of the working image
_FEATURE_NOISE_PX = 0.5 * _TOLERANCE_PX  # standard deviation
_SEARCH = 2.0  # tolerances around the predicted pixel in which a feature is searched
_MIN_SHARE = 0.25  # of the features in view that are found again
_MIN_IN_VIEW = 0.2  # of all stored features
_CELLS = 4  # a side of the grid for the spread of the inliers
_MIN_CELLS = 3
_MAX_LOG_SCALE = 2.0  # between two visits; a view of plain walls can change it threefold
_MAX_DEPTH_SPREAD = 0.35  # of the log depth ratios, by their median deviation
_MAX_SIGMA = 0.1  # of the position, relative to the usual depth
# Standard deviations beyond the pixel noise, at least; measured on rendered loops.
_POSITION_NOISE = 0.001  # of the usual depth
_DEPTH_NOISE = 0.02  # of the depths of a place, which scale the motion from it
_ROTATION_NOISE = 0.001  # rad
_SCALE_NOISE = 0.02  # of the log scale
_TOLERANCE = 0.02  # usual depths, beside the noise of the pixels
_SPREAD_TO_SIGMA = 1.5  # from the median deviation to the standard deviation
_POSE_POINTS = 4  # that determine a pose, at least
_BITS = np.array([bin(value).count('1') for value in range(256)], np.uint8)


@dataclass(frozen=True, slots=True)
class Match:
    """The pose of a query camera in a remembered place, by its geometry."""

    T_place_query: np.ndarray  # [4, 4], metres of the place
    log_scale: float  # log of metres of the place for each metre of the query
    num_inliers: int
    share: float  # of the stored features in view that were found again
    sigma_m: float  # standard deviation of the position, metres of the place
    sigma_rad: float
    sigma_log_scale: float
    tolerance_m: float  # that recognitions of one place may differ by, metres of the place


def verify(query: Features, place: Features, min_inliers: int) -> Match | None:
    """
    Return the pose of a query in a place; None unless geometry confirms it.

    :param query: features of the newest image.
    :param place: features of the remembered place.
    :param min_inliers: features that must agree with the pose.
    """
    pairs = _matched(query.descriptors, place.descriptors)
    if len(pairs) < min_inliers // 2:
        return None
    points, tolerance = place.points, _TOLERANCE_PX * query.pixel
    T_query_place = _pose(points[pairs[:, 1]], query.rays[pairs[:, 0]], tolerance)
    if T_query_place is None:
        return None
    for _ in range(2):
        pairs, num_in_view = _searched(query, place, points, T_query_place, tolerance)
        if len(pairs) < min_inliers:
            return None
        T_query_place = _refined(T_query_place, points[pairs[:, 1]], query.rays[pairs[:, 0]])
    share = len(pairs) / max(num_in_view, 1)
    if share < _MIN_SHARE or num_in_view < _MIN_IN_VIEW * len(place):
        return None
    rays = query.rays[pairs[:, 0]], place.rays[pairs[:, 1]]
    if min(_num_cells(rays[0], query.bounds), _num_cells(rays[1], place.bounds)) < _MIN_CELLS:
        return None
    return _match(query, place, T_query_place, pairs, share, points)


def shared_view(
    query: Features, place: Features, T_place_query: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """
    Search the features of a place in a query whose pose is known.

    :return: the found points in the query [P, 3], metres of the place; their depth there [P],
        metres of the query; standard deviations of position and rotation of a pose by these
        points, infinite where they determine none.
    """
    T = invert(T_place_query)
    pairs, _ = _searched(query, place, place.points, T, _TOLERANCE_PX * query.pixel)
    seen = place.points[pairs[:, 1]] @ T[:3, :3].T + T[:3, 3]
    return seen, query.depth[pairs[:, 0]], *_sigmas(seen, _FEATURE_NOISE_PX * query.pixel)


def _match(
    query: Features,
    place: Features,
    T_query_place: np.ndarray,
    pairs: np.ndarray,
    share: float,
    points: np.ndarray,
) -> Match | None:
    """Return the match unless its depths disagree or its position is not determined."""
    seen = points[pairs[:, 1]] @ T_query_place[:3, :3].T + T_query_place[:3, 3]
    ratios = np.log(seen[:, 2] / query.depth[pairs[:, 0]])
    log_scale = float(np.median(ratios))
    spread = float(np.median(np.abs(ratios - log_scale)))
    if abs(log_scale) > _MAX_LOG_SCALE or spread > _MAX_DEPTH_SPREAD:
        return None
    sigma_m, sigma_rad = _sigmas(seen, _FEATURE_NOISE_PX * query.pixel)
    usual = float(np.median(seen[:, 2]))
    if not sigma_m < _MAX_SIGMA * usual:
        return None
    T_place_query = invert(T_query_place)
    depth_noise = float(np.hypot(_DEPTH_NOISE, _SPREAD_TO_SIGMA * spread))
    by_depth = depth_noise * float(np.linalg.norm(T_place_query[:3, 3]))
    return Match(
        T_place_query=T_place_query,
        log_scale=log_scale,
        num_inliers=len(pairs),
        share=share,
        sigma_m=sigma_m + by_depth + _POSITION_NOISE * usual,
        sigma_rad=sigma_rad + _ROTATION_NOISE,
        sigma_log_scale=_SCALE_NOISE + spread,
        tolerance_m=sigma_m + _TOLERANCE * usual,
    )


def _matched(query: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return pairs of rows of descriptors that are each other's nearest, [P, 2]."""
    if min(len(query), len(place)) < 2:
        return np.zeros((0, 2), int)
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING)
    back = {m.queryIdx: m.trainIdx for m in matcher.match(place, query)}
    pairs = [
        (best.queryIdx, best.trainIdx)
        for best, second in matcher.knnMatch(query, place, 2)
        if best.distance < min(_RATIO * second.distance, _MAX_HAMMING)
        and back[best.trainIdx] == best.queryIdx
    ]
    return np.array(pairs, int).reshape(-1, 2)


def _pose(points: np.ndarray, rays: np.ndarray, tolerance: float) -> np.ndarray | None:
    """Return the pose of points [P, 3] seen along rays [P, 2], by RANSAC; None if none fits."""
    try:
        found, turn, shift, inliers = cv2.solvePnPRansac(
            points,
            rays.astype(np.float64),
            np.eye(3),
            None,
            iterationsCount=300,
            reprojectionError=tolerance,
            confidence=0.999,
            flags=cv2.SOLVEPNP_AP3P,
        )
    except cv2.error:  # fewer points than P3P needs, or all in one place
        return None
    if not found or inliers is None or not np.isfinite([turn, shift]).all():
        return None
    return matrix(so3_exp(turn.ravel()), shift.ravel())


def _searched(
    query: Features,
    place: Features,
    points: np.ndarray,
    T_query_place: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, int]:
    """
    Search each stored feature where the pose puts it.

    :return: pairs of rows (query, place), [P, 2]; and how many stored features are in view.
    """
    seen = points @ T_query_place[:3, :3].T + T_query_place[:3, 3]
    with np.errstate(divide='ignore', invalid='ignore'):
        at = seen[:, :2] / seen[:, 2:]
    margin = 20 * query.pixel  # where ORB finds no corners
    low, high = query.bounds[:2] + margin, query.bounds[2:] - margin
    in_view = (seen[:, 2] > 1e-3) & (at > low).all(axis=1) & (at < high).all(axis=1)
    rows = np.flatnonzero(in_view)
    apart = np.abs(at[rows, None] - query.rays[None]).max(axis=2)
    which, candidate = np.nonzero(apart < _SEARCH * tolerance)
    if not len(which):
        return np.zeros((0, 2), int), len(rows)
    different = place.descriptors[rows[which]] ^ query.descriptors[candidate]
    distance = _BITS[different].sum(axis=1, dtype=np.int64)
    close = distance < _MAX_HAMMING
    which, candidate, distance = which[close], candidate[close], distance[close]
    # The nearest descriptor of each stored feature, then of each query feature.
    order = np.argsort(distance, kind='stable')
    which, candidate = which[order], candidate[order]
    first = np.unique(which, return_index=True)[1]
    which, candidate = which[np.sort(first)], candidate[np.sort(first)]
    first = np.sort(np.unique(candidate, return_index=True)[1])
    return np.column_stack([candidate[first], rows[which[first]]]), len(rows)


def _refined(T_query_place: np.ndarray, points: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Return the pose with the least squared error, outliers weakened (Huber)."""
    T = T_query_place
    for _ in range(5):
        seen = points @ T[:3, :3].T + T[:3, 3]
        error = rays - seen[:, :2] / seen[:, 2:]
        size = np.linalg.norm(error, axis=1)
        scale = max(1.5 * float(np.median(size)), 1e-6)
        weight = np.repeat(np.sqrt(np.minimum(1.0, scale / np.maximum(size, 1e-12))), 2)
        J = _jacobian(seen)
        step, *_ = np.linalg.lstsq(J * weight[:, None], error.ravel() * weight, rcond=None)
        turn = so3_exp(step[3:])
        T = matrix(turn @ T[:3, :3], turn @ T[:3, 3] + step[:3])
        if np.abs(step).max() < 1e-6:
            break
    return T


def _jacobian(seen: np.ndarray) -> np.ndarray:
    """Return the derivative of image coordinates by a motion of the points, [2 P, 6]."""
    x, y, z = seen.T
    zero = np.zeros(len(seen))
    by_point = np.stack([1 / z, zero, -x / z**2, zero, 1 / z, -y / z**2], axis=1)
    by_point = by_point.reshape(-1, 2, 3)
    by_turn = -by_point @ np.stack([hat(point) for point in seen])
    return np.concatenate([by_point, by_turn], axis=2).reshape(-1, 6)


def _sigmas(seen: np.ndarray, sigma: float) -> tuple[float, float]:
    """Return the standard deviations of position and rotation; inf where undetermined."""
    if len(seen) < _POSE_POINTS:
        return np.inf, np.inf
    J = _jacobian(seen)
    try:
        covariance = np.linalg.inv(J.T @ J) * sigma**2
    except np.linalg.LinAlgError:
        return np.inf, np.inf
    variances = np.diag(covariance)
    if not (variances > 0).all():
        return np.inf, np.inf
    return float(np.sqrt(variances[:3].max())), float(np.sqrt(variances[3:].max()))


def _num_cells(rays: np.ndarray, bounds: np.ndarray) -> int:
    """Return over how many cells of a grid the rays are spread."""
    share = (rays - bounds[:2]) / (bounds[2:] - bounds[:2])
    cell = np.clip((share * _CELLS).astype(int), 0, _CELLS - 1)
    return len(np.unique(cell[:, 0] * _CELLS + cell[:, 1]))
