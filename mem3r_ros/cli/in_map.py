# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The path of a run in the map, where places were recognised."""

from __future__ import annotations

from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.trajectory_error import trajectory_error
from mem3r_ros.places import Correction, Places
from mem3r_ros.trajectory import Trajectory


def corrected(places: Places, odometry: Trajectory) -> Trajectory | None:
    """Return a path corrected by the recognised places; None without any place."""
    places.flush()
    if not len(places.correction) or not len(odometry):
        return None
    poses = places.correction.path(odometry.stamps_ns, odometry.poses)
    return Trajectory(odometry.stamps_ns, poses)


def map_notes(
    in_map: Trajectory | None, correction: Correction, truth: Trajectory | None
) -> list[str]:
    """Return remarks about the path in the map for the reader of the figures."""
    if in_map is None:
        return []
    notes = [
        f'Known places were recognised {correction.num_recognised} times; {len(correction)} are '
        'remembered. trajectory_map.txt has the corrected path, map_corrected.ply the points.'
    ]
    if truth is not None:
        try:
            error = trajectory_error(in_map, truth)
        except UserError:
            return notes
        notes.append(f'ATE of the corrected path: {error.ate_sim3_rmse_m:.4f} m (Sim(3)).')
    return notes
