# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Many recordings at once, and several runs side by side."""

from contextlib import suppress
import json
import subprocess
import sys
import time

import cv2
import numpy as np
import psutil
import pytest

from mem3r_ros.cli import batch
from mem3r_ros.cli.main import main
from mem3r_ros.evaluation.result_store import ResultStore
from mem3r_ros.reports.compared_runs import read_run
from mem3r_ros.reports.comparison import differences, grouped, table
from mem3r_ros.trajectory import Trajectory, write_tum

NUM_POSES = 20


def write_recording(folder, count=3):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.integers(0, 255, (12, 20, 3), np.uint8), (160, 96))
    for index in range(count):
        cv2.imwrite(str(folder / f'{index}.png'), wall[:, 2 * index : 2 * index + 128])


def fake_run(monkeypatch, exit_codes):
    """Replace ``mem3r run`` by a program that writes a summary or fails; count its starts."""
    started = []

    def command(self, extra):
        name = self.output.name
        started.append((name, extra))
        program = (
            'import sys, pathlib; folder = pathlib.Path(sys.argv[1]); '
            'folder.mkdir(parents=True, exist_ok=True); print("some line"); '
            f'print("error: broken {name}"); sys.exit({exit_codes.get(name, 0)})'
        )
        return [sys.executable, '-c', program, str(self.output)]

    monkeypatch.setattr(batch.Job, 'command', command)
    return started


@pytest.fixture
def archive(tmp_path):
    for name in ('a', 'b', 'c'):
        write_recording(tmp_path / 'archive' / name)
    return tmp_path / 'archive'


def test_a_recording_that_fails_costs_one_line_and_a_second_start_does_only_that(
    archive, tmp_path, monkeypatch, capsys
):
    words = ['batch', str(archive), '--output', str(tmp_path / 'out'), '--jobs', '2']
    started = fake_run(monkeypatch, {'b': 2})

    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.count('error: broken b') == 1 and 'broken a' not in captured.err
    assert '2 of 3 recordings tracked' in captured.out
    assert 'error: broken b' in (tmp_path / 'out' / 'failures.txt').read_text()

    started.clear()
    fake_run(monkeypatch, {})  # the fault is fixed
    assert main(words) == 0
    assert '2 of 3 recordings are done already' in capsys.readouterr().out
    assert (tmp_path / 'out' / 'failures.txt').read_text() == ''


def test_a_run_that_was_killed_is_not_taken_for_done(archive, tmp_path, monkeypatch):
    started = fake_run(monkeypatch, {})
    (tmp_path / 'out' / 'a').mkdir(parents=True)  # what a killed run has left
    (tmp_path / 'out' / 'a' / 'summary.json').write_text('{}')

    assert main(['batch', str(archive), '--output', str(tmp_path / 'out')]) == 0
    assert sorted(name for name, _ in started) == ['a', 'b', 'c']


def test_a_list_names_recordings_and_arguments_go_to_each_run(archive, tmp_path, monkeypatch):
    started = fake_run(monkeypatch, {})
    (archive / 'list.txt').write_text('# mine\na\n\nc\n')
    words = ['batch', str(archive / 'list.txt'), '--output', str(tmp_path / 'out')]

    assert main([*words, '--run=--stride 2']) == 0
    assert sorted(started) == [('a', ['--stride', '2']), ('c', ['--stride', '2'])]


def test_gpus_are_used_in_turn(tmp_path):
    start = batch._in_processes(2, ['0', '1']).start
    program = 'import os, time; print(os.environ["CUDA_VISIBLE_DEVICES"]); time.sleep(0.5)'
    logs = [tmp_path / f'{index}.log' for index in range(2)]

    codes = [start([sys.executable, '-c', program], log) for log in logs]

    assert [code.result(60) for code in codes] == [0, 0]
    assert sorted(log.read_text().strip() for log in logs) == ['0', '1']


