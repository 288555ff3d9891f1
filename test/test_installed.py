# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A package that is missing is one sentence with the command that installs it."""

import subprocess
import sys

import pytest

from mem3r_ros.installed import install_command

HEAVY = {'torch', 'numpy', 'cv2', 'scipy', 'matplotlib', 'rosbags', 'evo', 'rclpy'}
# Runs a module as a program in which one package cannot be found; then prints what was imported.
HIDING = f"""
import runpy, sys

class Hiding:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == hidden:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

hidden, sys.argv = sys.argv[1], sys.argv[2:]
sys.meta_path.insert(0, Hiding())
try:
    runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
finally:
    print('imported', *sorted({HEAVY!r} & set(sys.modules)))
"""


def run_without(package, *words):
    """Return exit code, stdout and stderr of a program on a machine without a package."""
    command = [sys.executable, '-c', HIDING, package, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize('package', ['torch', 'cv2', 'safetensors', 'rclpy'])
def test_the_doctor_reports_a_missing_package_before_it_imports_any(package):
    code, out, err = run_without(package, 'mem3r_ros.cli.main', 'doctor')

    lines = out.splitlines()
    assert code == 1
    assert f'error: {package}: ' in lines[0]
    assert install_command(package) in lines[0]
    assert lines[1:] == ['imported']
    assert not err


@pytest.mark.parametrize('package', ['torch', 'cv2', 'safetensors', 'rclpy'])
def test_the_node_names_a_missing_package_and_ends(package):
    code, _, err = run_without(package, 'mem3r_ros.ros.node')

    assert code == 2
    assert err.startswith(f"error: the node needs the Python package '{package}'")
    assert install_command(package) in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ('package', 'command'),
    [
        ('torch', 'run'),
        ('cv2', 'run'),
        ('safetensors', 'run'),
        ('rosbags', 'run'),
        ('evo', 'score'),
    ],
)
def test_a_command_names_a_missing_package(package, command, tmp_path, repository_dir):
    words = [repository_dir / 'mem3r_ros' / 'samples' / 'rendered_room', '--output', tmp_path]
    if command == 'score':
        path = tmp_path / 'path.txt'
        path.write_text(''.join(f'{t} {t} 0 {t * t} 0 0 0 1\n' for t in range(9)))
        words = [path, '--truth', path]

    code, _, err = run_without(package, 'mem3r_ros.cli.main', command, *words)

    last = err.splitlines()[-1]
    assert code == 2
    assert last.startswith(f"error: mem3r {command} needs the Python package '{package}'")
    assert install_command(package) in last


def test_packages_of_the_distribution_come_from_the_distribution(monkeypatch):
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    assert install_command('cv2') == 'sudo apt-get install python3-opencv'

    monkeypatch.delenv('ROS_DISTRO')
    assert install_command('cv2') == 'python3 -m pip install opencv-python-headless'
