# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Make or refresh ``.venv``: locked packages, ROS 2 where none is sourced, tf2_msgs, this project.

Run by ``make env`` with the interpreter that the environment shall use; standard library only.
Each step is stamped with a hash of what it depends on, so a second run does only what changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
import fcntl
import hashlib
from importlib import metadata
import importlib.util
import json
import os
from pathlib import Path
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
VENV_PYTHON = VENV / 'bin' / 'python'
STAMP = VENV / 'mem3r_env.json'
LOG = VENV / 'mem3r_env.log'
REQUIREMENTS = ROOT / 'requirements'
TF2_MSGS = ROOT / 'tools' / 'tf2_msgs'

# Compiled against numpy: with a ROS distribution they must fit its numpy, whatever the lock says.
NUMPY_LINKED = {
    'contourpy', 'matplotlib', 'numexpr', 'numpy', 'opencv-python-headless', 'pandas', 'scipy',
}  # fmt: skip

# Lines of pip that say nothing about how far it is.
UNTELLING = (
    'WARNING',
    '  Attempting',
    '    Found',
    '    Uninstalling',
    '      Successfully',
    'Using',
)


class SetupError(Exception):
    """One sentence for the user: what is missing and how to get it."""


def uses_distribution() -> bool:
    """Return whether a sourced ROS distribution provides rclpy for this interpreter."""
    if not (os.environ.get('ROS_DISTRO') and os.environ.get('AMENT_PREFIX_PATH')):
        return False
    return importlib.util.find_spec('rclpy') is not None


def check_machine(distribution: bool) -> None:
    """
    Refuse what cannot work, before anything is downloaded.

    :param distribution: whether ROS comes from a sourced distribution.
    """
    version = f'{sys.version_info.major}.{sys.version_info.minor}'
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        raise SetupError(
            f'{sys.executable} is Python {version}; name a Python 3.10 to 3.13 with PYTHON=.'
        )
    for module in ('venv', 'ensurepip'):
        if importlib.util.find_spec(module) is None:
            raise SetupError(
                f'{sys.executable} has no {module} module; install it '
                f'(Debian, Ubuntu: apt install python{version}-venv).'
            )
    if distribution:
        return
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ('Linux', 'x86_64'):
        raise SetupError(
            f'there are no ROS 2 wheels for {system} on {machine}; install a ROS 2 distribution '
            '(Jazzy or later) and source its setup.bash first.'
        )
    for kind, names in (('C', ('cc', 'gcc', 'clang')), ('C++', ('c++', 'g++', 'clang++'))):
        if not any(shutil.which(name) for name in names):
            raise SetupError(
                f'there is no {kind} compiler; install one '
                '(Debian, Ubuntu: apt install build-essential).'
            )
    if not Path(sysconfig.get_paths()['include'], 'Python.h').exists():
        raise SetupError(
            f'{sys.executable} has no Python.h; install its headers '
            f'(Debian, Ubuntu: apt install python{version}-dev).'
        )


