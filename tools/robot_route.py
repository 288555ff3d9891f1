# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Follow docs/robot.md literally in an empty folder, down to a node that answers images.

    python tools/robot_route.py --folder EMPTY_FOLDER

Where no distribution is installed, ROS from pip stands for it: step 1 installs wheels instead of
Debian packages, with OpenCV 4 and the numpy of Jazzy. pip has no ``ros2 run`` and ``ros2 launch``:
the installed script is started by its path. All other commands are those of the page.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs' / 'robot.md'
# Jazzy's own versions; cv_bridge there is built against OpenCV 4.
STAND_IN = ['numpy==1.26.4', 'opencv-python-headless<4.11', 'scipy', 'matplotlib', 'PyYAML']
STAND_IN += ['Jinja2', 'rich', 'psutil', 'pillow', 'colcon-common-extensions', 'tensorboard']
STAND_IN += ['torch==2.13.0']  # of PyPI's CPU build, as the page advises without a GPU
# What the stand-in lacks and a distribution has: the messages of tf2.
BUILD_TF2_MSGS = """
import sys
from pathlib import Path
sys.path.insert(0, {tools!r})
import environment
environment.VENV = Path({venv!r})
environment.VENV_PYTHON = environment.VENV / 'bin' / 'python'
environment.LOG = environment.VENV / 'tf2_msgs.log'
environment.build_tf2_msgs()
"""


def steps() -> list[str]:
    """Return the commands of the page's numbered steps."""
    route = PAGE.read_text(encoding='utf-8').split('## The route')[1].split('\n## ')[0]
    return re.findall(r'```sh\n(.*?)```', route, re.DOTALL)


def distribution() -> Path | None:
    """Return the setup file of an installed distribution."""
    found = sorted(Path('/opt/ros').glob('*/setup.sh'))
    return found[-1] if found else None


def script(folder: Path) -> str:
    """Return the commands as one shell script."""
    setup, commands = distribution(), steps()
    workspace = folder / 'robot_ws'
    text = '\n'.join(commands).replace('~/robot_ws', str(workspace))
    if setup is not None:
        text = text.replace('jazzy', setup.parent.name)
    else:
        text = stand_in(text, commands[0], workspace)
    # The launch of the page runs for ever; the node is started and checked by robot_route itself.
    text = re.sub(r'^\s*ros2 launch .*$', '', text, flags=re.MULTILINE)
    return 'set -ex\n' + text


def stand_in(text: str, first: str, workspace: Path) -> str:
    """Replace what only a distribution has by its stand-in from pip."""
    text = text.replace(first.replace('~/robot_ws', str(workspace)), '')
    text = text.replace('. /opt/ros/jazzy/setup.sh', 'unset _ROS_WHEELS_BOOTSTRAP_COMPLETE')
    lock = ROOT / 'requirements' / 'ros.in'
    packages = ' '.join(f"'{package}'" for package in STAND_IN)
    text = text.replace(
        '. .venv/bin/activate\n',
        f'. .venv/bin/activate\npython3 -m pip install -q -r {lock} {packages}\n'
        f'python3 {workspace / "build_tf2_msgs.py"}\n',
        1,
    )
    script_path = 'install/mem3r_ros/lib/mem3r_ros/mem3r'
    return text.replace('ros2 run mem3r_ros mem3r doctor', f'{script_path} doctor || true')


def start_node(folder: Path) -> None:
    """
    Play the shipped recording to the installed node.

    :raises subprocess.CalledProcessError: the node gave no odometry.
    """
    workspace = folder / 'robot_ws'
    setup = distribution()
    sourced = f'. {setup}\n' if setup else ''
    program = (
        f'set -e\ncd {workspace}\n{sourced}. .venv/bin/activate\n. install/local_setup.sh\n'
        f'install/mem3r_ros/lib/mem3r_ros/mem3r demo --output {folder / "demo_output"}\n'
    )
    environment = {name: value for name, value in os.environ.items() if 'ROS_' not in name}
    environment.pop('PYTHONPATH', None)
    subprocess.run(['bash', '-c', program], check=True, env=environment, cwd=folder)


def main() -> int:
    """Follow the page; 0 where the node answers at the end."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--folder', type=Path, required=True, help='empty folder to work in')
    parser.add_argument('--print', action='store_true', help='print the commands, run nothing')
    options = parser.parse_args()
    folder = options.folder.resolve()
    text = script(folder)
    if options.print:
        print(text)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        print(f'{folder} is not empty; give an empty folder', file=sys.stderr)
        return 2
    environment = dict(os.environ, MEM3R_REPOSITORY=str(ROOT))
    environment.pop('PYTHONPATH', None)
    if distribution() is None:
        workspace = folder / 'robot_ws'
        workspace.mkdir()
        program = BUILD_TF2_MSGS.format(tools=str(ROOT / 'tools'), venv=str(workspace / '.venv'))
        (workspace / 'build_tf2_msgs.py').write_text(program)
    environment['PATH'] = f'{Path(shutil.which("python3")).parent}:{environment["PATH"]}'
    subprocess.run(['bash', '-c', text], check=True, env=environment, cwd=folder)
    start_node(folder)
    print(f'the node answered; its results: {folder / "demo_output"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