def test_a_real_recording_is_tracked(tmp_path):
    write_recording(tmp_path / 'walk', 4)

    code = main(['batch', str(tmp_path / 'walk'), '--output', str(tmp_path / 'out')])

    assert code == 0
    assert (tmp_path / 'out' / 'walk' / 'trajectory.txt').exists()


def results_of(folder):
    """Return what two runs over the same images have in common, byte by byte."""
    names = ('trajectory.txt', 'map.ply', 'depth.txt')
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.name in names or path.suffix in ('.png', '.done')
    }


def wait_for(condition, process=None, limit_s=100.0):
    """Wait until a condition holds or the process ends."""
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.01)


def num_processes(place):
    """Return how many processes name a place on their command line."""
    found = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found += str(place) in ' '.join(process.cmdline())
    return found


def test_killing_batch_and_starting_it_again_gives_the_same_results(tmp_path):
    archive, whole, output = tmp_path / 'archive', tmp_path / 'whole', tmp_path / 'out'
    for name in ('a', 'b'):
        write_recording(archive / name)
        words = ['run', str(archive / name), '--output', str(whole / name)]
        assert main([*words, '--set', 'num_threads=1']) == 0
        (whole / f'{name}.done').touch()
    words = [sys.executable, '-m', 'mem3r_ros.cli.main', 'batch', str(archive), '--output']
    words += [str(output), '--jobs', '1', '--run=--set num_threads=1']
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    wait_for(lambda: any(output.glob('*/depth/*.png')), process)

    process.kill()
    process.wait()
    wait_for(lambda: not num_processes(output))
    assert not num_processes(output)  # two runs would write into one folder
    assert not any(output.glob('*.done'))
    done = subprocess.run(words, capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stdout + done.stderr
    assert results_of(output) == results_of(whole)
    assert len(results_of(output)) == 2 * (4 + 3)


def test_an_interrupted_batch_starts_no_further_recording(archive, tmp_path, monkeypatch):
    command = [sys.executable, '-c', 'import time; time.sleep(99)']
    monkeypatch.setattr(batch.Job, 'command', lambda self, extra: command)

    def interrupted(running, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, 'wait', interrupted)
    output = tmp_path / 'out'

    assert main(['batch', str(archive), '--output', str(output), '--jobs', '1']) == 130
    assert len(list(output.glob('*.log'))) <= 1


@pytest.mark.timeout(900)  # a cluster of its own takes minutes to start on a busy machine
def test_a_cluster_of_two_workers_gives_the_same(archive, tmp_path):
    pytest.importorskip('ray', reason='needs ray (pip install ray)')
    words = ['batch', str(archive), '--run=--set num_threads=1', '--output']
    assert main([*words, str(tmp_path / 'local'), '--jobs', '1']) == 0
    code = (
        'import ray, sys; ray.init(num_cpus=2, log_to_driver=False); '
        'from mem3r_ros.cli.main import main; sys.exit(main(sys.argv[1:]))'
    )

    done = subprocess.run(
        [sys.executable, '-c', code, *words, str(tmp_path / 'cluster'), '--ray'],
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert '3 of 3 recordings tracked' in done.stdout
    assert results_of(tmp_path / 'cluster') == results_of(tmp_path / 'local')


def test_without_ray_its_option_names_the_package(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'ray', None)

    assert main(['batch', str(archive), '--output', str(tmp_path / 'out'), '--ray']) == 2
    assert 'pip install ray' in capsys.readouterr().err


# Comparison


def write_run(folder, noise=0.0, rule='ttt3r', rate_hz=10.0, seed=0, title='walk'):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    stamps_ns = np.arange(NUM_POSES) * 100_000_000
    poses = np.tile(np.eye(4), (NUM_POSES, 1, 1))
    poses[:, :3, 3] = np.cumsum(rng.normal(0.1, 0.02, (NUM_POSES, 3)), axis=0)
    write_tum(folder / 'truth.txt', Trajectory(stamps_ns, poses))
    poses[:, :3, 3] += noise * rng.normal(size=(NUM_POSES, 3))
    write_tum(folder / 'trajectory.txt', Trajectory(stamps_ns, poses))
    summary = {
        'title': title,
        'model': 'mem3r-tiny',
        'num_poses': NUM_POSES,
        'rate_hz': rate_hz,
        'trajectory_error': {'ate_sim3_rmse_m': noise, 'scale_error_percent': -100 * noise},
        'depth_error': None,
    }
    (folder / 'summary.json').write_text(json.dumps(summary))
    (folder / 'config.yaml').write_text(f'model: mem3r-tiny\ntracking: {{update_rule: {rule}}}\n')
    return folder


def rows_of(*folders):
    groups = grouped([read_run(folder) for folder in folders])
    return {row['name']: row['cells'] for row in table(groups)}, groups


def test_the_best_of_each_figure_is_marked(tmp_path):
    rows, groups = rows_of(
        write_run(tmp_path / 'one', 0.2, 'ttt3r', 20.0), write_run(tmp_path / 'two', 0.1, 'cut3r')
    )

    assert [cell['is_best'] for cell in rows['ATE, scale fitted']] == [False, True]
    assert [cell['is_best'] for cell in rows['frames per second']] == [True, False]
    assert rows['ATE, scale fitted'][0]['text'] == '20.0 cm'
    assert 'depth AbsRel' not in rows
    assert differences(groups) == [('tracking.update_rule', ['ttt3r', 'cut3r'])]


def test_runs_of_different_recordings_have_no_best(tmp_path):
    rows, _ = rows_of(
        write_run(tmp_path / 'one', 0.2), write_run(tmp_path / 'two', 0.1, title='drive')
    )

    assert not any(cell['is_best'] for cells in rows.values() for cell in cells)


def test_repetitions_are_one_column_with_their_spread_and_overlaps_are_no_victory(tmp_path):
    rows, _ = rows_of(
        write_run(tmp_path / 'one', 0.10, 'ttt3r'),
        write_run(tmp_path / 'again', 0.20, 'ttt3r', seed=1),
        write_run(tmp_path / 'two', 0.14, 'cut3r'),
    )

    cells = rows['ATE, scale fitted']
    assert [cell['text'] for cell in cells] == ['15.0 cm +- 5.0 cm', '14.0 cm']
    assert [cell['is_best'] for cell in cells] == [True, True]


def test_compare_writes_one_page_and_the_same_as_json(tmp_path, capsys):
    write_run(tmp_path / 'runs' / 'one', 0.2)
    write_run(tmp_path / 'runs' / 'two', 0.1, 'cut3r')

    code = main(['compare', str(tmp_path / 'runs'), '--output', str(tmp_path / 'out')])

    page = (tmp_path / 'out' / 'comparison.html').read_text()
    content = json.loads((tmp_path / 'out' / 'comparison.json').read_text())
    assert code == 0
    assert page.count('<svg') == 2 and 'tracking.update_rule' in page
    assert content['runs'] == ['one', 'two']
    assert content['best']['ATE, scale fitted'] == [False, True]
    assert '10.0 cm *' in capsys.readouterr().out


def compared(tmp_path, *paths):
    """Return the figures and the columns of a comparison, as its JSON file has them."""
    code = main(['compare', *map(str, paths), '--output', str(tmp_path / 'out')])
    assert code == 0
    content = json.loads((tmp_path / 'out' / 'comparison.json').read_text())
    return content['figures'], content['runs'], content


def store_results(path, settings, **parts):
    store = ResultStore(path, settings)
    for name, row in parts.items():
        store.add(name, row if isinstance(row, list) else [row])
    return path


def test_results_of_evaluate_are_compared_sequence_by_sequence(tmp_path):
    paths = [
        store_results(
            tmp_path / rule / 'results.json',
            {'config': {'tracking': {'update_rule': rule}}},
            desk={'trajectory_error': {'ate_sim3_rmse_m': ate_m}},
            walk={'trajectory_error': {'ate_sim3_rmse_m': 0.3}, 'rate_hz': float('nan')},
        )
        for rule, ate_m in (('cut3r', 0.2), ('ttt3r', 0.1))
    ]

    figures, names, content = compared(tmp_path, *paths)

    assert names == ['cut3r', 'ttt3r']
    assert figures == {
        'desk: ATE, scale fitted': ['20.0 cm', '10.0 cm'],
        'walk: ATE, scale fitted': ['30.0 cm', '30.0 cm'],
    }
    assert content['best']['desk: ATE, scale fitted'] == [False, True]
    assert content['best']['walk: ATE, scale fitted'] == [True, True]
    assert content['settings'] == {'tracking.update_rule': ['cut3r', 'ttt3r']}
    assert '<svg' not in (tmp_path / 'out' / 'comparison.html').read_text()


def test_rules_of_a_protocol_are_compared_at_each_number_of_views(tmp_path):
    rows = {
        f'{sequence} {rule}': [
            {'sequence': sequence, 'rule': rule, 'views': views, 'num_views': views, 'ate_m': ate}
            for views in (50, 100)
        ]
        for sequence, rule, ate in (('a', 'cut3r', 0.1), ('b', 'cut3r', 0.3), ('a', 'ttt3r', 0.1))
    }
    path = store_results(tmp_path / 'euroc.json', {'protocol': 'euroc'}, **rows)

    figures, names, _ = compared(tmp_path, path)

    assert names == ['euroc, cut3r', 'euroc, ttt3r']
    assert figures['ATE (m), Sim(3), 50 views'] == ['0.200', '0.100']
    assert len(figures) == 2


def test_scores_of_other_systems_stand_beside_a_run(tmp_path):
    path = store_results(
        tmp_path / 'score.json',
        {'truth': 'walk'},
        **{
            'theirs.txt': {'trajectory_error': {'ate_sim3_rmse_m': 0.05}},
            'cloud.ply': {'cloud': {'chamfer_m': 0.25}},
        },
    )

    figures, names, _ = compared(tmp_path, write_run(tmp_path / 'mine', 0.2), path)

    assert names == ['mine', 'theirs.txt', 'cloud.ply']
    assert figures['ATE, scale fitted'] == ['20.0 cm', '5.0 cm', '']
    assert figures['chamfer'] == ['', '', '25.0 cm']


def test_benchmarks_are_compared(tmp_path):
    for name, rate_hz in (('one', 5.0), ('two', 10.0)):
        content = {
            'title': name,
            'rate_hz': rate_hz,
            'stages': {'total': {'p50_ms': 1000 / rate_hz}},
            'settings': {'size': '64x48'},
        }
        (tmp_path / f'{name}.json').write_text(json.dumps(content))

    figures, names, content = compared(tmp_path, tmp_path / 'one.json', tmp_path / 'two.json')

    assert names == ['one', 'two']
    assert figures['time of a frame, median'] == ['200 ms', '100 ms']
    assert content['best']['frames per second'] == [False, True]


@pytest.mark.parametrize('text', ['{}', '[1]', 'no JSON', '{"format": "x", "version": 1}'])
def test_a_file_that_holds_no_results_is_refused(tmp_path, text, capsys):
    (tmp_path / 'some.json').write_text(text)

    assert main(['compare', str(tmp_path / 'some.json'), '--output', str(tmp_path / 'out')]) == 2
    assert 'some.json' in capsys.readouterr().err


@pytest.mark.parametrize('count', [0, 1])
def test_fewer_than_two_runs_are_refused(count, tmp_path, capsys):
    (tmp_path / 'runs').mkdir()
    if count:
        write_run(tmp_path / 'runs' / 'one')

    assert main(['compare', str(tmp_path / 'runs'), '--output', str(tmp_path / 'out')]) == 2
    assert 'error:' in capsys.readouterr().err
