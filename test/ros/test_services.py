# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Services: their effect, their answer, and their effect on odometry."""

from nav_msgs.msg import Odometry
from node_harness import call, values_of
import numpy as np
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from mem3r_ros.errors import UserError
from mem3r_ros.ros.conversions import matrix_from_pose_message
from mem3r_ros.ros.services import output_path
from mem3r_ros.trajectory import read_tum


@pytest.fixture
def stream(start_node, camera, listener, spin_until, make_node, tmp_path):
    """Return a running node with a camera, its odometry, and a caller of its services."""
    asker = make_node('asker')

    class Stream:
        def __init__(self, **parameters):
            self.node = start_node(**({'output_directory': str(tmp_path)} | parameters))
            self.odom = listener.subscribe(Odometry, 'odom')
            self.points = listener.subscribe(PointCloud2, 'map/points')
            self.statuses = listener.subscribe_status()
            assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

        def send(self, count):
            for _ in range(count):
                answered = len(self.statuses)
                camera.send()
                assert spin_until(lambda before=answered: len(self.statuses) > before)
            spin_until(lambda: len(self.odom) >= self.node.counts.tracked, 2.0)

        def ask(self, name):
            return call(asker, spin_until, Trigger, f'mem3r/{name}')

        def poses(self):
            return [matrix_from_pose_message(message.pose.pose) for message in self.odom]

    return Stream


def test_reset_clears_map_and_path_and_odometry_continues_without_a_step(stream):
    running = stream()
    running.send(4)

    answer = running.ask('reset')
    running.send(3)

    assert answer.success
    assert len(running.node.results.trajectory) == 3
    positions = np.array([pose[:3, 3] for pose in running.poses()])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert len(steps) == 6
    assert max(steps[3:]) < 3 * max(steps[:3]) + 0.05
    segments = [values_of(s)['segment'] for s in running.statuses]
    assert segments[-1] != segments[0]


def test_pause_ignores_images_until_resume(stream, camera, spin_until):
    running = stream()
    running.send(2)

    assert running.ask('pause').success
    camera.send()
    assert spin_until(lambda: running.node.counts.dropped == 1)
    assert running.ask('resume').success
    running.send(1)

    assert running.node.counts.tracked == 3
    assert running.node.counts.received == 4


def test_a_saved_state_is_taken_up_by_another_node_where_the_first_one_stood(
    stream, start_node, camera, listener, make_node, spin_until, tmp_path
):
    first = stream()
    first.send(5)
    saved = first.ask('save_state')
    last = first.poses()[-1]
    first.node.trigger_deactivate()
    assert spin_until(lambda: camera.raw.get_subscription_count() == 0)
    start_node(output_directory=str(tmp_path), remappings=('__ns:=/second', 'image:=/image'))
    odom = listener.subscribe(Odometry, '/second/odom')
    assert spin_until(lambda: camera.raw.get_subscription_count() > 0)

    loaded = call(make_node('other'), spin_until, Trigger, '/second/mem3r/load_state')
    camera.send()

    assert saved.success
    assert str(tmp_path) in saved.message
    assert loaded.success, loaded.message
    assert spin_until(lambda: odom)
    pose = matrix_from_pose_message(odom[0].pose.pose)
    moved = max(np.linalg.norm(later[:3, 3]) for later in first.poses())
    assert np.linalg.norm(pose[:3, 3] - last[:3, 3]) < 0.5 * moved + 0.05
    assert moved > 1e-3


def test_a_state_loaded_during_tracking_makes_no_step_in_odometry(stream):
    running = stream()
    running.send(3)
    assert running.ask('save_state').success
    running.send(3)

    assert running.ask('load_state').success
    running.send(2)

    positions = np.array([pose[:3, 3] for pose in running.poses()])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert steps[5] < 3 * max(steps[:5]) + 0.05
    assert steps[5] > 0.0  # nor does it stand: it goes on at its velocity


