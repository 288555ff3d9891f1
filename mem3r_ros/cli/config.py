# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r config``: every setting with its value and its help, as YAML."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
import textwrap
from typing import Any

HELP = 'print every setting with its default, as YAML for --config'
WIDTH = 99


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from mem3r_ros.cli.arguments import add_tracking_arguments

    parser.add_argument('--output', metavar='FILE', type=Path, help='write to this file instead')
    add_tracking_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """
    Print the settings: the defaults, changed by --config, --model, --device and --set.

    :return: 0.
    :raises UserError: a setting is unknown or refused, or the file cannot be written.
    """
    from mem3r_ros.cli.settings import config_from
    from mem3r_ros.files import write_text

    text = '\n'.join(_lines(config_from(args))) + '\n'
    if args.output is None:
        print(text, end='')
    else:
        write_text(args.output, text)
    return 0


def _lines(config: Any, indent: str = '') -> Iterator[str]:
    """Yield the lines of a configuration: help as comment, then name and value."""
    from dataclasses import fields, is_dataclass

    import yaml

    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield f'{indent}{item.name}:'
            yield from _lines(value, f'{indent}  ')
            continue
        limits = item.metadata
        notes = [limits['help'] + (f' [{limits["unit"]}]' if limits['unit'] else '')]
        if limits['choices']:
            notes.append('one of ' + ', '.join(map(str, limits['choices'])))
        prefix = f'{indent}# '
        yield from textwrap.wrap(
            '; '.join(notes), WIDTH, initial_indent=prefix, subsequent_indent=prefix
        )
        plain = list(value) if isinstance(value, tuple) else value
        text = yaml.safe_dump(plain, default_flow_style=True, width=10**6)
        text = text.removesuffix('\n').removesuffix('\n...')
        yield f'{indent}{item.name}: {text}'
