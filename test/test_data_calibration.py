# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Calibrations from outside: other names are understood, what no lens has is refused."""

import json
from types import SimpleNamespace

import pytest

from mem3r_ros.data.calibration import camera_from_numbers, distortion_model
from mem3r_ros.data.camera_info import camera_from_info
from mem3r_ros.data.folder import read_camera
from mem3r_ros.errors import BadFrame, UserError


def info(model='plumb_bob', D=(0.0,) * 5, fx=400.0, cx=239.5, width=480, height=360):
    return SimpleNamespace(
        k=[fx, 0, cx, 0, fx, 179.5, 0, 0, 1],
        p=[0.0] * 12,
        d=list(D),
        width=width,
        height=height,
        distortion_model=model,
    )


@pytest.mark.fault('a focal length or size that no camera has', 'refused with value and limits')
@pytest.mark.parametrize(
    'changes',
    [
        {'fx': 0.01},
        {'fx': 1e-300},
        {'fx': 1e300},
        {'fx': -400.0},
        {'fx': float('nan')},
        {'fx': 20.0},
        {'cx': 1e9},
        {'cx': -1000.0},
        {'width': 0},
        {'width': 2**31},
    ],
)
def test_a_pinhole_that_is_none_is_refused(changes):
    with pytest.raises(BadFrame, match=r'px|must be'):
        camera_from_info(info(**changes))


@pytest.mark.fault('distortion coefficients that no lens has', 'refused with what they would do')
@pytest.mark.parametrize(
    ('model', 'D'),
    [
        ('plumb_bob', [1e300] * 5),
        ('plumb_bob', [1e6] * 5),
        ('plumb_bob', [50.0, 0, 0, 0, 0]),
        ('plumb_bob', [-20.0, 0, 0, 0, 0]),
        ('plumb_bob', [0, 0, 1e3, 0, 0]),
        ('plumb_bob', [float('nan'), 0, 0, 0, 0]),
        ('rational_polynomial', [0, 0, 0, 0, 0, -1e5, 0, 0]),
        ('equidistant', [1e5, 0, 0, 0]),
    ],
)
def test_a_distortion_that_no_lens_has_is_refused(model, D):
    with pytest.raises(BadFrame, match='distortion'):
        camera_from_info(info(model, D))


@pytest.mark.parametrize(
    ('model', 'D', 'fx'),
    [
        ('plumb_bob', (-0.2834, 0.0739, 0.0002, 1.76e-5, 0.0), 300.0),  # EuRoC
        ('plumb_bob', (0.2624, -0.9531, -0.0054, 0.0026, 1.1633), 390.0),  # TUM
        ('equidistant', (-0.02, 0.01, -0.005, 0.001), 190.0),  # a fisheye of 150 degrees
        (
            'rational_polynomial',
            (0.46, -2.64, 0.0008, -0.0003, 1.55, 0.34, -2.46, 1.48),
            450.0,
        ),  # Azure Kinect
    ],
)
def test_calibrations_of_real_lenses_pass(model, D, fx):
    camera = camera_from_info(info(model, D, fx))
    assert camera.distortion_model == model and camera.is_distorted


@pytest.mark.fault(
    'a distortion model under another name or with another number of coefficients',
    'read as what it is, or refused with the reason',
)
@pytest.mark.parametrize(
    ('model', 'D', 'expected'),
    [
        ('plumb_bob', (0.1, 0.2, 0.0, 0.0, 0.3, 0, 0, 0), ('plumb_bob', 5)),
        ('plumb_bob', (0.1, 0.2), ('plumb_bob', 4)),
        ('plumb_bob', (0.1, 0.2, 0, 0, 0.3, 0.1, 0.1, 0.1), ('rational_polynomial', 8)),
        ('radtan', (0.1, 0.2, 0.0, 0.01), ('plumb_bob', 4)),
        ('Brown-Conrady', (0.1, 0.2, 0, 0, 0.1), ('plumb_bob', 5)),
        ('rational_polynomial', (0.1,) * 5, ('rational_polynomial', 8)),
        ('rational_polynomial', (0.1,) * 8 + (0,) * 6, ('rational_polynomial', 8)),
        ('fisheye', (0.1, 0.0, 0.0, 0.0), ('equidistant', 4)),
        ('kannala_brandt4', (0.1, 0.1, 0.1, 0.1, 0.0), ('equidistant', 4)),
        ('omni', (0.0, 0.0), ('none', 0)),
        ('', (), ('none', 0)),
        (None, (0.0,) * 5, ('none', 0)),
    ],
)
def test_other_names_and_lengths_are_understood(model, D, expected):
    known, coefficients = distortion_model(model, D)
    assert (known, len(coefficients)) == expected


@pytest.mark.parametrize(
    ('model', 'D', 'reason'),
    [
        ('omni', (0.1,) * 4, "distortion model 'omni' is not one of plumb_bob, rational"),
        ('inverse_brown_conrady', (0.1,) * 5, 'is not one of'),
        ('', (0.1,) * 5, 'have no distortion model'),
        ('equidistant', (0.1,) * 8, 'equidistant has 8 distortion coefficients'),
        ('plumb_bob', (0.1,) * 15, 'has 15 distortion coefficients'),
        ('plumb_bob', ('x',), 'distortion coefficient 0'),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(model, D, reason):
    with pytest.raises(UserError, match=reason):
        distortion_model(model, D)


@pytest.mark.parametrize(
    'changes',
    [{'fx': 1e-3}, {'width': 2.5}, {'width': None}, {'distortion': 5}, {'distortion': [1e9] * 5}],
)
def test_a_file_passes_the_same_gate(tmp_path, changes):
    values = {'fx': 400, 'fy': 400, 'cx': 240, 'cy': 180, 'width': 480, 'height': 360}
    values |= {'distortion_model': 'radtan', **changes}
    (tmp_path / 'camera.json').write_text(json.dumps(values))
    with pytest.raises(UserError, match=r'camera\.json'):
        read_camera(tmp_path)


def test_text_numbers_of_a_file_are_read():
    assert camera_from_numbers('400', '400', '240', '180', '480', 360.0).fx == 400.0
