# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Results of a run: files with the right figures, and self-contained pages."""

from html.parser import HTMLParser
import json
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.ply import read_ply, write_ply
from mem3r_ros.errors import UserError
from mem3r_ros.reports import RunRecorder
from mem3r_ros.reports.balance import Balance
from mem3r_ros.reports.cloud_view import cloud_view, confident, without_outliers
from mem3r_ros.reports.depth_pictures import DepthRange, colour_depth, millimetres
from mem3r_ros.reports.moments import moments
from mem3r_ros.reports.plots import Curve, curves_svg
from mem3r_ros.reports.result import StripFrame
from mem3r_ros.reports.training_page import write_training_page
from mem3r_ros.trajectory import Trajectory, read_tum

CAMERA = Intrinsics(20.0, 20.0, 15.5, 11.5, 32, 24)


def pose(index):
    T = np.eye(4)
    T[:3, 3] = 0.1 * index, 0.02 * index**2, 0.0
    return T


def record(folder, num_frames=12, **options):
    """Record a camera that moves along a bow over a plane 2 m away."""
    recorder = RunRecorder(folder, title='a <test> & run', source='made up', **options)
    depth_m = np.full((24, 32), 2.0, np.float32)
    depth_m[0] = np.nan
    for index in range(num_frames):
        recorder.add(
            index * 100_000_000,
            pose(index),
            depth_m=depth_m,
            intrinsics=CAMERA,
            image=np.full((24, 32, 3), index % 256, np.uint8),
            points=np.random.default_rng(index).uniform(-1, 1, (50, 3)).astype(np.float32),
            colours=np.full((50, 3), 200, np.uint8),
            status='initialising' if index < 2 else 'tracking',
            timings_ms={'network': 5.0 + index, 'total': 7.0 + index},
            true_depth_m=np.full((24, 32), 2.2, np.float32),
            camera=CAMERA,
        )
    return recorder


def truth(num_frames=12):
    return Trajectory(
        np.arange(num_frames) * 100_000_000, np.stack([pose(i) for i in range(num_frames)])
    )


class Page(HTMLParser):
    """Collects what a page would load and what it says."""

    def __init__(self, text):
        super().__init__()
        self.links, self.open, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ('meta', 'img', 'path', 'use', 'br', 'link'):
            self.open.append(tag)
        self.links += [value for name, value in attributes if name in ('src', 'href', 'data')]

    def handle_endtag(self, tag):
        if tag in self.open:
            self.open.reverse()
            self.open.remove(tag)
            self.open.reverse()

    def handle_data(self, data):
        self.words.append(data)


def test_a_run_writes_all_its_files(tmp_path):
    result = record(tmp_path, config={'tracking': {'update_rule': 'ttt3r'}}).finish(truth=truth())

    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        'trajectory.txt', 'depth', 'depth.txt', 'map.ply', 'index.html', 'config.yaml',
        'summary.json', 'truth.txt', '.mem3r_run',
    }  # fmt: skip
    np.testing.assert_allclose(
        read_tum(tmp_path / 'trajectory.txt').positions, truth().positions, atol=1e-6
    )
    assert len(list((tmp_path / 'depth').iterdir())) == 12
    assert len(read_ply(tmp_path / 'map.ply')[0]) == len(result.points) > 100
    assert result.error.ate_sim3_rmse_m < 1e-6


def test_depth_files_are_millimetres_with_a_list_of_their_stamps(tmp_path):
    record(tmp_path, num_frames=2).finish()

    stored = cv2.imread(str(tmp_path / 'depth' / '000001.png'), cv2.IMREAD_UNCHANGED)

    assert stored.dtype == np.uint16
    assert (stored[1:] == 2000).all() and (stored[0] == 0).all()
    assert (tmp_path / 'depth.txt').read_text().splitlines() == [
        '0.000000000 depth/000000.png',
        '0.100000000 depth/000001.png',
    ]


def test_uncertain_depth_is_0_and_far_depth_the_largest_value():
    depth_m = np.array([[np.nan, 1.2344, 65.5, 100.0, np.inf, -1.0]])

    assert millimetres(depth_m).tolist() == [[0, 1234, 65500, 65535, 65535, 0]]


