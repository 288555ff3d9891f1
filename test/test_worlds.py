# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rendered worlds: exact, reproducible, and never with the camera inside an object."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from mem3r_ros.worlds import WorldConfig, render_clip
from mem3r_ros.worlds.catalogue import KINDS, World, draw_world
from mem3r_ros.worlds.config import PATH_KINDS, WORLD_KINDS, WorldWeights
from mem3r_ros.worlds.paths import HORIZON, rotation_from_angles
from mem3r_ros.worlds.renderer import render_world
from mem3r_ros.worlds.scene import Light, Scene, Skin
from mem3r_ros.worlds.textures import texture_number

SIZE = (64, 48)
CLEAN = {
    'noise': 0.0,
    'drift': 0.0,
    'motion_blur_share': 0.0,
    'rolling_share': 0.0,
    'moving_share': 0.0,
    'textures_per_kind': 2,
}
FEW = WorldConfig(textures_per_kind=2)


def photometric_errors(clip, first=0, second=1):
    """Return the mean difference of two frames, warped by depth and pose and as they are."""
    image = clip.image.double() / 255
    height, width = clip.depth_m.shape[1:]
    fx, fy, cx, cy = clip.intrinsics.double()
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    z = clip.depth_m[first].double()
    points = torch.stack([(x - cx) / fx * z, (y - cy) / fy * z, z, torch.ones_like(z)], dim=-1)
    poses = clip.T_world_camera.double()
    points = points @ (torch.linalg.inv(poses[second]) @ poses[first]).T
    depth = points[..., 2]
    u, v = points[..., 0] / depth * fx + cx, points[..., 1] / depth * fy + cy
    grid = torch.stack([2 * u / (width - 1) - 1, 2 * v / (height - 1) - 1], dim=-1)[None]
    look = {'align_corners': True, 'padding_mode': 'border'}
    warped = functional.grid_sample(image[second].permute(2, 0, 1)[None], grid, **look)
    other = clip.depth_m[second].double()[None, None].clamp(max=1e4)
    seen = functional.grid_sample(other, grid, mode='nearest', **look)[0, 0]
    is_same = (seen - depth).abs() < 0.05 * depth
    is_same &= torch.isfinite(z) & (grid[0].abs() < 1).all(-1) & (depth > 0)
    is_same &= ~clip.moving[first]
    difference = (warped[0].permute(1, 2, 0) - image[first]).abs()[is_same].mean()
    return float(difference), float((image[second] - image[first]).abs()[is_same].mean())


def plain_skin(kind='photograph'):
    """Return a skin of one picture, one metre wide."""
    return Skin(np.full(7, texture_number(kind, 0)), np.ones(3), np.ones(7), np.zeros((7, 2)))


def world_of(scene, poses):
    """Return a world of a scene made by hand, seen from a few poses."""
    return World('room', 'handheld', (1, 1), scene, np.array(poses), (1.0, 1.0), 1e9)


def looking_along_x(position=(0.0, 0.0, 0.0), yaw=0.0):
    """Return T_world_camera of a level camera that looks along the world's x."""
    pose = np.eye(4)
    angles = (np.array([value]) for value in (yaw, 0.0, 0.0))
    pose[:3, :3] = rotation_from_angles(*angles)[0]
    pose[:3, 3] = position
    return pose


def dim_light():
    """Return light from everywhere."""
    return Light(1.0, 0.0, 0.0, np.array([0.0, 0.0, 1.0]), 0.0, np.array([0.0, 0.0, 1.0]))


@pytest.mark.parametrize('kind', WORLD_KINDS)
def test_the_same_index_gives_the_same_clip_and_a_longer_one_begins_with_it(kind):
    config = WorldConfig(world=kind, textures_per_kind=2, moving_share=1.0)

    clip, again = (render_clip(5, 3, SIZE, config) for _ in range(2))
    longer = render_clip(5, 6, SIZE, config)
    other = render_clip(6, 3, SIZE, config)

    assert (clip.image == again.image).all()
    assert (clip.depth_m == again.depth_m).all()
    assert (clip.T_world_camera == longer.T_world_camera[:3]).all()
    assert (clip.image != longer.image[:3]).float().mean() < 0.001
    assert (clip.image != other.image).float().mean() > 0.5


@pytest.mark.parametrize('kind', WORLD_KINDS)
def test_every_kind_of_world_renders_finite_images_of_the_promised_types(kind):
    clip = render_clip(11, 3, (72, 40), WorldConfig(world=kind, textures_per_kind=2))

    assert clip.image.shape == (3, 40, 72, 3)
    assert clip.image.dtype == torch.uint8
    assert clip.depth_m.shape == clip.moving.shape == (3, 40, 72)
    assert clip.depth_m.dtype == clip.T_world_camera.dtype == clip.intrinsics.dtype
    assert clip.depth_m.dtype == torch.float32
    assert clip.moving.dtype == torch.bool
    assert clip.stamps_s.dtype == torch.float64
    assert not clip.depth_m.isnan().any()
    assert (clip.depth_m > 0).all()
    assert clip.image.float().std() > 3
    rotation = clip.T_world_camera[:, :3, :3].double()
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3).double().expand(3, 3, 3), atol=1e-5)
    assert torch.linalg.det(rotation).min() > 0.99


