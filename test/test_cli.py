# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The commands: their outputs, and one sentence and exit code 2 for bad input."""

import argparse
import importlib
import json
from pathlib import Path
import shutil
import subprocess
import sys

from bag_writer import compressed, image, tf, write_bag
import cv2
import numpy as np
import pytest
from tiny_networks import network

from mem3r_ros.cli import main as cli
from mem3r_ros.cli.benchmark import moving_texture
from mem3r_ros.cli.evaluate import sequences_in
from mem3r_ros.data import open_sequence
from mem3r_ros.evaluation.depth_error import true_depth_at
from mem3r_ros.model import save_checkpoint
from mem3r_ros.trajectory import read_tum

NUM_FRAMES = 5
ROOT = Path(cli.__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Return a file with untrained weights of a very small network."""
    path = tmp_path_factory.mktemp('model') / 'small.safetensors'
    save_checkpoint(network('small'), path)
    return str(path)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Return a sequence folder of a moving texture, with truth, depth and one corrupt image."""
    folder = tmp_path_factory.mktemp('data') / 'wall'
    for name in ('rgb', 'depth'):
        (folder / name).mkdir(parents=True)
    stamps, poses = [], []
    for index, picture in enumerate(moving_texture(64, 48, NUM_FRAMES + 1)):
        cv2.imwrite(str(folder / 'rgb' / f'{index:03d}.jpg'), picture)
        cv2.imwrite(str(folder / 'depth' / f'{index:03d}.png'), np.full((48, 64), 2000, np.uint16))
        stamps.append(f'{0.1 * index:.6f}\n')
        poses.append(f'{0.1 * index:.6f} {0.1 * index} {0.01 * index**2} 0 0 0 0 1\n')
    (folder / 'timestamps.txt').write_text(''.join(stamps))
    (folder / 'groundtruth.txt').write_text(''.join(poses))
    (folder / 'rgb' / '002.jpg').write_bytes(b'\xff\xd8 nothing')
    return folder


def run_tool(capsys, *words):
    """Return exit code, stdout and stderr of a command."""
    code = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_run_writes_results_and_prints_their_folder(capsys, tmp_path, images, model):
    output = tmp_path / 'out'

    code, out, _ = run_tool(capsys, 'run', images, '--model', model, '--output', output)

    assert code == 0
    assert len(read_tum(output / 'trajectory.txt')) == NUM_FRAMES
    assert len(list((output / 'depth').glob('*.png'))) == NUM_FRAMES
    summary = json.loads((output / 'summary.json').read_text())
    assert summary['num_skipped'] == 1
    assert summary['trajectory_error']['num_poses'] == NUM_FRAMES
    assert summary['depth_error']['num_frames'] == NUM_FRAMES
    assert 'total' in summary['timing']
    for word in ('ATE, scale fitted', 'RPE rotation', 'AbsRel', 'frames per second', 'skipped'):
        assert word in out
    assert str(output / 'index.html') in out
    assert (output / 'index.html').stat().st_size > 10_000


def test_without_calibration_true_depth_is_compared_at_the_pixels_of_the_network(
    capsys, tmp_path, images, model, monkeypatch
):
    cameras = []

    def looked_up(true_m, camera, predicted_camera):
        cameras.append(camera)
        return true_depth_at(true_m, camera, predicted_camera)

    monkeypatch.setattr('mem3r_ros.reports.recorder.true_depth_at', looked_up)

    run_tool(capsys, 'run', images, '--model', model, '--output', tmp_path / 'out')

    assert [(camera.width, camera.height) for camera in cameras] == [(64, 48)] * NUM_FRAMES


def test_the_written_settings_give_the_same_run_again(capsys, tmp_path, images, model):
    first, second = tmp_path / 'first', tmp_path / 'second'
    settings = ('--set', 'tracking.update_rule=cut3r', '--set', 'tracking.depth.max_range_m=9')
    run_tool(capsys, 'run', images, '--model', model, '--output', first, *settings)

    config = first / 'config.yaml'
    code, _, _ = run_tool(capsys, 'run', images, '--config', config, '--output', second)

    assert code == 0
    assert config.read_text() == (second / 'config.yaml').read_text()
    assert 'update_rule: cut3r' in config.read_text()
    np.testing.assert_array_equal(
        read_tum(first / 'trajectory.txt').poses, read_tum(second / 'trajectory.txt').poses
    )


def test_a_ros_parameter_file_serves_as_settings(capsys, tmp_path, images, model):
    parameters = tmp_path / 'params.yaml'
    parameters.write_text(
        '/**:\n  ros__parameters:\n    publish_tf: false\n'
        '    tracking.update_rule: filt3r\n    tracking: {reset_interval: 3}\n'
    )

    code, _, err = run_tool(
        capsys, 'run', images, '--model', model, '--config', parameters, '--output', tmp_path / 'o'
    )

    assert code == 0, err
    text = (tmp_path / 'o' / 'config.yaml').read_text()
    assert 'update_rule: filt3r' in text and 'reset_interval: 3' in text


@pytest.mark.parametrize('command', ['benchmark', 'train'])
def test_a_file_in_place_of_the_output_folder_is_a_user_error(capsys, tmp_path, model, command):
    (tmp_path / 'file').write_text('')
    recipe = ROOT / 'recipes' / 'tiny.yaml'
    words = ['--model', model] if command == 'benchmark' else [recipe]

    code, _, err = run_tool(capsys, command, *words, '--output', tmp_path / 'file')

    assert code == 2 and err.count('\n') == 1
    assert f'error: cannot use {tmp_path / "file"}: File exists' in err


def test_run_reads_a_bag_of_compressed_images(capsys, tmp_path, model):
    pictures = list(moving_texture(64, 48, 3))
    messages = []
    for index, picture in enumerate(pictures):
        message = compressed(index)
        message.data = cv2.imencode('.jpg', picture)[1].reshape(-1)
        messages += [('/camera/image/compressed', message), ('/tf', tf(index))]
    bag = write_bag(tmp_path / 'bag', messages)

    code, _, err = run_tool(capsys, 'run', bag, '--model', model, '--output', tmp_path / 'o')

    assert code == 0, err
    stamps_ns = read_tum(tmp_path / 'o' / 'trajectory.txt').stamps_ns
    np.testing.assert_array_equal(stamps_ns, [frame.stamp_ns for frame in open_sequence(bag)])


def test_evaluate_prints_one_row_a_sequence(capsys, tmp_path, images, model):
    output = tmp_path / 'evaluation'

    code, out, err = run_tool(
        capsys, 'evaluate', images, images, '--model', model, '--output', output
    )

    assert code == 0, err
    assert out.count('wall') == 4  # a row in each of two tables, for two sequences
    assert [*json.loads((output / 'results.json').read_text())['parts']] == ['wall', 'wall_2']
    assert (output / 'wall' / 'index.html').exists() and (output / 'wall_2').is_dir()
    overview = (output / 'overview.html').read_text()
    assert 'href="wall/index.html"' in overview and 'href="wall_2/index.html"' in overview


def test_a_sequence_that_fails_does_not_lose_the_others(capsys, tmp_path, images, model):
    junk, tiny, output = tmp_path / 'junk', tmp_path / 'tiny', tmp_path / 'evaluation'
    for folder in (junk, tiny):
        folder.mkdir()
    (junk / '0.jpg').write_bytes(b'junk')
    for index in range(2):
        cv2.imwrite(str(tiny / f'{index}.png'), np.full((4, 400, 3), 90 * index, np.uint8))

    code, out, err = run_tool(
        capsys, 'evaluate', junk, images, tiny, '--model', model, '--output', output
    )

    lines = err.splitlines()
    assert code == 2 and 'Traceback' not in err
    assert any(line.startswith('junk: nothing to do with') for line in lines)
    assert any(line.startswith('tiny: the run gave no pose at all (2 images') for line in lines)
    assert out.count('wall') == 2
    (numbers,) = json.loads((output / 'results.json').read_text())['parts']['wall']
    assert numbers['title'] == 'wall'


def test_a_folder_of_sequences_is_evaluated_one_by_one(tmp_path):
    for name in ('b', 'a'):
        (tmp_path / name / 'rgb').mkdir(parents=True)
    (tmp_path / 'notes').mkdir()

    assert sequences_in(tmp_path) == [tmp_path / 'a', tmp_path / 'b']
    assert sequences_in(tmp_path / 'a') == [tmp_path / 'a']
    assert sequences_in(tmp_path / 'notes') == [tmp_path / 'notes']


def test_benchmark_prints_time_and_memory(capsys, tmp_path, model):
    code, out, err = run_tool(
        capsys, 'benchmark', '--model', model, '--frames', 6, '--size', '64x48',
        '--output', tmp_path,
    )  # fmt: skip

    assert code == 0, err
    assert 'network' in out and ' MiB' in out
    assert 'per 1000 frames' not in out  # six frames show no growth
    result = json.loads((tmp_path / 'benchmark.json').read_text())
    assert result['num_frames'] == 6
    assert 'the host would wait for a GPU 0 times per frame, besides the download' in out
    assert result['host_waits'] == {}
    assert (tmp_path / 'benchmark.svg').read_text().startswith('<svg')
    page = (tmp_path / 'benchmark.html').read_text()
    assert 'frames per second' in page and 'Time of a frame' in page and '<svg' in page


def no_images(folder, _):
    return [write_bag(folder / 'bag', [('/tf', tf(0))])]


def unknown_encoding(folder, _):
    return [write_bag(folder / 'bag', [('/image', image(0, encoding='h264'))])]


def corrupt_only(folder, _):
    for index in range(2):
        (folder / f'{index}.jpg').write_bytes(b'junk')
    return [folder]


def damaged_model(folder, images):
    (folder / 'bad.safetensors').write_bytes(b'junk')
    return [images, '--model', folder / 'bad.safetensors']


def bad_yaml(folder, images):
    (folder / 'a.yaml').write_text('a: [1')
    return [images, '--config', folder / 'a.yaml']


BAD_INPUT = [
    (lambda folder, _: [folder / 'none'], 'no such file or folder'),
    (lambda folder, _: [folder], 'is an empty folder'),
    (no_images, 'has no images; its topics are: /tf'),
    (unknown_encoding, "image encoding 'h264' is not supported; use one of"),
    (corrupt_only, 'none of its 2 images can be read'),
    (damaged_model, 'bad.safetensors'),
    (bad_yaml, 'is not YAML'),
    (lambda _, images: [images, '--model', 'nowhere.safetensors'], "no model 'nowhere"),
    (lambda _, images: [images, '--config', 'nowhere.yaml'], 'cannot read nowhere.yaml'),
    (lambda _, images: [images, '--device', 'abacus'], "device is 'abacus'; choose auto, cpu"),
    (lambda _, images: [images, '--device', 'cuda:99'], "device is 'cuda:99'"),
    (lambda _, images: [images, '--image-topic', '/x'], 'is no bag'),
    (lambda _, images: [images, '--stride', '0'], 'stride is 0 frames'),
    (lambda _, images: [images, '--depth-every', '-1'], '--depth-every is -1'),
    (
        lambda _, images: [images, '--set', 'tracking.update_rule'],
        'has no value; write NAME=VALUE',
    ),
    (lambda _, images: [images, '--set', 'tracking.x=1'], "has no setting 'x'"),
    (lambda _, images: [images, '--set', 'tracking.update_rule=best'], 'choose one of cut3r'),
    (lambda _, images: [images, '--set', 'tracking=5'], 'tracking is 5; it is a group of'),
    (
        lambda _, images: [images, '--set', 'tracking.scale.source=wheel'],
        'only the node has wheel',
    ),
]


@pytest.mark.parametrize(('make', 'sentence'), BAD_INPUT)
def test_bad_input_is_one_sentence_and_exit_code_2(
    capsys, tmp_path, images, model, make, sentence
):
    words = make(tmp_path, images)
    if '--model' not in words:
        words += ['--model', model]

    code, out, err = run_tool(capsys, 'run', *words, '--output', tmp_path / 'out')

    errors = [line for line in err.splitlines() if line.startswith('error: ')]
    assert code == 2 and out == ''
    assert len(errors) == 1 and sentence in errors[0]
    assert 'Traceback' not in err


@pytest.mark.parametrize('command', ['run', 'evaluate'])
def test_the_true_depth_of_a_data_set_survives_an_output_into_it(
    capsys, tmp_path, images, model, command
):
    data = tmp_path / 'wall'
    shutil.copytree(images, data)
    before = sorted(path.name for path in data.rglob('*'))
    output = data if command == 'run' else tmp_path

    code, _, err = run_tool(capsys, command, data, '--model', model, '--output', output)

    assert code == 2 and 'holds files of another kind (depth)' in err
    assert sorted(path.name for path in data.rglob('*')) == before


def test_results_are_not_mixed_into_the_recording(capsys, tmp_path, images, model):
    data = tmp_path / 'wall'
    shutil.copytree(images / 'rgb', data / 'rgb')

    code, _, err = run_tool(capsys, 'run', data, '--model', model, '--output', data)

    assert code == 2 and 'is the recording; choose another folder' in err
    assert [path.name for path in data.iterdir()] == ['rgb']


def test_nothing_is_cleared_before_the_arguments_are_checked(
    capsys, tmp_path, images, model, monkeypatch
):
    output = tmp_path / 'out'
    run_tool(capsys, 'run', images, '--model', model, '--output', output)
    monkeypatch.setitem(sys.modules, 'rerun', None)

    code, _, err = run_tool(capsys, 'run', images, '--model', model, '--output', output, '--rerun')

    assert code == 2 and 'rerun-sdk' in err
    assert (output / 'summary.json').exists()


def test_an_unwritable_output_is_a_user_error(capsys, tmp_path, images, model):
    (tmp_path / 'file').write_text('')

    code, _, err = run_tool(
        capsys, 'run', images, '--model', model, '--output', tmp_path / 'file' / 'out'
    )

    assert code == 2 and 'error: cannot write to' in err


def test_an_interrupted_run_prints_so_and_exits_with_130(capsys, monkeypatch, images, model):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr('mem3r_ros.model.backend.load_backend', interrupted)

    code, _, err = run_tool(capsys, 'run', images, '--model', model)

    assert code == 130 and err.strip() == 'interrupted'


def test_the_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(['--help'])

    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f'  {command} ' in out for command in cli.COMMANDS)


