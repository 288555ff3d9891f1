# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Impossible numbers on the inputs of the node: refused, counted, and without effect."""

import math

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from node_harness import FOCAL_PX, FRAME, HEIGHT, START_NS, STEP_NS, WIDTH, Camera, values_of
import numpy as np
import pytest
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, StaticTransformBroadcaster, TransformException

from mem3r_ros.errors import UserError
from mem3r_ros.geometry import T_FLU_OPTICAL
from mem3r_ros.ros.checked_listener import CheckedListener
from mem3r_ros.ros.conversions import header_at, matrix_from_pose_message, transform_message
from mem3r_ros.ros.input_refusals import InputRefusals
from mem3r_ros.ros.parameter_names import check_arguments
from mem3r_ros.ros.wheel_path import WheelPath

SECOND = 1_000_000_000
FAST = {'diagnostics__rate': 10.0}


def link(x=0.1, stamp_ns=0, w=None, child=FRAME):
    """Return a transform from base_link to the camera."""
    T = np.array(T_FLU_OPTICAL)
    message = transform_message(header_at(stamp_ns, 'base_link'), child, T)
    message.transform.translation.x = x
    if w is not None:
        message.transform.rotation.w = w
    return message


@pytest.fixture
def listen(make_node):
    """Return a buffer, a listener that fills it without topics, and what was refused."""
    buffer, refused = Buffer(cache_time=Duration(seconds=10.0)), []
    node = make_node('listening')
    listener = CheckedListener(buffer, node, 10.0, refused.append, lambda: None)
    yield buffer, listener, refused
    listener.unregister()


def found_x(buffer, stamp_ns=0):
    found = buffer.lookup_transform('base_link', FRAME, Time(nanoseconds=stamp_ns))
    return found.transform.translation.x


@pytest.mark.fault(
    'a link on TF that is infinite, NaN, no rotation or farther away than anything is',
    'refused by name; the last good link is kept',
)
@pytest.mark.parametrize('x', [math.inf, -math.inf, math.nan, 1e300, 1e8])
@pytest.mark.parametrize('topic', ['callback', 'static_callback'])
def test_an_impossible_link_never_enters_the_buffer(listen, x, topic):
    buffer, listener, refused = listen
    take = getattr(listener, topic)

    take(TFMessage(transforms=[link(x)]))
    with pytest.raises(TransformException):
        found_x(buffer)
    take(TFMessage(transforms=[link(0.2, START_NS)]))
    take(TFMessage(transforms=[link(x, START_NS + STEP_NS)]))

    assert found_x(buffer) == pytest.approx(0.2)
    assert len(refused) == 2
    assert f'transform from base_link to {FRAME} is ' in refused[0]


@pytest.mark.fault('a link on TF whose quaternion is no rotation', 'refused by name')
@pytest.mark.parametrize('w', [1e300, math.nan, 17.0])
def test_a_link_without_a_rotation_never_enters_the_buffer(listen, w):
    buffer, listener, refused = listen

    listener.static_callback(TFMessage(transforms=[link(w=w)]))

    assert len(refused) == 1
    with pytest.raises(TransformException):
        found_x(buffer)


@pytest.mark.fault('one TF stamp far ahead', 'later transforms are not hidden')
def test_a_stamp_of_tf_far_ahead_hides_nothing(listen):
    buffer, listener, refused = listen
    stamps = [START_NS + i * STEP_NS for i in range(6)]
    stamps.insert(3, START_NS + 10**9 * SECOND)

    for i, stamp in enumerate(stamps):
        listener.callback(TFMessage(transforms=[link(0.1 * i, stamp)]))

    assert 'stamp far ahead' in refused[0] and len(refused) == 1
    assert found_x(buffer) == pytest.approx(0.6)


