# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Every command in README and docs exists with its arguments; those that cost nothing are run."""

import ast
import contextlib
import importlib
import io
from itertools import pairwise
from pathlib import Path
import re
import shlex

import pytest

from mem3r_ros.cli import main as cli
from mem3r_ros.cli.arguments import CommandParser
from mem3r_ros.cli.settings import RunConfig
from mem3r_ros.config import flatten, replace_path
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.ros.parameter_names import check_arguments, check_names
from mem3r_ros.text_files import parse_yaml
from mem3r_ros.training.config import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'SECURITY.md',
    *sorted((ROOT / 'docs').rglob('*.md')),
]  # fmt: skip
TOPICS = {'image', 'image/compressed', 'camera_info', 'mask', 'wheel_odom', 'pose_hint', 'odom'}
FENCE = re.compile(r'^ *```(\w*)\n(.*?)^ *```', re.S | re.M)
# Programs of others, whose arguments are not ours.
OTHERS = {
    'git', 'cd', 'mkdir', 'touch', 'export', 'sudo', 'apt-get', 'colcon', 'docker', 'pip', '.',
    'pre-commit', 'torchrun', 'python3',
}  # fmt: skip
OURS = {'mem3r', 'python', 'ros2', 'make'}
# Placeholders of the pages, by what they stand for.
NUMBERS = {'N', 'S'}


def commands(page):
    """Yield each command of a page as words."""
    text = page.read_text(encoding='utf-8')
    for language, block in FENCE.findall(text):
        if language == 'sh' or (not language and is_shell(block)):
            for line in block.replace('\\\n', ' ').splitlines():
                for part in line.split('&&'):
                    yield from words_of(part)
    for inline in re.findall(r'`([^`]+)`', FENCE.sub('', text)):
        first = inline.split()[0].rpartition('/')[2] if inline.split() else ''
        if first in OURS or first == 'nice':
            yield from words_of(' '.join(inline.split()))


def is_shell(block):
    return any(line.split()[0].rpartition('/')[2] in OURS for line in lines_of(block))


def lines_of(block):
    return [line for line in block.splitlines() if line.strip() and line.lstrip()[0] != '#']


def words_of(line):
    words = shlex.split(line, comments=True)
    if words[:1] == ['nice']:
        words = words[1:]
    if words:
        yield [words[0].rpartition('/')[2] if words[0] != '.' else '.', *words[1:]]


ALL = [
    pytest.param(words, id=f'{page.name}: {" ".join(words)[:70]}')
    for page in PAGES
    for words in commands(page)
]


def test_the_pages_have_commands_of_all_kinds():
    firsts = {param.values[0][0] for param in ALL}

    assert len(ALL) > 100
    assert firsts >= OURS


@pytest.mark.parametrize('words', ALL)
def test_a_command_of_the_docs_exists_with_its_arguments(words):
    program, arguments = words[0], words[1:]
    if program == 'mem3r':
        check_mem3r(arguments)
    elif program == 'python':
        check_python(arguments)
    elif program == 'make':
        check_make(arguments)
    elif program == 'ros2':
        check_ros2(arguments)
    elif program == 'torchrun':
        check_mem3r(arguments[arguments.index('mem3r_ros.cli.main') + 1 :])
    else:
        assert program in OTHERS or program.endswith('.sh'), f'what is {program}?'
        assert not program.endswith('.sh') or list(ROOT.rglob(program))


def check_mem3r(arguments):
    """Parse the arguments with the parser of the command; check names of settings."""
    if not arguments or arguments[0].startswith('-'):
        return
    assert arguments[0] in cli.COMMANDS, arguments
    if len(arguments) == 1:
        return
    module = importlib.import_module(cli.COMMANDS[arguments[0]][0])
    parser = CommandParser(prog='mem3r')
    module.add_arguments(parser)
    given = ['1' if word in NUMBERS else word for word in arguments[1:] if word != '...']
    error = io.StringIO()
    try:
        with contextlib.redirect_stderr(error):
            parsed = parser.parse_args(given)
    except SystemExit as end:
        # A page may name a command with some of its arguments.
        assert end.code == 0 or 'required' in error.getvalue(), error.getvalue()
        return
    settings = TrainConfig() if arguments[0] == 'train' else RunConfig()
    for assignment in getattr(parsed, 'set', None) or []:
        name, _, text = assignment.partition('=')
        replace_path(settings, name, parse_yaml(text, name))
    for assignment in getattr(parsed, 'param', None) or []:
        check_names([assignment.partition(':=')[0]], '-p')
    recipe = getattr(parsed, 'recipe', None)
    assert recipe is None or not str(recipe).startswith('recipes/') or (ROOT / recipe).exists()