@pytest.mark.parametrize(
    ('command', 'flags'),
    [
        ('run', '--config --depth-every --device --fps --help --image-topic --max-frames --model '
         '--output --rerun --set --stride --video --view'),
        ('evaluate', '--config --device --fps --help --image-topic --max-frames --model --output '
         '--protocol --rules --set --stride --views'),
        ('score', '--depth-factor --help --output --truth'),
        ('batch', '--gpus --help --jobs --output --ray --run'),
        ('compare', '--help --output'),
        ('benchmark', '--config --device --frames --help --model --output --outputs --set --size'),
    ],
)  # fmt: skip
def test_the_flags_of_the_commands_are_frozen(command, flags):
    parser = argparse.ArgumentParser()
    importlib.import_module(cli.COMMANDS[command][0]).add_arguments(parser)

    found = {word for action in parser._actions for word in action.option_strings}
    assert {word for word in found if word.startswith('--')} == set(flags.split())


def test_no_arguments_show_the_help(capsys):
    code, out, _ = run_tool(capsys)

    assert code == 2 and 'commands:' in out


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(['fly'])

    assert ended.value.code == 2
    assert "invalid choice: 'fly'" in capsys.readouterr().err


@pytest.mark.parametrize('command', ['run', 'evaluate', 'benchmark'])
def test_each_command_has_a_help_text(capsys, command):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, '--help'])

    assert ended.value.code == 0
    assert f'usage: mem3r {command}' in capsys.readouterr().out


def test_help_imports_neither_torch_nor_ros():
    code = (
        'import sys\nfrom mem3r_ros.cli.main import main\n'
        'try:\n    main(["--help"])\nexcept SystemExit:\n    pass\n'
        'loaded = {"torch", "rclpy", "cv2", "numpy"} & set(sys.modules)\n'
        'assert not loaded, loaded'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    'name', ['bag_redkitchen_sqlite3', 'bag_kitti_a_mono8_mcap', 'indoor_tum_fr2desk_mini']
)
def test_run_tracks_recorded_data(capsys, tmp_path, shared_dir, model, name):
    path = shared_dir / 'data' / name

    code, out, err = run_tool(
        capsys, 'run', path, '--model', model, '--output', tmp_path / 'out', '--max-frames', 6
    )

    assert code == 0, err
    assert 'Trajectory against truth' in out
