# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""No number that is not finite or not possible enters the stream, from the network or outside."""

from dataclasses import fields, replace
import math

import numpy as np
from oracle import FRAME_NS, OracleNetwork, moving_scene
import pytest
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.places.record import PlaceRecord
from mem3r_ros.tracker import Status, Tracker, TrackerConfig
from mem3r_ros.tracker.config import ScaleConfig
from mem3r_ros.tracker.snapshot import Snapshot
from mem3r_ros.tracker.state_guard import flaw_of_pose, flaw_of_state, largest_value

SCENE = moving_scene(60)


class Spoiled(OracleNetwork):
    """An oracle whose answers of some steps are changed."""

    def __init__(self, scene, spoil):
        super().__init__(scene)
        self.calls, self._spoil = 0, spoil

    def step(self, *args, **kwargs):
        self.calls += 1
        prediction, state = super().step(*args, **kwargs)
        return self._spoil(self, prediction, state)


def pose_of(value):
    return lambda prediction: replace(
        prediction, T_world_camera=torch.full_like(prediction.T_world_camera, value)
    )


def far(prediction):
    T = prediction.T_world_camera.clone()
    T[:, 0, 3] = 1e30
    return replace(prediction, T_world_camera=T)


def track(network, count, tracker=None, start=0, config=None, **frame):
    tracker = tracker or Tracker(network, config)
    results = []
    for index in range(start, start + count):
        network.now = index
        values = {name: value(index) for name, value in frame.items()}
        results.append(tracker.track(SCENE.frame(index, (index + 1) * FRAME_NS, **values)))
        assert np.isfinite(results[-1].T_odom_camera).all()
        assert np.abs(results[-1].T_odom_camera).max() < 1e3
    return tracker, results


BAD_POSES = [pose_of(math.nan), pose_of(math.inf), pose_of(0.0), far]


@pytest.mark.fault(
    'the network gives a pose that is not finite, no rotation or exploding',
    'never stored or published; the next good frame tracks',
)
@pytest.mark.parametrize('spoil', BAD_POSES)
@pytest.mark.parametrize('call', [1, 2, 10])
def test_a_bad_pose_costs_one_frame(spoil, call):
    network = Spoiled(SCENE, lambda net, p, s: (spoil(p) if net.now == call - 1 else p, s))
    tracker, results = track(network, 20)
    assert results[call - 1].reason.startswith('network gave')
    assert [r.status for r in results[call + 1 :]] == [Status.TRACKING] * (19 - call)
    assert sum(r.reason.startswith('network gave') for r in results) == 1
    assert tracker.snapshot().values['intake.counts']['unusable'] == 1


@pytest.mark.fault(
    'the network gives no finite pose at a segment boundary',
    'the old segment goes on, the event is counted, the next frame tries again',
)
@pytest.mark.parametrize('spoil', BAD_POSES)
def test_a_bad_answer_puts_the_boundary_off(spoil):
    network = Spoiled(SCENE, lambda net, p, s: (spoil(p) if net.calls == 11 else p, s))
    tracker, _ = track(network, 9)
    tracker.request_reset()
    _, results = track(network, 12, tracker, 9)
    assert [r.status for r in results] == [Status.TRACKING] * 12
    assert tracker.snapshot().values['intake.counts']['new segment put off'] == 1
    assert [r.segment for r in results[:3]] == [0, 1, 1]


@pytest.mark.fault(
    'the network gives a depth a million times as large at a segment boundary',
    'the scale of the stream stays',
)
def test_an_absurd_ratio_puts_the_boundary_off():
    def spoil(net, p, s):
        return (replace(p, points_camera=p.points_camera * 1e6) if net.calls == 11 else p), s

    network = Spoiled(SCENE, spoil)
    tracker, _ = track(network, 9)
    tracker.request_reset()
    track(network, 12, tracker, 9)
    assert tracker.snapshot().values['intake.counts']['new segment put off'] == 1
    assert tracker.snapshot().values['segments.scale'] == pytest.approx(1.0, rel=0.2)


class FloatState:
    """A network state of two tensors."""

    def __init__(self, *values):
        self.tensors = {str(i): torch.tensor([0.0, v]) for i, v in enumerate(values)}
        self.tensors['count'] = torch.tensor([5])

    def to_dict(self):
        return self.tensors


@pytest.mark.fault('the network gives a memory that is not finite or exploding', 'never stored')
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, 1e7, -1e30])
def test_a_bad_memory_is_recognised(value):
    assert flaw_of_state(float(largest_value(FloatState(1.0, value)))).startswith('network gave')
    assert not flaw_of_state(float(largest_value(FloatState(1.0, -500.0))))


def test_a_turned_pose_far_on_a_map_is_used():
    T = np.eye(4)
    T[:3, 3] = 5e6
    assert not flaw_of_pose(T)


# Wheel odometry and scale.

WHEEL = TrackerConfig(scale=ScaleConfig(source='wheel'))


def path(index):
    return 0.05 * index  # the scene's camera moves 5 cm from image to image


