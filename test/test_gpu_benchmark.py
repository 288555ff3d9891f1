# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of a GPU on a machine without one, and the counting of waits."""

from __future__ import annotations

import json
import runpy
import sys

import pytest
from tiny_networks import CUT3R
import torch

from mem3r_ros.evaluation.host_waits import DOWNLOAD, host_waits
from mem3r_ros.model import ModelConfig
from mem3r_ros.model.device_queue import DirectQueue


@pytest.fixture
def benchmark(repository_dir, monkeypatch, capsys):
    """Return a function that runs the benchmark and returns what it prints."""

    def run(*words):
        path = repository_dir / 'benchmarks' / 'gpu.py'
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, words)])
        runpy.run_path(str(path), run_name='__main__')
        return capsys.readouterr().out

    return run


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_nothing_is_measured_and_that_is_printed(benchmark):
    assert benchmark() == 'There is no GPU here, so nothing was measured.\n'


def test_every_way_runs_on_a_cpu_and_recordings_have_no_error(benchmark, monkeypatch, tmp_path):
    monkeypatch.setattr(ModelConfig, 'preset', classmethod(lambda cls, name: CUT3R))
    result = tmp_path / 'gpu.json'
    words = ('--device', 'cpu', '--preset', 'small', '--size', '48x32', '--frames', 2)
    text = benchmark(*words, '--output', result)
    rows = {row['name']: row for row in json.loads(result.read_text())['rows']}
    assert all(name in text for name in rows)
    assert rows['float32, graph']['depth'] == rows['float32, graph']['state'] == 0.0
    assert 0 < rows['bfloat16, graph']['depth'] == rows['bfloat16, eager']['depth'] < 0.1
    assert rows['bfloat16, graph']['waits'] == 0  # the network asks the device for nothing


def test_network_with_two_view_geometry_is_measured_with_flow_of_the_host(benchmark, tmp_path):
    result = tmp_path / 'gpu.json'
    words = ('--device', 'cpu', '--preset', 'mem3r-tiny', '--size', '160x120', '--frames', 2)
    benchmark(*words, '--output', result)
    (row,) = json.loads(result.read_text())['rows']
    assert row['name'] == 'float32, eager'
    assert row['waits'] == 0  # on a CPU there is no download


def test_waits_are_counted_by_the_line_that_causes_them():
    queue = DirectQueue(torch.device('cpu'))
    with torch.inference_mode(), host_waits(queue) as places:
        values = torch.ones(3)
        if bool(values.any()):
            queue.wait()
        values.sum().item()
    assert places == {'elsewhere': 2, DOWNLOAD: 1}
