# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From images to results, over real topics."""

import geometry_msgs.msg
from nav_msgs.msg import Odometry, Path
from node_harness import FOCAL_PX, FRAME, START_NS, STEP_NS, WIDTH, values_of
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from mem3r_ros.geometry import T_FLU_OPTICAL
from mem3r_ros.ros.coloured_depth import coloured_depth
from mem3r_ros.ros.conversions import (
    matrix_from_pose_message,
    matrix_from_transform,
    stamp_ns,
)


def send(camera, spin_until, statuses, count, **options):
    """Send pictures one by one, each after the one before was answered."""
    for _ in range(count):
        answered = len(statuses)
        camera.send(**options)
        assert spin_until(lambda before=answered: len(statuses) > before), 'no answer'


@pytest.fixture
def ready(listener, camera, spin_until):
    """Return a function that starts to listen to the status and waits for the camera's match."""

    def connect(publisher=None):
        statuses = listener.subscribe_status()
        publisher = publisher or camera.raw
        assert spin_until(lambda: publisher.get_subscription_count() > 0)
        return statuses

    return connect


def test_every_result_carries_the_stamp_and_frame_of_its_image(
    start_node, camera, listener, spin_until, ready
):
    start_node()
    odom = listener.subscribe(Odometry, 'odom')
    depth = listener.subscribe(Image, 'depth/image')
    info = listener.subscribe(CameraInfo, 'depth/camera_info')
    confidence = listener.subscribe(Image, 'confidence/image')
    points = listener.subscribe(PointCloud2, 'points')
    statuses = ready()

    send(camera, spin_until, statuses, 3)

    stamps = [START_NS + i * STEP_NS for i in range(3)]
    for received in (odom, depth, info, confidence, points):
        assert spin_until(lambda received=received: len(received) >= 3)
        assert [stamp_ns(message.header.stamp) for message in received][-3:] == stamps
    for received in (depth, info, confidence, points):
        assert {message.header.frame_id for message in received} == {FRAME}
    assert {(m.header.frame_id, m.child_frame_id) for m in odom} == {('odom', 'base_link')}


def test_depth_is_a_float_image_with_the_camera_info_of_its_own_size(
    start_node, camera, listener, spin_until, ready
):
    start_node()
    depth = listener.subscribe(Image, 'depth/image')
    info = listener.subscribe(CameraInfo, 'depth/camera_info')
    statuses = ready()
    camera.send_info()

    send(camera, spin_until, statuses, 2)

    assert spin_until(lambda: len(depth) >= 2 and len(info) >= 2)
    image, calibration = depth[-1], info[-1]
    assert (image.encoding, image.step) == ('32FC1', 4 * image.width)
    assert (calibration.width, calibration.height) == (image.width, image.height)
    values = np.frombuffer(image.data, np.float32).reshape(image.height, image.width)
    assert np.nanmin(values) > 0
    assert calibration.k[0] == pytest.approx(FOCAL_PX * image.width / WIDTH)


def test_estimated_intrinsics_are_published_without_a_calibration(
    start_node, camera, listener, spin_until, ready
):
    start_node()
    info = listener.subscribe(CameraInfo, 'depth/camera_info')
    statuses = ready()

    send(camera, spin_until, statuses, 2)

    assert spin_until(lambda: len(info) >= 2)
    K = np.array(info[-1].k).reshape(3, 3)
    assert 0.2 * info[-1].width < K[0, 0] < 10 * info[-1].width
    assert K[0, 2] == pytest.approx((info[-1].width - 1) / 2, abs=1.0)


