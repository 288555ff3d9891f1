# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Frames of real sequences as training sees them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.training.sources import fit_frame

CAMERA = {'width': 320, 'height': 240, 'fx': 260.0, 'fy': 260.0, 'cx': 159.5, 'cy': 119.5}


def frame_of(camera: Intrinsics) -> SimpleNamespace:
    """Return a wall 2 m away: bright in its middle, gray at the rim."""
    image = np.full((240, 320, 3), 90, np.uint8)
    image[30:210, 30:290] = 200
    return SimpleNamespace(
        image=image, depth_m=np.full((240, 320), 2.0, np.float32), camera=camera
    )


def test_a_frame_keeps_its_field_of_view_when_it_shrinks():
    image, depth, intrinsics = fit_frame(frame_of(Intrinsics(**CAMERA)), (64, 48))

    assert image.shape == (48, 64, 3)
    assert (depth == 2).all()
    assert intrinsics == pytest.approx([52.0, 52.0, 31.5, 23.5])


def test_a_frame_of_another_shape_is_cut_in_the_middle():
    image, depth, intrinsics = fit_frame(frame_of(Intrinsics(**CAMERA)), (96, 48))

    assert image.shape == (48, 96, 3)
    assert depth.shape == (48, 96)
    assert intrinsics == pytest.approx([78.0, 78.0, 47.5, 23.5])


def test_a_distorted_frame_is_rectified_and_what_the_lens_did_not_see_has_no_depth():
    pincushion = Intrinsics(**CAMERA, distortion_model='plumb_bob', distortion=(0.3, 0, 0, 0, 0))

    image, depth, _ = fit_frame(frame_of(pincushion), (64, 48))

    # The corners show more than the lens saw: there the rim goes on, and no depth is known. What
    # was straight on the image of such a lens bulges once it is rectified.
    assert depth[0, 0] == 0
    assert (depth[12:36, 16:48] == 2).all()
    assert image[0, 0].tolist() == [90, 90, 90]
    middle = int((image[:, 32, 0] > 150).sum())
    edge = int((image[:, 8, 0] > 150).sum())
    assert middle > edge
