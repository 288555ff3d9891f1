# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Arguments that several commands share, and their checks; imports neither torch nor numpy.

A wrong argument is therefore reported at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from mem3r_ros.errors import UserError
from mem3r_ros.names import nearest_name


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser whose errors take two lines and name what was probably meant."""

    def error(self, message: str) -> NoReturn:
        """Print the error and the command that prints help; exit with code 2."""
        self.exit(2, f'error: {message}\nhelp: {self.prog} --help\n')

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse all words; an unknown one is an error with the nearest option."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            word = unknown[0]
            known = self._option_string_actions if word.startswith('-') else ()
            self.error(f'unknown argument {word!r}{nearest_name(word.partition("=")[0], known)}')
        return parsed

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action,
                f'invalid choice: {value!r}; choose from {", ".join(names)}'
                f'{nearest_name(str(value), names)}',
            )


def add_tracking_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that choose network and settings."""
    parser.add_argument('--model', help='preset, .safetensors or .pth file (mem3r-tiny)')
    parser.add_argument('--device', help='auto, cpu, cuda or cuda:N (auto)')
    parser.add_argument(
        '--config', metavar='YAML', help='settings: those of config.yaml, or a ROS parameter file'
    )
    add_set_argument(parser, 'tracking.update_rule=cut3r')


def add_set_argument(parser: argparse.ArgumentParser, example: str) -> None:
    """Declare ``--set NAME=VALUE``; see ``settings.with_assignments``."""
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help=f'change one setting, e.g. {example} (repeatable)',
    )


def add_sequence_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that select the images."""
    parser.add_argument('--image-topic', metavar='T', help='image topic of a bag')
    parser.add_argument('--max-frames', metavar='N', type=int, help='stop after N images')
    parser.add_argument('--stride', metavar='N', type=int, default=1, help='read every N-th image')
    parser.add_argument('--fps', type=float, help='frame rate of recordings without stamps')


def check_paths(paths: Iterable[str | Path]) -> None:
    """
    Check that there is something at each path.

    :raises UserError: there is nothing; the message names the most similar entry of the folder.
    """
    for path in map(Path, paths):
        place = path.expanduser()
        if place.exists():
            continue
        near = ''
        if place.parent.is_dir():
            near = nearest_name(place.name, (entry.name for entry in place.parent.iterdir()))
        raise UserError(f'no such file or folder: {path}{near}')
