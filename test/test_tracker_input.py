# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Validation: bad input is counted, reported at most once a second, and rejected."""

from dataclasses import replace

import cv2
import numpy as np
from oracle import FRAME_NS, OracleNetwork, moving_scene, position_error, run
import pytest
import tiny_networks

from mem3r_ros.camera import Intrinsics
from mem3r_ros.model import ModelConfig
from mem3r_ros.tracker import BadFrame, CameraFrame, Status, Tracker
from mem3r_ros.tracker.config import InputConfig
from mem3r_ros.tracker.frame_validation import FrameValidation
from mem3r_ros.tracker.image_preparation import Preparation

SCENE = moving_scene()


def started():
    oracle = OracleNetwork(SCENE)
    tracker = Tracker(oracle)
    run(tracker, oracle, range(10))
    oracle.now = 10
    return tracker, oracle


def goes_on(tracker, oracle):
    """Check that the next frame is tracked correctly."""
    tracked = run(tracker, oracle, [11])[0]
    assert tracked.status is Status.TRACKING
    assert position_error(tracked, SCENE.T_odom_camera(11)) < 1e-6
    return tracked


USELESS = {
    'wrong size': np.zeros((24, 32, 3), np.uint8),
    'not finite': np.full((48, 64, 3), np.nan, np.float32),
    'not an image': np.zeros((48, 64, 2), np.uint8),
}


@pytest.mark.parametrize('reason', sorted(USELESS))
def test_an_unusable_image_is_rejected_and_counted_and_the_stream_continues(reason):
    tracker, oracle = started()

    with pytest.raises(BadFrame):
        tracker.track(CameraFrame(11 * FRAME_NS, USELESS[reason]))

    assert goes_on(tracker, oracle).health.counts == {reason: 1}


@pytest.mark.parametrize(
    'image', [None, 'text', np.zeros(5), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), int)]
)
def test_an_input_that_is_not_an_image_is_rejected(image):
    tracker, oracle = started()

    with pytest.raises(BadFrame):
        tracker.track(CameraFrame(11 * FRAME_NS, image))

    goes_on(tracker, oracle)


@pytest.mark.parametrize(
    ('stamp_ns', 'reason'), [(10 * FRAME_NS, 'repeated stamp'), (FRAME_NS, 'backward stamp')]
)
def test_repeated_and_backward_stamps_are_rejected(stamp_ns, reason):
    tracker, oracle = started()

    with pytest.raises(BadFrame, match='stamp'):
        tracker.track(SCENE.frame(10, stamp_ns))

    assert goes_on(tracker, oracle).health.counts == {reason: 1}


def test_a_black_image_gives_an_extrapolated_pose_and_no_depth():
    tracker, oracle = started()

    tracked = tracker.track(CameraFrame(11 * FRAME_NS, np.zeros((48, 64, 3), np.uint8)))

    assert tracked.status is Status.DEGRADED
    assert tracked.reason.startswith('dark')
    assert tracked.depth is None
    assert tracked.points is None
    goes_on(tracker, oracle)


def test_a_stream_may_start_with_a_black_image():
    oracle = OracleNetwork(SCENE)
    tracker = Tracker(oracle)

    first = tracker.track(CameraFrame(1, np.zeros((48, 64, 3), np.uint8)))

    assert first.status is Status.INITIALISING
    assert run(tracker, oracle, range(3))[-1].status is Status.TRACKING


def test_a_mask_of_the_wrong_shape_is_ignored():
    tracker, oracle = started()

    tracked = tracker.track(SCENE.frame(10, mask=np.ones((5, 5), bool)))

    assert 'mask' in tracked.notice
    assert tracked.health.counts == {'mask of wrong shape': 1}
    assert np.isfinite(tracked.depth).all()
    goes_on(tracker, oracle)


def test_a_calibration_of_another_size_is_scaled_to_the_image():
    tracker, oracle = started()
    full = SCENE.camera.resized(640, 480)

    tracked = tracker.track(SCENE.frame(10, camera=full))

    assert tracked.ignored == {}
    assert tracked.health.counts == {}
    assert tracked.intrinsics.fx == pytest.approx(SCENE.camera.fx)
    goes_on(tracker, oracle)


