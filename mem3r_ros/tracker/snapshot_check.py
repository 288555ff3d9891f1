# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The gate of saved states: types, shapes and ranges of every field, before one of them is used.

A damaged file may hold any number. One that got in would move the odometry by light years or stop
tracking for good, so that a state is refused as a whole for a single field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
import math
from types import NoneType, UnionType
import typing
from typing import Any

import numpy as np
from torch import Tensor

from mem3r_ros import plausible
from mem3r_ros.errors import UserError
from mem3r_ros.odometry.patch_alignment import STORED
from mem3r_ros.tracker.state_guard import MAX_STATE_VALUE

_MAX_LIST = 10_000
_MAX_TEXT = 1_000
_LOG_SCALE = math.log(plausible.SCALE_RANGE[1])
_STAMP = (-plausible.MAX_STAMP_NS, plausible.MAX_STAMP_NS)
# Ranges of numbers, also of those in lists; others are +-_ANY.
_ANY = 1e9
_RANGES: dict[str, tuple[float, float]] = {
    'intake.last_stamp_ns': _STAMP,
    'intake.last_notice_ns': _STAMP,
    'intake.size': (1, 65_535),
    'intake.shift': (0, 8),
    'intake.gaps_s': (0.0, _ANY),
    'quality.sharpness': (0.0, _ANY),
    'continuity.last_stamp_ns': _STAMP,
    'continuity.motion_px': (0.0, _ANY),
    'continuity.num_identical': (0, _ANY),
    'continuity.num_damaged': (0, _ANY),
    'continuity.num_new_scene': (0, _ANY),
    'continuity.shares': (0.0, 1.0),
    'continuity.halves': (0.0, 1.0),
    'segments.index': (0, _ANY),
    'segments.age': (0, _ANY),
    'segments.scale': plausible.SCALE_RANGE,
    'scale.log_votes': (-_LOG_SCALE, _LOG_SCALE),
    'scale.log_boundary_variance': (0.0, 100.0),
    'scale.log_factor_before': (-_LOG_SCALE, _LOG_SCALE),
    'window.num_taken': (0, _ANY),
    'window.num_flawed': (0, _ANY),
    'window.velocity_error_px': (0.0, _ANY),
    'window_focal.log_ratio': (math.log(0.02), math.log(24.0)),
    'window_focal.sigma': (0.0, _ANY),
    'window_focal.calibrated': (math.log(0.02), math.log(24.0)),
    'window_focal.log_departure': (-_LOG_SCALE, _LOG_SCALE),
    'window.log_depth_ratio': (-_LOG_SCALE, _LOG_SCALE),
    'window.log_step_ratios': (-_LOG_SCALE, _LOG_SCALE),
    'window.since_key_path': (0.0, _ANY),
    'window_landmarks.inverse_depth': (0.0, _ANY),
    'window_landmarks.variance': (0.0, _ANY),
    'window_landmarks.prior': (0.0, _ANY),
    'window_landmarks.prior_sigma': (0.0, _ANY),
    'window_keyframes.stamp_ns': _STAMP,
    'window_edges.log_depth_ratio': (-_LOG_SCALE, _LOG_SCALE),
    'window_edges.log_ratio': (-_LOG_SCALE, _LOG_SCALE),
    'window_edges.motion_variance': (0.0, _ANY),
    'window_edges.prior': (0.0, _ANY),
    'window_edges.inverse_depth': (0.0, _ANY),
    'health.confidences': (0.0, _ANY),
    'health.state_changes': (0.0, _ANY),
    'health.unusable_since_ns': _STAMP,
    'health.doubtful_since_ns': _STAMP,
    'health.last_good_ns': _STAMP,
    'health.num_good': (0, _ANY),
    'pace.velocities': (-1e4, 1e4),
    'pace.durations_s': (1e-9, _ANY),
    'depth_fusion.metres_per_unit': plausible.SCALE_RANGE,
    'odometry.window_stamps': _STAMP,
    'odometry.stamp_ns': _STAMP,
    'odometry.coasted_s': (0.0, _ANY),
    'focal.log_votes': (math.log(0.02), math.log(24.0)),
    'notices.last_notice_ns': _STAMP,
    'feedback.num_begun': (0, _ANY),
    'places.stamp_ns': _STAMP,
    'places.last_recognised_ns': _STAMP,
    'places.log_scale': (-_LOG_SCALE, _LOG_SCALE),
    'places.num_features': (0, 10_000),
    'places.depth': (0.0, _ANY),
    'places.pixel': (1e-6, 1.0),
    'places.rays': (-100.0, 100.0),
    'places.bounds': (-100.0, 100.0),
    'places.edge_log_scale': (-_LOG_SCALE, _LOG_SCALE),
    'places.edge_sigma': (1e-9, _ANY),
    'places.num_taken': (0, _ANY),
    'places.num_recognised': (0, _ANY),
    'places.num_alike': (0, _ANY),
    'places.alike_m': (0.0, _ANY),
    'places.stretch': (0, _ANY),
    'places.stretch_now': (0, _ANY),
    'places.path_now_m': (0.0, _ANY),
}
# Shapes of arrays; a letter is a size that is the same in all arrays of the stage.
_SHAPES: dict[str, tuple[int | str, ...]] = {
    'continuity.last': ('h', 'w'),
    'continuity.believed': ('H', 'W'),
    'stillness.grey': ('H', 'W'),
    'stillness.corners': ('N', 1, 2),
    'segments.T_world_camera': (4, 4),
    'window.previous': ('H', 'W'),
    'window.camera': (4,),
    'window.poses': ('M', 4, 4),
    'window.velocity': (4, 4),
    'window.T_window_camera': (4, 4),
    'window.since_key': (4, 4),
    'window.since_key_variance': (2,),
    'window_landmarks.anchor': ('N',),
    'window_landmarks.measured': ('N', 2),
    'window_landmarks.adjusted': ('N', 2),
    'window_landmarks.inverse_depth': ('N',),
    'window_landmarks.variance': ('N',),
    'window_landmarks.prior': ('N',),
    'window_landmarks.prior_sigma': ('N',),
    'window_landmarks.parallax': ('N',),
    'window_landmarks.patch': ('N', STORED, STORED),
    'window_landmarks.is_tracked': ('N',),
    'window_landmarks.seen': ('N', 'M', 2),
    'window_keyframes.index': ('K',),
    'window_keyframes.stamp_ns': ('K',),
    'window_keyframes.published': ('K', 4, 4),
    'window_keyframes.motion': ('K', 4, 4),
    'window_keyframes.motion_variance': ('K', 2),
    'window_keyframes.grey': ('K', 'H', 'W'),
    'window_keyframes.depth': ('K', 'h', 'w'),
    'window_keyframes.log_variance': ('K', 'h', 'w'),
    'window_edges.direction': ('F', 'H', 'W'),
    'window_edges.offset': ('F', 'H', 'W'),
    'window_edges.poses': ('F', 4, 4),
    'window_edges.motion': ('F', 4, 4),
    'window_edges.motion_variance': ('F', 2),
    'window_edges.pixels': ('F', 'P', 2),
    'window_edges.normals': ('F', 'P', 2),
    'window_edges.prior': ('F', 'P'),
    'window_edges.inverse_depth': ('F', 'P'),
    'window_edges.log_ratio': ('F',),
    'depth_fusion.log_depth': ('H', 'W'),
    'depth_fusion.precision': ('H', 'W'),
    'depth_fusion.map_pose': (4, 4),
    'depth_fusion.pose': (4, 4),
    'depth_fusion.images': ('K', 'h', 'w'),
    'depth_fusion.image_poses': ('K', 4, 4),
    'odometry.T_odom_camera': (4, 4),
    'odometry.T_odom_measured': (4, 4),
    'odometry.covariance': (6, 6),
    'odometry.blind_covariance': (6, 6),
    'odometry.scale_drift': (3,),
    'odometry.correction': (6,),
    'odometry.twist': (6,),
    'odometry.published_twist': (6,),
    'odometry.twist_covariance': (6, 6),
    'odometry.window_poses': ('S', 4, 4),
    'places.number': ('K',),
    'places.stamp_ns': ('K',),
    'places.stretch': ('K',),
    'places.path_m': ('K',),
    'places.T_odom_camera': ('K', 4, 4),
    'places.T_map_camera': ('K', 4, 4),
    'places.log_scale': ('K',),
    'places.covariance': ('K', 6, 6),
    'places.num_features': ('K',),
    'places.rays': ('K', 'F', 2),
    'places.depth': ('K', 'F'),
    'places.descriptors': ('K', 'F', 32),
    'places.bounds': ('K', 4),
    'places.pixel': ('K',),
    'places.token': ('K', 'E'),
    'places.edge_ends': ('L', 2),
    'places.edge_T': ('L', 4, 4),
    'places.edge_log_scale': ('L',),
    'places.edge_sigma': ('L', 3),
    'places.edge_is_loop': ('L',),
    'places.alike_m': ('A',),
}
_POSES = frozenset(name for name, shape in _SHAPES.items() if shape[-2:] == (4, 4))
_COVARIANCES = frozenset(name for name, shape in _SHAPES.items() if shape == (6, 6))
_MAY_BE_NAN = frozenset(
    {
        'window_landmarks.seen',  # where a frame does not see a landmark
        'window_keyframes.depth',
        'window_keyframes.log_variance',
        'window_edges.pixels',  # where a frame has fewer points than others
        'window_edges.prior',
        'window_edges.inverse_depth',
        'depth_fusion.log_depth',
        'depth_fusion.precision',
    }
)
_BYTES = frozenset(
    {
        'continuity.last',
        'continuity.believed',
        'stillness.grey',
        'window.previous',
        'window_keyframes.grey',
        'window_edges.direction',
        'depth_fusion.images',
        'places.descriptors',
    }
)
_BOOLEANS = frozenset({'window_landmarks.is_tracked', 'places.edge_is_loop'})


