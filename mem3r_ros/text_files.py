# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Reads text, JSON and YAML from outside: every failure is one sentence, every size is bounded.

What a file claims costs nothing until it was checked: nesting, aliases of YAML, which multiply
what they name, digits of numbers and the size of the file have limits far above any real use.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
import json
import logging
import math
from pathlib import Path
from typing import Any

from mem3r_ros.errors import UserError

LOGGER = logging.getLogger(__name__)

MAX_BYTES = 16 * 2**20
MAX_LINE = 100_000
MAX_DEPTH = 64
MAX_NODES = 100_000  # of YAML, with aliases written out
MAX_INTEGER = 2**63

# What Python raises where PyYAML converts a malformed scalar, such as a date of month 99.
_MALFORMED = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)

_MARKS = (
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)


def encoding_of(path: str | Path) -> str:
    """
    Return the encoding that the mark at the beginning of a text file names; UTF-8 without one.

    :raises OSError: the file cannot be read.
    """
    with open(path, 'rb') as file:
        start = file.read(4)
    return next((name for mark, name in _MARKS if start.startswith(mark)), 'utf-8')


def read_text(path: str | Path, max_bytes: int = MAX_BYTES) -> str:
    """
    Read a text file, with or without a byte order mark.

    :raises UserError: it cannot be read, is too large or is no text.
    """
    try:
        encoding = encoding_of(path)
        with open(path, 'rb') as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from error
    if len(content) > max_bytes:
        raise UserError(f'{path} is larger than {max_bytes / 2**20:g} MiB; is it the right file?')
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is not a text file') from error


def text_lines(path: str | Path) -> Iterator[str]:
    """
    Read a text file line by line; its size does not matter.

    :raises UserError: it cannot be read, is no text or has a line without end.
    """
    try:
        with open(path, encoding=encoding_of(path)) as file:
            while line := file.readline(MAX_LINE):
                if len(line) == MAX_LINE:
                    raise UserError(f'{path} has a line of over {MAX_LINE} characters')
                yield line
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is not a text file') from error


