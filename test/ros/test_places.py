# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Places over topics: map to odom, the corrected path, and a restart in a known place."""

from array import array
from dataclasses import replace

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from node_harness import FRAME, START_NS, call
import numpy as np
from oracle import OracleNetwork, Scene
import pytest
from revisited import FRAME_NS, drifting, path_error, rendered_walk
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from mem3r_ros.geometry import T_FLU_OPTICAL, invert
from mem3r_ros.places import Correction
from mem3r_ros.ros.conversions import (
    camera_info_message,
    header_at,
    matrix_from_pose_message,
    matrix_from_transform,
    stamp_ns,
)
from mem3r_ros.ros.map_publisher import MapPoints
from mem3r_ros.tracker import Tracker

WALK = ('loop', 10, 300, 3)
LAP = 80  # frames of the walk's first lap
TOLERANCE_NS = 1_000_000_000
ON = {
    'tracking.places.enabled': True,
    'tracking.places.wait': True,
    'tracking.refinement.enabled': False,
    'tracking.health.check_continuity': False,  # the steps of the walk are large
}


class Robot:
    """Drives the walk past the node: one image, one answer."""

    def __init__(self, node, sender, listener, spin_until, share):
        walk = rendered_walk(*WALK)
        poses, scale = drifting(walk, share)
        depth = walk.depth * scale[:, None, None].astype(np.float32)
        self.walk, self.node, self._spin_until = walk, node, spin_until
        self.oracle = OracleNetwork(Scene(walk.rgb, depth, poses, walk.camera), shrink=5)
        self._image = sender.create_publisher(Image, 'image', 10)
        self._info = sender.create_publisher(CameraInfo, 'camera_info', 10)
        self.statuses = listener.subscribe_status()
        self.tf = listener.subscribe(TFMessage, 'tf')
        self.odom = listener.subscribe(Odometry, 'odom')
        self.use_oracle()
        assert spin_until(lambda: self._image.get_subscription_count() > 0)
        assert spin_until(lambda: self._info.get_subscription_count() > 0)

    def use_oracle(self):
        self.node.tracker = Tracker(self.oracle, self.node.config.tracking)
        self.node.worker.wait()
        self.node.worker._frames.tracker = self.node.tracker

    def send(self, frame, at_ns=None):
        """Send one image and wait for its status; return its stamp."""
        at_ns = START_NS + frame * FRAME_NS if at_ns is None else at_ns
        self.oracle.now, pixels = frame, self.walk.rgb[frame]
        header = header_at(at_ns, FRAME)
        message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1])
        message.encoding, message.step = 'rgb8', pixels.strides[0]
        message.data = array('B', pixels.tobytes())
        count = len(self.statuses)
        self._info.publish(camera_info_message(header, self.walk.camera))
        self._image.publish(message)
        assert self._spin_until(lambda: len(self.statuses) > count)
        return at_ns

    def map_to_odom(self):
        """Return all transforms from map to odom: stamp and matrix."""
        found = [t for message in self.tf for t in message.transforms]
        return [
            (stamp_ns(t.header.stamp), matrix_from_transform(t.transform, 'map to odom', 1e3))
            for t in found
            if (t.header.frame_id, t.child_frame_id) == ('map', 'odom')
        ]

    def true_base(self, frame):
        """Return the true pose of the base, with the first one as origin."""
        T = self.walk.T_world_camera
        return T_FLU_OPTICAL @ invert(T[0]) @ T[frame] @ invert(T_FLU_OPTICAL)


@pytest.fixture
def robot(start_node, make_node, listener, spin_until, tmp_path):
    """Return a function that starts a node with places and a robot."""

    def start(share, **parameters):
        node = start_node(**(ON | {'output_directory': str(tmp_path)} | parameters))
        return Robot(node, make_node('robot'), listener, spin_until, share)

    return start


def test_drift_is_corrected_in_map_and_odom_never_jumps(robot, listener, spin_until):
    driven = robot(0.03)
    poses = listener.subscribe(PoseWithCovarianceStamped, 'map/pose')
    paths = listener.subscribe(Path, 'map/path')
    clouds = listener.subscribe(PointCloud2, 'map/points')
    spin_until(lambda: False, 1.0)  # the node discovers the subscriptions
    stamps = [driven.send(frame) for frame in range(len(driven.walk))]
    assert spin_until(lambda: len(driven.odom) == len(stamps))
    assert spin_until(lambda: len(driven.map_to_odom()) == len(stamps))

    # The stamp is in the future, as that of amcl.
    assert [at_ns for at_ns, _ in driven.map_to_odom()] == [s + TOLERANCE_NS for s in stamps]
    odom = np.stack([matrix_from_pose_message(m.pose.pose) for m in driven.odom])
    true = np.stack([driven.true_base(frame) for frame in range(len(stamps))])
    assert spin_until(lambda: stamp_ns(paths[-1].header.stamp) >= stamps[-5])
    path = np.stack([matrix_from_pose_message(pose.pose) for pose in paths[-1].poses])
    assert paths[-1].header.frame_id == 'map'
    assert path_error(path, true[: len(path)]) < 0.4 * path_error(odom, true)
    # The newest pose in map is that of the transforms and that of the topic.
    in_map = driven.map_to_odom()[-1][1] @ odom[-1]
    topic = matrix_from_pose_message(poses[-1].pose.pose)
    np.testing.assert_allclose(in_map, topic, atol=1e-6)
    assert np.linalg.norm(in_map[:3, 3] - true[-1, :3, 3]) < 0.5 * np.linalg.norm(
        odom[-1, :3, 3] - true[-1, :3, 3]
    )
    steps = np.linalg.norm(np.diff(odom[:, :3, 3], axis=0), axis=1)
    assert steps.max() < 0.5  # m; no correction reaches odom
    assert clouds[-1].header.frame_id == 'map' and clouds[-1].width > 100


