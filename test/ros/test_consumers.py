# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What nav2, mappers and filters take from the node: scan, rgb, clouds, masks, poses, scale."""

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from node_harness import FRAME, HEIGHT, START_NS, STEP_NS, WIDTH, call
import numpy as np
import pytest
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2
from sensor_msgs_py.point_cloud2 import read_points
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from mem3r_ros.geometry import T_FLU_OPTICAL
from mem3r_ros.ros.conversions import (
    header_at,
    matrix_from_transform,
    matrix_from_xyz_rpy,
    pose_message,
    stamp_ns,
)


def test_the_scan_is_the_nearest_depth_of_its_band_in_a_frame_that_looks_along_x(
    running, listener, spin_until
):
    _, send = running(scan__rows=6, scan__range_min=0.01, scan__range_max=90.0)
    scans = listener.subscribe(LaserScan, 'scan')
    depths = listener.subscribe(Image, 'depth/image')
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = listener.subscribe(TFMessage, '/tf_static', latched)

    send(2)

    assert spin_until(lambda: len(scans) >= 2 and len(depths) >= 2)
    scan, depth = scans[-1], depths[-1]
    assert scan.header.frame_id == f'{FRAME}_scan'
    assert stamp_ns(scan.header.stamp) == stamp_ns(depth.header.stamp)
    assert scan.scan_time == pytest.approx(STEP_NS * 1e-9)
    assert (scan.range_min, scan.range_max) == pytest.approx((0.01, 90.0))
    assert len(scan.ranges) == depth.width
    last = scan.angle_min + (depth.width - 1) * scan.angle_increment
    assert last == pytest.approx(scan.angle_max, abs=1e-5)
    values = np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width)
    middle = depth.height // 2
    ahead = np.asarray(scan.ranges)[depth.width // 2 - 1 : depth.width // 2 + 1]
    band = values[middle - 3 : middle + 3, depth.width // 2 - 1 : depth.width // 2 + 1]
    assert ahead == pytest.approx(np.nanmin(band, axis=0)[::-1], rel=0.02)
    found = {t.child_frame_id: t for message in static for t in message.transforms}
    T_camera_scan = matrix_from_transform(found[f'{FRAME}_scan'].transform)
    np.testing.assert_allclose(T_camera_scan, np.linalg.inv(T_FLU_OPTICAL), atol=1e-12)


def test_a_scan_frame_of_the_robot_is_used_and_not_broadcast(running, listener, spin_until):
    _, send = running(scan__frame='camera_link')
    scans = listener.subscribe(LaserScan, 'scan')
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = listener.subscribe(TFMessage, '/tf_static', latched)

    send(1)

    assert spin_until(lambda: scans and static)
    assert scans[0].header.frame_id == 'camera_link'
    assert {t.child_frame_id for message in static for t in message.transforms} == {FRAME}


@pytest.mark.parametrize('resolution', ['fused', 'camera'])
def test_rgb_depth_and_calibration_have_one_stamp_one_size_and_one_camera(
    resolution, running, camera, listener, spin_until
):
    _, send = running(tracking__depth__resolution=resolution)
    rgb = listener.subscribe(Image, 'rgb/image')
    rgb_info = listener.subscribe(CameraInfo, 'rgb/camera_info')
    depth = listener.subscribe(Image, 'depth/image')
    depth_info = listener.subscribe(CameraInfo, 'depth/camera_info')

    send(2)

    topics = (rgb, rgb_info, depth, depth_info)
    assert spin_until(lambda: all(len(received) >= 2 for received in topics))
    last = [received[-1] for received in topics]
    assert len({(m.header.frame_id, stamp_ns(m.header.stamp)) for m in last}) == 1
    assert len({(m.width, m.height) for m in last}) == 1
    np.testing.assert_array_equal(last[1].k, last[3].k)
    assert last[0].encoding == 'rgb8'
    if resolution == 'camera':
        pixels = np.frombuffer(last[0].data, np.uint8).reshape(HEIGHT, WIDTH, 3)
        np.testing.assert_array_equal(pixels, camera.picture(camera.count - 1))


def test_points_carry_their_confidence(running, listener, spin_until):
    _, send = running()
    points = listener.subscribe(PointCloud2, 'points')

    send(1)

    assert spin_until(lambda: points)
    confidence = read_points(points[0], field_names=['confidence'])['confidence']
    assert len(confidence) == points[0].width > 0
    assert (confidence >= 1).all()


def test_points_of_low_confidence_are_not_in_the_cloud(running, listener, spin_until):
    _, send = running(tracking__cloud__min_confidence=1e5)
    points = listener.subscribe(PointCloud2, 'points')

    send(1)

    assert spin_until(lambda: points)
    assert points[0].width == 0


def test_new_topics_cost_nothing_without_subscribers(running):
    node, send = running()
    asked = []
    track = node.tracker.advance
    node.tracker.advance = lambda frame, outputs: asked.append(outputs) or track(frame, outputs)

    published = send(1)['published']

    assert asked == [frozenset()]
    assert published == 'tf odom'


def frames_of(node):
    """Return the list of frames that the tracker is given from now on."""
    frames = []
    track = node.tracker.advance
    node.tracker.advance = lambda frame, outputs: frames.append(frame) or track(frame, outputs)
    return frames


def test_a_mask_file_and_a_border_hide_the_robot_in_every_image(running, tmp_path):
    body = np.zeros((HEIGHT, WIDTH), np.uint8)
    body[40:, 20:40] = 255
    cv2.imwrite(str(tmp_path / 'body.png'), body)
    node, send = running(
        input__mask_file=str(tmp_path / 'body.png'), input__mask_border=[1, 2, 3, 0]
    )
    frames = frames_of(node)

    send(1)

    expected = body != 0
    expected[:2] = expected[:, :1] = expected[:, -3:] = True
    np.testing.assert_array_equal(frames[0].mask != 0, expected)


def test_masked_pixels_have_no_depth_and_no_range(running, listener, spin_until):
    _, send = running(
        input__mask_border=[WIDTH // 2, 0, 0, 0], tracking__depth__resolution='camera'
    )
    depth = listener.subscribe(Image, 'depth/image')
    scans = listener.subscribe(LaserScan, 'scan')

    send(1)

    assert spin_until(lambda: depth and scans)
    values = np.frombuffer(depth[0].data, np.float32).reshape(HEIGHT, WIDTH)
    assert np.isnan(values[:, : WIDTH // 2 - 2]).all()
    assert np.isfinite(values[:, WIDTH // 2 + 8 :]).any()
    assert np.isnan(np.asarray(scans[0].ranges)[WIDTH // 2 + 4 :]).all()  # angles grow to the left


def test_a_mask_file_that_is_no_image_is_refused_when_the_node_is_configured(start_node, tmp_path):
    path = tmp_path / 'body.png'
    path.write_text('no image')

    node = start_node(input__mask_file=str(path))

    assert node.state == 'unconfigured'
    assert str(path) in node.configure_error


def test_a_mask_file_of_another_size_is_reported(running, tmp_path):
    cv2.imwrite(str(tmp_path / 'body.png'), np.zeros((10, 10), np.uint8))
    node, send = running(input__mask_file=str(tmp_path / 'body.png'))

    send(1)

    (warning,) = node.snapshot().input.warnings
    assert '10x10' in warning
    assert f'{WIDTH}x{HEIGHT}' in warning


def test_set_pose_moves_odometry_and_the_service_answers(running, make_node, listener, spin_until):
    node, send = running()
    odom = listener.subscribe(Odometry, 'odom')
    peer = make_node('filter')
    publisher = peer.create_publisher(PoseWithCovarianceStamped, 'set_pose', 10)
    assert spin_until(lambda: publisher.get_subscription_count() > 0)
    send(3)

    message = PoseWithCovarianceStamped(header=header_at(START_NS, 'odom'))
    message.pose.pose = pose_message(matrix_from_xyz_rpy((5.0, 6.0, 0.0, 0.0, 0.0, 1.0)))
    publisher.publish(message)
    assert spin_until(lambda: node.results.next_pose is not None)
    send(1)

    assert spin_until(lambda: len(odom) >= 4)
    assert odom[-1].pose.pose.position.x == pytest.approx(5.0)
    assert odom[-1].pose.pose.orientation.z == pytest.approx(np.sin(0.5))

    node.set_parameters([Parameter('initial_base_pose', value=[1.0, 2.0, 0.0, 0.0, 0.0, 0.0])])
    answer = call(peer, spin_until, Trigger, 'mem3r/set_pose')
    send(1)

    assert answer.success
    assert '(1.000, 2.000, 0.000) m' in answer.message
    assert spin_until(lambda: len(odom) >= 5)
    assert odom[-1].pose.pose.position.y == pytest.approx(2.0)


def test_set_distance_makes_the_depth_at_the_centre_that_distance(
    running, make_node, listener, spin_until
):
    node, send = running(
        tracking__scale__source='distance', tracking__depth__fusion__enabled=False
    )
    depth = listener.subscribe(Image, 'depth/image')
    peer = make_node('operator')
    send(2)

    node.set_parameters([Parameter('tracking.scale.distance_m', value=7.5)])
    answer = call(peer, spin_until, Trigger, 'mem3r/set_distance')

    assert answer.success, answer.message
    assert '7.5 m' in answer.message
    send(1)
    assert spin_until(lambda: len(depth) >= 3)
    image = depth[-1]
    values = np.frombuffer(image.data, np.float32).reshape(image.height, image.width)
    middle = values[image.height // 2 - 2 : image.height // 2 + 2]
    assert np.nanmedian(middle[:, image.width // 2 - 2 : image.width // 2 + 2]) == pytest.approx(
        7.5, rel=0.3
    )


def test_set_distance_needs_that_source_of_scale(running, make_node, spin_until):
    _, send = running()
    send(1)

    answer = call(make_node('operator'), spin_until, Trigger, 'mem3r/set_distance')

    assert not answer.success
    assert 'tracking.scale.source' in answer.message


def test_the_status_has_the_brightness_and_diagnostics_the_time_to_the_first_odometry(
    running, camera, listener, spin_until
):
    _, send = running(diagnostics__rate=20.0)
    diagnostics = listener.subscribe(DiagnosticArray, '/diagnostics')

    values = send(1)

    mean = camera.picture(0).mean()
    assert float(values['brightness']) == pytest.approx(mean, rel=0.1)

    def tracking():
        statuses = diagnostics[-1].status if diagnostics else []
        found = [status for status in statuses if status.name == 'mem3r: tracking']
        return {pair.key: pair.value for status in found for pair in status.values}

    assert spin_until(lambda: 'first_odometry_s' in tracking())
    assert 0 < float(tracking()['first_odometry_s']) < 60


def test_diagnostics_have_the_age_of_a_moving_camera_mount(
    running, make_node, listener, spin_until
):
    from tf2_ros import TransformBroadcaster

    from mem3r_ros.ros.conversions import transform_message

    diagnostics = listener.subscribe(DiagnosticArray, '/diagnostics')
    peer = make_node('arm')
    _, send = running(mount='tf', diagnostics__rate=20.0, wait_for_transform=0.0)
    now_ns = peer.get_clock().now().nanoseconds
    broadcaster = TransformBroadcaster(peer)
    assert spin_until(lambda: broadcaster.pub_tf.get_subscription_count() > 0)
    header = header_at(now_ns - 3_000_000_000, 'base_link')
    broadcaster.sendTransform(transform_message(header, FRAME, np.array(T_FLU_OPTICAL)))

    send(1)

    def age():
        pairs = [pair for m in diagnostics for s in m.status for pair in s.values]
        return [float(pair.value) for pair in pairs if pair.key == 'transform_age_s']

    assert spin_until(lambda: age())
    assert 3.0 <= age()[-1] < 60.0


def test_poses_of_another_odometry_replace_the_motion_of_the_camera(
    running, make_node, listener, spin_until
):
    from tf2_ros import TransformBroadcaster

    from mem3r_ros.ros.conversions import transform_message

    _, send = running(
        mount='tf',
        outside_frame='wheels',
        wait_for_transform=5.0,
        tracking__stillness__enabled=False,
        tracking__health__max_acceleration=0.0,
    )
    odom = listener.subscribe(Odometry, 'odom')
    broadcaster = TransformBroadcaster(make_node('robot'))
    assert spin_until(lambda: broadcaster.pub_tf.get_subscription_count() > 0)
    for index in range(4):
        stamp = START_NS + index * STEP_NS
        T_wheels_base = matrix_from_xyz_rpy((0.1 * index, 0.0, 0.0, 0.0, 0.0, 0.2 * index))
        for parent, child, T in (
            ('wheels', 'base_link', T_wheels_base),
            ('base_link', FRAME, np.array(T_FLU_OPTICAL)),
        ):
            broadcaster.sendTransform(transform_message(header_at(stamp, parent), child, T))
        send(1)

    assert spin_until(lambda: len(odom) >= 4)
    pose = odom[-1].pose.pose
    assert pose.position.x == pytest.approx(0.3, abs=1e-6)
    assert pose.orientation.z == pytest.approx(np.sin(0.3), abs=1e-6)


def test_without_a_pose_from_outside_the_images_give_the_motion(running, make_node, spin_until):
    node, send = running(mount='tf', outside_frame='wheels', wait_for_transform=0.0)

    values = send(2)

    assert values['state'] in ('INITIALISING', 'TRACKING', 'DEGRADED')
    assert any('outside_frame not used' in warning for warning in node.snapshot().input.warnings)


def test_a_node_cannot_follow_the_frame_that_it_broadcasts(start_node):
    from mem3r_ros.errors import UserError

    with pytest.raises(UserError, match='publish_tf'):
        start_node(mount='tf', outside_frame='odom')
