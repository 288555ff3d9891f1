# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Camera presets, and what the launch files promise without being run."""

import ast
from pathlib import Path

import pytest

from mem3r_ros.errors import UserError
from mem3r_ros.ros.camera_presets import one_for_each, preset_names, read_preset
from mem3r_ros.ros.package_files import missing_package

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))


@pytest.mark.parametrize('name', preset_names())
def test_a_preset_names_its_topics_and_its_frame(name):
    preset = read_preset(name)

    assert preset.image.startswith('/')
    assert preset.camera_info.startswith('/')
    assert preset.image.rpartition('/')[0] == preset.camera_info.rpartition('/')[0]
    assert preset.optical_frame


def test_there_are_presets_for_the_usual_cameras_and_simulators():
    known = {'realsense', 'zed', 'oak', 'gazebo', 'isaac', 'v4l2_camera', 'usb_cam'}

    assert set(preset_names()) == known
    assert read_preset('gazebo').use_sim_time
    assert read_preset('isaac').use_sim_time


@pytest.mark.parametrize('name', ['v4l2_camera', 'usb_cam'])
def test_the_driver_of_a_usb_camera_publishes_where_the_node_listens(name):
    preset = read_preset(name)

    assert preset.image == f'/{preset.driver.namespace}/image_raw'
    assert preset.optical_frame in preset.driver.parameters.values()
    assert preset.mount == 'standalone'


def test_a_preset_that_does_not_exist_names_the_nearest_one():
    with pytest.raises(UserError, match="did you mean 'realsense'"):
        read_preset('realsens')


def test_a_file_of_the_user_is_a_preset_and_a_wrong_key_is_refused(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('image: /mine/image\n')
    assert read_preset(str(path)).image == '/mine/image'

    path.write_text('images: /mine/image\n')
    with pytest.raises(UserError, match="did you mean 'image'"):
        read_preset(str(path))


def test_a_launch_argument_has_one_value_for_all_cameras_or_one_for_each():
    names = ['front', 'rear']

    assert one_for_each('model', '', names) == ['', '']
    assert one_for_each('model', 'a', names) == ['a', 'a']
    assert one_for_each('model', 'a b', names) == ['a', 'b']
    with pytest.raises(UserError, match='model has 3 values for 2 cameras'):
        one_for_each('model', 'a b c', names)


def test_a_missing_ros_package_is_one_sentence_with_its_installation():
    sentence = missing_package('no_such_package', 'x.launch.py')

    assert 'sudo apt-get install ros-$ROS_DISTRO-no-such-package' in sentence


def called(file):
    """Return the names of all functions and classes that a launch file calls."""
    nodes = ast.walk(ast.parse(file.read_text(encoding='utf-8')))
    calls = [node.func for node in nodes if isinstance(node, ast.Call)]
    return {function.id for function in calls if isinstance(function, ast.Name)}


@pytest.mark.parametrize('file', LAUNCH_FILES, ids=lambda file: file.name)
def test_no_launch_file_waits_for_a_fixed_time(file):
    assert 'TimerAction' not in called(file)


def test_the_bag_starts_when_the_node_is_active():
    text = (ROOT / 'launch' / 'replay.launch.py').read_text(encoding='utf-8')

    assert 'OnProcessExit(target_action=active, on_exit=[bag])' in text
    assert "'mem3r_ros.ros.replay.wait_active', '/mem3r'" in text


@pytest.mark.parametrize('name', ['robot_localization.launch.py', 'usb_camera.launch.py'])
def test_a_launch_file_without_its_package_ends_with_all_its_nodes(name):
    assert {'missing_package', 'LogInfo', 'Shutdown'} <= called(ROOT / 'launch' / name)
