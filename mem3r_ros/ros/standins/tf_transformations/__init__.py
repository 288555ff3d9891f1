# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Euler angles, quaternions and 4x4 matrices, in place of tf_transformations where it is missing.

Quaternions are x, y, z, w. Orders of axes are written as in Shoemake's "Euler Angle Conversion"
(Graphics Gems IV): 's' for fixed or 'r' for turning axes, then the axes in the order of turning.
"""

from tf_transformations.euler import (
    euler_from_matrix,
    euler_from_quaternion,
    euler_matrix,
    quaternion_from_euler,
)
from tf_transformations.matrices import (
    concatenate_matrices,
    identity_matrix,
    inverse_matrix,
    is_same_transform,
    random_rotation_matrix,
    random_vector,
    rotation_from_matrix,
    rotation_matrix,
    scale_matrix,
    translation_from_matrix,
    translation_matrix,
    unit_vector,
    vector_norm,
)
from tf_transformations.quaternions import (
    quaternion_about_axis,
    quaternion_conjugate,
    quaternion_from_matrix,
    quaternion_inverse,
    quaternion_matrix,
    quaternion_multiply,
    quaternion_slerp,
    random_quaternion,
)

__all__ = [
    'concatenate_matrices',
    'euler_from_matrix',
    'euler_from_quaternion',
    'euler_matrix',
    'identity_matrix',
    'inverse_matrix',
    'is_same_transform',
    'quaternion_about_axis',
    'quaternion_conjugate',
    'quaternion_from_euler',
    'quaternion_from_matrix',
    'quaternion_inverse',
    'quaternion_matrix',
    'quaternion_multiply',
    'quaternion_slerp',
    'random_quaternion',
    'random_rotation_matrix',
    'random_vector',
    'rotation_from_matrix',
    'rotation_matrix',
    'scale_matrix',
    'translation_from_matrix',
    'translation_matrix',
    'unit_vector',
    'vector_norm',
]