def test_the_summary_holds_numbers_with_units_and_null_where_unknown(tmp_path):
    record(tmp_path).finish(num_skipped=3, num_images=15, wall_time_s=3.0, notes=['Be careful.'])

    summary = json.loads((tmp_path / 'summary.json').read_text())

    assert summary['rate_hz'] == 5.0 and summary['num_skipped'] == 3
    assert summary['trajectory_error'] is None
    assert summary['depth_error']['abs_rel'] == pytest.approx(0.0, abs=1e-6)
    assert summary['timing']['total']['max_ms'] == 18.0
    assert summary['status'] == 'initialising 2 > tracking 10'
    assert summary['notes'] == ['Be careful.']


def test_the_page_is_complete_and_loads_no_other_file(tmp_path):
    record(tmp_path).finish(truth=truth(), notes=['Rendered images.'])

    text = (tmp_path / 'index.html').read_text()
    page = Page(text)

    assert all(link.startswith(('data:image/', '#')) for link in page.links), page.links
    assert page.open == []
    assert 'a &lt;test&gt; &amp; run' in text and '<test>' not in text
    assert 'Rendered images.' in page.words
    assert len(text) < 1_000_000


def test_a_page_can_be_made_of_a_single_pose(tmp_path):
    recorder = RunRecorder(tmp_path, title='one')
    recorder.add(5, np.eye(4))

    recorder.finish(truth=truth())

    assert 'No trajectory error: only 1 of 1 poses' in (tmp_path / 'index.html').read_text()


@pytest.mark.parametrize('step_m', [0.0, 1e-4])
def test_a_path_without_motion_is_drawn_without_warnings(tmp_path, caplog, step_m):
    recorder = RunRecorder(tmp_path, title='still')
    for index in range(5):
        T = np.eye(4)
        T[:3, 3] = step_m * (index % 2)
        recorder.add(index * 100_000_000, T)

    recorder.finish()

    assert caplog.messages == []


def test_a_run_without_any_pose_is_an_error(tmp_path):
    with pytest.raises(UserError, match='the run gave no pose at all'):
        RunRecorder(tmp_path, title='none').finish()


def test_points_wait_for_the_pose_of_their_stamp(tmp_path):
    recorder = RunRecorder(tmp_path, title='messages')
    recorder.add_points(7, np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8))
    recorder.add_pose(6, np.eye(4))
    recorder.add_pose(7, pose(10))

    result = recorder.finish()

    np.testing.assert_allclose(result.points, [[1.0, 2.0, 0.0]], atol=1e-6)


def test_memory_does_not_grow_with_points_depth_and_images(tmp_path):
    recorder = record(tmp_path, num_frames=300, max_points=500, depth_every=0, strip_length=3)

    result = recorder.finish()

    assert len(result.points) <= 500
    assert len(result.strip) == 3
    assert len(recorder._strip) <= 12
    assert len(recorder._recent_images) <= 64
    assert not list((tmp_path / 'depth').iterdir())


def test_the_strip_shows_moments_from_the_beginning_to_the_end(tmp_path):
    result = record(tmp_path, num_frames=200, depth_every=0, strip_length=4).finish()

    stamps_s = [frame.stamp_ns * 1e-9 for frame in result.strip]
    assert stamps_s[0] == 0.0 and stamps_s[-1] > 18.0
    assert np.diff(stamps_s).min() > 4.0


def test_an_old_run_in_the_folder_is_replaced(tmp_path):
    record(tmp_path, num_frames=5).finish()
    record(tmp_path, num_frames=3).finish()

    assert len(list((tmp_path / 'depth').iterdir())) == 3
    assert len((tmp_path / 'depth.txt').read_text().splitlines()) == 3


def test_an_interrupted_run_in_the_folder_is_replaced(tmp_path):
    record(tmp_path, num_frames=5)
    record(tmp_path, num_frames=3).finish()

    assert len(list((tmp_path / 'depth').iterdir())) == 3


def test_a_run_of_a_version_without_marker_is_replaced(tmp_path):
    record(tmp_path, num_frames=5).finish()
    (tmp_path / '.mem3r_run').unlink()

    record(tmp_path, num_frames=3).finish()

    assert len(list((tmp_path / 'depth').iterdir())) == 3