def test_a_state_from_a_later_time_is_discarded_and_odometry_continues(stream, camera):
    """A recording that is started again: the state knows stamps that are yet to come."""
    running = stream(input__time_jump=0.01)
    running.send(6)
    assert running.ask('save_state').success
    camera.count = 0
    running.send(2)  # stamps went back: the second one confirms a new session

    assert running.ask('load_state').success
    running.send(3)

    states = [values_of(status)['state'] for status in running.statuses[-3:]]
    assert 'SKIPPED' not in states
    positions = np.array([pose[:3, 3] for pose in running.poses()[6:]])
    assert np.linalg.norm(np.diff(positions, axis=0), axis=1).max() < 0.3


def test_a_missing_state_file_is_reported(stream):
    running = stream()
    running.send(1)

    answer = running.ask('load_state')

    assert not answer.success
    assert 'state.safetensors' in answer.message


def test_an_unexpected_error_in_a_service_is_its_answer_and_the_node_continues(stream):
    running = stream()
    running.send(1)
    running.node.worker.save = lambda path: {}['stamp']

    answer = running.ask('save_state')

    assert not answer.success
    assert answer.message == "KeyError: 'stamp'"
    assert running.ask('save_trajectory').success


@pytest.mark.fault(
    'somebody sets `output_directory` of a running node', 'refused: services write where they did'
)
def test_the_output_directory_is_read_only_at_run_time(stream, tmp_path):
    running = stream()

    (changed,) = running.node.set_parameters([Parameter('output_directory', value='/etc')])

    assert not changed.successful
    assert running.node.config.output_directory == str(tmp_path)


def test_a_missing_home_directory_is_reported_with_the_parameter_to_set(stream):
    running = stream(output_directory='~nosuchuser/maps')
    running.send(1)

    answer = running.ask('save_trajectory')

    assert not answer.success
    assert '~nosuchuser/maps' in answer.message
    assert 'set output_directory' in answer.message


def test_without_a_home_the_default_directory_is_an_error_that_names_home(monkeypatch):
    monkeypatch.delenv('ROS_HOME', raising=False)
    monkeypatch.setattr('os.path.expanduser', lambda path: path)  # as without HOME and passwd

    with pytest.raises(UserError, match='HOME'):
        output_path('', 'map.ply')


def test_saved_trajectory_is_the_published_odometry(stream, tmp_path):
    running = stream()
    running.send(4)

    answer = running.ask('save_trajectory')

    assert answer.success
    written = read_tum(tmp_path / 'trajectory.txt')
    np.testing.assert_allclose(written.poses, running.poses(), atol=1e-6)


def test_saved_map_is_a_cloud_in_odom(stream, tmp_path):
    running = stream(map__accumulate='always')
    running.send(2)

    answer = running.ask('save_map')

    assert answer.success, answer.message
    head = (tmp_path / 'map.ply').read_bytes()[:200]
    assert head.startswith(b'ply')
    assert f'element vertex {len(running.node.results.map)}'.encode() in head


def test_without_publish_points_the_map_is_filled_but_not_published(stream):
    running = stream(publish_points=False, map__accumulate='always', map__rate=0.0)
    running.send(3)

    answer = running.ask('save_map')

    assert answer.success, answer.message
    assert 'map/points' not in ' '.join(values_of(s)['published'] for s in running.statuses)
    assert not running.points


def test_saving_an_empty_map_reports_how_to_fill_it(stream):
    running = stream(map__accumulate='never')
    running.send(1)

    answer = running.ask('save_map')

    assert not answer.success
    assert 'map.accumulate' in answer.message


@pytest.mark.parametrize(
    'name',
    ['reset', 'pause', 'resume', 'save_state', 'load_state', 'save_trajectory', 'save_map'],
)
def test_services_of_an_inactive_node_answer_with_its_state(
    start_node, make_node, spin_until, name
):
    start_node(autostart=False)

    answer = call(make_node('asker'), spin_until, Trigger, f'mem3r/{name}')

    assert not answer.success
    assert 'unconfigured' in answer.message
