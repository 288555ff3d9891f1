# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Images that cannot be of the same moving camera are not used, and the reason is named."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
import itertools
import threading

import cv2
import numpy as np
from oracle import FRAME_NS, OracleNetwork, position_error, rendered_scene
import pytest

from mem3r_ros.helper_threads import Job
from mem3r_ros.tracker import CameraFrame, Status, Tracker, image_continuity
from mem3r_ros.tracker.config import HealthConfig
from mem3r_ros.tracker.feature_continuity import show_one_scene
from mem3r_ros.tracker.image_continuity import ImageContinuity

SIZE = (192, 144)
GOOD = 14  # frames before the trouble
GOOD_STATUSES = (Status.INITIALISING, Status.TRACKING)
BAD = 8
MOVING_WORLDS = (0, 3, 6)  # the camera moves in them, and the image has texture


def worlds(index):
    return rendered_scene(index, 30, SIZE)


def noise(image, random):
    return random.integers(0, 255, image.shape, dtype=np.uint8)


def shuffled_blocks(image, random, side=24):
    blocks = [
        (y, x) for y in range(0, image.shape[0], side) for x in range(0, image.shape[1], side)
    ]
    result = image.copy()
    for (y, x), other in zip(blocks, random.permutation(len(blocks)), strict=True):
        v, u = blocks[other]
        result[y : y + side, x : x + side] = image[v : v + side, u : u + side]
    return result


