# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The full-size network against recorded samples and statistics.

The runs need four gigabytes of memory and minutes; they wait for ``MEM3R_FULL_SIZE=1``.
"""

from __future__ import annotations

import json
import os

from agreement import Agreement
from full_size_recipe import fill, image, weight
import pytest
import torch

from mem3r_ros.model import FrameInput, Mem3R, ModelConfig, update_rule

needs_minutes = pytest.mark.skipif(
    os.environ.get('MEM3R_FULL_SIZE') != '1',
    reason='needs 4 GB of memory and minutes; set MEM3R_FULL_SIZE=1 to run it',
)
OUTPUTS = {
    'pts3d_in_self_view': 'points_camera',
    'pts3d_in_other_view': 'points_world',
    'conf_self': 'confidence_camera',
    'conf': 'confidence_world',
    'rgb': 'rgb',
    'camera_pose': 'camera_pose',
}
SAMPLE_TOLERANCE = 2e-4  # of 1 + |x|; ten times what other orders of summation give
STATISTIC_TOLERANCE = 1e-3  # relative


@pytest.fixture(scope='module')
def recorded(request):
    path = request.getfixturevalue('shared_dir') / 'parity' / 'full_size.json'
    return json.loads(path.read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def full_size_model():
    with torch.device('meta'):
        model = Mem3R(ModelConfig.preset('cut3r-512-dpt'))
    fill(model)
    return model.eval()


def statistic_error(found: torch.Tensor, expected: dict) -> float:
    """Return the largest relative error of the recorded spread, magnitude and norm."""
    found = found.double()
    values = {
        'std': found.std(unbiased=False),
        'abs_mean': found.abs().mean(),
        'l2': found.norm(),
    }
    return max(abs(float(value) / expected[name] - 1) for name, value in values.items())


def test_the_recipe_gives_the_recorded_weights(recorded):
    for name, expected in recorded['parameters_checks'].items():
        found = weight(name, tuple(expected['shape']))

        assert list(found.shape) == expected['shape']
        assert statistic_error(found, expected) < 1e-6
        assert float(found.min()) == pytest.approx(expected['min'], abs=1e-7)
        assert float(found.max()) == pytest.approx(expected['max'], abs=1e-7)


@needs_minutes
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('run', ['cut3r_224x224', 'ttt3r_224x224', 'ttt3r_384x512'])
def test_full_size_outputs_and_memories_agree(recorded, full_size_model, run):
    rule_name, _, size = run.partition('_')
    height, width = map(int, size.split('x'))
    rule, state = update_rule(rule_name), full_size_model.initial_state()
    samples, statistics = Agreement(SAMPLE_TOLERANCE, SAMPLE_TOLERANCE), {}

    with torch.inference_mode():
        for index, expected in enumerate(recorded['results'][run]):
            before = state
            frame = FrameInput(image=image(index, height, width))
            prediction, state = full_size_model.step(frame, state, rule)
            found = {theirs: getattr(prediction, ours) for theirs, ours in OUTPUTS.items()}
            found |= {'state_before': before.tokens, 'state_after': state.tokens}
            found |= {'mem_before': before.camera_memory, 'mem_after': state.camera_memory}
            for name, tensor in found.items():
                where = torch.tensor(expected[name]['sample_flat_index'])
                sampled = torch.tensor(expected[name]['sample'])
                samples.add(f'{name} of frame {index}', tensor.flatten()[where], sampled)
                statistics[index, name] = statistic_error(tensor, expected[name])

    worst = max(statistics, key=statistics.get)
    print(f'{run}: samples: {samples}; statistics {statistics[worst]:.1e} at {worst}')
    assert samples, samples
    assert statistics[worst] <= STATISTIC_TOLERANCE
