# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The script behind `make env`: what it refuses, what it does again, what it leaves alone."""

from importlib import util
import os
from pathlib import Path
import platform
import shutil
import subprocess
import sys
import sysconfig
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Return the script as a module whose .venv is an empty folder."""
    spec = util.spec_from_file_location('environment', ROOT / 'tools' / 'environment.py')
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'VENV', tmp_path)
    monkeypatch.setattr(module, 'STAMP', tmp_path / 'stamp.json')
    monkeypatch.setattr(module, 'LOG', tmp_path / 'log')
    return module


def test_a_machine_with_everything_is_accepted(environment):
    if platform.machine() != 'x86_64' or not shutil.which('g++'):
        pytest.skip('needs x86-64 and a compiler')

    environment.check_machine(distribution=False)


@pytest.mark.parametrize(
    ('name', 'value', 'remedy'),
    [
        ('which', lambda name: None, 'no C compiler'),
        ('which', lambda name: name if name == 'gcc' else None, 'no C\\+\\+ compiler'),
        ('machine', lambda: 'aarch64', 'source its setup.bash'),
        ('version', (3, 9, 0), 'Python 3.10 to 3.13'),
        ('version', (3, 14, 0), 'Python 3.10 to 3.13'),
        ('modules', lambda name: None, 'python3.*-venv'),
        ('headers', {'include': '/nowhere'}, 'python3.*-dev'),
    ],
)
def test_what_is_missing_is_reported_in_one_sentence_with_its_remedy(
    environment, monkeypatch, name, value, remedy
):
    monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')
    monkeypatch.setattr(shutil, 'which', lambda name: name)
    if name == 'version':
        info = SimpleNamespace(major=value[0], minor=value[1])
        fake = SimpleNamespace(executable='python', version_info=_Version(value, info))
        monkeypatch.setattr(environment, 'sys', fake)
    elif name == 'modules':
        monkeypatch.setattr(util, 'find_spec', value)
    elif name == 'headers':
        monkeypatch.setattr(sysconfig, 'get_paths', lambda: value)
    elif name == 'machine':
        monkeypatch.setattr(platform, 'machine', value)
    else:
        monkeypatch.setattr(shutil, 'which', value)

    with pytest.raises(environment.SetupError, match=remedy) as caught:
        environment.check_machine(distribution=False)

    assert '\n' not in str(caught.value)


class _Version(tuple):
    """A version_info of another Python."""

    def __new__(cls, numbers, info):
        self = super().__new__(cls, numbers)
        self.major, self.minor = info.major, info.minor
        return self


def test_a_distribution_needs_no_compiler_and_no_x86(environment, monkeypatch):
    monkeypatch.setattr(platform, 'machine', lambda: 'aarch64')
    monkeypatch.setattr(shutil, 'which', lambda name: None)

    environment.check_machine(distribution=True)


def test_a_step_is_done_once_for_each_state_of_its_inputs(environment):
    def work(key):
        with environment.Stamps().step('packages', key) as changed:
            return changed

    assert work('first')
    assert not work('first')
    assert work('second')


def test_a_step_that_was_interrupted_is_known_as_unfinished(environment):
    with pytest.raises(KeyboardInterrupt), environment.Stamps().step('packages', 'key'):
        raise KeyboardInterrupt

    assert environment.Stamps().get('packages') == 'unfinished'


def test_a_stamp_file_that_was_cut_off_counts_as_none(environment):
    environment.STAMP.write_text('{"packages": "ke')

    assert environment.Stamps().get('packages') is None


def test_hashes_follow_content_and_file_names(environment, tmp_path):
    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / 'a').write_text('text')
    before = environment.digest(folder)

    (folder / 'a').rename(folder / 'b')

    assert environment.digest(folder) != before
    assert environment.digest('ab', 'c') != environment.digest('a', 'bc')


def test_children_do_not_inherit_the_guard_of_another_environment(environment, monkeypatch):
    monkeypatch.setenv('_ROS_WHEELS_BOOTSTRAP_COMPLETE', '1')

    assert '_ROS_WHEELS_BOOTSTRAP_COMPLETE' not in environment.clean_environment()


def test_a_failing_command_shows_the_end_of_its_output(environment, capsys):
    command = [sys.executable, '-c', 'print("the reason"); raise SystemExit(3)']

    with pytest.raises(environment.SetupError, match='the reason'):
        environment.run('step', command)

    assert 'step' in capsys.readouterr().out
    assert 'the reason' in environment.LOG.read_text()


@pytest.mark.parametrize(
    ('line', 'name'),
    [
        ('Foo_Bar==1.0 ; python_version < "3.11"', 'foo-bar'),
        ('ros-rclpy[fastrtps]==7.1.6', 'ros-rclpy'),
        ('numpy', 'numpy'),
    ],
)
def test_requirement_lines_have_a_normalised_name(environment, line, name):
    assert environment.requirement_name(line) == name


def test_beside_a_distribution_its_packages_stay_as_they_are(environment, monkeypatch):
    brought = [
        SimpleNamespace(metadata={'Name': name}, version=version)
        for name, version in (('numpy', '1.26.4'), ('torch', '2.5.0'), ('PyYAML', '6.0.1'))
    ]
    monkeypatch.setattr(environment.metadata, 'distributions', lambda: brought)
    monkeypatch.setattr(util, 'find_spec', lambda name: object())

    environment.distribution_arguments()

    constraints = (environment.VENV / 'constraints.txt').read_text().splitlines()
    requirements = (environment.VENV / 'requirements.txt').read_text().splitlines()
    assert 'numpy==1.26.4' in constraints
    names = {environment.requirement_name(line) for line in constraints}
    assert 'rich' in names
    assert not names & {'torch', 'pyyaml', 'scipy', 'opencv-python-headless'}
    wanted = {environment.requirement_name(line) for line in requirements}
    assert 'rosbags' in wanted
    assert not wanted & {'torch', 'numpy', 'pyyaml', 'opencv-python-headless'}


def find_python(**variables):
    return subprocess.run(
        ['sh', 'tools/find_python.sh'],
        cwd=ROOT,
        env={'PATH': os.environ['PATH'], **variables},
        capture_output=True,
        text=True,
    )


def test_an_interpreter_that_does_not_run_is_refused():
    result = find_python(PYTHON='no-such-python')

    assert result.returncode == 2
    assert result.stderr.startswith('error: PYTHON=no-such-python does not run')


def test_an_interpreter_can_be_named():
    base = getattr(sys, '_base_executable', sys.executable)

    result = find_python(PYTHON=base)

    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).exists()


def test_without_any_python_the_message_names_what_to_install(tmp_path):
    for tool in ('sh', 'dirname'):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    shutil.copytree(ROOT / 'tools', tmp_path / 'project' / 'tools')

    result = subprocess.run(
        ['sh', 'project/tools/find_python.sh'],
        cwd=tmp_path,
        env={'PATH': str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert result.returncode == 2
    assert 'no Python 3.10 to 3.13 found; install one' in result.stderr


def test_a_distribution_without_rclpy_is_an_error_not_a_second_ros(tmp_path):
    for tool in ('sh', 'dirname'):
        (tmp_path / tool).symlink_to(shutil.which(tool))

    result = subprocess.run(
        ['sh', str(ROOT / 'tools' / 'find_python.sh')],
        env={'PATH': str(tmp_path), 'ROS_DISTRO': 'jazzy'},
        capture_output=True,
        text=True,
    )

    assert result.returncode == 2
    assert 'ROS_DISTRO is jazzy but no Python here imports rclpy' in result.stderr
