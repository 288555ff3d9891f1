# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Gives the keyframes of the tracker to the place memory."""

from __future__ import annotations

import numpy as np

from mem3r_ros.odometry.pinhole import rays_of
from mem3r_ros.places import Choice, Sighting
from mem3r_ros.tracker.config import TrackerConfig
from mem3r_ros.tracker.measurement import FrameContext, Measurement, is_refined
from mem3r_ros.tracker.stream_state import StreamState


def give_to_places(
    context: FrameContext, measured: Measurement, stream: StreamState, config: TrackerConfig
) -> None:
    """Give a frame to the place memory if a keyframe is due; it waits for one with depth."""
    places, T_odom_camera = stream.places, stream.odometry.T_odom_camera
    if not config.places.enabled:
        places.wants_depth = False
        return
    choice = places.choose(context.stamp_ns, T_odom_camera)
    places.wants_depth = choice is not Choice.NONE and measured.view is None
    if choice is Choice.NONE or measured.view is None:
        return
    prepared, token = context.prepared, measured.image_token
    metres = stream.metres_per_unit(config)
    rays, depth = np.zeros((0, 2)), np.zeros(0)
    if is_refined(prepared, config):
        rays, depth = _landmarks(stream)
    places.add(
        Sighting(
            stamp_ns=context.stamp_ns,
            T_odom_camera=T_odom_camera.copy(),
            path_m=places.path_m,
            stretch=places.stretch,
            grey=prepared.source_grey,
            camera=stream.dense_outputs.source_camera(prepared),
            depth=measured.view.depth * np.float32(metres * measured.unit),
            depth_camera=stream.dense_outputs.network_camera(prepared),
            landmark_rays=rays,
            landmark_depth=depth * metres,
            token=None if token is None else token.copy(),
            has_moved=choice is Choice.PLACE,
            blind_s=places.blind_s,
            is_cut=places.is_cut,
        ),
        config.places,
    )


def _landmarks(stream: StreamState) -> tuple[np.ndarray, np.ndarray]:
    """Return rays [N, 2] and depths [N] of the landmarks that the newest frame sees."""
    window = stream.window
    rows = np.flatnonzero(window.landmarks.is_tracked)
    if not len(window.poses) or not len(rows):
        return np.zeros((0, 2)), np.zeros(0)
    depth = window.landmarks.depth_in(window.poses[-1], window.poses, window.camera, rows)
    rays = rays_of(window.landmarks.seen[rows, -1], window.camera)[:, :2]
    usable = np.isfinite(rays).all(axis=1) & (depth > 0) & np.isfinite(depth)
    return rays[usable], depth[usable]