def text_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """
    Read the words of each line that is neither empty nor a comment.

    :param path: text file with blanks, commas or semicolons between the words.
    :return: line number, counted from 1, and words.
    :raises UserError: the file cannot be read as text.
    """
    for number, line in enumerate(text_lines(path), start=1):
        words = line.split('#', 1)[0].replace(',', ' ').replace(';', ' ').split()
        if words:
            yield number, words


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table in a text file."""

    words: list[str]
    value: Any  # what it holds; None: it is damaged


def parsed_rows(path: str | Path, parse: Callable[[list[str]], Any], form: str) -> list[Row]:
    """
    Read a table; a damaged row is logged and keeps its place.

    :param path: text file; lines that start with # are comments.
    :param parse: returns what the words of a row hold, or raises ValueError or IndexError.
    :param form: how a row should look, for messages.
    :raises UserError: the file is missing, or half of its rows are something else.
    """
    rows, bad = [], []
    num_columns = 0
    for line, words in text_rows(path):
        num_columns = num_columns or len(words)
        try:
            if len(words) != num_columns:
                raise UserError(f'{len(words)} columns, {num_columns} in the rows before')
            rows.append(Row(words, parse(words)))
        except (ValueError, IndexError) as error:
            rows.append(Row(words, None))
            bad.append(f'line {line} ({" ".join(words)[:40]}): {error}')
    if bad and 2 * len(bad) >= len(rows):
        raise UserError(f'{path} is not {form} in {len(bad)} of {len(rows)} rows; {bad[0]}')
    if bad:
        LOGGER.warning('%s: %d of %d rows left out; %s', path, len(bad), len(rows), bad[0])
    return rows


def read_json(path: str | Path) -> dict[str, Any]:
    """
    Read a JSON object.

    :raises UserError: the file cannot be read, or holds something else.
    """
    values = parse_json(read_text(path), str(path))
    if not isinstance(values, dict):
        raise UserError(f'{path} holds a {type(values).__name__}; expected names and values')
    return values


def parse_json(text: str | bytes, what: str) -> Any:
    """
    Read JSON whose numbers are finite.

    :param what: where it is from, for the error.
    :raises UserError: it is not JSON, or goes beyond the limits.
    """
    try:
        return json.loads(text, parse_constant=_no_number, parse_int=_whole, parse_float=_finite)
    except RecursionError:
        raise UserError(f'{what} is nested too deeply') from None
    except ValueError as error:
        raise UserError(f'{what} is not JSON: {str(error)[:200]}') from None


def _no_number(text: str) -> float:
    raise ValueError(f'{text} is no number of JSON')


def _whole(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
        raise ValueError(f'a number of {len(text)} digits is too large')
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'{text[:20]} is too large a number')
    return value


def read_yaml(path: str | Path) -> Mapping[str, Any]:
    """
    Read settings in YAML.

    :raises UserError: the file cannot be read, is not YAML, goes beyond the limits or holds
        something else than names and values.
    """
    values = parse_yaml(read_text(path), str(path))
    if not isinstance(values, Mapping):
        raise UserError(f'{path} holds no settings; expected names and values')
    return values


def parse_yaml(text: str, what: str) -> Any:
    """
    Read YAML of plain values: nothing is executed, aliases count as what they stand for.

    :param what: where it is from, for the error.
    :raises UserError: it is not YAML, or goes beyond the limits.
    """
    import yaml

    try:
        return yaml.load(text, _bounded_loader())
    except (yaml.YAMLError, *_MALFORMED) as error:
        is_clear = isinstance(error, (yaml.YAMLError, ValueError))
        reason = str(error).splitlines()[0] if is_clear else 'a value does not fit its tag'
        raise UserError(f'{what} is not YAML: {reason[:200]}') from None
    except RecursionError:
        raise UserError(f'{what} is nested too deeply') from None


def _bounded_loader() -> Any:
    """Return PyYAML's safe loader with limits; made on first use, since few commands need it."""
    global _loader
    if _loader is not None:
        return _loader
    import yaml
    from yaml.composer import ComposerError
    from yaml.constructor import ConstructorError

    class BoundedLoader(yaml.SafeLoader):
        """Counts nodes while they are composed, and aliases by the size of what they name."""

        def __init__(self, stream: Any) -> None:
            super().__init__(stream)
            self._depth = self._num_nodes = 0
            self._sizes: dict[int, int] = {}
            self._open: set[str] = set()

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            anchor = getattr(event, 'anchor', None)
            mark = event.start_mark
            if self.check_event(yaml.AliasEvent):
                if anchor in self._open:
                    raise ComposerError(None, None, f'{anchor!r} holds itself', mark)
                node = super().compose_node(parent, index)
                self._count(self._sizes[id(node)], mark)
                return node
            if self._depth == MAX_DEPTH:
                raise ComposerError(None, None, f'nested more than {MAX_DEPTH} deep', mark)
            before = self._num_nodes
            self._count(1, mark)
            self._depth += 1
            self._open.add(anchor)
            node = super().compose_node(parent, index)
            self._open.discard(anchor)
            self._depth -= 1
            self._sizes[id(node)] = self._num_nodes - before
            return node

        def _count(self, size: int, mark: Any) -> None:
            self._num_nodes += size
            if self._num_nodes > MAX_NODES:
                message = f'more than {MAX_NODES} values, aliases written out'
                raise ComposerError(None, None, message, mark)

        def construct_bounded_int(self, node: Any) -> int:
            if len(self.construct_scalar(node)) > 64:
                raise ConstructorError(None, None, 'a number of too many digits', node.start_mark)
            value = super().construct_yaml_int(node)
            if abs(value) > MAX_INTEGER:
                raise ConstructorError(None, None, f'{value} is too large', node.start_mark)
            return value

    BoundedLoader.add_constructor('tag:yaml.org,2002:int', BoundedLoader.construct_bounded_int)
    _loader = BoundedLoader
    return _loader


_loader: Any = None