def clean_environment(**extra: str) -> dict[str, str]:
    """
    Return the variables for a child process, without traces of another Python environment.

    :param extra: variables to set on top.
    :return: a full environment.
    """
    # The ROS wheels start Python anew under this guard; inherited, it would keep the child from
    # finding its own libraries.
    dropped = {'_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'PYTHONHOME', '__PYVENV_LAUNCHER__'}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, 'PIP_DISABLE_PIP_VERSION_CHECK': '1', **extra}


def digest(*parts: str | Path) -> str:
    """
    Hash texts and the files at paths (folders: every file below them).

    :param parts: strings are hashed as they are, paths by content.
    :return: hexadecimal digest.
    """
    hasher = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            hasher.update(part.encode() + b'\0')
            continue
        files = sorted(p for p in part.rglob('*') if p.is_file()) if part.is_dir() else [part]
        for file in files:
            hasher.update(file.name.encode() + b'\0' + file.read_bytes() + b'\0')
    return hasher.hexdigest()


class Progress:
    """Show what a child process does: one living line on a terminal, some lines elsewhere."""

    def __init__(self, title: str) -> None:
        """
        Start the clock.

        :param title: what the user reads in front of the progress.
        """
        self.title = title
        self.doing = ''
        self._start = time.monotonic()
        self._tty = sys.stdout.isatty()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        """Show the title at once."""
        self._show()
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the line with the time that it took."""
        self._done.set()
        self._thread.join()
        self.doing = 'done' if kind is None else 'stopped'
        self._show(last=True)

    def _tick(self) -> None:
        while not self._done.wait(0.5 if self._tty else 5.0):
            self._show()

    def _show(self, last: bool = False) -> None:
        seconds = time.monotonic() - self._start
        line = f'{self.title:<34} {seconds:5.0f} s  {self.doing}'
        if self._tty:
            width = shutil.get_terminal_size().columns - 1
            print('\r' + line[:width].ljust(width), end='\n' if last else '', flush=True)
        else:
            print(line[:98].rstrip(), flush=True)


def run(title: str, command: Sequence[str | Path], **environment: str) -> None:
    """
    Run a command, show its progress, keep its output in the log.

    :param title: what the user reads.
    :param command: program and arguments.
    :param environment: variables to set for it.
    """
    with Progress(title) as progress, LOG.open('a', encoding='utf-8') as log:
        log.write(f'\n$ {" ".join(map(str, command))}\n')
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=clean_environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
        )
        assert process.stdout is not None
        tail: list[str] = []
        for line in process.stdout:
            log.write(line)
            tail = [*tail[-14:], line.rstrip()]
            if not line.startswith(UNTELLING):
                progress.doing = line.strip()
        if process.wait():
            raise SetupError(
                f'{title} failed; the whole output is in {LOG}, its end:\n' + '\n'.join(tail)
            )


class Stamps:
    """Which steps are done, and for which inputs; kept in the environment itself."""

    def __init__(self) -> None:
        """Read the stamps of an earlier run, if there are any."""
        try:
            self._keys: dict[str, str] = json.loads(STAMP.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            self._keys = {}

    def get(self, step: str) -> str | None:
        """
        Return the key under which a step was finished.

        :param step: name of the step.
        :return: its key, or None when it never finished.
        """
        return self._keys.get(step)

    @contextlib.contextmanager
    def step(self, name: str, key: str) -> Iterator[bool]:
        """
        Yield whether the step must run, and stamp it once it has.

        :param name: name of the step.
        :param key: hash of all that it depends on.
        :return: context whose value is True when there is work to do.
        """
        if self._keys.get(name) == key:
            yield False
            return
        self._write({**self._keys, name: 'unfinished'})
        yield True
        self._write({**self._keys, name: key})

    def _write(self, keys: dict[str, str]) -> None:
        self._keys = keys
        fresh = STAMP.with_suffix('.new')
        fresh.write_text(json.dumps(keys, indent=2) + '\n', encoding='utf-8')
        fresh.replace(STAMP)


def requirement_name(line: str) -> str:
    """
    Return the normalised project name of one requirement line.

    :param line: such as ``Foo_bar==1 ; python_version < '3.11'``.
    :return: such as ``foo-bar``.
    """
    return re.sub(r'[-_.]+', '-', re.split(r'[\s=<>!~;\[]', line.strip(), maxsplit=1)[0]).lower()


def distribution_arguments() -> list[str | Path]:
    """
    Return what pip shall install beside a ROS distribution: nothing that would displace it.

    The distribution's compiled packages are bound to its numpy, which therefore stays; what it
    brings already is not installed again, and the rest is held at the lock's versions.

    :return: pip arguments.
    """
    installed = {requirement_name(d.metadata['Name'] or ''): d for d in metadata.distributions()}
    lock = (REQUIREMENTS / 'lock.txt').read_text(encoding='utf-8').splitlines()
    free = NUMPY_LINKED | set(installed)
    held = [line for line in lock if line[:1] not in ('', '#')]
    held = [line for line in held if requirement_name(line) not in free]
    if 'numpy' in installed:
        held.append(f'numpy=={installed["numpy"].version}')
    wanted = []
    for name in ('runtime.in', 'dev.in'):
        wanted += (REQUIREMENTS / name).read_text(encoding='utf-8').splitlines()
    # What is there is kept, whatever its version: a board's own torch knows that board's GPU.
    wanted = [line for line in wanted if requirement_name(line) not in installed]
    if importlib.util.find_spec('cv2') is not None:  # Debian's has no package metadata
        wanted = [line for line in wanted if not line.startswith('opencv')]
    constraints, requirements = VENV / 'constraints.txt', VENV / 'requirements.txt'
    constraints.write_text('\n'.join(held) + '\n', encoding='utf-8')
    requirements.write_text('\n'.join(wanted) + '\n', encoding='utf-8')
    return ['-c', constraints, '-r', requirements]


def create_venv(distribution: bool) -> None:
    """
    Make an empty virtual environment, in place of whatever stood there.

    :param distribution: whether it shall see the packages of a ROS distribution.
    """
    if VENV.exists():
        shutil.rmtree(VENV)
    VENV.mkdir()
    options = ['--system-site-packages'] if distribution else []
    run('[1/4] virtual environment', [sys.executable, '-m', 'venv', *options, VENV])


def pip(*arguments: str | Path, python: Path = VENV_PYTHON) -> list[str | Path]:
    """
    Return the command that installs packages.

    :param arguments: what follows ``pip install``.
    :param python: of the environment to install into.
    :return: command line.
    """
    return [python, '-m', 'pip', 'install', '--progress-bar', 'off', *arguments]


def build_tf2_msgs() -> None:
    """Generate tf2_msgs with generators that live in a throw-away environment."""
    scratch = VENV / 'tf2_msgs_build'
    shutil.rmtree(scratch, ignore_errors=True)
    generators = scratch / 'venv'
    title = '[3/4] tf2_msgs'
    scratch.mkdir()
    run(f'{title}: environment', [sys.executable, '-m', 'venv', generators])
    lock = REQUIREMENTS / 'lock-ros-build.txt'
    run(f'{title}: generators', pip('-r', lock, python=generators / 'bin' / 'python'))
    variables = {
        'PATH': f'{generators / "bin"}{os.pathsep}{os.environ.get("PATH", "")}',
        'AMENT_PREFIX_PATH': str(generators),
        'CMAKE_PREFIX_PATH': str(generators),
    }
    cmake, build = generators / 'bin' / 'cmake', scratch / 'build'
    settings = [
        '-DCMAKE_BUILD_TYPE=Release',
        '-DBUILD_TESTING=OFF',
        f'-DCMAKE_INSTALL_PREFIX={VENV}',
        f'-DPython3_EXECUTABLE={generators / "bin" / "python"}',
        '-DPython3_FIND_VIRTUALENV=ONLY',
    ]
    configure: list[str | Path] = [cmake, '-S', TF2_MSGS, '-B', build, '-G', 'Ninja', *settings]
    run(f'{title}: configure', configure, **variables)
    run(f'{title}: compile', [cmake, '--build', build], **variables)
    run(f'{title}: install', [cmake, '--install', build], **variables)
    shutil.rmtree(scratch)


def make_environment() -> None:
    """Do the steps whose inputs changed since they were last finished."""
    distribution = uses_distribution()
    base = digest(str(ROOT), sys.version, sys.base_prefix, str(distribution))
    stamps = Stamps()
    unfinished = stamps.get('packages') in (None, 'unfinished')
    if stamps.get('base') != base or unfinished or not VENV_PYTHON.exists():
        check_machine(distribution)
        create_venv(distribution)
        stamps = Stamps()
    with stamps.step('base', base):
        pass
    locks = [REQUIREMENTS / 'lock.txt']
    if not distribution:
        locks.append(REQUIREMENTS / 'lock-ros.txt')
    with stamps.step('packages', digest(*locks)) as changed:
        if changed and distribution:
            run('[2/4] Python packages', pip(*distribution_arguments()))
        elif changed:
            arguments = [part for lock in locks for part in ('-r', lock)]
            run('[2/4] Python and ROS packages', pip(*arguments))
    if not distribution:
        generators = REQUIREMENTS / 'lock-ros-build.txt'
        with stamps.step('tf2_msgs', digest(TF2_MSGS, generators, *locks)) as changed:
            if changed:
                build_tf2_msgs()
    project = [ROOT / name for name in ('setup.py', 'setup.cfg', 'package.xml')]
    project += [ROOT / 'mem3r_ros' / '__init__.py', *sorted(REQUIREMENTS.glob('*.in'))]
    with stamps.step('project', digest(*project)) as changed:
        if changed:
            options = ('--no-deps', '--no-build-isolation', '--editable')
            run('[4/4] mem3r_ros itself', pip(*options, ROOT))


def main() -> int:
    """
    Make the environment; two at once wait for each other.

    :return: exit code, 2 for what the user has to mend.
    """
    with (ROOT / '.venv.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('waiting for another `make env` in this folder', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            make_environment()
        except SetupError as error:
            print(f'error: {error}', file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print('error: interrupted; run `make env` again to go on', file=sys.stderr)
            return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
