# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The package says the same everywhere, and installs what it says."""

import json
from pathlib import Path
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

import mem3r_ros

ROOT = Path(__file__).resolve().parent.parent
OFFICIAL_TF_MESSAGE = 'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'


def setup_arguments(monkeypatch):
    """Return what setup.py hands to setuptools."""
    import setuptools

    caught = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, 'setup', lambda **arguments: caught.update(arguments))
    exec(compile((ROOT / 'setup.py').read_text(), 'setup.py', 'exec'), {'__file__': 'setup.py'})
    return caught


def manifest():
    return ElementTree.parse(ROOT / 'package.xml').getroot()


def test_the_version_is_the_same_everywhere(monkeypatch):
    changelog = (ROOT / 'CHANGELOG.md').read_text()
    released = re.findall(r'^## \[(\d[^]]*)\]', changelog, re.MULTILINE)

    assert mem3r_ros.__version__ == manifest().findtext('version')
    assert mem3r_ros.__version__ == setup_arguments(monkeypatch)['version']
    assert mem3r_ros.__version__ == released[0]


def test_name_and_licence_are_the_same_everywhere(monkeypatch):
    arguments = setup_arguments(monkeypatch)

    assert arguments['name'] == manifest().findtext('name') == 'mem3r_ros'
    assert arguments['license'] == manifest().findtext('license') == 'Apache-2.0'
    assert 'Apache License' in (ROOT / 'LICENSE').read_text()


def test_every_file_that_is_to_be_installed_exists(monkeypatch):
    arguments = setup_arguments(monkeypatch)

    installed = {name for _, names in arguments['data_files'] for name in names}
    assert {'resource/mem3r_ros', 'package.xml'} <= installed
    for name in installed:
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize('folder', ['launch', 'config', 'rviz', 'recipes'])
def test_no_shared_file_is_forgotten(monkeypatch, folder):
    installed = {name for _, names in setup_arguments(monkeypatch)['data_files'] for name in names}
    tracked = subprocess.run(
        ['git', 'ls-files', folder], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip('not a git checkout')

    assert set(tracked.stdout.split()) <= installed


def test_every_folder_with_code_is_a_package(monkeypatch):
    packages = set(setup_arguments(monkeypatch)['packages'])

    for file in (ROOT / 'mem3r_ros').rglob('*.py'):
        assert '.'.join(file.parent.relative_to(ROOT).parts) in packages, file


def test_package_data_patterns_match_something(monkeypatch):
    patterns = setup_arguments(monkeypatch)['package_data']['mem3r_ros']

    for pattern in patterns:
        assert any((ROOT / 'mem3r_ros').glob(pattern)), pattern


def test_the_commands_exist(monkeypatch):
    for command in setup_arguments(monkeypatch)['entry_points']['console_scripts']:
        module, function = command.split(' = ')[1].split(':')

        text = ROOT.joinpath(*module.split('.')).with_suffix('.py').read_text()
        assert f'def {function}(' in text


def test_the_manifest_names_the_ros_packages_that_are_imported_and_no_others():
    named = {element.text for element in manifest().iter('exec_depend')}
    ros = re.compile(
        r'^\s*(?:from|import) (\w+_(?:msgs|interfaces|srvs)|rclpy|ament_index_python|launch'
        r'|launch_ros|cv_bridge|sensor_msgs_py|tf2_ros|tf_transformations)\b',
        re.M,
    )

    imported = set()
    for file in [*(ROOT / 'mem3r_ros').rglob('*.py'), *(ROOT / 'launch').glob('*.py')]:
        if 'standins' not in file.parts:
            imported |= set(ros.findall(file.read_text()))
    package_of = {'tf2_ros': 'tf2_ros_py'}
    assert {package_of.get(name, name) for name in imported} == {
        name for name in named - started_packages() if not name.startswith('python3-')
    }


def started_packages():
    """Return the packages whose programs the launch files start by name, and those they need."""
    started = set()
    for file in (ROOT / 'launch').glob('*.py'):
        text = file.read_text()
        started |= set(re.findall(r"package='(\w+)'", text)) - {'mem3r_ros'}
        if "'ros2', 'bag'" in text:
            started |= {'ros2bag', 'rosbag2_storage_mcap'}
    return started


def test_the_manifest_names_the_packages_that_the_launch_files_start():
    named = {element.text for element in manifest().iter('exec_depend')}

    assert started_packages() <= named


def test_the_manifest_or_the_route_names_each_python_package():
    named = {element.text for element in manifest().iter('exec_depend')}
    keys = {'torch': 'python3-pytorch-pip', 'opencv-python-headless': 'python3-opencv'}
    route = (ROOT / 'requirements' / 'robot.in').read_text().lower()

    for line in (ROOT / 'requirements' / 'runtime.in').read_text().lower().splitlines():
        if line and not line.startswith('#'):
            name = line.partition('==')[0]
            plain = keys.get(name, f'python3-{name.removeprefix("py")}')
            is_named = {plain, f'python3-{name}', f'python3-{name}-pip'} & named
            assert is_named or re.search(rf'^{name}\b', route, re.M), name


@pytest.mark.parametrize('name', ['lock.txt', 'lock-ros.txt', 'lock-ros-build.txt'])
def test_locks_pin_every_package_and_name_no_index(name):
    lines = (ROOT / 'requirements' / name).read_text().splitlines()

    for line in lines:
        if not line.startswith('#'):
            assert re.fullmatch(r'[\w.-]+==[\w.+!]+( ; .+)?', line), line
    assert not any('nvidia' in line or '://' in line for line in lines)


@pytest.mark.parametrize(
    ('source', 'lock'),
    [
        ('runtime.in', 'lock.txt'),
        ('dev.in', 'lock.txt'),
        ('ros.in', 'lock-ros.txt'),
        ('ros-build.in', 'lock-ros-build.txt'),
    ],
)
def test_locks_hold_what_the_sources_ask_for(source, lock):
    locked = (ROOT / 'requirements' / lock).read_text().lower().splitlines()

    for line in (ROOT / 'requirements' / source).read_text().splitlines():
        if line and not line.startswith('#'):
            name, _, version = re.sub(r'\[.*\]', '', line).lower().partition('==')
            assert any(entry.startswith(f'{name}=={version}') for entry in locked), line


def test_tf_messages_carry_the_official_type_hash():
    pytest.importorskip('rclpy', reason='needs ROS 2')
    from rosbags.typesys import Stores, get_typestore

    generated = Path(sys.prefix, 'share/tf2_msgs/msg/TFMessage.json')
    if not generated.is_file():
        pytest.skip('tf2_msgs comes from a ROS distribution')
    hashes = {
        entry['type_name']: entry['hash_string']
        for entry in json.loads(generated.read_text())['type_hashes']
    }
    store = get_typestore(Stores.ROS2_JAZZY)

    assert hashes['tf2_msgs/msg/TFMessage'] == OFFICIAL_TF_MESSAGE
    for name, value in hashes.items():
        assert value == store.hash_rihs01(name)
