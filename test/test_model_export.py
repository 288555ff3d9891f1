# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Exported steps: the tracker loads them, and their numbers are those of the network."""

from __future__ import annotations

from importlib.util import find_spec
import os
import shutil

import numpy as np
import pytest
from tiny_networks import SIZE, network, tracked_network
import torch

from mem3r_ros.cli.main import main
from mem3r_ros.errors import UserError
from mem3r_ros.model import FrameInput, load_model, save_checkpoint, update_rule
from mem3r_ros.model.backend import BackendConfig, load_backend
from mem3r_ros.model.export import ExportedStep, export_step
from mem3r_ros.model.speedups import arithmetic_of
from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig

pytestmark = pytest.mark.timeout(1800)  # an export takes minutes on a busy machine
LARGEST_ERROR = 1e-4  # relative, of every output and of the state after six frames
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ('onnx', 'onnxscript', 'onnxruntime')),
    reason='the extra export is not installed',
)
needs_compiler = pytest.mark.skipif(
    shutil.which('g++') is None or 'MEM3R_SLOW_TESTS' not in os.environ,
    reason='compiles for a minute, with a C++ compiler and MEM3R_SLOW_TESTS=1',
)
FORMATS = [
    pytest.param('.onnx', marks=needs_onnx),
    pytest.param('.pt2', marks=needs_compiler),
]


def relative(found, exact):
    return float((found - exact).norm() / exact.norm())


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Return the file of a small network for the tracker."""
    path = tmp_path_factory.mktemp('weights') / 'weights.safetensors'
    save_checkpoint(tracked_network(enc_depth=1, dec_depth=2, rgb_head=False), path)
    return str(path)


@pytest.fixture(scope='module', params=FORMATS)
def exported_path(request, weights, tmp_path_factory):
    """Return the step as the command line exports it, in each format."""
    path = str(tmp_path_factory.mktemp('step') / f'step{request.param}')
    words = ('--size', '96x64', '--rule', 'ttt3r')
    assert main(['weights', 'export', weights, path, *words]) == 0
    return path


@pytest.fixture
def exported(exported_path):
    """Return the exported step as the settings load it."""
    step, device = load_backend(BackendConfig(model=exported_path, num_threads=1))
    assert (device, arithmetic_of(step)) == ('cpu', 'float32')
    return step


@torch.inference_mode()
def test_exported_step_equals_the_network(exported, weights):
    model, rule = load_model(weights), update_rule('ttt3r')
    here, there = model.initial_state(), exported.initial_state()
    generator = torch.Generator().manual_seed(0)
    for index in range(6):
        image = torch.rand(1, 3, *SIZE, generator=generator) * 2 - 1
        frame = FrameInput(image=image, update=torch.tensor([index != 3]))
        expected, here = model.step(frame, here, rule)
        found, there = exported.step(frame, there, rule)
        for name in ('points_camera', 'confidence_camera', 'T_world_camera'):
            assert relative(getattr(found, name), getattr(expected, name)) < LARGEST_ERROR
        for name, value in expected.telemetry.items():
            assert torch.allclose(found.telemetry[name], value, rtol=1e-3)
    assert relative(there.tokens, here.tokens) < LARGEST_ERROR
    assert relative(there.camera_memory, here.camera_memory) < LARGEST_ERROR
    assert torch.equal(there.is_first, here.is_first)


def test_tracker_uses_an_exported_step(exported, weights):
    poses = []
    generator = np.random.default_rng(0)
    wall = generator.integers(0, 255, (64, 128, 3), dtype=np.uint8)
    for candidate in (load_model(weights), exported):
        tracker = Tracker(candidate, TrackerConfig(update_rule='ttt3r', reset_interval=4))
        tracker.warm_up(96, 64)
        for index in range(6):
            image = np.ascontiguousarray(wall[:, 2 * index : 2 * index + 96])
            tracked = tracker.track(CameraFrame(index * 33_000_000, image))
        tracker.restore(tracker.snapshot())
        poses.append(tracked.T_odom_camera)
    assert tracked.segment > 0
    assert np.abs(poses[0] - poses[1]).max() < 1e-3


def test_other_size_rule_or_device_is_refused(exported, exported_path):
    state = exported.initial_state()
    with pytest.raises(UserError, match='exported for network images of 48x32'):
        exported.step(FrameInput(image=torch.zeros(1, 3, 48, 48)), state)
    frame = FrameInput(image=torch.zeros(1, 3, *SIZE))
    with pytest.raises(UserError, match="update rule 'ttt3r', not 'cut3r'"):
        exported.step(frame, state, update_rule('cut3r'))
    with pytest.raises(UserError, match='runs on the cpu'):
        load_backend(BackendConfig(model=exported_path, device='cuda'))


def test_step_without_its_state_is_refused(tmp_path):
    (tmp_path / 'step.onnx').write_bytes(b'')
    with pytest.raises(UserError, match=r'step\.safetensors is missing'):
        ExportedStep(tmp_path / 'step.onnx')


def test_what_cannot_be_exported_is_refused(tmp_path):
    model = network('mem3r')
    with pytest.raises(UserError, match=r'must end in \.onnx or \.pt2'):
        export_step(model, tmp_path / 'step.engine', SIZE[::-1])
    with pytest.raises(UserError, match="'filt3r' cannot be exported"):
        export_step(model, tmp_path / 'step.onnx', SIZE[::-1], 'filt3r')
    with pytest.raises(UserError, match='two-view geometry cannot be exported'):
        export_step(network('small'), tmp_path / 'step.onnx', SIZE[::-1])
