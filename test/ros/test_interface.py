# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The names that users rely on: topics, services, parameters. Growing them is a decision.

Remappings, parameter files and dashboards of users hold these names; whoever changes one breaks
robots that nobody here can see.
"""

from pathlib import Path
import re
import time
from xml.etree import ElementTree

from lifecycle_msgs.srv import GetState
from node_harness import call
import yaml

from mem3r_ros.ros.parameters import TABLE_BEGIN, TABLE_END, default_yaml, parameter_table
from mem3r_ros.ros.security_policy import policy_xml

SUBSCRIPTIONS = {
    '/image': 'sensor_msgs/msg/Image',
    '/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/mask': 'sensor_msgs/msg/Image',
    '/wheel_odom': 'nav_msgs/msg/Odometry',
    '/pose_hint': 'geometry_msgs/msg/PoseWithCovarianceStamped',
    '/set_pose': 'geometry_msgs/msg/PoseWithCovarianceStamped',
    '/tf': 'tf2_msgs/msg/TFMessage',
    '/tf_static': 'tf2_msgs/msg/TFMessage',
}
PUBLISHERS = {
    '/odom': 'nav_msgs/msg/Odometry',
    '/pose': 'geometry_msgs/msg/PoseWithCovarianceStamped',
    '/path': 'nav_msgs/msg/Path',
    '/depth/image': 'sensor_msgs/msg/Image',
    '/depth/colored': 'sensor_msgs/msg/Image',
    '/depth/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/confidence/image': 'sensor_msgs/msg/Image',
    '/rgb/image': 'sensor_msgs/msg/Image',
    '/rgb/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/scan': 'sensor_msgs/msg/LaserScan',
    '/points': 'sensor_msgs/msg/PointCloud2',
    '/map/points': 'sensor_msgs/msg/PointCloud2',
    '/map/pose': 'geometry_msgs/msg/PoseWithCovarianceStamped',
    '/map/path': 'nav_msgs/msg/Path',
    '/status': 'diagnostic_msgs/msg/DiagnosticArray',
    '/diagnostics': 'diagnostic_msgs/msg/DiagnosticArray',
    '/tf': 'tf2_msgs/msg/TFMessage',
    '/mem3r/transition_event': 'lifecycle_msgs/msg/TransitionEvent',
}
SERVICES = {
    f'/mem3r/{name}': 'std_srvs/srv/Trigger'
    for name in (
        'reset',
        'pause',
        'resume',
        'set_pose',
        'set_distance',
        'save_state',
        'load_state',
        'save_trajectory',
        'save_map',
    )
}
# The node's own parameters; those of tracking.* belong to the tracker and are only counted on
# to exist by group.
PARAMETERS = {
    'model',
    'device',
    'dtype',
    'execution',
    'pipelined',
    'num_threads',
    'warm_up_size',
    'autostart',
    'image_transport',
    'input_policy',
    'mount',
    'odom_frame',
    'base_frame',
    'map_frame',
    'outside_frame',
    'publish_tf',
    'initial_base_pose',
    'two_d_mode',
    'transform_time_offset',
    'wait_for_transform',
    'when_lost',
    'publish_odom',
    'publish_depth',
    'publish_points',
    'image_qos',
    'camera_info_qos',
    'odom_qos',
    'depth_qos',
    'points_qos',
    'map_qos',
    'output_directory',
    'input.queue_size',
    'input.max_pixels',
    'input.max_rate',
    'input.camera_frame',
    'input.camera_info_wait',
    'input.mask_max_age',
    'input.mask_file',
    'input.mask_border',
    'input.time_jump',
    'depth.invalid_value',
    'scan.rows',
    'scan.range_min',
    'scan.range_max',
    'scan.frame',
    'path.rate',
    'path.max_poses',
    'path.trajectory_max_poses',
    'map.accumulate',
    'map.voxel_size',
    'map.max_points',
    'map.rate',
    'map.transform_tolerance',
    'diagnostics.rate',
    'diagnostics.silence',
}
TRACKING = {
    'tracking.update_rule',
    'tracking.reset_interval',
    'tracking.cloud.stride',
    'tracking.cloud.max_depth_m',
    'tracking.cloud.edge_ratio',
    'tracking.depth.resolution',
    'tracking.depth.min_confidence',
    'tracking.depth.max_range_m',
    'tracking.scale.source',
    'tracking.scale.factor',
    'tracking.scale.camera_height_m',
    'tracking.stillness.enabled',
    'tracking.health.max_speed',
    'tracking.health.max_turn_rate',
    'tracking.health.lost_after_s',
    'tracking.places.enabled',
    'tracking.places.max_places',
}


def of_node(pairs):
    names = dict(pairs)
    hidden = ('/rosout', '/parameter_events', '/clock')
    return {name: kinds[0] for name, kinds in names.items() if name not in hidden}


def in_graph(query, names, namespace='/', timeout_s=10.0):
    """Ask until all names are there: the graph learns of them a moment after they are made."""
    end = time.monotonic() + timeout_s
    while True:
        found = of_node(query('mem3r', namespace))
        if found.keys() >= set(names) or time.monotonic() > end:
            return found
        time.sleep(0.05)


def test_topics_have_the_names_and_types_that_users_rely_on(start_node):
    node = start_node(mount='tf')

    received = in_graph(node.get_subscriber_names_and_types_by_node, SUBSCRIPTIONS)
    sent = in_graph(node.get_publisher_names_and_types_by_node, PUBLISHERS)

    assert received == SUBSCRIPTIONS
    assert sent == PUBLISHERS


def test_compressed_transport_listens_to_the_usual_topic(start_node):
    node = start_node(image_transport='compressed')

    received = in_graph(node.get_subscriber_names_and_types_by_node, ['/image/compressed'])

    assert received['/image/compressed'] == 'sensor_msgs/msg/CompressedImage'
    assert '/image' not in received


def test_services_have_the_names_and_types_that_users_rely_on(start_node):
    node = start_node()

    offered = in_graph(
        node.get_service_names_and_types_by_node, [*SERVICES, '/mem3r/change_state']
    )

    assert SERVICES.items() <= offered.items()
    assert '/mem3r/change_state' in offered


def test_parameters_have_the_names_that_users_rely_on(start_node):
    node = start_node(autostart=False)

    names = set(node.get_parameters_by_prefix(''))
    own = {name for name in names if not name.startswith('tracking.')}

    # What ROS itself adds differs between distributions.
    added = {'use_sim_time', 'start_type_description_service'}
    assert {name for name in own - added if not name.startswith('qos_overrides')} == PARAMETERS
    assert names >= TRACKING


def test_a_namespace_moves_everything_but_tf_and_diagnostics(start_node, make_node, spin_until):
    node = start_node(remappings=('__ns:=/robot1',))

    sent = in_graph(node.get_publisher_names_and_types_by_node, ['/robot1/odom', '/tf'], '/robot1')

    assert '/robot1/odom' in sent
    assert all(name.startswith('/robot1/') for name in sent if name not in ('/tf', '/diagnostics'))
    state = call(make_node('asker'), spin_until, GetState, '/robot1/mem3r/get_state')
    assert state.current_state.label == 'active'


def test_the_shipped_parameter_file_is_the_code_s_defaults(repository_dir):
    text = (repository_dir / 'config' / 'default.yaml').read_text(encoding='utf-8')

    assert text == default_yaml(), 'run: python -m mem3r_ros.ros.parameters'
    assert set(yaml.safe_load(text)) == {'/**'}


def test_the_table_in_the_docs_is_the_code_s_defaults(repository_dir):
    text = (repository_dir / 'docs' / 'ros.md').read_text(encoding='utf-8')

    table = text.partition(TABLE_BEGIN)[2].partition(TABLE_END)[0].strip()

    assert table == parameter_table().strip(), 'run: python -m mem3r_ros.ros.parameters'


def test_other_parameter_files_hold_only_lines_that_differ(repository_dir):
    defaults = flat(yaml.safe_load(default_yaml())['/**']['ros__parameters'])

    for name in ('indoor.yaml', 'outdoor.yaml'):
        text = (repository_dir / 'config' / name).read_text(encoding='utf-8')
        chosen = flat(yaml.safe_load(text)['/**']['ros__parameters'])
        assert chosen.keys() <= defaults.keys()
        assert not [key for key, value in chosen.items() if value == defaults[key]]


def test_every_test_that_the_docs_name_exists(repository_dir):
    text = (repository_dir / 'docs' / 'ros.md').read_text(encoding='utf-8')
    demands = text.partition('## What users of such nodes ask for')[2]

    file = ''
    for name, test in re.findall(r'`(test_\w+\.py)?(?:::(test_\w+))?`', demands):
        file = name or file
        found = [*repository_dir.glob(f'test/{file}'), *repository_dir.glob(f'test/ros/{file}')]
        assert found or not file, f'{file} is not there'
        assert not test or f'def {test}(' in found[0].read_text(encoding='utf-8'), test


def flat(tree, prefix=''):
    found = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f'{prefix}{name}.')
        else:
            found[prefix + name] = value
    return found


# The SROS 2 policy allows what the node needs, and nothing else.

ROOT = Path(__file__).resolve().parents[2]
OF_EVERY_NODE = {'/rosout', '/parameter_events', '/clock'}


def allowed(group, action):
    root = ElementTree.fromstring(policy_xml())
    (element,) = root.findall(f".//{group}[@{action}='ALLOW']")
    names = [child.text for child in element]
    assert len(names) == len(set(names))
    return {name.replace('~/', '/mem3r/') if name[0] in '~/' else f'/{name}' for name in names}


def test_the_node_may_use_its_topics_and_no_others():
    optional_in = {'/image/compressed', *OF_EVERY_NODE, '/tf', '/tf_static'}
    optional_out = {*OF_EVERY_NODE, '/tf_static'}

    subscribed, published = allowed('topics', 'subscribe'), allowed('topics', 'publish')

    assert set(SUBSCRIPTIONS) <= subscribed <= set(SUBSCRIPTIONS) | optional_in
    assert set(PUBLISHERS) <= published <= set(PUBLISHERS) | optional_out


def test_the_node_may_answer_its_services():
    own = {name for name in allowed('services', 'reply') if not name.endswith('parameters')}

    assert set(SERVICES) <= own


def test_the_shipped_policy_is_the_generated_one():
    text = (ROOT / 'config' / 'sros2_policy.xml').read_text(encoding='utf-8')

    assert text.partition('\n')[2] == policy_xml()