@pytest.mark.fault('a first TF stamp far ahead', 'the second good transform is used')
def test_a_first_stamp_of_tf_far_ahead_hides_nothing(listen):
    buffer, listener, refused = listen
    stamps = [START_NS + 10**9 * SECOND, *(START_NS + i * STEP_NS for i in range(3))]

    for i, stamp in enumerate(stamps):
        listener.callback(TFMessage(transforms=[link(0.1 * i, stamp)]))

    assert len(refused) == 1
    assert found_x(buffer) == pytest.approx(0.3)
    assert found_x(buffer, START_NS + STEP_NS) == pytest.approx(0.2)


def test_a_slash_before_a_frame_of_tf_is_dropped(listen):
    buffer, listener, _ = listen
    message = link(0.4, child=f'/{FRAME}')
    message.header.frame_id = '/base_link'

    listener.static_callback(TFMessage(transforms=[message]))

    assert found_x(buffer) == pytest.approx(0.4)


@pytest.mark.fault(
    'an infinite link on TF before the first image', 'odometry begins when a good link comes'
)
def test_odometry_begins_when_the_link_is_corrected(
    start_node, camera, listener, make_node, spin_until
):
    node = start_node(mount='tf', wait_for_transform=0.0)
    odom, statuses = listener.subscribe(Odometry, 'odom'), listener.subscribe_status()
    robot = make_node('robot')
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    tf = robot.create_publisher(TFMessage, '/tf_static', latched)
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

    def send(x):
        before = node.refusals.counts().get('tf', 0)
        tf.publish(TFMessage(transforms=[link(x)]))
        if not math.isfinite(x):
            assert spin_until(lambda: node.refusals.counts().get('tf', 0) > before)
        else:
            buffer = node._transforms._buffer
            assert spin_until(lambda: buffer.can_transform('base_link', FRAME, Time()))
        answered = len(statuses)
        camera.send()
        assert spin_until(lambda: len(statuses) > answered)
        return values_of(statuses[-1])['reason']

    reason = send(math.inf)
    assert not odom
    assert f'transform from base_link to {FRAME} is not finite' in reason
    assert send(0.1) == ''
    send(math.inf)

    assert spin_until(lambda: len(odom) == 2)
    poses = [matrix_from_pose_message(message.pose.pose) for message in odom]
    assert np.isfinite(poses).all()
    assert node.counts.posed == 2


def wheel(x, stamp_ns):
    message = Odometry(header=header_at(stamp_ns, 'odom'))
    message.pose.pose.position.x = x
    return message


def driven(positions, stamps):
    """Return the path after messages of wheel odometry, and why some were refused."""
    path, refused = WheelPath(1.0), []
    for x, stamp in zip(positions, stamps, strict=True):
        try:
            path.add(wheel(x, stamp), 40.0, 0)
        except UserError as error:
            refused.append(str(error))
    return path, refused


@pytest.mark.fault('wheel odometry that is not finite or absurd', 'refused, the path goes on')
@pytest.mark.parametrize('x', [math.nan, math.inf, 1e300, 1e8])
def test_an_impossible_position_of_the_wheels_changes_no_length(x):
    stamps = [START_NS + i * STEP_NS for i in range(5)]

    path, refused = driven([0.0, 0.1, x, 0.2, 0.3], stamps)

    assert len(refused) == 1 and 'position' in refused[0]
    assert path.at(stamps[-1]) == pytest.approx(0.3)


@pytest.mark.fault('wheel odometry that jumps by 1e6 m', 'the jump adds nothing to the path')
@pytest.mark.parametrize('jump_m', [100.0, 1e6])
def test_a_jump_of_the_wheels_adds_nothing(jump_m):
    stamps = [START_NS + i * STEP_NS for i in range(4)]

    path, refused = driven([0.0, 0.1, jump_m, jump_m + 0.1], stamps)

    assert len(refused) == 1 and 'jumps by' in refused[0]
    assert path.at(stamps[-1]) == pytest.approx(0.2)