def test_points_are_the_depth_image_seen_through_its_camera(
    start_node, camera, listener, spin_until, ready
):
    start_node(tracking__cloud__edge_ratio=0.0)
    depth = listener.subscribe(Image, 'depth/image')
    info = listener.subscribe(CameraInfo, 'depth/camera_info')
    points = listener.subscribe(PointCloud2, 'points')
    statuses = ready()

    send(camera, spin_until, statuses, 1)

    assert spin_until(lambda: points and depth and info)
    cloud = points[0]
    assert [(f.name, f.offset, f.datatype) for f in cloud.fields] == [
        ('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('rgb', 12, 7), ('confidence', 16, 7)
    ]  # fmt: skip
    assert (cloud.point_step, cloud.row_step) == (20, 20 * cloud.width)
    xyz = np.frombuffer(cloud.data, np.float32).reshape(-1, 5)[:, :3]
    K = np.array(info[0].k).reshape(3, 3)
    pixels = np.rint(xyz @ K.T / xyz[:, 2:]).astype(int)
    values = np.frombuffer(depth[0].data, np.float32).reshape(depth[0].height, -1)
    np.testing.assert_allclose(values[pixels[:, 1], pixels[:, 0]], xyz[:, 2], rtol=1e-5)


def test_tf_agrees_with_odometry_and_the_standalone_camera_looks_along_x(
    start_node, camera, listener, spin_until, ready
):
    from rclpy.qos import DurabilityPolicy, QoSProfile

    start_node()
    odom = listener.subscribe(Odometry, 'odom')
    tf = listener.subscribe(TFMessage, '/tf')
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = listener.subscribe(TFMessage, '/tf_static', latched)
    statuses = ready()

    send(camera, spin_until, statuses, 3)

    assert spin_until(lambda: len(tf) >= 3 and len(odom) >= 3 and static)
    for transforms, message in zip(tf, odom, strict=True):
        (transform,) = transforms.transforms
        assert transform.header == message.header
        assert transform.child_frame_id == message.child_frame_id
        np.testing.assert_allclose(
            matrix_from_transform(transform.transform),
            matrix_from_pose_message(message.pose.pose),
            atol=1e-12,
        )
    (link,) = static[0].transforms
    assert (link.header.frame_id, link.child_frame_id) == ('base_link', FRAME)
    np.testing.assert_allclose(matrix_from_transform(link.transform), T_FLU_OPTICAL, atol=1e-12)


def test_first_pose_is_the_initial_base_pose(start_node, camera, listener, spin_until, ready):
    start_node(initial_base_pose=[1.0, 2.0, 3.0, 0.0, 0.0, np.pi / 2])
    odom = listener.subscribe(Odometry, 'odom')
    statuses = ready()

    send(camera, spin_until, statuses, 1)

    assert spin_until(lambda: odom)
    pose = odom[0].pose.pose
    assert (pose.position.x, pose.position.y, pose.position.z) == pytest.approx((1, 2, 3))
    assert pose.orientation.z == pytest.approx(np.sqrt(0.5))
    assert pose.orientation.w == pytest.approx(np.sqrt(0.5))


def test_two_d_mode_keeps_the_base_on_the_ground(start_node, camera, listener, spin_until, ready):
    start_node(two_d_mode=True)
    odom = listener.subscribe(Odometry, 'odom')
    statuses = ready()

    send(camera, spin_until, statuses, 4)

    assert spin_until(lambda: len(odom) >= 4)
    for message in odom:
        pose, twist = message.pose.pose, message.twist.twist
        assert (pose.position.z, pose.orientation.x, pose.orientation.y) == (0, 0, 0)
        assert (twist.linear.z, twist.angular.x, twist.angular.y) == (0, 0, 0)


def test_only_topics_with_subscribers_are_computed(start_node, camera, spin_until, ready):
    node = start_node()
    statuses = ready()
    asked = []
    track = node.tracker.advance
    node.tracker.advance = lambda frame, outputs: asked.append(outputs) or track(frame, outputs)

    send(camera, spin_until, statuses, 2)

    assert asked == [frozenset(), frozenset()]
    assert values_of(statuses[-1])['published'] == 'tf odom'


def test_path_and_map_are_in_odom(start_node, camera, listener, spin_until, ready):
    start_node(path__rate=0.0, map__rate=0.0)
    path = listener.subscribe(Path, 'path')
    cloud = listener.subscribe(PointCloud2, 'map/points')
    pose = listener.subscribe(geometry_msgs.msg.PoseWithCovarianceStamped, 'pose')
    statuses = ready()

    send(camera, spin_until, statuses, 3)

    assert spin_until(lambda: len(path) >= 3 and len(cloud) >= 3 and len(pose) >= 3)
    assert path[-1].header.frame_id == cloud[-1].header.frame_id == 'odom'
    assert [stamp_ns(p.header.stamp) for p in path[-1].poses] == [
        START_NS + i * STEP_NS for i in range(3)
    ]
    assert path[-1].poses[-1].pose == pose[-1].pose.pose
    assert cloud[-1].width > 0


def test_compressed_pictures_give_the_same_odometry_as_raw_ones(
    start_node, camera, listener, spin_until
):
    start_node(remappings=('__ns:=/raw', 'image:=/image'))
    start_node(
        image_transport='compressed',
        remappings=('__ns:=/compressed', 'image/compressed:=/image/compressed'),
    )
    odom = {name: listener.subscribe(Odometry, f'/{name}/odom') for name in ('raw', 'compressed')}
    for publisher in (camera.raw, camera.compressed):
        assert spin_until(lambda p=publisher: p.get_subscription_count() > 0)

    for count in range(1, 5):
        camera.send()
        camera.count -= 1
        camera.send_compressed()  # the same picture as PNG, which is lossless
        assert spin_until(lambda n=count: all(len(received) >= n for received in odom.values()))

    raw, compressed = (
        [matrix_from_pose_message(message.pose.pose) for message in odom[name]]
        for name in ('raw', 'compressed')
    )
    np.testing.assert_allclose(compressed, raw, atol=1e-6)
    assert np.linalg.norm(raw[-1][:3, 3] - raw[0][:3, 3]) > 1e-4  # and it moves


def test_bad_images_are_counted_and_the_next_good_one_is_tracked(
    start_node, camera, spin_until, ready
):
    node = start_node(image_transport='compressed')
    statuses = ready(camera.compressed)

    camera.send_compressed()
    camera.send_compressed(data=b'no picture at all')
    camera.send_compressed(stamp_ns=START_NS)
    camera.send_compressed()

    assert spin_until(lambda: len(statuses) >= 4)
    states = [values_of(status)['state'] for status in statuses]
    assert states[1:3] == ['SKIPPED', 'SKIPPED']
    assert 'cannot be decoded' in values_of(statuses[1])['reason']
    assert 'before the last' in values_of(statuses[2])['reason']
    assert node.counts.failed == 1
    assert node.counts.late == 1
    assert node.counts.received == node.counts.answered() == 4
    assert states[-1] != 'SKIPPED'


def test_the_status_names_an_unknown_encoding(start_node, camera, spin_until, ready):
    start_node()
    statuses = ready()

    camera.send(encoding='thermal7')

    assert spin_until(lambda: statuses)
    assert 'thermal7' in statuses[0].status[0].message


def test_depth_can_have_zero_instead_of_nan(start_node, camera, listener, spin_until, ready):
    start_node(depth__invalid_value='zero', tracking__depth__min_confidence=1e6)
    depth = listener.subscribe(Image, 'depth/image')
    statuses = ready()

    send(camera, spin_until, statuses, 1)

    assert spin_until(lambda: depth)
    assert not np.frombuffer(depth[0].data, np.float32).any()


def test_grey_images_are_tracked(start_node, camera, spin_until, ready):
    start_node()
    statuses = ready()

    send(camera, spin_until, statuses, 1, encoding='mono8')

    assert values_of(statuses[0])['state'] in ('INITIALISING', 'TRACKING')


def test_near_depth_is_brighter_than_far_depth_and_unknown_depth_is_grey():
    depth_m = np.array([[0.5, 5.0, np.inf, np.nan]], np.float32)

    near, far, beyond, unknown = coloured_depth(depth_m)[0].astype(int)

    assert near.sum() > far.sum() > beyond.sum()
    assert unknown.tolist() == [222, 226, 230]
