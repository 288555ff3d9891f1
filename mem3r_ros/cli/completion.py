# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r completion``: a script by which the shell completes commands."""

from __future__ import annotations

import argparse

from mem3r_ros.errors import UserError

HELP = 'print a script for the completion of commands and arguments'
SHELLS = ('bash', 'zsh', 'tcsh')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        'shell', choices=SHELLS, help='shell; for bash: eval "$(mem3r completion bash)"'
    )


def run(args: argparse.Namespace) -> int:
    """
    Print the script.

    :return: 0.
    :raises UserError: the package shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise UserError(
            'completion needs the package shtab; install it with: pip install shtab'
        ) from error
    from mem3r_ros.cli.main import full_parser

    parser, commands = full_parser()
    for command in commands:
        for argument in command._actions:
            if _takes_a_path(argument):
                argument.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, args.shell))
    return 0


def _takes_a_path(argument: argparse.Action) -> bool:
    names = {'DIR', 'FILE', 'YAML', 'PATH', 'BAG', 'RUN', 'CONFIG.yaml', 'SRC', 'DST'}
    return argument.choices is None and (argument.metavar in names or argument.dest == 'model')