@pytest.mark.fault('one stamp of wheel odometry far ahead', 'later messages are used')
@pytest.mark.parametrize('place', [0, 2, 3])
def test_a_stamp_of_the_wheels_far_ahead_hides_nothing(place):
    stamps = [START_NS + i * STEP_NS for i in range(8)]
    stamps.insert(place, START_NS + 10**9 * SECOND)

    path, refused = driven([0.1 * i for i in range(9)], stamps)

    assert len(refused) == 1 and 'stamp' in refused[0]
    assert path.at(stamps[-1]) - path.at(stamps[-2]) == pytest.approx(0.1)


def test_wheels_of_a_recording_that_starts_over_are_a_new_path():
    stamps = [START_NS + i * STEP_NS for i in (100, 101, 0, 1, 2)]

    path, _ = driven([5.0, 5.1, 0.0, 0.1, 0.2], stamps)

    assert path.at(stamps[-1]) == pytest.approx(0.1)


@pytest.mark.fault(
    'a calibration that no lens has in the node', 'refused, the last good one is used'
)
@pytest.mark.parametrize('focal_px', [1e-3, math.nan, math.inf, 1e300, -60.0])
def test_an_impossible_calibration_keeps_the_last_good_one(
    start_node, camera, spin_until, focal_px
):
    node = start_node()
    assert spin_until(lambda: camera.info.get_subscription_count() > 0)
    camera.send_info()
    assert spin_until(lambda: node.inputs.camera is not None)
    message = CameraInfo(header=camera.header(), width=WIDTH, height=HEIGHT)
    message.distortion_model = 'plumb_bob'
    message.k = np.array([focal_px, 0, 32, 0, focal_px, 24, 0, 0, 1], np.float64)

    camera.info.publish(message)

    assert spin_until(lambda: node.refusals.counts() == {'camera_info': 1})
    assert node.inputs.camera.fx == FOCAL_PX
    assert any('camera_info not used: ' in text for text in node.refusals.warnings())


@pytest.mark.fault('a pose hint far away, not finite or in another frame', 'refused and counted')
def test_impossible_pose_hints_are_refused_and_counted(start_node, make_node, spin_until):
    node = start_node()
    hints = make_node('operator').create_publisher(PoseWithCovarianceStamped, 'pose_hint', 10)
    assert spin_until(lambda: hints.get_subscription_count() > 0)
    for x, w, frame in ((1e300, 1, 'odom'), (0, math.inf, 'odom'), (0, 9, ''), (0, 1, 'map')):
        message = PoseWithCovarianceStamped(header=header_at(START_NS, frame))
        message.pose.pose.position.x, message.pose.pose.orientation.w = float(x), float(w)
        hints.publish(message)

    assert spin_until(lambda: node.refusals.counts() == {'pose_hint': 4})
    assert node.results._hint is None


def test_the_first_refusal_of_each_kind_is_logged_and_all_are_counted():
    logged = []
    refusals = InputRefusals(logged.append)

    for number in range(5):
        refusals.refuse('mask', f'it has {number} pixels')
    refusals.refuse('tf', 'it is not finite')
    refusals.accept('mask')

    assert logged == ['mask not used: it has 0 pixels', 'tf not used: it is not finite']
    assert refusals.counts() == {'mask': 5, 'tf': 1}
    assert refusals.current('mask') == ''
    # A refusal that is over is still shown for seconds: /diagnostics comes once a second.
    assert refusals.warnings()[0] == 'mask not used: it has 4 pixels (5 refused)'


@pytest.mark.fault('`~/reset` after absurd inputs', 'moving transforms and wheel path start anew')
def test_a_reset_drops_what_the_inputs_have_left(start_node, camera, listener, spin_until):
    from std_srvs.srv import Trigger

    node = start_node(mount='tf', wait_for_transform=0.0)
    statuses = listener.subscribe_status()
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)
    camera.send()
    assert spin_until(lambda: statuses)
    node._transforms._buffer.set_transform(link(0.1, START_NS + 10**9 * SECOND), 'other')
    node.inputs.wheel.add(wheel(0.0, START_NS), 40.0, 0)

    client = camera_client = listener._node.create_client(Trigger, 'mem3r/reset')
    assert spin_until(client.service_is_ready)
    future = camera_client.call_async(Trigger.Request())
    assert spin_until(future.done)

    node._transforms._buffer.set_transform(link(0.3, START_NS + STEP_NS), 'other')
    assert future.result().success
    assert len(node.inputs.wheel) == 0
    x = node._transforms.T_base_camera(FRAME, START_NS + STEP_NS, 0.0)[0, 3]
    assert x == pytest.approx(0.3)