def check_values(stages: Mapping[str, Any]) -> None:
    """
    Check the fields of all stages.

    :param stages: by their names in snapshots.
    :raises UserError: a field has the wrong type, shape or range.
    """
    for prefix, stage in stages.items():
        sizes: dict[str, int] = {}
        hints = typing.get_type_hints(type(stage))
        for item in fields(stage):
            name, value = f'{prefix}.{item.name}', getattr(stage, item.name)
            if not item.metadata.get('is_packed', True):
                continue
            if isinstance(value, np.ndarray):
                _check_array(name, value, sizes)
            else:
                _check_value(name, value, hints[item.name])
    _check_lengths(stages)


def check_state(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """
    Check the tensors of a network state against those of a new one.

    :raises UserError: a name, shape or type differs, or a number is not finite or absurd.
    """
    missing = sorted(set(expected) - set(tensors))
    if missing:
        raise UserError(
            f'the snapshot is damaged: it lacks {", ".join(missing)}; start a new stream'
        )
    for name, tensor in tensors.items():
        like = expected.get(name, tensor)  # update rules add tensors of their own
        if tensor.shape != like.shape or tensor.dtype != like.dtype:
            raise _damaged(
                name, f'{tuple(tensor.shape)} {tensor.dtype}, not {tuple(like.shape)} {like.dtype}'
            )
        if tensor.is_floating_point() and tensor.numel():
            largest = float(tensor.abs().amax())
            if not largest <= MAX_STATE_VALUE:  # NaN is refused too
                raise _damaged(name, f'values up to {largest:g}')


def _check_lengths(stages: Mapping[str, Any]) -> None:
    """Check that lists that belong together have the same length."""
    pace, odometry = stages['pace'], stages['odometry']
    if len(pace.velocities) != len(pace.durations_s) or any(len(v) != 3 for v in pace.velocities):
        raise _damaged('pace.velocities', 'not three numbers for each of pace.durations_s')
    if len(odometry.window_stamps) != len(odometry.window_poses):
        raise _damaged('odometry.window_stamps', 'not one stamp for each of odometry.window_poses')
    if odometry.stamp_ns is None and stages['segments'].T_world_camera is not None:
        raise _damaged('odometry.stamp_ns', 'None, although a frame was tracked')
    if any(len(report) != 3 for report in stages['feedback'].reports):
        raise _damaged('feedback.reports', 'not three numbers for each frame')
    _check_window(stages['window'], stages['window_landmarks'], stages['window_keyframes'])
    if flaw := stages['places'].flaw():
        raise _damaged('places', flaw)


def _check_window(window: Any, landmarks: Any, keyframes: Any) -> None:
    """Check that landmarks, keyframes and poses of the window belong together."""
    num_poses, anchor = len(window.poses), landmarks.anchor
    is_index = anchor.dtype.kind == 'i' and ((anchor >= 0) & (anchor < num_poses)).all()
    if anchor.size and not is_index:
        raise _damaged('window_landmarks.anchor', f'no places among {num_poses} poses')
    if anchor.size and landmarks.seen.shape[1] != num_poses:
        raise _damaged('window_landmarks.seen', f'not one place for each of {num_poses} poses')
    if len(keyframes.index) != num_poses - (not window.is_key):
        raise _damaged('window_keyframes.index', f'{len(keyframes.index)} for {num_poses} poses')


def _check_value(name: str, value: Any, hint: Any) -> None:
    if not _conforms(value, hint):
        raise _damaged(name, f'{plausible.shown(value)}')
    low, high = _RANGES.get(name, (-_ANY, _ANY))
    for number in _numbers(value):
        if not low <= number <= high:
            raise _damaged(name, f'{plausible.shown(number)}, not {low:g} to {high:g}')


def _conforms(value: Any, hint: Any) -> bool:
    """Return whether a value is of an annotated type, its content included."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        return any(_conforms(value, one) for one in inner)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str) and len(value) <= _MAX_TEXT
    if hint in (bool, NoneType):
        return isinstance(value, hint)
    if origin is list:
        is_list = isinstance(value, list) and len(value) <= _MAX_LIST
        return is_list and all(_conforms(entry, inner[0]) for entry in value)
    if origin is tuple:
        is_tuple = isinstance(value, tuple) and len(value) == len(inner)
        return is_tuple and all(map(_conforms, value, inner))
    if origin is dict:
        is_dict = isinstance(value, dict) and len(value) <= _MAX_LIST
        return is_dict and all(
            _conforms(key, inner[0]) and _conforms(entry, inner[1]) for key, entry in value.items()
        )
    return False


def _numbers(value: Any) -> list[float]:
    """Return the numbers of a value and of what it holds."""
    if isinstance(value, dict):
        return [number for entry in value.values() for number in _numbers(entry)]
    if isinstance(value, (list, tuple)):
        return [number for entry in value for number in _numbers(entry)]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return [value] if is_number else []


def _check_array(name: str, value: np.ndarray, sizes: dict[str, int]) -> None:
    shape = _SHAPES.get(name)
    if shape is None or value.ndim != len(shape):
        raise _damaged(name, f'an array of shape {value.shape}')
    for size, expected in zip(value.shape, shape, strict=True):
        fixed = expected if isinstance(expected, int) else sizes.setdefault(expected, size)
        if size != fixed:
            raise _damaged(name, f'an array of shape {value.shape}, not {shape}')
    if value.dtype.kind == 'u' or name in _BYTES:
        if value.dtype != np.uint8 or name not in _BYTES:
            raise _damaged(name, f'an array of {value.dtype}')
        return
    if value.dtype.kind == 'b' or name in _BOOLEANS:
        if value.dtype != bool or name not in _BOOLEANS:
            raise _damaged(name, f'an array of {value.dtype}')
        return
    if value.dtype.kind not in 'fi':
        raise _damaged(name, f'an array of {value.dtype}')
    known = value[~np.isnan(value)] if name in _MAY_BE_NAN else value
    low, high = _RANGES.get(name, (-_ANY, _ANY))
    if known.size and not low <= known.min() <= known.max() <= high:  # NaN is refused too
        raise _damaged(name, f'{known.min():g} to {known.max():g}, not {low:g} to {high:g}')
    if name in _POSES:
        for T in value.reshape(-1, 4, 4):
            plausible.pose_matrix(T, f'{name} of the snapshot')
    if name in _COVARIANCES and (value.diagonal() < 0).any():
        raise _damaged(name, f'a variance of {value.diagonal().min():g}')


def _damaged(name: str, found: str) -> UserError:
    return UserError(f'the snapshot is damaged: {name} holds {found}; start a new stream')