def check_python(arguments):
    """Check that the script or module exists, and that it declares each option."""
    if not arguments:
        return
    if arguments[0] == '-m':
        module, options = ROOT.joinpath(*arguments[1].split('.')), arguments[2:]
        script = module / '__main__.py' if module.is_dir() else module.with_suffix('.py')
        if arguments[1] == 'mem3r_ros.ros.node':
            check_node(options)
            return
    else:
        script, options = ROOT / arguments[0], arguments[1:]
    assert script.is_file(), script
    sources = [script.read_text(), *(p.read_text() for p in script.parent.glob('cli.py'))]
    known = {
        word.value
        for source in sources
        for word in ast.walk(ast.parse(source))
        if isinstance(word, ast.Constant) and isinstance(word.value, str)
    }
    for option in options:
        if option.startswith('--'):
            assert option.partition('=')[0] in known, f'{script.name} has no {option}'


def check_make(arguments):
    text = (ROOT / 'Makefile').read_text()
    for word in arguments:
        name, equals, _ = word.partition('=')
        assert re.search(rf'^{name} \?=' if equals else rf'^{name}:', text, re.M), word


def check_ros2(arguments):
    """Check launch files with their arguments, the node with its parameters, and services."""
    if arguments[:1] == ['launch'] and len(arguments) > 1:
        if arguments[1] != 'mem3r_ros':
            return  # a launch file of another package
        file = ROOT / 'launch' / arguments[2]
        known = {
            word.value
            for path in (ROOT / 'launch').glob('*.py')
            for word in ast.walk(ast.parse(path.read_text()))
            if isinstance(word, ast.Constant)
        }
        assert file.is_file()
        for argument in arguments[3:]:
            name, sign, _ = argument.partition(':=')
            assert argument in ('...', '--show-args') or (sign and name in known), argument
    elif arguments[:2] == ['run', 'mem3r_ros']:
        if arguments[2] == 'mem3r':
            check_mem3r(arguments[3:])
        else:
            assert arguments[2] == 'mem3r_node'
            check_node(arguments[3:])
    elif arguments[:2] == ['param', 'set']:
        check_names([arguments[3]], 'ros2 param set')


def check_node(options):
    """Check parameters as the node does, and the names that are remapped."""
    check_arguments(options, '/mem3r')
    for option, value in pairwise(options):
        if option in ('-r', '--remap'):
            assert value.partition(':=')[0] in TOPICS


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_settings_that_the_docs_name_exist(page):
    names = {name for name, _, _ in flatten(NodeConfig())}
    groups = {name.rpartition('.')[0] for name in names} - {''}
    first = '|'.join({group.split('.')[0] for group in groups})
    found = re.findall(rf'(?:`|^)((?:{first})(?:\.[a-z_0-9]+)+)(\.?\*)?', page.read_text(), re.M)
    for name, star in found:
        if name.endswith('.py'):
            continue
        # docs/tracker.md is about the settings below tracking.
        is_known = any(n in names | groups for n in (name, f'tracking.{name}'))
        assert is_known or (star and any(n.startswith(name) for n in names)), name


CHEAP = ('mem3r config', 'mem3r weights list', 'mem3r licences', 'mem3r --version')


@pytest.mark.parametrize('command', CHEAP)
def test_a_command_of_the_docs_that_costs_nothing_is_run(command, capsys):
    try:
        code = cli.main(command.split()[1:])
    except SystemExit as end:
        code = end.code

    assert code == 0
    assert capsys.readouterr().out.strip()