def test_frames_agree_once_they_are_warped_by_depth_and_pose():
    errors = []
    for kind in WORLD_KINDS:
        for index in range(3):
            path = 'drive' if kind == 'street' else 'handheld'
            config = WorldConfig(world=kind, path=path, speed_factor=1.5, **CLEAN)
            pair = photometric_errors(render_clip(index, 4, (96, 72), config), 0, 3)
            errors.append([pair[0], pair[1], kind == 'street'])

    warped, unwarped, _ = np.nanmean(errors, axis=0)
    print(f'photometric error: {warped:.4f} warped, {unwarped:.4f} unwarped')
    assert warped < 0.035
    assert warped < 0.4 * unwarped


def test_depth_of_a_box_is_measured_along_the_optical_axis():
    scene = Scene(dim_light())
    scene.box(np.array([3.0, 0.0, 0.0]), np.array([1.0, 0.5, 0.5]), np.eye(3), plain_skin())
    scene.shell(np.zeros(3), np.array([6.0, 4.0, 3.0]), plain_skin())
    world = world_of(scene, [looking_along_x()] * 2)

    clip = render_world(world, 1, (41, 31), FEW, intrinsics=np.array([20.0, 20.0, 20.0, 15.0]))

    assert torch.allclose(clip.depth_m[0, 15, 20], torch.tensor(2.0))  # the box, on the axis
    assert torch.allclose(clip.depth_m[0, 12, 23], torch.tensor(2.0))  # and beside it
    assert torch.allclose(clip.depth_m[0, 15, 26], torch.tensor(6.0))  # the wall behind it
    # pixel (40, 15) looks 45 degrees to the right, to the side wall 4 m away
    assert torch.allclose(clip.depth_m[0, 15, 40], torch.tensor(4.0))
    assert torch.allclose(clip.depth_m[0, 30, 20], torch.tensor(4.0))  # the floor 3 m below


def test_spheres_cylinders_and_ramps_are_rendered_at_their_place():
    scene = Scene(dim_light())
    scene.ellipsoid(np.array([5.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0]), np.eye(3), plain_skin())
    scene.cylinder(np.array([0.0, 5.0, 0.0]), np.array([1.5, 1.5, 1.0]), np.eye(3), plain_skin())
    ramp = np.array([1.0, 1.0, 1.0])
    scene.box(np.array([-5.0, 0.0, 0.0]), ramp, np.eye(3), plain_skin(), slope=1.0)
    scene.shell(np.zeros(3), np.full(3, 20.0), plain_skin())
    poses = [looking_along_x(yaw=yaw) for yaw in (0.0, np.pi / 2, np.pi, 0.0)]
    camera = np.array([40.0, 40.0, 20.0, 20.0])

    clip = render_world(world_of(scene, poses), 3, (41, 41), FEW, intrinsics=camera)

    assert torch.allclose(clip.depth_m[0, 20, 20], torch.tensor(4.0))
    # a ray of slope s meets a sphere of radius 1 at distance 5 where (1 + s^2) z^2 - 10 z + 24 = 0
    slope = 5 / 40
    near = (5 - np.sqrt(25 - 24 * (1 + slope**2))) / (1 + slope**2)
    assert torch.allclose(clip.depth_m[0, 20, 25], torch.tensor(near).float(), atol=1e-4)
    assert torch.allclose(clip.depth_m[1, 20, 20], torch.tensor(3.5))
    assert torch.allclose(clip.depth_m[1, 13, 20], torch.tensor(3.5))  # a cylinder is upright
    # the slope falls towards +x, where the camera stands: z = -x from (-4, -1) to (-6, 1)
    assert torch.allclose(clip.depth_m[2, 20, 20], torch.tensor(5.0), atol=1e-4)
    assert clip.depth_m[2, 24, 20] < 5.0 < clip.depth_m[2, 17, 20]


def test_the_sky_is_infinitely_far_and_rooms_are_closed():
    outside = render_clip(0, 2, SIZE, WorldConfig(world='street', path='drive', **CLEAN))
    inside = render_clip(0, 2, SIZE, WorldConfig(world='room', **CLEAN))

    assert torch.isinf(outside.depth_m).any()
    assert torch.isfinite(outside.depth_m[:, -1]).all()
    assert torch.isfinite(inside.depth_m).all()