@pytest.mark.parametrize(
    'name',
    ['depth/000000.png', 'depth.txt', 'config.yaml', 'index.html', 'summary.json', 'run.rrd'],
)
def test_files_that_are_not_of_a_run_are_never_removed(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('[]')

    with pytest.raises(UserError, match=r'another kind .* choose another folder for --output'):
        RunRecorder(tmp_path, title='x')

    assert (tmp_path / name).read_text() == '[]'
    assert not (tmp_path / '.mem3r_run').exists()


def test_a_folder_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / 'file').write_text('in the way')

    with pytest.raises(UserError, match=r'cannot write to .*file'):
        RunRecorder(tmp_path / 'file' / 'output', title='x')


def test_near_far_uncertain_and_beyond_range_have_different_colours():
    depth_m = np.array([[1.0, 4.0, np.nan, np.inf, 0.0]], np.float32)

    colours = colour_depth(depth_m, DepthRange(1.0, 4.0))[0].astype(int)

    assert colours[0].sum() > colours[1].sum() + 300
    assert colours[2].tolist() == colours[4].tolist() == [222, 226, 230]
    assert colours[3].tolist() == [190, 205, 224]


@pytest.mark.parametrize(
    ('limits', 'wanted'),
    [
        ((1.6, 2.7), ['1.8', '2', '2.2', '2.4', '2.6']),
        ((3.0, 9.0), ['4', '5', '6', '7', '8']),
        ((0.9, 11.0), ['1', '1.5', '2', '3', '4', '5', '7', '10']),
        ((0.1, 100.0), ['0.15', '0.3', '0.5', '1', '2', '4', '7', '15', '30', '50']),
    ],
)
def test_the_ticks_of_the_depth_bar_are_round_and_inside(limits, wanted):
    labels = [label for _, label in DepthRange(*limits).ticks()]
    positions = [position for position, _ in DepthRange(*limits).ticks()]

    assert labels == wanted
    assert positions[0] > 0 and positions[-1] < 100
    assert positions == sorted(positions)


def test_packed_points_are_within_a_step_of_the_true_ones():
    import base64

    points = np.random.default_rng(0).normal(0, 2, (1000, 3)).astype(np.float32)
    view = cloud_view(points, np.zeros((1000, 3), np.uint8), np.zeros((1, 3)))
    packed = view.packed()

    steps = np.frombuffer(base64.b64decode(packed['points']), '<i2').reshape(-1, 3)
    np.testing.assert_allclose(
        steps * packed['step'] + view.centre, view.points, atol=packed['step']
    )


def test_a_huge_cloud_is_thinned_and_drawn():
    points = np.random.default_rng(0).uniform(-5, 5, (200_000, 3))
    view = cloud_view(points, np.full((200_000, 3), 255, np.uint8), np.zeros((2, 3)))

    picture = view.picture(200, 100)

    assert len(view.points) == 80_000
    assert (picture == 255).all(axis=2).mean() > 0.3


def test_a_ply_file_keeps_points_and_colours_and_drops_what_is_not_finite(tmp_path):
    points = np.array([[1, 2, 3], [np.nan, 0, 0], [4, 5, 6]], np.float32)
    colours = np.array([[1, 2, 3], [0, 0, 0], [254, 255, 0]], np.uint8)

    write_ply(tmp_path / 'cloud.ply', points, colours)
    read_points, read_colours = read_ply(tmp_path / 'cloud.ply')

    np.testing.assert_array_equal(read_points, points[[0, 2]])
    np.testing.assert_array_equal(read_colours, colours[[0, 2]])
    assert (tmp_path / 'cloud.ply').read_bytes().startswith(b'ply\nformat binary_little_endian')


def test_a_file_that_is_not_a_cloud_is_a_user_error(tmp_path):
    (tmp_path / 'cloud.ply').write_text('solid')

    with pytest.raises(UserError, match='is not a PLY file'):
        read_ply(tmp_path / 'cloud.ply')


def test_the_page_of_a_training_run_compares_each_error_with_its_trivial_answer(tmp_path):
    figures = {'rotation_deg': 0.5, 'rotation_none_deg': 2.25, 'direction_cos': 0.75}
    counts = {'minutes': 1.5, 'update': 20, 'skipped': 1, 'frames': 400}
    history = [
        {'kind': 'train', 'minutes': 0.5, 'loss': 3.0},
        {'kind': 'train', 'minutes': 1.0, 'loss': None},
        {'kind': 'validation', **counts, **figures},
    ]
    depth = np.full((6, 8), 2.0, np.float32)
    frame = StripFrame(0, depth, np.zeros((6, 8, 3), np.uint8), depth)

    write_training_page(tmp_path / 'index.html', history, [frame], {'preset': '<tiny>'})

    text = (tmp_path / 'index.html').read_text()
    page = Page(text)
    assert all(link.startswith(('data:image/', '#')) for link in page.links), page.links
    assert page.open == []
    assert {'0.50 deg', 'no motion: 2.25 deg', '0.75', '20', 'world 1'} <= set(page.words)
    assert text.count('<img') == 3
    assert '&lt;tiny&gt;' in text


