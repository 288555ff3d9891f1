# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""docs/architecture.md against the code."""

import inspect
import re

import pytest
from test_boundary import LAYERS, PACKAGE, ROOT, SOURCES, imports, part_of

from mem3r_ros.model import Mem3R
from mem3r_ros.tracker import Tracker

PAGE = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
BLOCKS = [block.strip().splitlines() for block in re.findall(r'```\n(.*?)```', PAGE, re.DOTALL)]
LAYER_LINES, ARROWS, _, BEGIN, STEP, ACCEPT, FINISH = BLOCKS


def test_the_layers_of_the_page_are_those_of_the_code():
    *packages, modules = [line.split()[0] for line in LAYER_LINES]
    lowest, *upper = LAYERS

    assert modules == '(modules)'
    assert [{name} for name in reversed(packages)] == upper
    assert set(re.findall(r'\w+', LAYER_LINES[-1])) - {'modules'} <= lowest


def test_every_arrow_of_the_page_is_an_import():
    found = set()
    for path in SOURCES:
        names = (module.split('.') for module in imports(path))
        found |= {
            (part_of(path), name[1]) for name in names if name[0] == 'mem3r_ros' and name[1:]
        }
    arrows = [tuple(re.match(r'(\w+) -> (\w+)', line).groups()) for line in ARROWS]

    assert len(arrows) > 10
    assert [arrow for arrow in arrows if arrow not in found] == []


def test_every_file_of_the_page_exists():
    files = re.findall(r'\b(?:\w+/)+\w+\.(?:py|md)\b', PAGE)

    assert len(files) > 30
    for name in files:
        assert (PACKAGE / name).is_file() or (ROOT / name).is_file(), name


def test_the_page_of_the_tracker_names_existing_modules():
    page = (ROOT / 'docs' / 'tracker.md').read_text(encoding='utf-8')
    named = set(re.findall(r'`(\w+\.py)`', page))

    assert len(named) > 15
    packages = (PACKAGE / 'tracker', PACKAGE / 'odometry')
    assert named <= {path.name for package in packages for path in package.glob('*.py')}


@pytest.mark.parametrize(
    ('function', 'lines'),
    [
        (Tracker.begin, BEGIN),
        (Mem3R.step, STEP),
        (Tracker.accept, ACCEPT),
        (Tracker.finish, FINISH),
    ],
    ids=['begin', 'step', 'accept', 'finish'],
)
def test_the_stages_of_the_page_are_called_in_this_order(function, lines):
    source = inspect.getsource(function)
    at = 0

    for stage in (line.split()[0] for line in lines):
        call = re.compile(rf'\b{re.escape(stage)}\(').search(source, at)
        assert call is not None, f'{stage} is not called after the stage before it'
        at = call.end()