def test_a_restarted_node_says_whether_it_finds_its_place(robot, make_node, spin_until):
    driven = robot(0.0)
    asker = make_node('asker')
    for frame in range(LAP):
        driven.send(frame)
    assert call(asker, spin_until, Trigger, 'mem3r/save_state').success
    node = driven.node
    for step in ('deactivate', 'cleanup', 'configure', 'activate'):
        getattr(node, f'trigger_{step}')()
    driven.use_oracle()
    assert spin_until(lambda: driven._image.get_subscription_count() > 0)
    driven.tf.clear()

    unseen = call(asker, spin_until, Trigger, 'mem3r/load_state')
    assert unseen.success and 'not recognised yet' in unseen.message

    client = asker.create_client(Trigger, 'mem3r/load_state')
    assert spin_until(client.service_is_ready)
    answer = client.call_async(Trigger.Request())
    later_ns = START_NS + 3_600 * 10**9
    frames = range(15, 15 + 2_000_000_000 // FRAME_NS)
    for frame in frames:
        driven.send(frame, later_ns + frame * FRAME_NS)
    assert spin_until(answer.done)

    assert answer.result().success
    assert spin_until(lambda: bool(driven.map_to_odom()))
    assert spin_until(
        lambda: stamp_ns(driven.odom[-1].header.stamp) == later_ns + frames[-1] * FRAME_NS
    )
    odom = matrix_from_pose_message(driven.odom[-1].pose.pose)
    in_map = driven.map_to_odom()[-1][1] @ odom
    true = driven.true_base(frames[-1])
    assert np.linalg.norm(in_map[:3, 3] - true[:3, 3]) < 0.15
    # Nothing is said about the map before the place is recognised.
    assert driven.map_to_odom()[0][0] > later_ns + frames[0] * FRAME_NS + TOLERANCE_NS


def test_a_robot_that_was_carried_away_is_located_within_two_seconds(robot, listener, spin_until):
    driven = robot(0.0)
    poses = listener.subscribe(PoseWithCovarianceStamped, 'map/pose')
    spin_until(lambda: False, 1.0)  # the node discovers the subscription
    for frame in range(LAP):
        driven.send(frame)
    later_ns = START_NS + (LAP + 300) * FRAME_NS  # half a minute without an image
    frames = range(20, 20 + 2_000_000_000 // FRAME_NS)
    for frame in frames:
        driven.send(frame, later_ns + frame * FRAME_NS)

    end_ns = later_ns + frames[-1] * FRAME_NS
    assert spin_until(lambda: bool(poses) and stamp_ns(poses[-1].header.stamp) == end_ns)
    assert spin_until(lambda: stamp_ns(driven.odom[-1].header.stamp) == end_ns)
    after = [m for m in poses if stamp_ns(m.header.stamp) >= later_ns + frames[0] * FRAME_NS]
    assert after[0].pose.covariance[0] > 100.0  # nobody knows where the robot was carried
    assert after[-1].pose.covariance[0] < 0.1
    true = driven.true_base(frames[-1])[:3, 3]
    odom = matrix_from_pose_message(driven.odom[-1].pose.pose)
    in_map = driven.map_to_odom()[-1][1] @ odom
    assert np.linalg.norm(in_map[:3, 3] - true) < 0.15
    assert np.linalg.norm(odom[:3, 3] - true) > 1.0


def test_points_of_the_map_follow_a_correction_made_after_they_were_seen():
    at = np.tile(np.eye(4), (1, 1, 1))
    before = Correction(np.zeros(1, int), np.zeros(1, int), at, at, np.zeros(1))
    moved = at.copy()
    moved[0, :3, 3] = 1.0, 0.0, 0.0
    after = replace(before, T_map_camera=moved, log_scale=np.full(1, np.log(2.0)))
    points = MapPoints(0.01, 1000)
    points.add(np.array([[0.0, 3.0, 0.0]]), np.zeros((1, 3), np.uint8), np.ones(1), before)

    points.correct(after, None)

    np.testing.assert_allclose(points.merged().points(), [[1.0, 6.0, 0.0]], atol=1e-6)


def test_without_places_nothing_is_said_about_the_map(robot, spin_until):
    driven = robot(0.0, **{'tracking.places.enabled': False})
    for frame in range(3):
        driven.send(frame)

    assert spin_until(lambda: len(driven.odom) == 3)
    assert driven.map_to_odom() == []
