# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Layers: ROS only where ROS belongs, imports only downwards, nothing of one machine."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
import re
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'mem3r_ros'
SOURCES = sorted(
    path for path in PACKAGE.rglob('*.py') if 'standins' not in path.relative_to(PACKAGE).parts
)

# Who may import whom: only what stands in the same row or in one above.
LAYERS = [
    {
        '',
        'errors',
        'installed',
        'laser_scan',
        'names',
        'live_sources',
        'plausible',
        'refusals',
        'text_files',
        'config',
        'geometry',
        'se3',
        'snapshot_fields',
        'camera',
        'cloud',
        'child_process',
        'interruption',
        'cloud_config',
        'picture_config',
        'trajectory',
        'threads',
        'helper_threads',
        'files',
    },
    {'data'},
    {'worlds'},
    {'two_view'},
    {'model'},
    {'odometry'},
    {'places'},
    {'tracker'},
    {'evaluation'},
    {'reports'},
    {'training'},
    {'ros'},
    {'cli'},
]
ROS = re.compile(
    r'(rclpy|rcl_\w+|rpyutils|ros2\w+|rosbag2_\w+|rosidl_\w+|ament_\w+|launch\w*|message_filters'
    r'|tf2_\w+|tf_transformations|cv_bridge|sensor_msgs_py|std_srvs|\w+_msgs|\w+_interfaces)'
)


def layer(name):
    """Return the row of a part of the package."""
    for row, names in enumerate(LAYERS):
        if name in names:
            return row
    raise AssertionError(f'mem3r_ros.{name} belongs to no layer; add it to LAYERS')


def part_of(path):
    """Return which part of the package a file belongs to."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem.replace('__init__', '')


def imports(path):
    """Return the modules that a file imports: at the top, in functions and for annotations."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: imports are absolute'
            found.append(node.module)
            found.extend(f'{node.module}.{alias.name}' for alias in node.names)
    return found


def needed_modules(path, modules):
    """Return the modules of the package that a file needs: for each name, where it comes from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f'{node.module}.{alias.name}' for alias in node.names}
            found |= {name if name in modules else node.module for name in names}
    return found & modules


def module_name(path):
    """Return the dotted name of a file."""
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


def name_of(path):
    return str(path.relative_to(ROOT))


def test_only_the_ros_layer_imports_ros():
    for path in SOURCES:
        part = part_of(path)
        for module in imports(path):
            if ROS.fullmatch(module.split('.')[0]):
                assert part == 'ros', f'{name_of(path)} imports {module}'


def test_imports_only_go_down_the_layers():
    for path in SOURCES:
        part = part_of(path)
        for module in imports(path):
            names = module.split('.')
            if names[0] != 'mem3r_ros' or len(names) < 2 or names[1].startswith('__'):
                continue
            assert layer(names[1]) <= layer(part), f'{name_of(path)} imports {module}'


def test_there_is_no_circle_of_imports():
    modules = {module_name(path) for path in SOURCES}
    graph = {module_name(path): needed_modules(path, modules) for path in SOURCES}

    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f'a circle of imports: {" <- ".join(error.args[1])}')

    assert len(order) == len(SOURCES) > 100


def test_every_module_below_ros_imports_without_ros_and_without_a_gpu():
    modules = [
        module_name(path) for path in SOURCES if part_of(path) != 'ros' and path.stem != '__main__'
    ]
    program = f"""
import importlib, re, sys

class NoRos:
    def find_spec(self, name, path=None, target=None):
        if re.fullmatch({ROS.pattern!r}, name.split('.')[0]):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoRos())
for name in {modules!r}:
    importlib.import_module(name)
torch = sys.modules.get('torch')
assert torch is None or not torch.cuda.is_initialized()
"""

    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)

    assert result.returncode == 0, result.stderr[-2000:]


def test_importing_the_package_itself_loads_nothing_heavy():
    program = 'import sys, mem3r_ros; print([n for n in ("torch", "numpy") if n in sys.modules])'

    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)

    assert result.stdout.strip() == '[]', result.stderr


def tracked_texts():
    listed = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip('not a git checkout')
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file():
            data = path.read_bytes()
            if b'\0' not in data:
                yield name, data.decode('utf-8')


def test_no_tracked_file_names_a_path_of_one_machine():
    forbidden = re.compile('/(wor' r'k|farm)/[a-z]+|/tmp/[a-z_]+\d{3,}|/roo' r't/|/home/[a-z]+/')

    for name, text in tracked_texts():
        found = forbidden.search(text)
        assert found is None, f'{name}: {found.group()}'


def test_python_files_are_ascii_and_state_their_licence():
    for name, text in tracked_texts():
        if name.endswith('.py') and text:
            assert text.isascii(), name
            assert 'SPDX-License-Identifier: Apache-2.0' in text.splitlines()[1], name


def test_modules_stay_short():
    for path in SOURCES:
        assert len(path.read_text().splitlines()) <= 400, name_of(path)