@pytest.mark.fault(
    'compressed images with only `image` remapped', 'the topic beside the remapped one is read'
)
@pytest.mark.parametrize(
    ('remapping', 'topic'),
    [
        ('image:=/cam/image_raw', '/cam/image_raw/compressed'),
        ('image/compressed:=/cam/jpeg', '/cam/jpeg'),
        ('image:=/cam/image_raw/compressed', '/cam/image_raw/compressed'),
        ('__ns:=/robot', '/robot/image/compressed'),
    ],
)
def test_compressed_images_are_beside_the_remapped_topic(start_node, remapping, topic):
    node = start_node(image_transport='compressed', remappings=(remapping,))

    assert node.inputs.image_topic == topic


@pytest.mark.fault('camera_info that was published once, latched', 'it is received')
def test_a_latched_calibration_from_before_the_start_is_used(
    start_node, make_node, listener, spin_until
):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    driver = make_node('driver')
    camera = Camera(driver)
    driver.destroy_publisher(camera.info)
    info = make_node('calibration').create_publisher(CameraInfo, 'camera_info', latched)
    camera.info = info
    camera.send_info()
    node = start_node(input__camera_info_wait=10.0)
    statuses = listener.subscribe_status()
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

    camera.send()

    assert spin_until(lambda: statuses)
    assert node.inputs.camera is not None


@pytest.mark.fault('an unknown parameter on the command line of the node', 'refused by name')
@pytest.mark.parametrize(
    'arguments',
    [
        ['--ros-args', '-p', 'base_fram:=x'],
        ['--ros-args', '--param', 'mem3r:base_fram:=x'],
        ['--ros-args', '-r', 'image:=/a', '--', '--ros-args', '-p', 'base_fram:=x'],
    ],
)
def test_an_unknown_parameter_on_the_command_line_is_refused(arguments):
    with pytest.raises(UserError, match=r"unknown parameter 'base_fram'; did you mean 'base_fr"):
        check_arguments(arguments, '/mem3r')


def test_parameters_of_other_nodes_and_arguments_are_left(tmp_path):
    file = tmp_path / 'shared.yaml'
    file.write_text('/**: {ros__parameters: {exposure_ms: 3, base_frame: base}}\n')
    own = ['--ros-args', '-p', 'base_frame:=x', '-p', 'camera:exposure_ms:=3']

    assert check_arguments(['-p', 'anything', *own], '/mem3r') == []
    assert check_arguments(['--ros-args', '--params-file', str(file)], '/mem3r') == ['exposure_ms']


@pytest.mark.fault('an initial pose that is not finite or 1e300 m away', 'the start is refused')
@pytest.mark.parametrize('x', [math.nan, 1e300])
def test_an_impossible_initial_pose_is_refused(start_node, x):
    with pytest.raises(UserError, match='initial_base_pose'):
        start_node(initial_base_pose=[x, 0.0, 0.0, 0.0, 0.0, 0.0], autostart=False)


def test_a_good_static_link_is_kept_when_a_bad_one_follows(
    start_node, camera, listener, make_node, spin_until
):
    node = start_node(mount='tf', **FAST)
    robot = make_node('robot')
    StaticTransformBroadcaster(robot).sendTransform(link(0.2))
    buffer = node._transforms._buffer
    assert spin_until(lambda: buffer.can_transform('base_link', FRAME, Time()))

    node._transforms._listener.static_callback(TFMessage(transforms=[link(math.inf)]))

    assert node._transforms.T_base_camera(FRAME, START_NS, 0.0)[0, 3] == pytest.approx(0.2)
    assert node.refusals.counts() == {'tf': 1}
