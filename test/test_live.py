# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Live cameras: the newest image, a new connection, an end with results; live view and video."""

import json
import threading

import cv2
import numpy as np
import pytest
from tiny_networks import network

from mem3r_ros.cli import main as cli
from mem3r_ros.cli.benchmark import moving_texture
from mem3r_ros.data import Selection, live_camera
from mem3r_ros.data.live_camera import LiveCamera
from mem3r_ros.errors import UserError
from mem3r_ros.live_sources import is_live
from mem3r_ros.model import save_checkpoint

NUM_IMAGES = 6


class VirtualCamera:
    """Stands in for cv2.VideoCapture: gives images, then what the script of the test says."""

    images = tuple(moving_texture(64, 48, NUM_IMAGES))

    def __init__(self, script):
        self._script = script
        self._left = list(script.pop(0)) if script else None

    def isOpened(self):
        return self._left is not None

    def read(self):
        if not self._left:
            return False, None
        step = self._left.pop(0)
        if callable(step):
            step()
            return self.read()
        return True, self.images[step]

    def set(self, *_):
        return True

    def release(self):
        pass


@pytest.fixture
def plug_in(monkeypatch):
    """Return a function that gives the connections of a camera, one list of images each."""
    monkeypatch.setattr(live_camera, 'FIRST_WAIT_S', 0.01)

    def plug(*connections):
        script = list(connections)
        monkeypatch.setattr(cv2, 'VideoCapture', lambda *_: VirtualCamera(script))

    return plug


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp('model') / 'small.safetensors'
    save_checkpoint(network('small'), path)
    return str(path)


@pytest.mark.parametrize(
    ('word', 'live'),
    [('0', True), ('/dev/video2', True), ('rtsp://u:p@camera/1', True), ('a.mp4', False),
     ('2024', False), ('https://host/stream.m3u8', True)],
)  # fmt: skip
def test_camera_numbers_devices_and_addresses_are_live(word, live):
    assert is_live(word) == live


def test_a_slow_reader_gets_the_newest_image(plug_in):
    read_all = threading.Event()
    plug_in([0, 1, 2, 3, read_all.set])
    camera = LiveCamera('0', Selection(), give_up_s=0.05)
    frames = iter(camera)
    first = next(frames)
    assert read_all.wait(5)

    rest = list(frames)

    newest = cv2.cvtColor(VirtualCamera.images[3], cv2.COLOR_BGR2RGB)
    last = rest[-1] if rest else first
    np.testing.assert_array_equal(last.image, newest)
    assert 1 + len(rest) + camera.num_dropped == 4


def test_a_camera_that_was_lost_is_connected_again(plug_in, caplog):
    gap = threading.Event()
    plug_in([0], [1, gap.set])
    camera = LiveCamera('rtsp://me:secret@camera/1', Selection(), give_up_s=0.5)

    frames = list(camera)

    assert gap.is_set() and camera.num_connections == 2
    assert frames[-1].stamp_ns > 0
    assert 'connected 2 times' in ' '.join(camera.remarks())
    assert 'connecting again' in caplog.text and 'secret' not in caplog.text


def test_a_camera_that_does_not_open_is_one_sentence(plug_in):
    plug_in()

    with pytest.raises(UserError, match=r"camera '7' does not open; check the cable"):
        LiveCamera('7', Selection())


def test_ctrl_c_ends_a_live_run_with_its_results(plug_in, capsys, tmp_path, model, monkeypatch):
    plug_in([0, 1, 2, 3, 4, 5] * 100_000)
    count = [0]
    add = live_camera.SequenceFrame

    def frame(*values):
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        return add(*values)

    monkeypatch.setattr(live_camera, 'SequenceFrame', frame)

    code = cli.main(['run', '0', '--model', model, '--output', str(tmp_path / 'out')])

    assert code == 0, capsys.readouterr().err
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert summary['num_poses'] == 3 and summary['title'] == 'camera 0'
    assert not [t for t in threading.enumerate() if t.name == 'camera']


def test_the_video_has_one_picture_for_each_image(plug_in, capsys, tmp_path, model):
    plug_in([0, 1, 2, 3, 4, 5] * 100_000)

    code = cli.main(
        ['run', '0', '--model', model, '--output', str(tmp_path), '--video', '--max-frames', '3']
    )

    assert code == 0, capsys.readouterr().err
    # Not through cv2.VideoCapture, which is the virtual camera here.
    assert (tmp_path / 'video.mp4').stat().st_size > 10_000


def test_the_rerun_log_has_every_view(plug_in, capsys, tmp_path, model):
    pytest.importorskip('rerun')
    plug_in([0, 1, 2, 3, 4, 5] * 100_000)

    code = cli.main(
        ['run', '0', '--model', model, '--output', str(tmp_path), '--rerun', '--max-frames', '3']
    )

    assert code == 0, capsys.readouterr().err
    log = (tmp_path / 'run.rrd').read_bytes()
    for name in ('/input', '/odom/camera/image/depth', '/confidence', '/odom/path',
                 '/odom/frusta', '/odom/map', '/status'):  # fmt: skip
        assert name.encode() in log, name


def test_view_opens_the_page_of_a_run(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr('webbrowser.open', lambda address: opened.append(address) or True)
    (tmp_path / 'index.html').write_text('<p>')

    assert cli.main(['view', str(tmp_path)]) == 0
    assert opened == [(tmp_path / 'index.html').as_uri()]
    assert cli.main(['view', str(tmp_path.parent)]) == 2
    assert 'has no page' in capsys.readouterr().err
