# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Clip sources: frames of recorded sequences, and settings of rendered worlds."""

from __future__ import annotations

import json
import tracemalloc
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.config import from_dict
from mem3r_ros.errors import UserError
from mem3r_ros.training.clip_sources import SequenceSource, build_source, fit_frame
from mem3r_ros.training.config import SourceConfig, TrainConfig
from mem3r_ros.worlds import WorldConfig, render_clip

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


def test_a_distorted_frame_is_rectified_and_pixels_outside_the_lens_have_no_depth():
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


def slope(width: int, height: int) -> np.ndarray:
    """Return depth that grows by 1 m from the left rim of the picture to its right rim."""
    columns = (np.arange(width, dtype=np.float32) + 0.5) / width
    return np.tile(1 + columns, (height, 1)).astype(np.float32)


@pytest.mark.parametrize('distortion', [(), (0.02, 0, 0, 0, 0)])
@pytest.mark.parametrize('size', [(320, 240), (160, 120), (640, 480)])
def test_depth_of_another_resolution_is_cropped_like_the_image(size, distortion):
    model = 'plumb_bob' if distortion else 'none'
    frame = frame_of(Intrinsics(**CAMERA, distortion_model=model, distortion=distortion))
    frame.depth_m = slope(*size)

    # A window of the middle half of the columns: 1.25 m to 1.75 m.
    _, depth, _ = fit_frame(frame, (32, 48))

    middle = depth[20:28]
    assert middle[:, 0].mean() == pytest.approx(1.25 + 0.5 / 64, abs=0.01)
    assert middle[:, -1].mean() == pytest.approx(1.75 - 0.5 / 64, abs=0.01)


def test_resized_depth_keeps_its_position():
    frame = frame_of(Intrinsics(**CAMERA))
    frame.depth_m = slope(320, 240)

    _, depth, _ = fit_frame(frame, (64, 48))

    np.testing.assert_allclose(depth, slope(64, 48), atol=1e-6)


def test_depth_of_another_shape_is_refused():
    frame = frame_of(Intrinsics(**CAMERA))
    frame.depth_m = np.ones((240, 424), np.float32)

    with pytest.raises(UserError, match='depth of 424x240 px belongs to no image of 320x240 px'):
        fit_frame(frame, (64, 48))


def write_sequence(folder, num_frames, has_depth=True, size=(48, 64)):
    """Images of growing brightness, one metre apart; the second has no pose."""
    for name in ('rgb', 'depth') if has_depth else ('rgb',):
        (folder / name).mkdir(parents=True)
    truth = ''
    for index in range(num_frames):
        path = str(folder / 'rgb' / f'{index:06d}.png')
        cv2.imwrite(path, np.full((*size, 3), index, np.uint8))
        if has_depth:
            depth = np.full(size, 1000 + index, np.uint16)
            cv2.imwrite(str(folder / 'depth' / f'{index:06d}.png'), depth)
        if index != 1:
            truth += f'{index / 10} {index} 0 0 0 0 0 1\n'
    (folder / 'groundtruth.txt').write_text(truth)
    (folder / 'timestamps.txt').write_text(''.join(f'{i / 10}\n' for i in range(num_frames)))
    camera = {'fx': 60, 'fy': 60, 'cx': 31.5, 'cy': 23.5, 'width': size[1], 'height': size[0]}
    (folder / 'camera.json').write_text(json.dumps(camera))
    return SourceConfig(kind='sequence', path=str(folder))


def test_a_clip_of_a_sequence_has_the_pose_and_the_depth_of_each_image(tmp_path):
    source = SequenceSource(write_sequence(tmp_path, 12))

    for index in range(6):
        clip = source.clip(index, 4, (32, 24))

        numbers = clip.image[:, 5, 5, 0].astype(int)
        assert 1 not in numbers and len(set(numbers)) == 4
        np.testing.assert_allclose(clip.T_world_camera[:, 0, 3], numbers)
        np.testing.assert_allclose(clip.depth_m[:, 5, 5], 1 + numbers / 1000, rtol=1e-5)
        np.testing.assert_array_equal(source.clip(index, 4, (32, 24)).image, clip.image)


def test_a_long_sequence_is_not_held_in_memory(tmp_path):
    config = write_sequence(tmp_path, 100, size=(120, 160))

    tracemalloc.start()
    source = SequenceSource(config)
    source.clip(0, 4, (32, 24))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # Its images and depth are 13 MB.
    assert held < 1e6


def test_a_sequence_without_depth_is_logged_once(tmp_path, caplog):
    source = SequenceSource(write_sequence(tmp_path, 4, has_depth=False))
    source.clip(0, 2, (32, 24))
    source.clip(1, 2, (32, 24))

    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f'{tmp_path} has no depth: only motion is learned from it']


def test_a_sequence_without_camera_or_poses_is_refused(tmp_path):
    config = write_sequence(tmp_path, 4)
    (tmp_path / 'camera.json').unlink()
    with pytest.raises(UserError, match='has no camera intrinsics; add them'):
        SequenceSource(config)

    (tmp_path / 'groundtruth.txt').unlink()
    with pytest.raises(UserError, match='has 0 images with a pose; training needs at least 2'):
        SequenceSource(config)


def test_a_recipe_chooses_the_worlds_that_are_rendered():
    worlds = {'world': 'corridor', 'path': 'drive', 'grey_share': 1, 'textures_per_kind': 2}
    recipe = from_dict(TrainConfig, {'sources': [{'kind': 'worlds', 'worlds': worlds}]})

    clip = build_source(recipe.sources[0]).clip(3, 2, (48, 32))

    expected = render_clip(3, 2, (48, 32), WorldConfig(**worlds))
    assert (clip.image == expected.image.numpy()).all()
    assert (clip.image[..., 0] == clip.image[..., 1]).all()  # grey


def test_a_stride_skips_frames_of_a_world():
    worlds = WorldConfig(world='room', textures_per_kind=2)

    every = build_source(SourceConfig(worlds=worlds)).clip(4, 5, (48, 32))
    second = build_source(SourceConfig(worlds=worlds, strides=(2,))).clip(4, 3, (48, 32))

    assert (every.image[::2] == second.image).all()
    assert (every.depth_m[::2] == second.depth_m).all()
    assert (every.T_world_camera[::2] == second.T_world_camera).all()


def test_an_unknown_world_is_refused_with_its_name():
    with pytest.raises(UserError, match=r"WorldConfig\.world is 'castle'; choose one of"):
        from_dict(TrainConfig, {'sources': [{'worlds': {'world': 'castle'}}]})
