# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Files are the old ones or the new ones, whole; interrupted writes leave nothing behind."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from mem3r_ros.data.ply import read_ply, write_ply
from mem3r_ros.errors import UserError
from mem3r_ros.files import GrowingFile, replacing, write_bytes, write_image, write_text
from mem3r_ros.trajectory import Trajectory, read_tum, write_tum

WRITERS = {
    'trajectory.txt': (
        'from mem3r_ros.trajectory import Trajectory, write_tum\n'
        'value = Trajectory(np.arange(3000), np.tile(np.eye(4), (3000, 1, 1)))\n'
        'write = lambda path: write_tum(path, value)\n',
        lambda path: len(read_tum(path)) == 3000,
    ),
    'map.ply': (
        'from mem3r_ros.data.ply import write_ply\n'
        'points = np.zeros((100_000, 3)); colours = np.zeros((100_000, 3), np.uint8)\n'
        'write = lambda path: write_ply(path, points, colours)\n',
        lambda path: len(read_ply(path)[0]) == 100_000,
    ),
    'state': (
        'from mem3r_ros.files import write_bytes\n'
        'write = lambda path: write_bytes(path, bytes(3_000_000))\n',
        lambda path: path.read_bytes() == bytes(3_000_000),
    ),
}


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.fault(
    'a process that is killed while it writes a file',
    'a whole file, no leftovers',
)
@pytest.mark.parametrize('name', WRITERS)
def test_a_killed_writer_leaves_a_whole_file(tmp_path, name):
    setup, is_whole = WRITERS[name]
    path = tmp_path / name
    code = f'import sys, numpy as np\nfrom pathlib import Path\n{setup}path = Path(sys.argv[1])\n'
    code += 'write(path); print("ready", flush=True)\nwhile True:\n    write(path)\n'
    for delay_s in (0.003, 0.011, 0.029):
        writer = subprocess.Popen(
            [sys.executable, '-c', code, str(path)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert writer.stdout.readline() == 'ready\n'
            time.sleep(delay_s)
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
        assert is_whole(path)
    write_bytes(path, b'new')
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.fault('a disk that is full when a file is written', 'reported; the old file stays')
@pytest.mark.parametrize('step', ['fsync', 'replace'])
def test_a_full_disk_is_reported_and_keeps_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / 'trajectory.txt'
    trajectory = Trajectory(np.arange(3), np.tile(np.eye(4), (3, 1, 1)))
    write_tum(path, trajectory)
    before = path.read_bytes()
    monkeypatch.setattr(os, step, full_disk)
    with pytest.raises(UserError, match=r'cannot write .*trajectory.txt: No space left'):
        write_tum(path, trajectory)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ['trajectory.txt']


def test_an_error_of_the_content_keeps_the_old_file(tmp_path):
    path = tmp_path / 'summary.json'
    write_text(path, 'old')
    with pytest.raises(RuntimeError), replacing(path, 'w') as file:
        file.write('half')
        raise RuntimeError
    assert path.read_text() == 'old'
    assert len(list(tmp_path.iterdir())) == 1


def test_leftovers_are_removed_and_nothing_else(tmp_path):
    others = ['.map.ply.part', 'map.ply.part', 'map.mem3r-part']
    for name in (*others, '.map.ply.01234567.mem3r-part', '.a.txt.01234567.mem3r-part'):
        (tmp_path / name).write_bytes(b'half')
    write_bytes(tmp_path / 'map.ply', b'new')
    assert {entry.name for entry in tmp_path.iterdir()} == {'map.ply', *others}


@pytest.mark.fault('several writers of one file', 'one of the contents, whole')
def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path, errors = tmp_path / 'state', []

    def write(letter):
        try:
            for _ in range(20):
                write_bytes(path, letter * 5000, sync=False)
        except UserError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b'a', b'b', b'c')]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert path.read_bytes() in (b'a' * 5000, b'b' * 5000, b'c' * 5000)
    assert [entry.name for entry in tmp_path.iterdir()] == ['state']


@pytest.mark.fault('a result file that is a link to elsewhere', 'replaced, not followed')
def test_a_symbolic_link_is_replaced_not_followed(tmp_path):
    (tmp_path / 'outside').write_text('precious')
    link = tmp_path / 'trajectory.txt'
    link.symlink_to(tmp_path / 'outside')
    write_text(link, 'new')
    assert (tmp_path / 'outside').read_text() == 'precious'
    assert link.read_text() == 'new' and not link.is_symlink()


def test_the_mode_of_the_old_file_is_kept(tmp_path):
    path = tmp_path / 'config.yaml'
    write_text(path, 'old')
    path.chmod(0o600)
    write_text(path, 'new')
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(UserError, match='cannot write'):
        write_image(tmp_path / 'missing' / '000000.png', np.zeros((4, 4), np.uint16))
    with pytest.raises(UserError, match='cannot encode'):
        write_image(tmp_path / 'picture.unknown', np.zeros((4, 4), np.uint16))


def test_a_line_is_in_the_file_as_soon_as_it_was_added(tmp_path):
    file = GrowingFile(tmp_path / 'depth.txt')
    assert not file.path.exists()
    for line in ('1.0 a\n', '2.0 b\n'):
        file.add(line)
    assert file.path.read_text() == '1.0 a\n2.0 b\n'
    file.close()


@pytest.mark.fault('a disk that is full in the middle of a line', 'the half line is taken back')
def test_half_a_line_is_taken_back(tmp_path, monkeypatch):
    file = GrowingFile(tmp_path / 'depth.txt')
    file.add('1.0 a\n')
    whole_write = os.write
    monkeypatch.setattr(os, 'write', lambda fd, data: whole_write(fd, data[:3]))
    with pytest.raises(UserError, match='no space left'):
        file.add('2.0 b\n')
    monkeypatch.setattr(os, 'write', whole_write)
    file.add('3.0 c\n')
    assert file.path.read_text() == '1.0 a\n3.0 c\n'
    file.close()


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match='No such file or directory'):
        write_ply(tmp_path / 'missing' / 'map.ply', np.zeros((1, 3)), np.zeros((1, 3), np.uint8))
