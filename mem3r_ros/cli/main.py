# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The command line: ``mem3r COMMAND``, each command a module with ``add_arguments`` and ``run``.

Only the module of the given command is imported, so help needs no torch, and commands without ROS
need no ROS. An error of the user prints one line and exits with code 2.
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
from mem3r_ros.cli.arguments import CommandParser
from mem3r_ros.installed import sentence_of
from mem3r_ros.threads import set_thread_variables

set_thread_variables()  # before a command imports numpy and torch

# command -> module, summary
COMMANDS = {
    'demo': ('mem3r_ros.cli.demo', 'play the shipped recording through the node'),
    'replay': ('mem3r_ros.cli.replay', 'play a rosbag2 through the node'),
    'run': ('mem3r_ros.cli.run', 'track a camera, a bag, a video or images without ROS'),
    'score': ('mem3r_ros.cli.score', 'score a trajectory, depth images or a cloud of any system'),
    'evaluate': ('mem3r_ros.cli.evaluate', 'track several sequences and print a table of errors'),
    'batch': ('mem3r_ros.cli.batch', 'track many recordings, over processes, GPUs or Ray'),
    'view': ('mem3r_ros.cli.view', 'open the page of a run in the browser'),
    'compare': ('mem3r_ros.cli.compare', 'compare several runs on one page'),
    'benchmark': ('mem3r_ros.cli.benchmark', 'measure time and memory over many frames'),
    'fit-covariance': ('mem3r_ros.cli.fit_covariance', 'fit the covariance to ground truth'),
    'config': ('mem3r_ros.cli.config', 'print every setting with its default'),
    'completion': ('mem3r_ros.cli.completion', 'complete commands and arguments in the shell'),
    'weights': ('mem3r_ros.cli.weights', 'list, inspect, convert and download weights'),
    'train': ('mem3r_ros.cli.train', 'train a network with a recipe'),
    'sample': ('mem3r_ros.cli.sample', 'render the shipped recording'),
    'licences': ('mem3r_ros.cli.licences', 'list the dependencies with their licences'),
    'doctor': ('mem3r_ros.cli.doctor', 'find the cause of missing output on this machine'),
}
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    :param arguments: words after ``mem3r``; default: those of the process.
    :return: exit code: 0 success, 2 error of the user, 130 interrupted.
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
        command = CommandParser(
            prog=f'mem3r {args.command}', description=_sentence(COMMANDS[args.command][1])
        )
        module.add_arguments(command)
        return int(module.run(command.parse_args(words[1:])) or 0)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output, such as head, has closed the pipe.
        sys.stderr.close()
        return 0
    # A package that is missing or does not load, for example torch.
    except ImportError as error:
        sentence = sentence_of(f'mem3r {words[0]}', error)
        if sentence is None or os.environ.get('MEM3R_TRACEBACK'):
            raise
        print(f'error: {sentence}', file=sys.stderr)
        return EXIT_USER_ERROR
    # Errors of the user; UserError is a ValueError. MEM3R_TRACEBACK=1 prints the traceback.
    except (ValueError, OSError) as error:
        if os.environ.get('MEM3R_TRACEBACK'):
            raise
        print(f'error: {_one_line(error)}', file=sys.stderr)
        return EXIT_USER_ERROR


class _StderrHandler(logging.Handler):
    """Writes to the current sys.stderr, so that lines appear above a progress bar."""

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
    parser = CommandParser(
        prog='mem3r',
        usage='mem3r [-h] [--version] COMMAND ...',
        description='Odometry, depth and coloured points from one camera.',
        epilog=f'commands:\n{commands}\n\nmem3r COMMAND --help explains each command.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'mem3r_ros {__version__}')
    parser.add_argument(
        'command', metavar='COMMAND', choices=COMMANDS, help='one of those listed below'
    )
    return parser


def full_parser() -> tuple[CommandParser, list[CommandParser]]:
    """Return one parser of all commands, as the completion of shells needs it, and its parts."""
    parser = CommandParser(prog='mem3r')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND')
    parts = []
    for name, (_, text) in COMMANDS.items():
        parts.append(commands.add_parser(name, help=text))
        _module(name).add_arguments(parts[-1])
    return parser, parts


def _module(command: str) -> Any:
    return importlib.import_module(COMMANDS[command][0])


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + '.'


def _one_line(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f'cannot use {error.filename}: {error.strerror}'
    return ' '.join(text.split()) or type(error).__name__


if __name__ == '__main__':
    sys.exit(main())
