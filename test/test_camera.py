# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Cameras: K through resize and crop, distortion, focal length."""

import cv2
import numpy as np
import pytest

from mem3r_ros.camera import FocalEstimate, Intrinsics, Rectifier, estimate_focal
from mem3r_ros.errors import UserError

LENSES = {
    'plumb_bob': (-0.28, 0.09, 0.001, -0.0005, -0.01),
    'rational_polynomial': (0.4, 0.1, 0.0005, -0.0004, 0.02, 0.5, 0.12, 0.03),
    'equidistant': (-0.02, 0.005, -0.002, 0.0004),
}


def camera(model='none', coefficients=()):
    return Intrinsics(210.0, 205.0, 161.3, 118.7, 320, 240, model, coefficients)


@pytest.fixture(scope='module')
def recorded(shared_dir):
    from safetensors.numpy import load_file

    return load_file(shared_dir / 'parity' / 'public_aux.safetensors')


def test_a_resize_keeps_what_each_pixel_area_sees():
    # A ramp is resized exactly by area averaging: its value says which ray a pixel sees.
    ramp = np.tile(np.arange(320, dtype=np.float32), (240, 1))
    small = cv2.resize(ramp, (80, 60), interpolation=cv2.INTER_AREA)

    resized = camera().resized(80, 60)

    rays_of_small = (small[0] - camera().cx) / camera().fx
    assert np.allclose(rays_of_small, resized.rays()[0, :, 0], atol=1e-6)


def test_resize_and_crop_are_undone_exactly():
    there = camera().resized(128, 96).cropped(3, 5, 120, 80)

    back = there.cropped(-3, -5, 128, 96).resized(320, 240)

    assert np.allclose(back.K, camera().K, atol=1e-12)


def test_rays_and_projection_are_inverse():
    rays = camera().rays()

    pixels = camera().project((rays * 3.0).reshape(-1, 3))

    y, x = np.mgrid[:240, :320]
    assert np.allclose(pixels, np.stack([x, y], -1).reshape(-1, 2), atol=1e-3)
    assert np.isnan(camera().project(np.array([[0.0, 0.0, -1.0]]))).all()


@pytest.mark.parametrize('model', sorted(LENSES))
def test_rectification_moves_distorted_points_to_where_a_pinhole_sees_them(model):
    distorted = camera(model, LENSES[model])
    points = np.array([[x, y, 2.0] for x in (-0.8, 0.0, 0.7) for y in (-0.5, 0.1, 0.5)])
    project = cv2.fisheye.projectPoints if model == 'equidistant' else cv2.projectPoints
    seen, _ = project(
        points[:, None], np.zeros(3), np.zeros(3), distorted.K, np.array(distorted.distortion)
    )
    image = np.zeros((240, 320), np.float32)
    for x, y in seen.reshape(-1, 2):
        splat = np.exp(-0.5 * ((np.mgrid[:240, :320][1] - x) ** 2) / 4)
        image += splat * np.exp(-0.5 * ((np.mgrid[:240, :320][0] - y) ** 2) / 4)

    rectified = Rectifier(distorted).image((image.clip(0, 1) * 255).astype(np.uint8))

    for x, y in distorted.undistorted().project(points):
        window = rectified[round(y) - 6 : round(y) + 7, round(x) - 6 : round(x) + 7]
        rows, columns = np.mgrid[round(y) - 6 : round(y) + 7, round(x) - 6 : round(x) + 7]
        weight = window.astype(float) / window.sum()
        assert abs((weight * columns).sum() - x) < 0.25
        assert abs((weight * rows).sum() - y) < 0.25


def test_rectification_says_where_the_lens_saw_nothing():
    rectifier = Rectifier(camera('plumb_bob', (0.3, 0.1, 0.0, 0.0)))

    assert rectifier.valid is not None
    assert not rectifier.valid[0, 0]
    assert rectifier.valid[120, 160]


def test_rectification_leaves_no_rim_that_stands_still():
    rectifier = Rectifier(camera('plumb_bob', (0.3, 0.1, 0.0, 0.0)))

    rectified = rectifier.image(np.full((240, 320, 3), 200, np.uint8))

    assert (rectified == 200).all()


def test_a_straight_lens_costs_nothing():
    image = np.zeros((240, 320, 3), np.uint8)

    assert Rectifier(camera()).image(image) is image
    assert Rectifier(camera('plumb_bob', (0.0,) * 5)).image(image) is image


@pytest.mark.parametrize(
    ('change', 'word'),
    [
        ({'fx': 0.0}, 'positive'),
        ({'cx': float('nan')}, 'finite'),
        ({'width': 0}, 'positive'),
        ({'distortion_model': 'magic'}, 'choose one of'),
        ({'distortion_model': 'equidistant', 'distortion': (0.1,)}, 'coefficients'),
    ],
)
def test_impossible_calibrations_are_refused_in_one_sentence(change, word):
    values = {'fx': 1.0, 'fy': 1.0, 'cx': 0.0, 'cy': 0.0, 'width': 4, 'height': 4} | change

    with pytest.raises(UserError, match=word):
        Intrinsics(**values)


def test_recorded_focal_estimates_agree(recorded):
    cases = sorted({name.split('/')[1] for name in recorded if name.startswith('focal/')})
    for case in cases:
        points, centre = recorded[f'focal/{case}/pts3d'][0], recorded[f'focal/{case}/pp'][0]

        for mode in ('weiszfeld', 'median'):
            focal = estimate_focal(points, tuple(centre), mode)

            assert np.isclose(focal, recorded[f'focal/{case}/{mode}'][0], rtol=1e-5)


def test_focal_of_many_frames_withstands_outliers_and_reports_its_spread():
    estimate, random = FocalEstimate(), np.random.default_rng(0)
    for index in range(40):
        wrong = index % 5 == 0
        estimate.add(300.0 if wrong else 100.0 * np.exp(random.normal(0, 0.02)), 128)

    assert abs(estimate.focal_px(128) - 100.0) < 2.0
    assert 0.01 < estimate.spread < 0.05
    estimate.add(float('nan'), 128)
    assert estimate.count == 40


def test_focal_estimate_remembers_a_bounded_number_of_frames():
    estimate = FocalEstimate()
    for _ in range(1000):
        estimate.add(80.0, 128)

    assert estimate.count == 64
