# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Install rules: ament_python for colcon, and the same for plain pip."""

from glob import glob
from pathlib import Path
import re

from setuptools import find_packages, setup

PACKAGE = 'mem3r_ros'


def version() -> str:
    """Return the version that the package itself states."""
    text = Path(PACKAGE, '__init__.py').read_text(encoding='utf-8')
    return re.search(r"__version__ = '([^']+)'", text).group(1)


setup(
    name=PACKAGE,
    version=version(),
    description='Streaming odometry, depth and coloured points from one camera with Mem3R',
    license='Apache-2.0',
    maintainer='mem3r_ros developers',
    maintainer_email='mem3r-ros@example.com',
    packages=find_packages(exclude=['test', 'test.*', 'tools', 'tools.*']),
    package_data={
        PACKAGE: [
            'py.typed',
            'weights/*.safetensors',
            'samples/**/*',
            '**/templates/*',
        ],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        (f'share/{PACKAGE}/launch', sorted(glob('launch/*.launch.py'))),
        (f'share/{PACKAGE}/config', sorted(glob('config/*'))),
        (f'share/{PACKAGE}/rviz', sorted(glob('rviz/*.rviz'))),
    ],
    python_requires='>=3.10,<3.14',
    install_requires=['setuptools'],
    extras_require={
        'rerun': ['rerun-sdk>=0.20'],
        'download': ['gdown>=5'],
        'test': ['pytest'],
    },
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'mem3r = mem3r_ros.cli.main:main',
            'mem3r_node = mem3r_ros.ros.node:main',
        ],
    },
)
