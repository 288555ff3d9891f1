# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Thirty bad images among good ones: every one is in the summary of the run, with its reason."""

import json
import signal

from bag_writer import COMPRESSED, TYPES, header, write_bag
import cv2
import numpy as np
import pytest

from mem3r_ros.cli.main import main
from mem3r_ros.data import open_sequence
from mem3r_ros.data.video import VideoFile, _Times
from mem3r_ros.errors import UserError
from mem3r_ros.reports import RunRecorder
from mem3r_ros.tracker import Tracker
from mem3r_ros.trajectory import read_tum


def message(index, data=None, stamp=None, size=(48, 64)):
    rng = np.random.default_rng(0)
    canvas = cv2.resize(rng.integers(0, 256, (12, 60, 3), np.uint8), None, fx=6, fy=6)
    picture = canvas[: size[0], 2 * index : 2 * index + size[1]]
    content = cv2.imencode('.jpg', picture)[1].tobytes() if data is None else data
    return TYPES[COMPRESSED](
        header=header(index if stamp is None else stamp),
        format='jpeg',
        data=np.frombuffer(content, np.uint8),
    )


def bad(kind, index):
    whole = message(index).data.tobytes()
    if kind == 'empty':
        return message(index, b'')
    if kind == 'cut':
        return message(index, whole[: len(whole) // 2])
    if kind == 'rubbish':
        return message(index, b'rubbish' * 9)
    if kind == 'bomb':
        at = whole.index(b'\xff\xc0') + 5
        return message(index, whole[:at] + b'\xff\xff\xff\xff' + whole[at + 4 :])
    if kind == 'size':
        return message(index, size=(40, 56))
    return message(index, stamp=index - 1)  # a stamp that came before


KINDS = ('empty', 'cut', 'rubbish', 'bomb', 'size', 'repeated')


@pytest.mark.fault('thirty bad images of six kinds among good ones', 'each counted by its reason')
def test_every_bad_image_is_in_the_summary(tmp_path, capsys):
    messages = []
    for index in range(61):
        is_bad = index % 2 == 1
        kind = KINDS[index // 2 % len(KINDS)]
        messages.append(('/image/compressed', bad(kind, index) if is_bad else message(index)))
    bag, output = write_bag(tmp_path / 'bag', messages), tmp_path / 'out'
    assert main(['run', str(bag), '--output', str(output), '--depth-every', '0']) == 0
    summary = json.loads((output / 'summary.json').read_text())
    balance = summary['balance']
    assert balance['promised'] == balance['found'] == 61
    assert (balance['read'], balance['tracked'], balance['posed']) == (41, 31, 31)
    assert sorted(balance['refused'].values()) == [5] * 6
    assert summary['num_skipped'] == 30
    shown = capsys.readouterr().out
    assert shown.count('5 images were refused') == 6


def pictures(folder, *sizes):
    folder.mkdir()
    for index, (width, height) in enumerate(sizes):
        cv2.imwrite(str(folder / f'{index}.png'), np.full((height, width, 3), 99, np.uint8))
    return folder


@pytest.mark.parametrize('form', ['assignment', 'run settings', 'parameter file of the node'])
def test_the_largest_picture_of_a_run_is_a_setting(tmp_path, form):
    folder, output = pictures(tmp_path / 'images', (64, 48), (64, 48), (64, 49)), tmp_path / 'out'
    files = {
        'run settings': 'input: {max_pixels: 3072}\n',
        'parameter file of the node': 'mem3r:\n  ros__parameters:\n'
        '    input: {max_pixels: 3072, queue_size: 7}\n',
    }
    words = ['--set', 'input.max_pixels=3072']
    if form in files:
        (tmp_path / 'settings.yaml').write_text(files[form])
        words = ['--config', str(tmp_path / 'settings.yaml')]

    assert main(['run', str(folder), '--output', str(output), *words]) == 0

    balance = json.loads((output / 'summary.json').read_text())['balance']
    assert (balance['found'], balance['read']) == (3, 2)
    (reason,) = balance['refused']
    assert 'claims 64x49 pixels' in reason and 'input.max_pixels' in reason


@pytest.mark.fault('Ctrl-C during `mem3r run`', 'path, map and page so far are written')
def test_an_interrupted_run_leaves_all_its_results_so_far(tmp_path, monkeypatch):
    advance = Tracker.advance

    def until_interrupted(tracker, frame, *arguments):
        if frame.stamp_ns == 4 * 10**9 // 30:
            raise KeyboardInterrupt
        return advance(tracker, frame, *arguments)

    monkeypatch.setattr(Tracker, 'advance', lambda *a: until_interrupted(*a))
    folder, output = pictures(tmp_path / 'images', *[(64, 48)] * 9), tmp_path / 'out'

    assert main(['run', str(folder), '--output', str(output)]) == 130

    summary = json.loads((output / 'summary.json').read_text())
    assert summary['notes'][0] == 'The run was interrupted after 5 images.'
    assert summary['balance']['is_interrupted'] and summary['num_poses'] == 4
    assert len(read_tum(output / 'trajectory.txt')) == 4
    assert (output / 'map.ply').exists()
    assert '</html>' in (output / 'index.html').read_text()


@pytest.mark.fault('Ctrl-C while a result is recorded', 'that result is written as a whole')
def test_an_interrupt_while_a_frame_is_recorded_comes_behind_it(tmp_path, monkeypatch):
    add_pose = RunRecorder.add_pose

    def interrupted(recorder, stamp_ns, pose):
        if stamp_ns == 4 * 10**9 // 30:
            signal.raise_signal(signal.SIGINT)
        add_pose(recorder, stamp_ns, pose)

    monkeypatch.setattr(RunRecorder, 'add_pose', interrupted)
    folder, output = pictures(tmp_path / 'images', *[(64, 48)] * 9), tmp_path / 'out'

    words = ['run', str(folder), '--output', str(output), '--set', 'pipelined=false']
    assert main(words) == 130

    summary = json.loads((output / 'summary.json').read_text())
    assert summary['balance']['is_interrupted'] and summary['num_poses'] == 5
    assert summary['timing']['total']['count'] == 5  # recorded last


# Videos.


def test_a_video_of_more_pixels_than_are_decoded_is_refused(tmp_path):
    path = tmp_path / 'video.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()

    with pytest.raises(UserError, match=r'claims 64x48 pixels.*input\.max_pixels'):
        open_sequence(path, max_pixels=3071)
    assert open_sequence(path, max_pixels=3072).num_frames == 1


@pytest.mark.fault('a video of variable frame rate', 'stamps are the times of the file')
def test_times_of_the_file_are_the_stamps():
    times = _Times(6.0)
    assert [times.stamp_ns(ms) for ms in (0.0, 66.0, 133.0, 400.0)] == [
        0, 66_000_000, 133_000_000, 400_000_000,
    ]  # fmt: skip


def test_a_file_without_times_goes_by_its_rate():
    times = _Times(10.0)
    assert [times.stamp_ns(0.0) for _ in range(3)] == [0, 10**8, 2 * 10**8]
    times = _Times(10.0)
    assert [times.stamp_ns(float('nan')) for _ in range(3)] == [0, 10**8, 2 * 10**8]


def test_stamps_of_a_recorded_phone_video(shared_dir):
    video = shared_dir / 'cases' / 'video_variable_rate' / 'video.mp4'
    if not video.exists():
        pytest.skip('needs the recorded video')
    steps = np.diff([frame.stamp_ns for frame in open_sequence(video)]) / 1e6
    np.testing.assert_allclose(steps[:15], 66.67, atol=0.1)
    np.testing.assert_allclose(steps[15:], 266.67, atol=0.1)


@pytest.mark.fault('a video that was cut off', 'what is there is read, both numbers logged')
def test_a_video_that_promises_more_is_logged(tmp_path, caplog, monkeypatch):
    path = tmp_path / 'video.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    for index in range(5):
        writer.write(np.full((48, 64, 3), 40 * index, np.uint8))
    writer.release()
    monkeypatch.setattr(VideoFile, '_num_items', lambda self: 9)
    assert len(list(open_sequence(path))) == 5
    assert '5 of 9 frames are there' in caplog.text


@pytest.mark.fault('hidden files beside pictures (._NAME of macOS)', 'no pictures')
@pytest.mark.parametrize('is_plain', [True, False])
def test_hidden_files_are_no_pictures(tmp_path, is_plain):
    folder = tmp_path if is_plain else tmp_path / 'rgb'
    folder.mkdir(exist_ok=True)
    for index in range(3):
        cv2.imwrite(str(folder / f'{index}.png'), np.full((8, 8, 3), index, np.uint8))
        (folder / f'._{index}.png').write_bytes(b'\x00\x05\x16\x07' * 50)
    (tmp_path / 'timestamps.txt').write_text('0\n1\n2\n')
    (tmp_path / '._timestamps.txt').write_bytes(b'\x00' * 200)
    frames = list(open_sequence(tmp_path))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 1, 2]
    assert frames[0].stamp_ns == 0
