# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Focal length of a camera without calibration, estimated with the window."""

import cv2
import numpy as np
from oracle import Scene
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.geometry import invert
from mem3r_ros.odometry import DepthImage, FrameInput, RefinementConfig, SlidingWindow
from mem3r_ros.worlds import WorldConfig, render_clip

WORLD = WorldConfig(world='hall', path='walk', moving_share=0.0, motion_blur_share=0.0)
CONFIG = RefinementConfig()


@pytest.fixture(scope='module')
def scene():
    """Return 30 rendered images of a camera that walks and turns."""
    clip = render_clip(0, 30, (320, 240), WORLD)
    fx, fy, _, _ = (float(value) for value in clip.intrinsics)
    camera = Intrinsics(fx, fy, 159.5, 119.5, 320, 240)
    return Scene(
        clip.image.numpy(), clip.depth_m.numpy(), clip.T_world_camera.double().numpy(), camera
    )


def run(scene, factor, is_calibrated):
    """Track with a focal length that is wrong by a factor; return the window."""
    window, camera = SlidingWindow(), scene.camera
    wrong = Intrinsics(camera.fx * factor, camera.fy * factor, camera.cx, camera.cy, 320, 240)
    for index in range(len(scene)):
        T = None
        if index:
            T = invert(scene.T_world_camera[index - 1]) @ scene.T_world_camera[index]
        depth = DepthImage(scene.depth[index][::4, ::4], wrong.resized(80, 60))
        grey = cv2.cvtColor(scene.images[index], cv2.COLOR_RGB2GRAY)
        frame = FrameInput(index * 66_000_000, grey, wrong, T, depth, is_calibrated=is_calibrated)
        window.process(frame, CONFIG)
    return window


@pytest.mark.parametrize('factor', [0.8, 1.0, 1.3])
def test_a_wrong_focal_length_is_found_while_the_camera_turns(scene, factor):
    ratio, spread = run(scene, factor, False).focal.estimate

    error = np.log(ratio * 320 / scene.camera.fx)
    assert abs(error) < 0.08
    assert abs(error) < 3 * spread + 0.02
    assert spread < 0.2


def test_a_calibrated_focal_length_is_not_touched(scene):
    window = run(scene, 1.0, True)

    assert window.focal.estimate is None
    assert window.image_camera.fx == scene.camera.fx
