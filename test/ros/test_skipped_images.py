# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Images that the node cannot use reach /diagnostics within 2 s: reason, count, remedy."""

from array import array
from collections import Counter
import time
from types import SimpleNamespace

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_harness import HEIGHT, START_NS, STEP_NS, WIDTH
import numpy as np
import pytest
from sensor_msgs.msg import Image

from mem3r_ros.errors import BadFrame
from mem3r_ros.ros.frame_result import InputFrame
from mem3r_ros.ros.frame_statistics import FrameCounts
from mem3r_ros.ros.skipped_images import SkippedImages
from mem3r_ros.ros.stamp_monitor import StampMonitor
from mem3r_ros.ros.tracking_worker import TrackingWorker, WorkerPorts

OK = DiagnosticStatus.OK
RAW = {'image_transport': 'raw'}
JPEG = {'image_transport': 'compressed'}


def raw(camera, **changes):
    message = Image(header=camera.header(changes.pop('stamp_ns', None)), height=HEIGHT)
    message.width, message.step, message.encoding = WIDTH, 3 * WIDTH, 'rgb8'
    message.data = array('B', camera.picture(camera.count).tobytes())
    for name, value in changes.items():
        setattr(message, name, value)
    camera.raw.publish(message)
    camera.count += 1


def cut_jpeg(camera):
    data = cv2.imencode('.jpg', camera.picture(camera.count))[1].tobytes()
    camera.send_compressed(data=data[: len(data) // 2])


FAULTS = {
    'unknown encoding': (RAW, lambda c: raw(c, encoding='rgb9'), "'rgb9' is not supported; use"),
    'step too small': (RAW, lambda c: raw(c, step=7), 'image step is 7 bytes'),
    'too few bytes': (RAW, lambda c: raw(c, data=array('B', b'12')), 'image data has 2 bytes'),
    'size zero': (RAW, lambda c: raw(c, width=0), 'both must be positive'),
    'cut JPEG': (JPEG, cut_jpeg, 'is cut off'),
    'no picture': (JPEG, lambda c: c.send_compressed(data=b'no picture'), 'cannot be decoded'),
    'stamp zero': (RAW, lambda c: raw(c, stamp_ns=0), 'stamp is zero; set the driver'),
    'repeated stamp': (RAW, lambda c: raw(c, stamp_ns=START_NS), 'repeated stamp; two publ'),
    'late stamp': (RAW, lambda c: raw(c, stamp_ns=START_NS - STEP_NS), 'set the driver to send'),
    'stamp far back': (RAW, lambda c: raw(c, stamp_ns=STEP_NS), 'check the clock'),
}


@pytest.fixture
def watch(start_node, camera, listener, spin_until):
    """Return a function that starts a node and waits until it has tracked one image."""

    def start(transport=RAW, **parameters):
        node = start_node(diagnostics__rate=10.0, **transport, **parameters)
        arrays = listener.subscribe(DiagnosticArray, '/diagnostics')
        statuses = listener.subscribe_status()
        topic = camera.raw if transport is RAW else camera.compressed
        assert spin_until(lambda: topic.get_subscription_count() > 0)
        camera.send() if transport is RAW else camera.send_compressed()
        assert spin_until(lambda: node.counts.tracked == 1 and statuses)

        def newest(name):
            found = [s for a in arrays[-1:] for s in a.status if s.name == f'mem3r: {name}']
            return found[0] if found else DiagnosticStatus()

        return node, newest

    return start


@pytest.mark.fault(
    'a camera of which each image is refused (encoding, step, size, cut JPEG, stamps)',
    'input and tracking are not OK within 2 s, with reason, count and remedy',
)
@pytest.mark.parametrize('name', FAULTS)
def test_the_reason_of_a_refused_image_is_in_the_diagnostics(watch, camera, spin_until, name):
    transport, send, reason = FAULTS[name]
    _, newest = watch(transport)

    send(camera)

    started_s = time.monotonic()
    assert spin_until(lambda: reason in newest('tracking').message)
    assert spin_until(lambda: reason in newest('input').message)
    # Far more than the 0.1 s between two messages, far less than what a busy machine needs.
    assert time.monotonic() - started_s < 10.0
    assert newest('tracking').level != OK
    assert newest('input').level != OK
    assert '1 refused since the last tracked image' in newest('tracking').message
    assert '1 image refused: ' in newest('input').message


def test_the_largest_picture_is_a_parameter(watch, camera, spin_until):
    size = WIDTH * HEIGHT
    node, newest = watch(JPEG, input__max_pixels=size)
    large = cv2.imencode('.jpg', np.zeros((HEIGHT + 1, WIDTH, 3), np.uint8))[1].tobytes()

    camera.send_compressed(data=large)

    assert spin_until(lambda: 'input.max_pixels' in newest('tracking').message)
    assert node.counts.tracked == 1


@pytest.mark.fault('an exception in the network', 'the image is refused, and the stream goes on')
def test_an_exception_in_the_network_is_in_the_diagnostics(watch, camera, spin_until):
    node, newest = watch()
    track = node.tracker.advance

    def broken(*args, **options):
        raise RuntimeError('CUDA out of memory')

    node.tracker.advance = broken
    camera.send()
    assert spin_until(lambda: 'CUDA out of memory' in newest('tracking').message)
    assert newest('tracking').level != OK
    assert 'the log of the node has the traceback' in newest('tracking').message
    node.tracker.advance = track
    camera.send()

    assert spin_until(lambda: newest('tracking').level == OK)
    assert node.counts.tracked == 2


@pytest.mark.fault('an exception while results are published', 'counted, and the node goes on')
def test_an_exception_in_publishing_is_counted(watch, camera, spin_until):
    node, newest = watch()
    publish = node.results._publish_motion

    def broken(*args):
        raise OSError('no space left')

    node.results._publish_motion = broken
    camera.send()
    assert spin_until(lambda: 'cannot publish: OSError: no space' in newest('tracking').message)
    node.results._publish_motion = publish
    camera.send()

    assert spin_until(lambda: newest('tracking').level == OK)
    assert node.counts.unpublished == 1
    assert node.counts.tracked == 3 and node.counts.published == 2


@pytest.mark.fault('the node is paused', 'input and tracking are not OK and name the service')
def test_a_paused_node_is_not_ok(watch, spin_until):
    node, newest = watch()

    node.inputs.is_paused = True

    assert spin_until(lambda: '~/resume' in newest('tracking').message)
    assert newest('tracking').level != OK
    assert newest('input').level != OK


@pytest.mark.fault('images stop', 'tracking is not OK')
def test_tracking_is_not_ok_when_images_stop(watch, spin_until):
    _, newest = watch(diagnostics__silence=0.5)

    assert spin_until(lambda: 'No image tracked for' in newest('tracking').message)
    assert newest('tracking').level != OK


@pytest.mark.fault('the node waits for a calibration that never comes', 'tracking is not OK')
def test_images_that_wait_for_a_calibration_are_counted(start_node, camera, listener, spin_until):
    node = start_node(input_policy='latest', input__camera_info_wait=60.0)
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

    camera.send()

    assert spin_until(lambda: node.counts.dropped == 1)
    assert node.skipped.snapshot().by_reason == {'waiting for camera_info': 1}
    statuses = {s.name: s for s in _diagnostics(node)}
    assert statuses['mem3r: tracking'].level != OK


@pytest.mark.fault(
    'thirty bad images of six kinds among good ones in the node',
    'each is in /diagnostics with its count, and the numbers add up',
)
def test_thirty_mixed_bad_images_are_all_counted_by_reason(watch, camera, spin_until):
    node, newest = watch()
    bad = ['unknown encoding', 'step too small', 'too few bytes', 'size zero', 'stamp zero']
    sent = Counter()
    for index in range(30):
        name = [*bad, 'repeated stamp'][index % 6]
        camera.send()
        if name == 'repeated stamp':
            raw(camera, stamp_ns=START_NS + (camera.count - 1) * STEP_NS)
        else:
            FAULTS[name][1](camera)
        sent[name] += 1
        assert spin_until(lambda i=index: node.counts.answered() == 2 * i + 3)

    assert spin_until(lambda: values(newest('input')).get('answered') == '61')
    found = values(newest('input'))
    for name, count in sent.items():
        counts = [v for key, v in found.items() if FAULTS[name][2] in key]
        assert counts == [str(count)], name
    assert found['images'] == (
        '61 received, 0 dropped, 30 refused, 31 tracked, 31 with a pose, 31 published'
    )


def values(status):
    return {pair.key: pair.value for pair in status.values}


def _diagnostics(node):
    from mem3r_ros.ros.diagnostics import node_statuses

    return node_statuses(node.snapshot(), [], [])


def test_reasons_that_differ_in_numbers_are_one_and_old_ones_are_not_recent(monkeypatch):
    skipped = SkippedImages()
    for size in (3, 4, 5):
        skipped.refuse(f'image of {size} bytes')
    skipped.drop('above input.max_rate')
    found = skipped.snapshot()

    assert found.by_reason == {'image of 3 bytes': 3, 'above input.max_rate': 1}
    assert found.recent == ('3 images refused: image of 3 bytes',)
    assert (found.since_tracked, found.last_reason) == (3, 'image of 5 bytes')

    skipped.tracked()
    now_s = time.monotonic()
    monkeypatch.setattr(time, 'monotonic', lambda: now_s + 10.0)
    later = skipped.snapshot()
    assert (later.recent, later.since_tracked, later.last_reason) == ((), 0, '')
    assert later.by_reason == found.by_reason


def test_a_bad_image_is_refused_by_an_error_that_is_declared(watch, camera, spin_until):
    """Whatever one image does, the status of that image has its reason."""
    node, _ = watch()
    node.tracker.advance = lambda *args, **options: (_ for _ in ()).throw(BadFrame('no such size'))

    camera.send()

    assert spin_until(lambda: node.counts.failed == 1)
    assert node.skipped.snapshot().last_reason == 'no such size'


@pytest.mark.parametrize('is_parallel', [True, False])
def test_a_result_that_cannot_be_sent_is_logged(is_parallel):
    def send(result):
        raise RuntimeError('the queue is closed')

    logged = []
    ports = WorkerPorts(
        send=send,
        wanted_outputs=frozenset,
        warn=lambda *texts: logged.append(texts[0]),
        forget_time=lambda: None,
        clock_ns=lambda: 0,
        outside_pose=lambda frame: None,
    )
    tracker = SimpleNamespace(model=None, use_helpers=lambda: None)
    worker = TrackingWorker(
        tracker, StampMonitor(1.0), FrameCounts(), SkippedImages(), ports, None, 10**6, is_parallel
    )

    worker.handle(InputFrame(None, 0, 'camera', None, None, None, 0.0))  # its stamp is zero
    worker.close()

    assert 'result of an image not sent: the queue is closed' in logged