def test_the_page_of_a_training_run_without_validation_shows_the_losses(tmp_path):
    history = [{'kind': 'train', 'minutes': minutes, 'loss': 1.0} for minutes in range(3)]

    write_training_page(tmp_path / 'index.html', history, [], {})

    assert 'Learning curves' in (tmp_path / 'index.html').read_text()


def test_a_single_validation_has_a_marker_and_its_unit():
    points = np.array([[1.0, 0.5]])

    single = curves_svg([Curve('rotation error (deg)', points, np.empty((0, 2)))])
    line = curves_svg([Curve('x', np.array([[0.0, 1.0], [1.0, 2.0]]), np.empty((0, 2)))])

    assert 'rotation error (deg)' in single
    marker = re.compile('<use [^>]*style="fill: #1864ab')
    assert marker.search(single)
    assert not marker.search(line)


def test_the_depth_error_of_a_moment_does_not_show_the_error_of_the_scale():
    true_m = np.linspace(1.0, 4.0, 48, dtype=np.float32).reshape(6, 8)
    trajectory = Trajectory(np.array([0, 10**8]), np.stack([pose(0), pose(1)]))

    def picture(factor):
        frame = StripFrame(0, factor * true_m, np.zeros((6, 8, 3), np.uint8), true_m)
        run = SimpleNamespace(moments=[frame], trajectory=trajectory)
        return moments(run)['frames'][0]['error']

    assert picture(2.0) == picture(1.0)


def poses_in(folder):
    return len(read_tum(folder / 'trajectory.txt'))


@pytest.mark.fault('a run that is killed', 'trajectory and depth so far are readable')
@pytest.mark.parametrize('place', ['', 'unfinished'])
def test_what_was_recorded_so_far_is_readable(tmp_path, place):
    if place:  # results of an earlier run stay until this one is finished
        record(tmp_path, num_frames=9).finish()
    recorder = RunRecorder(tmp_path, title='run')
    so_far = tmp_path / place
    for index in range(5):
        recorder.add(index * 10**8, pose(index), depth_m=np.ones((4, 6), np.float32))
        assert poses_in(so_far) == index + 1
        names = [line.split()[1] for line in (so_far / 'depth.txt').read_text().splitlines()]
        assert len(names) == index + 1
        assert all(
            cv2.imread(str(so_far / name), cv2.IMREAD_UNCHANGED) is not None for name in names
        )


@pytest.mark.fault('a run that fails before its first result', 'the folder is as it was')
def test_a_run_without_a_result_changes_nothing(tmp_path):
    record(tmp_path / 'run').finish()
    before = {p: p.read_bytes() for p in (tmp_path / 'run').rglob('*') if p.is_file()}
    with pytest.raises(UserError, match='no pose'):
        RunRecorder(tmp_path / 'run', title='run').finish()
    with pytest.raises(UserError, match='no pose'):
        RunRecorder(tmp_path / 'new', title='run').finish()
    assert {p: p.read_bytes() for p in (tmp_path / 'run').rglob('*') if p.is_file()} == before
    assert not (tmp_path / 'new').exists()


@pytest.mark.fault('files of the user in the folder of an earlier run', 'never removed')
def test_only_what_a_run_has_made_is_removed(tmp_path):
    record(tmp_path).finish()
    own = [
        tmp_path / 'notes.txt',
        tmp_path / 'depth' / 'mine.png',
        tmp_path / 'depth' / '000999.png',
    ]
    for path in own:
        path.write_text('precious')
    record(tmp_path, num_frames=2).finish()
    assert all(path.read_text() == 'precious' for path in own)
    assert len(list((tmp_path / 'depth').glob('00000*.png'))) == 2


