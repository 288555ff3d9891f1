# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The setting ``execution: compile``: torch.compile on the blocks of a small network."""

from __future__ import annotations

import os
import shutil

import pytest
from tiny_networks import CUT3R
import torch

from mem3r_ros.model import FrameInput, build_model
from mem3r_ros.model.execution import prepared_for

needs_compiler = pytest.mark.skipif(
    shutil.which('g++') is None or 'MEM3R_SLOW_TESTS' not in os.environ,
    reason='compiles for minutes, with a C++ compiler and MEM3R_SLOW_TESTS=1',
)


def answers(model, num_frames=3):
    """Return the depth of some frames and the state after them."""
    generator = torch.Generator().manual_seed(1)
    state, found = model.initial_state(), []
    with torch.inference_mode():
        for _ in range(num_frames):
            image = torch.rand(1, 3, 32, 48, generator=generator) * 2 - 1
            prediction, state = model.step(FrameInput(image=image), state)
            found.append(prediction.points_camera)
    return [*found, state.tokens]


@pytest.mark.timeout(900)  # a busy machine compiles slowly
@pytest.mark.parametrize('backend', ['aot_eager', pytest.param('inductor', marks=needs_compiler)])
def test_compiled_blocks_give_what_they_give_directly(backend, tmp_path, monkeypatch):
    # A folder of its own: the time does not depend on earlier runs.
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path))
    compile_block = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, 'compile', lambda part, **how: compile_block(part, backend=backend, **how)
    )
    torch.manual_seed(0)
    model = build_model(CUT3R).eval().requires_grad_(False)
    expected = answers(model)
    torch._dynamo.reset()
    found = answers(prepared_for('compile', model))
    counters = torch._dynamo.utils.counters
    assert counters['stats']['unique_graphs'] > 0
    assert not counters['graph_break']
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)
