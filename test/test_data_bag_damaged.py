# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Bags whose recorder was killed, cut or split: what is there is read, what lacks is logged."""

import logging
import shutil
import sqlite3

from bag_writer import START_NS, STORE, compressed, image, info, write_bag
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from mem3r_ros.data import open_sequence
from mem3r_ros.errors import UserError

MESSAGES = [('/cam/image_raw', image(index, size=(40, 60))) for index in range(10)]


def numbers(sequence):
    return [int(frame.image[0, 0, 0]) for frame in sequence]


def edited(bag, edit):
    path = bag / 'metadata.yaml'
    path.write_text(edit(path.read_text()))
    return bag


@pytest.mark.fault(
    'metadata.yaml with counts of zero, damaged or empty', 'counts come from the storage file'
)
@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize(
    'edit',
    [
        lambda text: text.replace('message_count: 10', 'message_count: 0'),
        lambda text: text.replace('message_count: 10', 'message_count: -1'),
        lambda text: text[: len(text) // 2],
        lambda text: '',
        lambda text: 'x: [',
        lambda text: 'rosbag2_bagfile_information: 5',
    ],
)
def test_counts_come_from_the_storage_file(tmp_path, storage, edit):
    sequence = open_sequence(edited(write_bag(tmp_path / 'bag', MESSAGES, storage), edit))
    assert len(sequence) == 10
    assert numbers(sequence) == list(range(10))


@pytest.mark.fault('metadata.yaml promises more than the storage file has', 'both numbers logged')
def test_what_is_promised_and_missing_is_logged(tmp_path, caplog):
    bag = write_bag(tmp_path / 'bag', MESSAGES)
    edited(bag, lambda text: text.replace('message_count: 10', 'message_count: 25'))
    sequence = open_sequence(bag)
    with caplog.at_level(logging.WARNING):
        assert numbers(sequence) == list(range(10))
    assert (sequence.num_promised, sequence.num_tried) == (25, 10)
    assert '10 of 25 frames are there' in caplog.text


@pytest.mark.fault('a storage file that metadata.yaml names is missing', 'the others are read')
def test_a_missing_file_of_a_split_recording_is_named(tmp_path, caplog):
    bag = write_bag(tmp_path / 'bag', MESSAGES)
    name = next(bag.glob('*.mcap')).name
    edited(bag, lambda text: text.replace(f'- {name}', f'- {name}\n  - bag_1.mcap'))
    with caplog.at_level(logging.WARNING):
        assert len(numbers(open_sequence(bag))) == 10
    assert "names files that are not there: ['bag_1.mcap']" in caplog.text


def packed(path, mode):
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    if mode is not None:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection('/image', MESSAGES[0][1].__msgtype__, typestore=STORE)
        for index, (_, message) in enumerate(MESSAGES):
            data = STORE.serialize_cdr(message, message.__msgtype__)
            writer.write(connection, START_NS + index, data)
    return path


@pytest.mark.fault('an MCAP file that was cut off', 'read up to the cut, which is logged')
@pytest.mark.parametrize('mode', [None, CompressionMode.STORAGE])
@pytest.mark.parametrize('share', [0.3, 0.6, 0.9])
def test_a_cut_mcap_is_read_up_to_the_cut(tmp_path, caplog, mode, share):
    bag = packed(tmp_path / 'bag', mode)
    storage = next(bag.glob('*.mcap'))
    data = storage.read_bytes()
    storage.write_bytes(data[: int(share * len(data))])
    sequence = open_sequence(bag)
    with caplog.at_level(logging.WARNING):
        found = numbers(sequence)
    assert found == list(range(len(found)))
    if mode is None:
        assert len(found) >= int(share * 10) - 3
    assert 'the recording was cut off' in caplog.text
    assert sequence.num_promised == 10
    assert (f'{len(found)} of 10 frames are there' in caplog.text) == (len(found) < 10)


@pytest.mark.fault('an MCAP file cut off before its first image', 'one sentence')
def test_a_cut_before_the_first_image_is_one_sentence(tmp_path):
    bag = packed(tmp_path / 'bag', None)
    storage = next(bag.glob('*.mcap'))
    storage.write_bytes(storage.read_bytes()[:60])
    with pytest.raises(UserError, match=r'has no images|cannot be opened'):
        open_sequence(bag)


@pytest.mark.fault('messages in the write-ahead log beside an SQLite bag', 'read too')
def test_a_write_ahead_log_is_read(tmp_path, caplog):
    bag = write_bag(tmp_path / 'bag', MESSAGES, StoragePlugin.SQLITE3)
    storage = next(bag.glob('*.db3'))
    connection = sqlite3.connect(storage)
    connection.execute('PRAGMA journal_mode=WAL')
    connection.execute('PRAGMA wal_autocheckpoint=0')
    row = connection.execute('SELECT topic_id, data FROM messages ORDER BY id').fetchone()
    stamp_ns = START_NS + 10**10
    connection.execute(
        'INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)',
        (row[0], stamp_ns, row[1]),
    )
    connection.commit()
    killed = tmp_path / 'killed'
    shutil.copytree(bag, killed)  # as it lies there while the recorder has it open
    connection.close()
    before = {path.name: path.read_bytes() for path in killed.iterdir()}
    with caplog.at_level(logging.WARNING):
        assert len(numbers(open_sequence(killed))) == 11
    assert 'was not closed by its recorder' in caplog.text
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == before


@pytest.mark.fault('recordings of one time in several files', 'merged by the time of recording')
def test_parallel_files_are_merged_by_time(tmp_path):
    folder = tmp_path / 'together'
    folder.mkdir()
    for part in (0, 1):
        path = tmp_path / f'part{part}'
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connection = writer.add_connection(
                '/image', MESSAGES[0][1].__msgtype__, typestore=STORE
            )
            for index in range(part, 10, 2):
                data = STORE.serialize_cdr(MESSAGES[index][1], MESSAGES[0][1].__msgtype__)
                writer.write(connection, START_NS + index * 10**8, data)
        next(path.glob('*.mcap')).rename(folder / f'rec_{part}.mcap')
    assert numbers(open_sequence(folder)) == list(range(10))


@pytest.mark.fault('a calibration that is refused in a bag', 'the reason is logged')
@pytest.mark.parametrize(
    ('message', 'reason'),
    [
        (info(0, model='omni', distortion=(0.1,) * 4), "distortion model 'omni'"),
        (info(0, focal_px=0.001), 'fx is 0.001 px'),
        (info(0, focal_px=0.0), 'K is zero'),
    ],
)
def test_why_a_calibration_is_not_used_is_logged(tmp_path, caplog, message, reason):
    bag = write_bag(tmp_path / 'bag', [('/cam/camera_info', message), ('/cam/image', image(0))])
    with caplog.at_level(logging.WARNING):
        assert next(iter(open_sequence(bag))).camera is None
    assert f'/cam/camera_info is not used: {reason}' in caplog.text


def test_reasons_of_refused_images_are_counted_by_kind(tmp_path):
    messages = [('/image/compressed', compressed(i, 30 if i % 3 else None)) for i in range(9)]
    sequence = open_sequence(write_bag(tmp_path / 'bag', messages))
    assert len(list(sequence)) == 3
    assert list(sequence.refused.by_reason().values()) == [6]
    assert sequence.refused.sentences()[0].startswith('6 images were refused: PNG image of 30')
