# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Inputs: calibration, masks, wheel odometry, pose hints, rates, policies, encodings."""

from array import array
import math
import threading

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from node_harness import FOCAL_PX, HEIGHT, START_NS, STEP_NS, WIDTH
import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest

from mem3r_ros.data.camera_info import camera_from_info
from mem3r_ros.data.message_decoding import image_from_message
from mem3r_ros.errors import BadFrame
from mem3r_ros.ros.conversions import (
    header_at,
    mask_from_message,
    matrix_from_pose_message,
    matrix_from_xyz_rpy,
    pose_message,
    stamp_ns,
)


def frames_of(node):
    """Return the list of frames that the tracker is given from now on."""
    frames = []
    track = node.tracker.advance
    node.tracker.advance = lambda frame, outputs: frames.append(frame) or track(frame, outputs)
    return frames


def test_a_late_or_changed_calibration_is_used_from_the_next_image(running, camera, spin_until):
    node, send = running()
    frames = frames_of(node)

    send()
    for focal_px in (60.0, 80.0):
        camera.send_info(focal_px)
        spin_until(
            lambda f=focal_px: node.inputs.camera is not None and node.inputs.camera.fx == f
        )
        send()

    assert frames[0].camera is None
    assert [frame.camera.fx for frame in frames[1:]] == [60.0, 80.0]


def test_the_first_image_waits_for_camera_info_that_has_a_publisher(running, camera, spin_until):
    node, _ = running(input__camera_info_wait=10.0)
    frames = frames_of(node)

    camera.send()
    spin_until(lambda: False, 0.3)
    waiting = not frames
    camera.send_info()

    assert spin_until(lambda: frames)
    assert waiting
    assert frames[0].camera is not None


def test_a_bad_mask_does_not_end_the_wait_for_a_calibration(
    running, camera, make_node, spin_until
):
    node, _ = running(input__camera_info_wait=10.0)
    frames = frames_of(node)
    masks = make_node('masker').create_publisher(Image, 'mask', 10)
    assert spin_until(lambda: masks.get_subscription_count() > 0)
    masks.publish(Image(encoding='rgb8'))
    assert spin_until(lambda: node.refusals.current('mask'))

    camera.send()
    spin_until(lambda: False, 0.3)
    waiting = not frames
    camera.send_info()

    assert spin_until(lambda: frames)
    assert waiting
    assert frames[0].camera is not None


def test_warnings_about_mask_and_calibration_are_independent(
    running, camera, make_node, spin_until
):
    node, send = running()
    masks = make_node('masker').create_publisher(Image, 'mask', 10)
    assert spin_until(lambda: masks.get_subscription_count() > 0)

    masks.publish(Image(encoding='rgb8'))
    assert spin_until(lambda: node.refusals.current('mask'))
    camera.send_info()
    assert spin_until(lambda: node.inputs.camera is not None)
    assert node.refusals.current('mask')  # a good calibration makes no good mask

    good = Image(header=camera.header(), height=2, width=2, step=2, encoding='mono8')
    good.data = array('B', bytes(4))
    masks.publish(good)
    assert spin_until(lambda: not node.refusals.current('mask'))
    camera.info.publish(CameraInfo(width=WIDTH, height=HEIGHT, k=[-1.0] * 9))
    assert spin_until(lambda: node.refusals.current('camera_info'))
    send()
    assert node.worker.warnings == ('mask not used: it has shape (2, 2), the image (48, 64)',)

    camera.send_info()
    assert spin_until(lambda: not node.refusals.current('camera_info'))


def test_an_uncalibrated_camera_info_counts_as_none(running, camera, spin_until):
    node, send = running()
    frames = frames_of(node)
    camera.info.publish(CameraInfo(header=camera.header(), width=WIDTH, height=HEIGHT))

    assert send()['state'] != 'SKIPPED'
    assert frames[0].camera is None