@pytest.mark.fault('a folder of results that is a link to elsewhere', 'refused, nothing removed')
def test_a_depth_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / 'precious').mkdir()
    (tmp_path / 'precious' / '000000.png').write_text('precious')
    record(tmp_path / 'run').finish()
    for path in (tmp_path / 'run' / 'depth').iterdir():
        path.unlink()
    (tmp_path / 'run' / 'depth').rmdir()
    (tmp_path / 'run' / 'depth').symlink_to(tmp_path / 'precious')
    with pytest.raises(UserError, match='is a link'):
        RunRecorder(tmp_path / 'run', title='run')
    assert (tmp_path / 'precious' / '000000.png').read_text() == 'precious'


@pytest.mark.fault(
    'a disk that is full while a run goes on', 'reported once, counted in the notes'
)
def test_a_full_disk_is_in_the_notes(tmp_path, monkeypatch):
    from mem3r_ros.reports import recorder as module

    def full(path, *_):
        raise UserError(f'cannot write {path}: No space left on device')

    recorder = RunRecorder(tmp_path, title='run')
    monkeypatch.setattr(module, 'write_image', full)
    for index in range(3):
        recorder.add(index * 10**8, pose(index), depth_m=np.ones((4, 6), np.float32))
    result = recorder.finish()
    assert result.notes[0].startswith('3 files were refused: cannot write')
    assert poses_in(tmp_path) == 3


@pytest.mark.fault(
    'images that are promised, found, read or tracked but have no pose',
    'numbers and reasons in the summary',
)
def test_the_balance_says_what_is_missing(tmp_path):
    balance = Balance(promised=12, found=10, read=8, tracked=7, posed=3, refused={'cut off': 2})
    record(tmp_path, num_frames=3).finish(balance=balance, notes=balance.sentences())
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['balance'] == {
        'promised': 12, 'found': 10, 'read': 8, 'tracked': 7, 'posed': 3,
        'published': None, 'is_interrupted': False, 'refused': {'cut off': 2},
    }  # fmt: skip
    assert 'promises 12 images, 10 are there' in summary['notes'][0]
    assert '4 of 7 tracked images have no pose' in summary['notes'][1]
    assert not balance.is_even
    assert Balance(promised=None, found=3, read=3, tracked=3, posed=3).is_even


def test_a_run_that_fails_leaves_the_results_of_the_run_before(tmp_path):
    record(tmp_path, num_frames=5).finish()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    recorder = RunRecorder(tmp_path, title='fails')
    recorder.add_depth(0, np.ones((6, 8), np.float32))
    with pytest.raises(UserError, match='no pose at all'):
        recorder.finish()

    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before
    assert len(list((tmp_path / 'depth').iterdir())) == 5


def test_the_slider_of_the_page_has_all_pictures_of_each_moment(tmp_path):
    recorder = RunRecorder(tmp_path, title='moments')
    camera = Intrinsics(fx=8.0, fy=8.0, cx=4.0, cy=3.0, width=8, height=6)
    for index in range(5):
        depth_m = np.full((6, 8), 2.0, np.float32)
        recorder.add(
            index * 10**8, pose(index), depth_m=depth_m, intrinsics=camera, camera=camera,
            image=np.zeros((6, 8, 3), np.uint8), true_depth_m=depth_m, confidence=depth_m,
        )  # fmt: skip
    recorder.finish()

    page = (tmp_path / 'index.html').read_text()
    found = json.loads(re.search(r'const MOMENTS = (.*);', page).group(1))

    assert len(found) == 5 and 'max="4"' in page
    for moment in found:
        for name in ('image', 'depth', 'confidence', 'error'):
            assert moment[name].startswith('data:image/jpeg')
    assert len({(moment['x'], moment['y']) for moment in found}) == 5


def test_the_least_confident_points_are_left_out_of_the_map_of_the_page():
    points = np.arange(60.0).reshape(20, 3)
    weights = np.arange(20.0)

    kept, colours = confident(points, np.zeros((20, 3), np.uint8), weights)

    assert np.array_equal(kept, points[2:]) and len(colours) == 18


def test_flying_points_are_left_out_of_the_map_of_the_page():
    generator = np.random.default_rng(0)
    wall = np.concatenate([generator.uniform(0, 1, (2000, 2)), np.zeros((2000, 1))], axis=1)
    flying = np.array([[0.5, 0.5, 9.0], [5.0, 0.0, 3.0]])

    points, colours = without_outliers(
        np.concatenate([wall, flying]), np.zeros((2002, 3), np.uint8)
    )

    assert len(points) == len(colours) >= 1800
    assert np.abs(points).max() <= 1.0
