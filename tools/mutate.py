# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Break the code in sampled places and count how often the tests fail.

``python tools/mutate.py --count 60 --seed 0 tracker model data geometry.py`` changes one operator,
condition, constant or call at a time in a copy of the repository, and runs the tests of that part
until one fails. A mutation that no test notices has survived: a missing test, or a change without
effect. The same seed on the same code gives the same mutations.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
import os
from pathlib import Path
import random
import shutil
import signal
import sys
import tempfile
import time

# Loaded once, for all children; the package itself is not.
import cv2  # noqa: F401
import pytest
import scipy.spatial  # noqa: F401
import torch  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
COMPARISONS = {
    ast.Lt: '>=',
    ast.LtE: '<',
    ast.Gt: '<=',
    ast.GtE: '>',
    ast.Eq: '!=',
    ast.NotEq: '==',
    ast.Is: 'is not',
    ast.IsNot: 'is',
    ast.In: 'not in',
    ast.NotIn: 'in',
}
OPERATORS = {
    ast.Add: '-',
    ast.Sub: '+',
    ast.Mult: '/',
    ast.Div: '*',
    ast.FloorDiv: '*',
    ast.Mod: '*',
    ast.Pow: '*',
    ast.BitAnd: '|',
}
# Tests of a part of the package beside test_<part>*.py.
TESTS = {
    'model': ('test_recording.py',),
    'two_view': ('test_model_network.py',),
    'odometry': ('test_tracker_refinement.py',),
}


@dataclass(frozen=True)
class Mutation:
    """One change of one file."""

    path: Path  # below the root of the repository
    line: int
    start: int  # of the text that changes, bytes
    stop: int
    text: str

    def __str__(self) -> str:
        """Name the place, the text before and the text after."""
        before = (ROOT / self.path).read_bytes()[self.start : self.stop].decode()
        texts = (' '.join(text.split())[:60] for text in (before, self.text))
        return f'{self.path}:{self.line}: {" -> ".join(texts)}'

    def apply(self, source: bytes) -> bytes:
        """Return the changed file."""
        return source[: self.start] + self.text.encode() + source[self.stop :]


