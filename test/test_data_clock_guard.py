# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A clock that is set back costs no image; a single stamp that goes back is not believed."""

import numpy as np
import pytest

from mem3r_ros.data.clock_guard import ClockGuard
from mem3r_ros.data.sequence import SequenceFrame

MS = 1_000_000


def run(stamps_ms):
    """Return the stamps that come out, in ms, and the guard."""
    guard = ClockGuard()
    frames = [
        SequenceFrame(s * MS, np.full((1, 1, 3), i % 256, np.uint8))
        for i, s in enumerate(stamps_ms)
    ]
    passed = [frame for given in frames for frame in guard.passed(given)]
    passed += guard.rest()
    assert sorted(int(f.image[0, 0, 0]) for f in passed) == list(range(len(frames)))
    return [frame.stamp_ns // MS for frame in passed], guard


@pytest.mark.fault('a clock that is set back in mid-recording', 'time goes on, no image is lost')
@pytest.mark.parametrize('back_ms', [500, 5000, 3_600_000])
def test_time_goes_on_after_a_clock_was_set_back(back_ms):
    stamps = [10_000_000 + 100 * i for i in range(5)]
    later = [stamps[-1] + 100 - back_ms + 100 * i for i in range(5)]
    found, guard = run(stamps + later)
    assert found == [10_000_000 + 100 * i for i in range(10)]
    assert len(guard.jumps) == 1 and 'was set back by' in guard.sentences()[0]


@pytest.mark.fault('one image stamp that goes back', 'that image alone is refused')
@pytest.mark.parametrize('wrong', [0, 5000, 9_999_000])
def test_a_single_stamp_that_goes_back_is_not_believed(wrong):
    stamps = [10_000_000 + 100 * i for i in range(6)]
    found, guard = run([*stamps[:3], wrong, *stamps[3:]])
    assert found == [*stamps[:3], wrong, *stamps[3:]]
    assert not guard.jumps


@pytest.mark.fault('one image stamp far ahead', 'the images after it are not hidden')
def test_a_single_stamp_far_ahead_hides_nothing():
    found, guard = run([0, 100, 10**9, 200, 300, 400, 500])
    assert found[3:] == [10**9 + 100 * i for i in range(1, 5)]
    assert len(guard.jumps) == 1


@pytest.mark.fault('images out of order, or a stamp that comes twice', 'refused singly')
@pytest.mark.parametrize('stamps', [[0, 100, 200, 150, 300], [0, 100, 300, 200, 400], [0, 0, 100]])
def test_images_out_of_order_move_nothing(stamps):
    assert run(stamps)[0] == stamps


def test_a_clock_may_be_set_back_twice():
    found, guard = run([1000, 1100, 1200, 0, 100, 200, -5000, -4900])
    assert found == [1000 + 100 * i for i in range(8)]
    assert len(guard.jumps) == 2


def test_a_held_image_comes_out_at_the_end():
    assert run([1000, 1100, 1200, 0])[0] == [1000, 1100, 1200, 0]
