# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The wheel: small, with weights, templates and the command, without tests."""

import importlib.util
from pathlib import Path
import shutil
import subprocess
import sys
import zipfile

import pytest

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