def grey_half(image, random):
    result = image.copy()
    result[len(image) // 2 :] = 128
    return result


def repeated_row(image, random):
    result = image.copy()
    result[len(image) // 2 :] = result[len(image) // 2]
    return result


def noisy_half(image, random):
    result = image.copy()
    result[len(image) // 2 :] = random.integers(0, 255, result[len(image) // 2 :].shape)
    return result


def wrong_bytes(image, random):
    data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].ravel()
    data[random.integers(len(data) // 4, len(data) - 2, 40)] = random.integers(0, 255, 40)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return noise(image, random) if decoded is None else decoded


def follow(scene, damage, first=GOOD, count=BAD, after=6):
    """Track good images, damaged ones, and good ones again."""
    random, oracle = np.random.default_rng(1), OracleNetwork(scene, shrink=3)
    tracker, tracked = Tracker(oracle), []
    for index in range(first + count + after):
        oracle.now = index
        image = scene.images[index]
        if first <= index < first + count:
            image = damage(image, random)
        frame = CameraFrame((index + 1) * FRAME_NS, image, scene.camera)
        tracked.append(tracker.track(frame))
    return tracked


@pytest.mark.parametrize(
    'damage',
    [noise, shuffled_blocks, grey_half, repeated_row, noisy_half, wrong_bytes],
    ids=lambda damage: damage.__name__,
)
@pytest.mark.parametrize('index', MOVING_WORLDS)
def test_damaged_images_are_not_tracked(index, damage):
    tracked = follow(worlds(index), damage)
    during = tracked[GOOD : GOOD + BAD]

    assert all(frame.status in GOOD_STATUSES for frame in tracked[2:GOOD])
    assert sum(frame.status is Status.TRACKING for frame in during) <= 2
    words = ('unrelated', 'damaged')
    assert all(any(word in frame.reason for word in words) for frame in during[2:])
    assert tracked[-1].status is Status.TRACKING


@pytest.mark.parametrize('index', MOVING_WORLDS)
def test_pose_does_not_jump_when_images_are_good_again(index):
    scene = worlds(index)
    tracked = follow(scene, noise, count=4)
    steps = [
        float(np.linalg.norm(b.T_odom_camera[:3, 3] - a.T_odom_camera[:3, 3]))
        for a, b in itertools.pairwise(tracked)
    ]
    true_steps = np.linalg.norm(np.diff(scene.T_world_camera[:, :3, 3], axis=0), axis=1)

    assert max(steps) < 3 * true_steps.max() + 0.02
    covariance = [np.trace(frame.covariance) for frame in tracked]
    assert covariance[GOOD + 3] > covariance[GOOD - 1]


def test_one_damaged_image_costs_one_pose():
    scene = worlds(3)
    tracked = follow(scene, noise, count=1)

    assert tracked[GOOD].status is Status.DEGRADED
    assert tracked[GOOD + 1].status is Status.TRACKING
    before, after = (
        position_error(tracked[index], scene.T_odom_camera(index))
        for index in (GOOD - 1, len(tracked) - 1)
    )
    assert after < before + 0.05


def test_a_cut_to_another_scene_starts_a_segment_without_a_jump():
    scene, other = worlds(3), worlds(6)
    oracle = OracleNetwork(scene, shrink=3)
    tracker, tracked = Tracker(oracle), []
    for index in range(26):
        if index == GOOD:
            oracle.scene = other
        oracle.now = index
        frame = CameraFrame((index + 1) * FRAME_NS, oracle.scene.images[index], scene.camera)
        tracked.append(tracker.track(frame))
    is_new = ['another scene' in frame.reason for frame in tracked]
    first = is_new.index(True)

    assert GOOD < first < GOOD + 8
    assert all(frame.status is not Status.TRACKING for frame in tracked[GOOD : first + 1])
    assert tracked[-1].status is Status.TRACKING
    assert tracked[-1].segment > tracked[0].segment


def test_a_frozen_camera_is_noticed_and_one_at_rest_is_not():
    scene = worlds(3)
    oracle = OracleNetwork(scene, shrink=3)
    tracker, at_rest = Tracker(oracle), Tracker(oracle)
    for index in range(GOOD):
        oracle.now = index
        tracker.track(scene.frame(index))
    frozen = [tracker.track(scene.frame(GOOD - 1, (GOOD + k) * FRAME_NS)) for k in range(1, 8)]
    oracle.now = 0
    rest = [at_rest.track(scene.frame(0, (k + 1) * FRAME_NS)) for k in range(12)]

    assert all(frame.status is Status.DEGRADED for frame in frozen[3:])
    assert 'frozen' in frozen[-1].reason
    assert all(frame.status is Status.TRACKING for frame in rest[1:])


def test_noise_from_the_first_image_on_is_never_tracked():
    tracked = follow(worlds(3), noise, first=0, count=12, after=14)

    assert all(frame.status is not Status.TRACKING for frame in tracked[:12])
    assert tracked[-1].status is Status.TRACKING


def test_images_missing_for_a_moment_are_no_other_scene():
    scene = worlds(3)
    oracle = OracleNetwork(scene, shrink=3)
    tracker = Tracker(oracle)
    for index in [*range(GOOD), *range(GOOD + 6, GOOD + 12)]:
        oracle.now = index
        tracked = tracker.track(scene.frame(index))
        assert 'unrelated' not in tracked.reason

    assert tracked.status is Status.TRACKING


@pytest.mark.parametrize('index', range(8))
def test_rendered_worlds_give_no_false_alarm(index):
    scene = worlds(index)
    oracle = OracleNetwork(scene, shrink=3)
    tracker = Tracker(oracle)
    for frame in range(len(scene)):
        oracle.now = frame
        tracked = tracker.track(scene.frame(frame), outputs=())
        assert not any(word in tracked.reason for word in ('unrelated', 'damaged', 'frozen'))


def panned(image, turn, random):
    """Cut a view of 320x240 px out of an image, turned by a part of its width."""
    left = round(turn * 320)
    view = image[:240, left : left + 320].astype(np.float64)
    return (view + random.normal(0, 2, view.shape)).clip(0, 255).astype(np.uint8)


def flaw_after(views, threads=None):
    """Return what is wrong with the last of some views; compare them on threads, if given."""
    continuity, flaw, config = ImageContinuity(), None, HealthConfig()
    for index, view in enumerate(views):
        grey, job = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), None
        if threads is not None:
            job = Job(threads, partial(continuity.compare, grey, None, config))
        flaw = continuity.check(grey, None, index * FRAME_NS, FRAME_NS * 1e-9, config, job)
    return flaw.reason


def test_a_cut_is_found_if_the_helper_thread_has_no_time():
    views = [rendered_scene(3, 8, SIZE).images[k] for k in range(8)]
    views.append(rendered_scene(11, 1, SIZE).images[0])
    is_over = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(is_over.wait)  # no comparison begins there
        try:
            flaw = flaw_after(views, threads)
        finally:
            is_over.set()

    assert 'unrelated' in flaw
    assert flaw == flaw_after(views)


@pytest.mark.parametrize('index', [3, 6])
def test_a_turn_too_fast_for_corners_is_no_other_scene(index, monkeypatch):
    pictures = [rendered_scene(number, 1, (640, 480)).images[0] for number in (index, 11)]
    image = np.hstack(pictures)
    random = np.random.default_rng(0)
    views = [panned(image, turn, random) for turn in (0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.5)]

    assert not flaw_after(views)
    monkeypatch.setattr(image_continuity, 'show_fast_turn', lambda *_: False)
    assert not flaw_after(views)
    monkeypatch.setattr(image_continuity, 'show_one_scene', lambda *_: False)
    assert 'unrelated' in flaw_after(views)


@pytest.mark.parametrize('turn', [0.25, 0.3, 0.35])
def test_a_turn_whose_blur_hides_all_features_is_no_other_scene(turn, monkeypatch):
    image = np.hstack([rendered_scene(number, 1, (640, 480)).images[0] for number in (3, 11)])
    random = np.random.default_rng(0)
    views = [panned(image, at, random) for at in (0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, turn)]
    views[-1] = cv2.blur(views[-1], (15, 1))
    greys = [cv2.cvtColor(view, cv2.COLOR_RGB2GRAY) for view in views]

    assert not show_one_scene(*greys[-2:], None)
    assert not flaw_after(views)
    monkeypatch.setattr(image_continuity, 'show_fast_turn', lambda *_: False)
    assert 'unrelated' in flaw_after(views)


def test_a_fast_turn_that_blurs_the_image_is_no_other_scene():
    image = np.hstack([rendered_scene(number, 1, (640, 480)).images[0] for number in (3, 11)])
    random = np.random.default_rng(0)
    views = [panned(image, turn, random) for turn in (0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.54)]
    views[-1] = cv2.blur(views[-1], (3, 1))

    assert not flaw_after(views)


def test_features_do_not_accept_shuffled_blocks():
    random = np.random.default_rng(0)
    for index in MOVING_WORLDS:
        first, second = (rendered_scene(index, 2, (384, 288)).images[k] for k in (0, 1))
        greys = [cv2.cvtColor(first, cv2.COLOR_RGB2GRAY)] + [
            cv2.cvtColor(make(second, random), cv2.COLOR_RGB2GRAY)
            for make in (shuffled_blocks, noisy_half, noise)
        ]
        assert not any(show_one_scene(greys[0], other, None) for other in greys[1:])
