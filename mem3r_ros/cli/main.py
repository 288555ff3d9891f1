# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The command line: ``mem3r COMMAND``, each command a module with ``add_arguments`` and ``run``.

Only the module of the command that was asked for is imported, so that help needs no torch and a
command without ROS needs no ROS. What a user can cause ends in one line and exit code 2.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import importlib
import logging
import os
import sys
from typing import Any

from mem3r_ros import __version__
from mem3r_ros.threads import sleep_while_waiting

sleep_while_waiting()  # before a command imports torch

# command -> module, what it does
COMMANDS = {
    'demo': ('mem3r_ros.cli.demo', 'run the real node on the shipped recording'),
    'replay': ('mem3r_ros.cli.replay', 'play a rosbag2 through the real node'),
    'run': ('mem3r_ros.cli.run', 'track a bag, a video or a folder of images without ROS'),
    'score': ('mem3r_ros.cli.score', 'score a trajectory, depth images or a cloud of any system'),
    'evaluate': ('mem3r_ros.cli.evaluate', 'run several sequences and tabulate the errors'),
    'batch': ('mem3r_ros.cli.batch', 'track many recordings, over processes, GPUs or Ray'),
    'compare': ('mem3r_ros.cli.compare', 'put several runs side by side on one page'),
    'benchmark': ('mem3r_ros.cli.benchmark', 'measure time and memory over many frames'),
    'fit-covariance': ('mem3r_ros.cli.fit_covariance', 'fit the covariance to ground truth'),
    'weights': ('mem3r_ros.cli.weights', 'list, inspect, convert and fetch weights'),
    'train': ('mem3r_ros.cli.train', 'train a network by a recipe'),
    'sample': ('mem3r_ros.cli.sample', 'render the shipped recording'),
    'licences': ('mem3r_ros.cli.licences', 'list the dependencies with their licences'),
    'doctor': ('mem3r_ros.cli.doctor', 'check this machine and its ROS for what is missing'),
}
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    :param arguments: words after ``mem3r``; default: those of the process.
    :return: exit code: 0 done, 2 the user's mistake, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    if not words:
        parser.print_help()
        return EXIT_USER_ERROR
    _log_to_stderr()
    try:
        args = parser.parse_args(words[:1])
        module = _module(args.command)
        command = argparse.ArgumentParser(
            prog=f'mem3r {args.command}', description=_sentence(COMMANDS[args.command][1])
        )
        module.add_arguments(command)
        return int(module.run(command.parse_args(words[1:])) or 0)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output, such as head, has had enough.
        sys.stderr.close()
        return 0
    # A user's mistakes arrive as these: UserError is a ValueError. MEM3R_TRACEBACK=1 tells where.
    except (ValueError, OSError) as error:
        if os.environ.get('MEM3R_TRACEBACK'):
            raise
        print(f'error: {_one_line(error)}', file=sys.stderr)
        return EXIT_USER_ERROR


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is now, so that a progress bar can keep below the lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        print(self.format(record), file=sys.stderr)


def _log_to_stderr() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _StderrHandler) for handler in root.handlers):
        handler = _StderrHandler(logging.WARNING)
        handler.setFormatter(logging.Formatter('%(message)s'))
        root.addHandler(handler)


def _parser() -> argparse.ArgumentParser:
    commands = '\n'.join(f'  {name:<10} {text}' for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog='mem3r',
        usage='mem3r [-h] [--version] COMMAND ...',
        description='Odometry, depth and coloured points from one camera.',
        epilog=f'commands:\n{commands}\n\nmem3r COMMAND --help tells more about each.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'mem3r_ros {__version__}')
    parser.add_argument(
        'command', metavar='COMMAND', choices=COMMANDS, help='one of those listed below'
    )
    return parser


def _module(command: str) -> Any:
    name = COMMANDS[command][0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Without torch, say: the remedy is an installation, not a traceback.
        raise ValueError(
            f'mem3r {command} needs the Python package {error.name!r}, which is not installed'
        ) from error


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + '.'


def _one_line(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f'cannot use {error.filename}: {error.strerror}'
    return ' '.join(text.split()) or type(error).__name__


if __name__ == '__main__':
    sys.exit(main())