def test_a_calibration_of_another_size_is_scaled_and_of_another_aspect_ratio_ignored(
    running, camera, listener, spin_until
):
    node, send = running()
    depth_info = listener.subscribe(CameraInfo, 'depth/camera_info')

    camera.send_info(2 * FOCAL_PX, 2 * WIDTH, 2 * HEIGHT)
    assert spin_until(lambda: node.inputs.camera is not None)
    send()
    assert spin_until(lambda: depth_info)
    accepted = node.worker.warnings
    camera.send_info(2 * FOCAL_PX, 2 * WIDTH, HEIGHT)
    assert spin_until(lambda: node.inputs.camera.height == HEIGHT)
    send()

    assert depth_info[0].k[0] == pytest.approx(FOCAL_PX * depth_info[0].width / WIDTH)
    assert accepted == ()
    (warning,) = node.worker.warnings
    assert 'camera_info is for 128x48, the image is 64x48: calibration not used' in warning


def test_a_fresh_mask_is_used_and_an_old_one_is_not(running, make_node, spin_until):
    node, send = running()
    frames = frames_of(node)
    masks = make_node('masker').create_publisher(Image, 'mask', 10)
    assert spin_until(lambda: masks.get_subscription_count() > 0)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[:, :20] = 255
    message = Image(
        header=header_at(START_NS, 'any'), height=HEIGHT, width=WIDTH, encoding='mono8'
    )
    message.step, message.data = WIDTH, array('B', pixels.tobytes())
    masks.publish(message)
    assert spin_until(lambda: node.inputs._mask is not None)

    send(8)

    np.testing.assert_array_equal(frames[0].mask, pixels)
    assert frames[7].mask is None  # 0.7 s later


