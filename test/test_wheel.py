# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The wheel: small, with weights, templates and the command, without tests."""

import importlib.util
import os
from pathlib import Path
import shutil
import subprocess
import sys
import venv
import zipfile

import pytest

import mem3r_ros

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 60_000_000


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    if importlib.util.find_spec('setuptools') is None:
        pytest.skip('needs setuptools to build the wheel')
    source = tmp_path_factory.mktemp('source')
    ignored = shutil.ignore_patterns('.venv', '.git', '__pycache__', '*_output', 'build')
    tree = source / 'mem3r_ros'
    shutil.copytree(ROOT, tree, ignore=ignored, symlinks=True)
    done = subprocess.run(
        [sys.executable, 'setup.py', '-q', 'bdist_wheel', '-d', str(source)],
        cwd=tree, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if 'invalid command' in done.stderr and 'bdist_wheel' in done.stderr:
        pytest.skip('setuptools here has no bdist_wheel; install wheel')
    assert done.returncode == 0, done.stderr[-2000:]
    return next(source.glob('*.whl'))


def test_the_wheel_is_small_and_whole(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    assert wheel.stat().st_size < MAX_BYTES
    for name in (
        'mem3r_ros/weights/mem3r-tiny.safetensors',
        'mem3r_ros/reports/templates/report.html',
        'mem3r_ros/cli/main.py',
        'mem3r_ros/samples/rendered_room/metadata.yaml',
    ):
        assert name in names
    assert not [name for name in names if name.startswith(('test/', 'benchmarks/', 'tools/'))]


@pytest.fixture(scope='module')
def empty_environment(wheel, tmp_path_factory):
    """Return an environment that has the wheel and nothing else; needs no network."""
    if importlib.util.find_spec('pip') is None:
        pytest.skip('needs pip to install the wheel')
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder, with_pip=False)
    done = subprocess.run(
        [sys.executable, '-m', 'pip', '--python', str(folder), 'install', '--no-deps',
         '--no-index', '--disable-pip-version-check', str(wheel)],
        capture_output=True, text=True, check=False, env=clean(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def clean():
    """Return the variables without those that show the way to another environment."""
    dropped = {'PYTHONPATH', 'PYTHONHOME', 'AMENT_PREFIX_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE'}
    return {name: value for name, value in os.environ.items() if name not in dropped}


def mem3r(environment, *words):
    """Run the installed command."""
    return subprocess.run(
        [str(environment / 'bin' / 'mem3r'), *words],
        cwd=environment, capture_output=True, text=True, check=False, env=clean(),
    )  # fmt: skip


def test_the_installed_wheel_has_the_command(empty_environment):
    version = mem3r(empty_environment, '--version')
    overview = mem3r(empty_environment)

    assert version.stdout.strip() == f'mem3r_ros {mem3r_ros.__version__}', version.stderr
    assert 'commands:' in overview.stdout, overview.stderr


def test_without_its_dependencies_the_command_names_the_first_one(empty_environment):
    done = mem3r(empty_environment, 'run', str(ROOT))

    assert done.returncode == 2
    assert done.stderr.startswith('error: ') and 'pip install' in done.stderr
    assert 'Traceback' not in done.stderr


def test_the_unpacked_wheel_has_the_command_without_ros(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
        entry = next(name for name in archive.namelist() if name.endswith('entry_points.txt'))
    code = (
        'import sys; sys.modules["rclpy"] = None; import mem3r_ros; '
        'from mem3r_ros.cli.main import main; print(mem3r_ros.__file__); main(["run", "--help"])'
    )

    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 'mem3r = mem3r_ros.cli.main:main' in (tmp_path / entry).read_text()
    assert done.stdout.startswith(str(tmp_path)) and 'usage: mem3r run' in done.stdout, done.stderr