def test_a_calibration_of_another_aspect_ratio_is_ignored():
    tracker, oracle = started()
    camera = Intrinsics(500.0, 500.0, 320.0, 180.0, 640, 360)

    tracked = tracker.track(SCENE.frame(10, camera=camera))

    assert 'calibration' in tracked.notice
    assert tracked.ignored == {'camera': 'is for 640x360, the image is 64x48'}
    assert tracked.health.counts == {'calibration of another size': 1}
    assert tracked.intrinsics.fx == pytest.approx(SCENE.camera.fx, rel=0.01)  # estimated
    goes_on(tracker, oracle)


def test_notices_come_at_most_once_a_second():
    tracker, _ = started()
    num_notices = 0
    for index in range(40):
        tracked = tracker.track(
            SCENE.frame(10, (11 + index) * FRAME_NS, mask=np.ones((5, 5), bool))
        )
        num_notices += bool(tracked.notice)

    assert num_notices == 4
    assert tracked.health.counts == {'mask of wrong shape': 40}


def test_a_lasting_change_of_the_image_size_is_accepted():
    tracker, oracle = started()
    refused = 0
    for index in range(10, 30):
        oracle.now = index
        image = np.repeat(np.repeat(SCENE.images[index], 2, axis=0), 2, axis=1)
        try:
            tracked = tracker.track(CameraFrame((index + 1) * FRAME_NS, image))
        except BadFrame:
            refused += 1

    assert refused == 9
    assert tracked.status is Status.TRACKING
    assert tracked.segment == 1


def grey_16_bit(image):
    return image[..., 0].astype(np.uint16) << 4


@pytest.mark.parametrize(
    'change',
    [
        lambda image: image[..., 0],
        lambda image: image[..., :1],
        lambda image: np.concatenate([image, image[..., :1]], axis=2),
        grey_16_bit,
        lambda image: (image / 255).astype(np.float32),
        lambda image: image[:, ::-1][:, ::-1],
    ],
    ids=['grey', 'one channel', 'alpha', '12 in 16 bits', 'float', 'not contiguous'],
)
def test_other_image_types_are_accepted(change):
    oracle = OracleNetwork(SCENE)
    tracker = Tracker(oracle)
    for index in range(5):
        oracle.now = index
        frame = replace(SCENE.frame(index), image_rgb_uint8=change(SCENE.images[index]))
        tracked = tracker.track(frame)

    assert tracked.status is Status.TRACKING
    assert tracked.colours.std() > 20


@pytest.mark.parametrize('size', [(48, 64), (50, 50), (63, 47), (101, 33), (31, 64)])
def test_portrait_square_and_odd_sizes_are_accepted(size):
    from mem3r_ros.model import ModelConfig, build_model

    model = build_model(ModelConfig.preset('mem3r-tiny')).eval()
    image = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    camera = Intrinsics(50.0, 50.0, size[0] / 2, size[1] / 2, *size)

    tracked = Tracker(model).track(CameraFrame(1, image, camera))

    height, width = tracked.depth.shape
    assert (tracked.intrinsics.width, tracked.intrinsics.height) == (width, height)
    assert len(tracked.points) > 0


def textured(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def test_the_flow_image_is_finer_than_the_network_input_and_masked():
    mask = np.zeros((480, 640), np.uint8)
    mask[:, :320] = 1
    accepted = FrameValidation().check(CameraFrame(0, textured(640, 480), mask=mask))

    prepared = Preparation(ModelConfig.preset('mem3r-tiny')).prepare(accepted, InputConfig())

    assert prepared.small.shape == (96, 128, 3)
    assert prepared.fine_gray.shape == (192, 256)
    assert prepared.fine_gray[:, :128].std() == 0
    assert prepared.fine_gray[:, 128:].std() > 5


def test_a_network_without_flow_gets_no_flow_image():
    accepted = FrameValidation().check(CameraFrame(0, textured(640, 480)))

    prepared = Preparation(ModelConfig.preset('mem3r-512-dpt')).prepare(accepted, InputConfig())

    assert prepared.fine_gray is None


def test_the_tracker_passes_the_flow_image_to_the_network(monkeypatch):
    model, given = tiny_networks.network('small'), []
    step = model.step

    def watched(frame, *args, **kwargs):
        given.append(frame.fine_gray)
        return step(frame, *args, **kwargs)

    monkeypatch.setattr(model, 'step', watched)
    Tracker(model).track(CameraFrame(0, textured(96, 64)))

    assert given[0].shape == (1, 64, 96)
    grey = cv2.cvtColor(textured(96, 64), cv2.COLOR_RGB2GRAY)
    assert np.array_equal(given[0][0].numpy(), grey)
