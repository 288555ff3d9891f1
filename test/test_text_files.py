# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Text, JSON and YAML from outside: one sentence for what is wrong, and no size without limit."""

import logging
import time
import tracemalloc

import pytest

from mem3r_ros.errors import UserError
from mem3r_ros.text_files import (
    parse_json,
    parse_yaml,
    parsed_rows,
    read_json,
    read_text,
    text_rows,
)

ALIASES = 'a0: &a0 {x: 1, y: 2}\n' + ''.join(
    f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]\n' for i in range(1, 12)
)
MERGES = 'a0: &a0 {x: 1}\n' + ''.join(
    f'a{i}: &a{i} {{<<: [{", ".join([f"*a{i - 1}"] * 9)}]}}\n' for i in range(1, 12)
)


@pytest.mark.fault(
    'YAML of aliases that multiply, that holds itself or is nested thousands deep',
    'refused within 2 s and 50 MiB',
)
@pytest.mark.parametrize(
    'text',
    [ALIASES, MERGES, 'a: &a {b: *a}', 'a: &a [*a]', 'x: ' + '[' * 5000, 'x: ' + '{a: ' * 5000],
)
def test_yaml_that_multiplies_is_refused(text):
    start = time.process_time()
    with pytest.raises(UserError, match='settings is not YAML'):
        parse_yaml(text, 'settings')
    assert time.process_time() - start < 2.0
    tracemalloc.start()
    with pytest.raises(UserError):
        parse_yaml(text, 'settings')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 2**20


@pytest.mark.fault('YAML scalars that do not fit their tag', 'one sentence, no traceback')
@pytest.mark.parametrize(
    'text',
    [
        'x: !!timestamp x',
        'x: 2001-99-99',
        'x: !!int x',
        'x: !!float x',
        'x: ' + '9' * 5000,
        'x: 99999999999999999999',
        'x: !!python/object/apply:os.system [true]',
        'x: [',
        'x: *unknown',
        '\t- x',
        '? [a]\n: {[b]: c}',
        '\x00',
    ],
)
def test_malformed_yaml_is_one_sentence(text):
    with pytest.raises(UserError) as raised:
        parse_yaml(text, 'settings')
    assert '\n' not in str(raised.value) and len(str(raised.value)) < 300


def test_aliases_within_reason_are_read():
    text = 'a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n'
    assert parse_yaml(text, '') == {'a': {'x': 1}, 'b': {'x': 1}, 'c': {'x': 1, 'y': 2}}


@pytest.mark.fault(
    'JSON with Infinity, NaN, numbers of 400 digits or deep nesting', 'one sentence'
)
@pytest.mark.parametrize(
    'text',
    [
        '{"fx": Infinity}',
        '{"fx": NaN}',
        '{"fx": 1e400}',
        '{"fx": ' + '9' * 400 + '}',
        '{"fx": ' + '9' * 5000 + '}',
        '[' * 100_000,
        '{"a":' * 100_000,
        '{"a": 1',
        '',
        b'\xff\xfe\x00',
    ],
)
def test_json_beyond_bounds_is_one_sentence(text):
    with pytest.raises(UserError, match=r'camera\.json is (not JSON|nested too deeply)'):
        parse_json(text, 'camera.json')


@pytest.mark.fault('a text file with a byte order mark, of UTF-8 or UTF-16', 'read as without it')
@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_a_byte_order_mark_is_no_text(tmp_path, encoding):
    path = tmp_path / 'times.txt'
    path.write_bytes('0.5 a\n1.5 b\n'.encode(encoding))
    assert list(text_rows(path)) == [(1, ['0.5', 'a']), (2, ['1.5', 'b'])]
    path.write_bytes('{"a": 1}'.encode(encoding))
    assert read_json(path) == {'a': 1}


@pytest.mark.fault('a text file that is huge, or one line without end', 'refused, not held')
def test_sizes_of_text_are_bounded(tmp_path):
    path = tmp_path / 'x.txt'
    path.write_bytes(b'1 ' * 200_000)
    with pytest.raises(UserError, match='line of over'):
        list(text_rows(path))
    with pytest.raises(UserError, match='larger than'):
        read_text(path, max_bytes=1000)


@pytest.mark.parametrize('content', [b'\x80\x81', b'\xff\xfe\x00\xd8'])
def test_bytes_that_are_no_text_are_one_sentence(tmp_path, content):
    path = tmp_path / 'x.txt'
    path.write_bytes(content)
    for read in (read_text, lambda p: list(text_rows(p))):
        with pytest.raises(UserError, match='is not a text file'):
            read(path)


def test_a_damaged_row_is_logged_and_keeps_its_place(tmp_path, caplog):
    path = tmp_path / 'x.txt'
    path.write_text('1 2\n3\n5 x\n7 8\n9 10\n')
    with caplog.at_level(logging.WARNING):
        rows = parsed_rows(path, lambda words: int(words[1]), 'two numbers')
    assert [row.value for row in rows] == [2, None, None, 8, 10]
    assert '2 of 5 rows left out; line 2 (3): 1 columns' in caplog.text


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / 'x.txt'
    path.write_text('a b\nc d\n')
    with pytest.raises(UserError, match='is not two numbers in 2 of 2 rows; line 1'):
        parsed_rows(path, lambda words: int(words[1]), 'two numbers')
