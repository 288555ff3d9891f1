# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command line answers at once, names what was probably meant, and completes words."""

from pathlib import Path
import subprocess
import sys

import pytest

from mem3r_ros.cli import main as cli

ROOT = Path(cli.__file__).resolve().parents[2]


MISTAKES = [
    (['rum'], "did you mean 'run'"),
    (['run', 'READM.md'], "did you mean 'README.md'"),
    (['run', 'docs', '--outptu', 'x'], "did you mean '--output'"),
    (['run', 'docs', '--model', 'mem3r-tny'], "did you mean 'mem3r-tiny'"),
    (['run', 'docs', '--set', 'tracking.updaterule=cut3r'], "did you mean 'update_rule'"),
    (['run', 'docs', '--set', 'tracking.update_rule=ttt3'], "did you mean 'ttt3r'"),
    (['run', 'docs', '--device', 'gpu'], 'choose auto, cpu, cuda or cuda:N'),
    (['run', 'docs', '--config', 'nowhere.yaml'], 'cannot read nowhere.yaml'),
    (['run', 'docs', '--output', 'README.md'], 'choose another folder for --output'),
    (['evaluate', 'doc'], "did you mean 'docs'"),
    (['benchmark', '--model', 'mem3r-tny'], "did you mean 'mem3r-tiny'"),
    (['train', 'recipes/tinny.yaml'], "did you mean 'tiny.yaml'"),
    (['replay', 'docs', '-p', 'publish_ft:=false'], "did you mean 'publish_tf'"),
    (['weights', 'download', 'cut3r-512-dp'], "did you mean 'cut3r-512-dpt'"),
    (['compare', 'docs'], 'docs is no folder of a run'),
]


def test_arguments_are_checked_before_torch_is_imported():
    code = (
        'import contextlib, io, sys\nfrom mem3r_ros.cli.main import COMMANDS, main\n'
        'def answer(words):\n'
        '    with contextlib.redirect_stderr(io.StringIO()) as err, '
        'contextlib.redirect_stdout(io.StringIO()):\n'
        '        try:\n            code = main(words)\n'
        '        except SystemExit as ended:\n            code = ended.code\n'
        '    loaded = {"torch", "cv2", "rclpy"} & set(sys.modules)\n'
        '    assert not loaded, (words, loaded)\n'
        '    return code, err.getvalue()\n'
        'for command in COMMANDS:\n    assert answer([command, "--help"])[0] == 0, command\n'
        f'for words, text in {MISTAKES!r}:\n'
        '    code, err = answer(words)\n'
        '    assert code == 2 and text in err, (words, code, err)\n'
    )

    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_the_benchmark_of_the_commands_prints_each_mistake_with_its_remedy():
    done = subprocess.run(
        [sys.executable, 'benchmarks/cli.py', '--only', 'misspelt command'],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "did you mean 'run'" in done.stdout, done.stderr


def test_config_prints_a_file_that_config_reads(capsys, tmp_path):
    assert cli.main(['config', '--set', 'tracking.depth.max_range_m=9']) == 0
    printed = capsys.readouterr().out
    (tmp_path / 'all.yaml').write_text(printed)

    assert cli.main(['config', '--config', str(tmp_path / 'all.yaml')]) == 0

    assert capsys.readouterr().out == printed
    assert 'max_range_m: 9.0' in printed and '# preset with shipped weights' in printed


@pytest.mark.parametrize(
    ('line', 'word'), [('mem3r ev', 'evaluate'), ('mem3r run --mod', '--model')]
)
def test_bash_completes_commands_and_arguments(capsys, tmp_path, line, word):
    pytest.importorskip('shtab')
    assert cli.main(['completion', 'bash']) == 0
    (tmp_path / 'completion.sh').write_text(capsys.readouterr().out)
    words = line.split()
    script = (
        f'source {tmp_path}/completion.sh; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; '
        '_shtab_mem3r; echo "${COMPREPLY[@]}"'
    )

    done = subprocess.run(['bash', '-c', script], capture_output=True, text=True, check=False)

    assert word in done.stdout.split(), done.stderr


def test_without_shtab_the_package_to_install_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'shtab', None)

    assert cli.main(['completion', 'bash']) == 2

    assert 'pip install shtab' in capsys.readouterr().err
