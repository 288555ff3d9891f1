# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Install rules: ament_python for colcon, and the same for plain pip."""

from glob import glob
from pathlib import Path
import re

from setuptools import find_packages, setup

PACKAGE = 'mem3r_ros'
ROOT = Path(__file__).resolve().parent  # colcon may link this file elsewhere


def version() -> str:
    """Return the version that the package itself states."""
    text = (ROOT / PACKAGE / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"__version__ = '([^']+)'", text).group(1)


def requirements(name: str) -> list[str]:
    """Return the packages that one of requirements/*.in names."""
    lines = (ROOT / 'requirements' / f'{name}.in').read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def shared(folder: str, pattern: str) -> tuple[str, list[str]]:
    """Return an install rule: files of a folder go to the same folder under share/."""
    return f'share/{PACKAGE}/{folder}', sorted(glob(f'{folder}/{pattern}'))


setup(
    name=PACKAGE,
    version=version(),
    description='Streaming odometry, depth and coloured points from one camera with Mem3R',
    license='Apache-2.0',
    maintainer='mem3r_ros developers',
    maintainer_email='mem3r-ros@example.com',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={
        PACKAGE: [
            'py.typed',
            'weights/*',
            'samples/**/*',
            'reports/templates/*',
            'evaluation/*.json',
            'ros/standins/README.md',
        ],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        shared('launch', '*.launch.py'),
        shared('config', '*.*'),
        shared('config/cameras', '*.yaml'),
        shared('rviz', '*.rviz'),
        shared('recipes', '*.yaml'),
    ],
    python_requires='>=3.10,<3.14',
    # Without the versions: a robot may bring its own torch and OpenCV; the lock pins for .venv.
    install_requires=[
        'setuptools',
        *(line.partition('==')[0] for line in requirements('runtime')),
    ],
    extras_require={
        'ros': requirements('ros'),
        'view': requirements('view'),
        'rerun': requirements('view'),
        'hub': requirements('hub'),
        'completion': requirements('completion'),
        'export': requirements('export'),
        'download': ['gdown'],
        'exr': ['OpenEXR'],
        'ray': ['ray'],
        'test': requirements('dev'),
    },
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'mem3r = mem3r_ros.cli.main:main',
            'mem3r_node = mem3r_ros.ros.node:main',
        ],
    },
)