def test_moving_objects_are_masked_and_the_rest_is_static():
    scene = Scene(dim_light())
    steps = np.tile(np.eye(4), (4, 1, 1))
    steps[:, 1, 3] = 0.3 * np.arange(4)  # to the left
    scene.motions.append(steps)
    half = np.array([0.5, 0.5, 0.5])
    scene.box(np.array([3.0, 0.0, 0.0]), half, np.eye(3), plain_skin(), mover=0)
    scene.shell(np.zeros(3), np.array([6.0, 4.0, 3.0]), plain_skin('tiles'))
    world = world_of(scene, [looking_along_x()] * 5)
    config = replace(FEW, noise=0.0, drift=0.0)

    clip = render_world(world, 4, (40, 30), config, intrinsics=np.array([20.0, 20, 19.5, 14.5]))

    first = [int(clip.moving[frame].any(0).nonzero()[0]) for frame in range(4)]
    # its near left edge, 0.5 m to the left and 2.5 m away at first
    assert first == [int(np.ceil(19.5 - 20 * (0.5 + 0.3 * frame) / 2.5)) for frame in range(4)]
    assert torch.allclose(clip.depth_m[0][clip.moving[0]], torch.tensor(2.5))
    still = ~(clip.moving[0] | clip.moving[3])
    assert (clip.depth_m[0][still] == clip.depth_m[3][still]).all()


@pytest.mark.parametrize('kind', WORLD_KINDS)
def test_the_camera_is_never_inside_an_object(kind):
    for index in range(2):
        config = WorldConfig(world=kind, textures_per_kind=2, moving_share=1.0)
        world = draw_world(index, HORIZON, config)
        arrays = world.scene.arrays()
        eyes = world.poses[:HORIZON, :3, 3]
        for body in range(len(arrays['halves'])):
            at = eyes
            mover = arrays['movers'][body]
            if mover >= 0:
                inverse = np.linalg.inv(world.scene.motions[mover])
                at = np.einsum('nab,nb->na', inverse[:, :3, :3], eyes) + inverse[:, :3, 3]
            local = (at - arrays['centres'][body]) @ arrays['rotations'][body]
            inside = (local @ arrays['normals'][body].T <= arrays['offsets'][body]).all(axis=1)
            inside &= np.square(local * arrays['quadrics'][body]).sum(axis=1) <= 1
            is_shell = body == len(arrays['halves']) - 1
            if is_shell and kind in ('street', 'yard'):
                assert (eyes[:, 2] > 0.1).all()  # the shell is the ground
            else:
                assert inside.all() if is_shell else not inside.any()


@pytest.mark.parametrize('path', PATH_KINDS)
def test_every_kind_of_path_is_smooth_and_can_be_chosen(path):
    for kind in WORLD_KINDS:
        world = draw_world(3, 8, WorldConfig(world=kind, path=path, textures_per_kind=2))
        assert world.path == path
        assert world.kind == kind
        steps = np.linalg.inv(world.poses[:-1]) @ world.poses[1:]
        moved = np.linalg.norm(steps[:, :3, 3], axis=1)
        cosine = (np.trace(steps[:, :3, :3], axis1=1, axis2=2) - 1) / 2
        assert moved.max() < 5.0
        assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).max() < 40
        if path == 'rotate':
            assert np.ptp(world.poses[:, :3, 3], axis=0).max() < 0.7


def test_motion_ranges_from_standing_to_fast():
    turned, moved = [], []
    for index in range(40):
        poses = draw_world(index, 24, FEW).poses[:24]
        steps = np.linalg.inv(poses[:-1]) @ poses[1:]
        moved += list(np.linalg.norm(steps[:, :3, 3], axis=1))
        skew = np.linalg.norm(steps[:, :3, :3] - np.eye(3), axis=(1, 2))
        turned += list(np.rad2deg(2 * np.arcsin(skew / np.sqrt(8))))

    assert np.quantile(turned, 0.1) < 0.3 < 2.0 < np.quantile(turned, 0.95)
    assert np.quantile(moved, 0.1) < 0.01 < 0.15 < np.quantile(moved, 0.95)


def test_a_stride_leaves_frames_out():
    config = WorldConfig(world='room', **CLEAN)

    every = render_clip(4, 5, SIZE, config)
    second = render_clip(4, 3, SIZE, config, stride=2)

    assert (every.T_world_camera[::2] == second.T_world_camera).all()
    assert torch.allclose(every.depth_m[::2], second.depth_m, rtol=1e-4)
    assert torch.allclose(every.stamps_s[::2], second.stamps_s)


def test_a_rolling_shutter_shifts_depth_with_the_image():
    scene = Scene(dim_light())
    scene.box(np.array([3.0, 0.0, 0.0]), np.array([0.5, 0.3, 2.0]), np.eye(3), plain_skin())
    scene.shell(np.zeros(3), np.array([6.0, 4.0, 3.0]), plain_skin('wall'))
    poses = [looking_along_x(yaw=-0.1 * number) for number in range(3)]
    camera = np.array([40.0, 40.0, 31.5, 23.5])
    config = replace(FEW, rolling_share=1.0, noise=0.0)

    clip = render_world(world_of(scene, poses), 1, SIZE, config, intrinsics=camera)

    edges = [(clip.depth_m[0, row] < 3).nonzero()[0].item() for row in (2, 24, 45)]
    assert edges[0] > edges[1] > edges[2]  # the camera turns right, so that things go left
    assert edges[0] - edges[2] < 8


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match='weights'):
        WorldWeights(**dict.fromkeys(WORLD_KINDS, 0.0))
    assert set(KINDS) == set(WORLD_KINDS)