def test_wheel_odometry_gives_the_path_length_at_the_stamp(running, make_node, spin_until):
    node, send = running()
    frames = frames_of(node)
    wheels = make_node('wheels').create_publisher(Odometry, 'wheel_odom', 10)
    assert spin_until(lambda: wheels.get_subscription_count() > 0)
    for i in range(4):
        message = Odometry(header=header_at(START_NS + i * STEP_NS // 2, 'odom'))
        message.pose.pose.position.x = 0.1 * i
        wheels.publish(message)
    assert spin_until(lambda: len(node.inputs.wheel) == 4)

    send(2)

    assert [frame.wheel_path_m for frame in frames] == pytest.approx([0.0, 0.2])


def test_a_pose_hint_before_the_first_image_is_the_start_of_odometry(
    running, make_node, spin_until, listener
):
    node, send = running()
    odom = listener.subscribe(Odometry, 'odom')
    hints = make_node('operator').create_publisher(PoseWithCovarianceStamped, 'pose_hint', 10)
    assert spin_until(lambda: hints.get_subscription_count() > 0)
    message = PoseWithCovarianceStamped(header=header_at(START_NS, 'odom'))
    wanted = matrix_from_xyz_rpy((3.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    message.pose.pose = pose_message(wanted)
    hints.publish(message)
    spin_until(lambda: False, 0.3)

    send()

    assert spin_until(lambda: odom)
    np.testing.assert_allclose(matrix_from_pose_message(odom[0].pose.pose), wanted, atol=1e-9)
    before = len(node.results.trajectory)
    message.pose.pose = pose_message(matrix_from_xyz_rpy((9.0, 9.0, 0.0, 0.0, 0.0, 0.0)))
    hints.publish(message)
    spin_until(lambda: False, 0.3)
    send()
    assert spin_until(lambda: len(odom) > before)
    assert odom[-1].pose.pose.position.x < 5.0  # tracking is good: no jump


@pytest.mark.parametrize('field', ['position.x', 'orientation.w'])
def test_a_pose_hint_that_is_not_finite_is_refused(
    running, make_node, spin_until, listener, field
):
    node, send = running()
    odom = listener.subscribe(Odometry, 'odom')
    logged = []
    node.log.warn = lambda message, details='': logged.append(message)
    hints = make_node('operator').create_publisher(PoseWithCovarianceStamped, 'pose_hint', 10)
    assert spin_until(lambda: hints.get_subscription_count() > 0)
    message = PoseWithCovarianceStamped(header=header_at(START_NS, 'odom'))
    message.pose.pose.orientation.w = 1.0
    part, axis = field.split('.')
    setattr(getattr(message.pose.pose, part), axis, math.nan)
    hints.publish(message)
    assert spin_until(lambda: node.refusals.counts() == {'pose_hint': 1})

    send(2)

    assert sum('pose_hint not used: its pose is not finite' in line for line in logged) == 1
    assert spin_until(lambda: len(odom) == 2)
    np.testing.assert_allclose(matrix_from_pose_message(odom[0].pose.pose), np.eye(4), atol=1e-9)


def test_the_rate_limit_drops_images_that_arrive_too_soon(running, camera, spin_until):
    node, _ = running(input__max_rate=5.0)

    for _ in range(6):  # at 10 Hz by their stamps
        camera.send()

    assert spin_until(lambda: node.counts.answered() == 6)
    assert node.counts.tracked == 3
    assert node.counts.dropped == 3


@pytest.mark.parametrize(('policy', 'tracked'), [('latest', [0, 9]), ('all', list(range(10)))])
def test_latest_drops_what_is_late_and_all_loses_nothing(
    running, camera, spin_until, policy, tracked
):
    node, _ = running(input_policy=policy, input__queue_size=20)
    frames, is_released = [], threading.Event()
    track = node.tracker.advance

    def track_slowly(frame, outputs):
        frames.append(frame)
        assert is_released.wait(60.0)
        return track(frame, outputs)

    node.tracker.advance = track_slowly
    for count in range(10):  # the first one is being tracked while the others arrive
        camera.send()
        assert spin_until(lambda n=count: frames and node.counts.received > n)

    is_released.set()

    assert spin_until(lambda: node.counts.answered() == 10)
    assert [frame.stamp_ns for frame in frames] == [START_NS + i * STEP_NS for i in tracked]
    assert node.counts.tracked == len(tracked)
    assert node.counts.dropped == 10 - len(tracked)


def test_all_keeps_every_image_of_a_fast_camera(running, camera, spin_until):
    node, _ = running(input_policy='all', input__queue_size=2)

    for _ in range(40):
        camera.send()

    assert spin_until(lambda: node.counts.tracked == 40, 60.0)
    assert node.counts.dropped == 0


def test_images_of_a_best_effort_camera_arrive_with_the_default_settings(
    start_node, make_node, listener, spin_until
):
    from node_harness import Camera

    start_node(input_policy='latest')
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    camera = Camera(make_node('driver'), qos=qos)
    statuses = listener.subscribe_status()
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

    assert spin_until(lambda: camera.send() and spin_until(lambda: statuses, 0.5), 10.0)


def image(encoding, pixels, step=None, *, is_bigendian=False):
    data = pixels.tobytes()
    message = Image(height=4, width=6, encoding=encoding, is_bigendian=is_bigendian)
    message.step = step or len(data) // 4
    message.data = array('B', data)
    return message


@pytest.mark.parametrize('is_bigendian', [False, True])
def test_sixteen_bit_samples_are_read_in_their_byte_order(is_bigendian):
    grey = np.arange(24).reshape(4, 6) * 2700
    samples = grey.astype('>u2' if is_bigendian else '<u2')

    decoded = image_from_message(image('mono16', samples, is_bigendian=is_bigendian))

    np.testing.assert_array_equal(decoded[..., 0], grey >> 8)


def test_padding_at_the_end_of_rows_is_cut_off():
    padded = np.random.default_rng(0).integers(0, 255, (4, 32), np.uint8)

    decoded = image_from_message(image('rgb8', padded, 32))

    np.testing.assert_array_equal(decoded, padded[:, :18].reshape(4, 6, 3))


def test_binning_and_region_of_interest_move_the_calibration():
    message = CameraInfo(width=640, height=480, binning_x=2, binning_y=2)
    message.k = [400.0, 0.0, 319.5, 0.0, 400.0, 239.5, 0.0, 0.0, 1.0]
    message.roi = RegionOfInterest(x_offset=100, y_offset=50, width=400, height=300)

    camera = camera_from_info(message)

    assert (camera.width, camera.height) == (200, 150)
    assert camera.fx == 200.0
    # Half a pixel: the centre of a binned pixel lies between those it was made of.
    assert camera.cx == pytest.approx((319.5 - 100 + 0.5) / 2 - 0.5)


def test_a_mask_of_another_encoding_is_refused():
    with pytest.raises(BadFrame, match='rgb8'):
        mask_from_message(image('rgb8', np.zeros((4, 18), np.uint8)))


def test_stamps_are_unchanged_by_a_round_trip():
    for nanoseconds in (0, 1, START_NS + 123_456_789):
        assert stamp_ns(header_at(nanoseconds, '').stamp) == nanoseconds