@pytest.mark.fault(
    'one message of wheel odometry that is absurd',
    'refused and counted; the scale and the tracking stay',
)
@pytest.mark.parametrize('jump_m', [1e6, 1e200, -1e6, math.inf, math.nan, 50.0])
def test_a_jump_of_the_wheels_is_refused(jump_m):
    network = OracleNetwork(SCENE, unit=lambda start: 2.0)
    wheel = lambda index: path(index) + (jump_m if index >= 30 else 0.0)  # noqa: E731
    _, results = track(network, 58, config=WHEEL, wheel_path_m=wheel)
    assert [r.status for r in results[35:]] == [Status.TRACKING] * 23
    assert results[-1].scale == pytest.approx(2.0, rel=0.1)


@pytest.mark.fault(
    'a measured scale that makes every motion implausible',
    'given up when tracking is lost, counted, and measured anew',
)
@pytest.mark.parametrize('source', ['wheel', 'camera_height'])
def test_a_wrong_scale_cannot_block_for_good(source):
    config = TrackerConfig(scale=ScaleConfig(source=source))
    network = OracleNetwork(SCENE)
    tracker, _ = track(network, 5, config=config)
    snapshot = tracker.snapshot()
    snapshot.values['scale.log_votes'] = [math.log(900.0)] * 20
    tracker.restore(snapshot)
    _, results = track(network, 50, tracker, 5)
    assert [r.status for r in results[-10:]] == [Status.TRACKING] * 10
    assert tracker.snapshot().values['notices.counts']['scale'] == 1


# Saved states.


def saved():
    tracker, _ = track(OracleNetwork(SCENE), 12)
    return tracker, tracker.snapshot()


def changed(snapshot, name, value):
    tensors, values = dict(snapshot.tensors), dict(snapshot.values)
    if isinstance(value, torch.Tensor):
        tensors[name] = value
    else:
        tensors.pop(name, None)
        values[name] = value
    return Snapshot(values, tensors)


DAMAGED_VALUES = [
    *(math.nan, math.inf, 1e300, 10**400, None, 'x', 5, True, -1, 'x' * 5000),
    *([], [None], [1e300], [[1]], {}, {'tuple': 5}, {'tuple': ['x', 1]}),
]
DAMAGED_TENSORS = [
    lambda like: torch.full_like(like, float('nan')) if like.is_floating_point() else like[:0],
    lambda like: torch.full_like(like, 1e30) if like.is_floating_point() else like[..., None],
    lambda like: like.reshape(-1)[:1],
    lambda like: like.to(torch.complex64),
    lambda like: like[None],
]


@pytest.mark.fault(
    'a saved state with a field that is damaged in value, type, shape or range',
    'refused as a whole with the name of the field; the stream stays as it was',
)
def test_a_damaged_field_is_refused_or_harmless():
    tracker, snapshot = saved()
    before = tracker.snapshot()
    num_refused = 0
    for name in (*snapshot.values, *snapshot.tensors):
        damages = DAMAGED_VALUES
        if name in snapshot.tensors:
            damages = [damage(snapshot.tensors[name]) for damage in DAMAGED_TENSORS]
        for damage in damages:
            stream = Tracker(OracleNetwork(SCENE))
            try:
                stream.restore(changed(snapshot, name, damage))
            except UserError as error:
                num_refused += 1
                assert len(str(error)) < 400
                continue
            track(stream.model, 2, stream, 12)
    assert num_refused > 300
    after = tracker.snapshot()
    assert after.values == before.values


def test_every_field_of_a_stage_has_a_known_shape_or_type():
    tracker, snapshot = saved()
    tracker.restore(snapshot)
    stages = tracker._stream._stages(PlaceRecord())
    names = {f'{p}.{item.name}' for p, stage in stages.items() for item in fields(stage)}
    assert {n for n in snapshot.tensors if '/' not in n} <= names


@pytest.mark.fault('a saved state whose values are no JSON', 'one sentence')
@pytest.mark.parametrize('text', [b'{', b'[]', b'5', b'{"a": NaN}', b'[' * 5000])
def test_values_that_are_no_json_are_one_sentence(tmp_path, text):
    tracker, _ = saved()
    path = tmp_path / 'state'
    tracker.snapshot(path)
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(str(path), 'pt') as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {**metadata, 'values': text.decode()})
    with pytest.raises(UserError, match='values'):
        tracker.restore(path)


@pytest.mark.fault(
    'the network gives depth that is not finite or absurd', 'never published; the pose goes on'
)
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, 1e30, -1e30, 0.0])
def test_bad_depth_is_never_published(value):
    def spoil(net, p, s):
        if net.now == 10:
            points = torch.full_like(p.points_camera, value)
            p = replace(p, points_camera=points)
        return p, s

    _, results = track(Spoiled(SCENE, spoil), 20)
    bad = results[10]
    known = bad.depth[np.isfinite(bad.depth)]
    assert known.size == 0 or (known.min() > 0 and known.max() < 1e3)
    assert np.isfinite(bad.points).all() and np.abs(bad.points).max(initial=0.0) < 1e3
    assert [r.status for r in results[11:]] == [Status.TRACKING] * 9
    assert results[-1].depth[np.isfinite(results[-1].depth)].size > 0
