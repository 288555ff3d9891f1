# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Resize and crop: bit-identical to the public loader, with exact intrinsics."""

import cv2
import numpy as np
import pytest
import torch

from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import BadFrame
from mem3r_ros.model import ModelConfig
from mem3r_ros.tracker import CameraFrame
from mem3r_ros.tracker.config import InputConfig
from mem3r_ros.tracker.frame_validation import FrameValidation
from mem3r_ros.tracker.image_preparation import Preparation
from mem3r_ros.tracker.pixel_map import network_tensor, plan_pixels

VARIANTS = {'crop': {}, 'square_ok': {'square_ok': True}, 'eval_resize': {'keep_view': True}}


@pytest.fixture(scope='module')
def recorded(shared_dir):
    from safetensors.numpy import load_file

    return load_file(shared_dir / 'parity' / 'public_aux.safetensors')


@pytest.mark.parametrize('variant', sorted(VARIANTS))
def test_recorded_images_are_bit_identical(recorded, variant):
    cases = [name.removesuffix('/raw') for name in recorded if name.endswith('/raw')]
    compared = 0
    for case in (case for case in cases if f'{case}/{variant}' in recorded):
        raw, size = recorded[f'{case}/raw'], int(case.rpartition('to')[2])

        plan = plan_pixels(raw.shape[1], raw.shape[0], (size, size), 16, **VARIANTS[variant])

        assert (plan.apply(raw) == recorded[f'{case}/{variant}']).all(), case
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize(
    ('source', 'result'),
    [
        ((640, 480), (512, 384)),
        ((1920, 1080), (512, 288)),
        ((480, 640), (384, 512)),
        ((700, 700), (512, 384)),
        ((1226, 370), (512, 144)),
        ((333, 251), (512, 384)),
    ],
)
def test_usual_cameras_get_the_documented_size(source, result):
    plan = plan_pixels(*source, (512, 512), 16)

    assert (plan.width, plan.height) == result


def test_a_wide_image_keeps_the_area_if_configured():
    plan = plan_pixels(1226, 370, (128, 96), 8, by_area=True)

    assert (plan.width, plan.height) == (200, 56)
    assert plan_pixels(640, 480, (128, 96), 8, by_area=True).width == 128


@pytest.mark.parametrize('keep_view', [False, True])
@pytest.mark.parametrize('source', [(640, 480), (1226, 370), (370, 1226), (501, 333)])
def test_a_point_has_the_same_ray_in_the_source_and_in_the_input(source, keep_view):
    camera = Intrinsics(300.0, 310.0, source[0] / 2 + 7, source[1] / 2 - 3, *source)
    plan = plan_pixels(*source, (128, 96), 8, keep_view=keep_view)
    ramp = np.tile(np.linspace(0, 255, source[0]), (source[1], 1)).astype(np.uint8)

    small = plan.apply(ramp)

    rays = plan.network_camera(camera).rays()
    middle = small[plan.height // 2, 8:-8].astype(float) / 255 * (source[0] - 1)
    expected = (middle - camera.cx) / camera.fx
    assert np.abs(expected - rays[0, 8:-8, 0]).max() < 1.5 * source[0] / 255 / camera.fx


def test_intrinsics_round_trip_exactly():
    camera = Intrinsics(707.1, 700.0, 601.9, 183.1, 1226, 370)
    for keep_view in (False, True):
        plan = plan_pixels(1226, 370, (128, 96), 8, keep_view=keep_view, by_area=True)

        back = plan.source_camera(plan.network_camera(camera))

        assert np.allclose(back.K, camera.K, atol=1e-9)
        assert (back.width, back.height) == (1226, 370)


def test_depth_maps_back_to_its_source_pixels():
    plan = plan_pixels(1226, 370, (128, 96), 8)
    values = np.arange(plan.width * plan.height, dtype=np.float32)
    values = values.reshape(plan.height, plan.width)

    source = plan.to_source(values)

    assert source.shape == (370, 1226)
    y, x = 185, 613
    expected_x = (x + 0.5) * plan.resized_width / 1226 - 0.5 - plan.left
    expected_y = (y + 0.5) * plan.resized_height / 370 - 0.5 - plan.top
    assert source[y, x] == values[round(expected_y), round(expected_x)]
    assert np.isnan(source[0]).all()  # outside the crop
    assert set(np.unique(source[np.isfinite(source)])) <= set(values.ravel())


def test_a_mask_covers_every_input_pixel_that_it_overlaps():
    plan = plan_pixels(640, 480, (128, 96), 8)
    mask = np.zeros((480, 640), np.uint8)
    mask[100, 200] = 1

    small = plan.apply_mask(mask)

    assert small.sum() == 1
    assert small[20, 40]


@pytest.mark.parametrize('source', [(640, 480), (1226, 370), (150, 110)])
@pytest.mark.parametrize('keep_view', [False, True])
def test_an_enlarged_input_has_the_same_view(source, keep_view):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 255, (source[1] // 20, source[0] // 20, 3), np.uint8)
    image = cv2.resize(image, source, interpolation=cv2.INTER_CUBIC)
    plan = plan_pixels(*source, (128, 96), 16, keep_view=keep_view, by_area=True)

    larger = plan.enlarged(2)

    seen, again = plan.apply_fast(image), larger.apply_fast(image)
    assert again.shape == (2 * seen.shape[0], 2 * seen.shape[1], 3)
    again = cv2.resize(again, seen.shape[1::-1], interpolation=cv2.INTER_AREA)
    apart = np.abs(again.astype(float) - seen).mean()
    assert apart < 0.3 * np.abs(np.diff(seen.astype(float), axis=1)).mean()  # a shift by one px
    camera = Intrinsics(500.0, 500.0, 300.0, 200.0, *source)
    assert larger.network_camera(camera).fx == pytest.approx(2 * plan.network_camera(camera).fx)


def test_the_input_is_between_minus_one_and_one():
    image = np.array([[[0, 255, 128]]], np.uint8)

    tensor = network_tensor(image)

    assert tensor.shape == (1, 3, 1, 1)
    assert tensor.dtype == torch.float32
    assert torch.allclose(tensor.ravel(), torch.tensor([-1.0, 1.0, 1 / 255]), atol=1e-6)


def test_an_image_without_a_whole_patch_is_rejected():
    with pytest.raises(BadFrame, match='elongated'):
        plan_pixels(4000, 100, (128, 96), 16)


def test_the_fast_filter_is_close_to_the_exact_one():
    random = np.random.default_rng(0)
    image = np.repeat(np.repeat(random.integers(0, 255, (30, 40, 3)), 16, 0), 16, 1)
    image = image.astype(np.uint8)
    plan = plan_pixels(640, 480, (128, 96), 8)

    difference = plan.apply(image).astype(int) - plan.apply_fast(image)

    assert np.abs(difference).mean() < 8


@pytest.mark.parametrize('preset, method', [('mem3r-tiny', 'fast'), ('cut3r-512-dpt', 'exact')])
def test_a_network_with_two_view_geometry_gets_the_fast_filter_and_cut3r_the_exact_one(
    preset, method
):
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    preparation = Preparation(ModelConfig.preset(preset))
    frame = FrameValidation().check(CameraFrame(0, image))

    small = preparation.prepare(frame, InputConfig()).small

    chosen = preparation.prepare(frame, InputConfig(resampling=method)).small
    np.testing.assert_array_equal(small, chosen)
    other = {'fast': 'exact', 'exact': 'fast'}[method]
    assert (small != preparation.prepare(frame, InputConfig(resampling=other)).small).any()
