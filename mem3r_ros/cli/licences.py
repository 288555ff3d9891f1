# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r licences``: what is installed with this package, and its licences."""

from __future__ import annotations

import argparse
from importlib import metadata
import re

HELP = 'list the installed dependencies with their licences'
WEIGHTS = (
    ('mem3r-tiny (shipped)', '', 'Apache-2.0'),
    ('CUT3R checkpoints (downloaded on request)', '', 'CC BY-NC-SA 4.0, not for commercial use'),
)
_CLASSIFIER = 'License :: OSI Approved :: '


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: there are none."""


def run(args: argparse.Namespace) -> int:
    """
    Print one line a package.

    :return: 0.
    """
    from mem3r_ros.evaluation.tables import print_table

    rows = [(name, *describe(name)) for name in dependencies('mem3r_ros')]
    print_table('dependencies', ('package', 'version', 'licence'), [*rows, *WEIGHTS])
    return 0


def dependencies(root: str) -> list[str]:
    """Return the installed packages that a package needs, with what these need, sorted."""
    found: set[str] = set()
    waiting = [root]
    while waiting:
        try:
            needed = metadata.requires(waiting.pop()) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in needed:
            name = _name(requirement)
            is_extra = 'extra ==' in requirement.partition(';')[2]
            if name not in found and not is_extra and describe(name)[0]:
                found.add(name)
                waiting.append(name)
    return sorted(found)


def describe(name: str) -> tuple[str, str]:
    """Return version and licence of a package; empty where it is not installed."""
    try:
        about = metadata.metadata(name).json
    except metadata.PackageNotFoundError:
        return '', ''
    classifiers = about.get('classifier', [])
    by_classifier = [c.removeprefix(_CLASSIFIER) for c in classifiers if c.startswith(_CLASSIFIER)]
    licence = about.get('license_expression') or ', '.join(by_classifier) or about.get('license')
    first_line = str(licence or 'not stated').strip().splitlines()[0]
    return str(about['version']), first_line[:60]


def _name(requirement: str) -> str:
    return re.split(r'[\s;\[<>=!~(]', requirement, maxsplit=1)[0].lower().replace('_', '-')