def mutations(path: Path) -> Iterator[Mutation]:
    """Yield every change that this tool makes to a file."""
    source = (ROOT / path).read_bytes()
    starts = [0]
    for text_line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(text_line))
    for node in _code(ast.parse(source)):
        for changed, text in _changes(node, source.decode()):
            start = starts[changed.lineno - 1] + changed.col_offset
            stop = starts[changed.end_lineno - 1] + changed.end_col_offset
            yield Mutation(path, changed.lineno, start, stop, text)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Walk the tree without annotations, docstrings and defaults of settings."""
    for name, value in ast.iter_fields(node):
        if name in ('annotation', 'returns', 'decorator_list'):
            continue
        for child in value if isinstance(value, list) else [value]:
            is_setting = (
                isinstance(child, ast.Call)
                and isinstance(child.func, ast.Name)
                and child.func.id == 'setting'
            )
            if isinstance(child, ast.AST) and not is_setting:
                yield child
                yield from _code(child)


def _changes(node: ast.AST, source: str) -> Iterator[tuple[ast.AST, str]]:
    """Yield the part of a node that changes, and its new text."""

    def text(part: ast.AST) -> str:
        return ast.get_source_segment(source, part) or ''

    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        sign = COMPARISONS[type(node.ops[0])]
        yield node, f'({text(node.left)} {sign} {text(node.comparators[0])})'
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not _is_text(node):
        sign = OPERATORS[type(node.op)]
        yield node, f'(({text(node.left)}) {sign} ({text(node.right)}))'
    elif isinstance(node, ast.BoolOp):
        word = ' or ' if isinstance(node.op, ast.And) else ' and '
        yield node, '(' + word.join(f'({text(value)})' for value in node.values) + ')'
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node, f'({text(node.operand)})'
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield node, str(node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield node, str(2 * node.value if node.value else 1.0)
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield node.test, f'(not ({text(node.test)}))'
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield node, 'pass'


def _is_text(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(
        isinstance(side, ast.JoinedStr)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in sides
    )


def concerned_tests(path: Path) -> list[str]:
    """
    Return the test files of a module, in the order in which they run.

    First those that share a word with its name, then those that import it, then all others of
    its part of the package.
    """
    parts = path.parts[1:]
    part = parts[0].removesuffix('.py')
    files = [f'test/{name}' for name in TESTS.get(part, ())]
    files += sorted(str(file.relative_to(ROOT)) for file in ROOT.glob(f'test/test_{part}*.py'))
    words = [
        word.rstrip('s') for word in path.stem.split('_') if path.stem == part or word not in part
    ]
    module = '.'.join(path.with_suffix('').parts)
    named = [file for file in files if any(word in file for word in words)]
    importing = [
        str(file.relative_to(ROOT))
        for file in sorted(ROOT.glob('test/test_*.py'))
        if module in file.read_text(encoding='utf-8')
    ]
    return list(dict.fromkeys(named + importing + files))


def copy_of_repository(folder: Path) -> Path:
    """Copy the repository, and link to the recorded data beside it."""
    tree = folder / 'repository'
    ignored = shutil.ignore_patterns('.venv', '.git', '*_cache', '__pycache__')
    shutil.copytree(ROOT, tree, ignore=ignored, symlinks=True)
    shared = ROOT.parent / 'shared'
    if shared.exists():
        (folder / 'shared').symlink_to(shared.resolve())
    return tree


def test_in_child(tree: Path, mutation: Mutation) -> int:
    """
    Start a process that runs the tests against one mutation in a copy of the repository.

    It is a fork: the libraries are loaded once, here. The package is imported in the child alone.
    """
    source = (ROOT / mutation.path).read_bytes()
    (tree / mutation.path).write_bytes(mutation.apply(source))
    child = os.fork()
    if child:
        return child
    os.setsid()
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    sys.dont_write_bytecode = True
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    options = ['-x', '-q', '-p', 'no:cacheprovider', '--tb=no']
    os._exit(pytest.main([*options, *concerned_tests(mutation.path)]))


def run_all(sample: list[Mutation], folder: Path, jobs: int, limit_s: float) -> Counter[str]:
    """Test every mutation, ``jobs`` at a time; print and count the outcomes."""
    trees = [copy_of_repository(folder / str(index)) for index in range(jobs)]
    waiting, running, counts = list(reversed(sample)), {}, Counter()
    while waiting or running:
        while waiting and trees:
            mutation, tree = waiting.pop(), trees.pop()
            running[test_in_child(tree, mutation)] = (mutation, tree, time.monotonic())
        for child, (mutation, tree, start) in list(running.items()):
            spent_s, result = time.monotonic() - start, ''
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                result = 'survived' if status == 0 else 'killed'
            elif spent_s > limit_s:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                result = 'timeout'
            if result:
                print(f'{result:9s}{mutation} ({spent_s:.0f} s)', flush=True)
                counts[result] += 1
                shutil.copy2(ROOT / mutation.path, tree / mutation.path)
                trees.append(tree)
                del running[child]
        time.sleep(0.1)
    return counts


def main() -> None:
    """Sample mutations, run them, print each with its outcome and the sum."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('parts', nargs='+', help='files or folders below mem3r_ros')
    parser.add_argument('--count', type=int, default=60, help='number of mutations')
    parser.add_argument('--seed', type=int, default=0, help='of the sample')
    parser.add_argument('--jobs', type=int, default=1, help='mutations tested at a time')
    parser.add_argument('--limit-s', type=float, default=300.0, help='longest run of the tests')
    arguments = parser.parse_args()
    files = []
    for name in arguments.parts:
        path = ROOT / 'mem3r_ros' / name
        files += sorted(path.rglob('*.py')) if path.is_dir() else [path]
    found = [item for file in files for item in mutations(file.relative_to(ROOT))]
    sample = random.Random(arguments.seed).sample(found, min(arguments.count, len(found)))
    with tempfile.TemporaryDirectory() as folder:
        counts = run_all(sample, Path(folder), arguments.jobs, arguments.limit_s)
    shares = ', '.join(f'{number} {result}' for result, number in counts.most_common())
    print(f'{len(sample)} of {len(found)} mutations: {shares}')


if __name__ == '__main__':
    main()
