# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The network against recorded numbers of the public reference implementation."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path

import pytest
import torch

from mem3r_ros.model import FrameInput, ModelConfig, load_model, update_rule

CASES = [
    ('public_a', 'plain', 'recurrent_cut3r'),
    ('public_a', 'plain', 'lighter_ttt3r'),
    ('public_b', 'reset', 'recurrent_cut3r'),
    ('public_b', 'reset', 'lighter_cut3r'),
    ('public_b', 'reset', 'lighter_ttt3r'),
    ('public_c', 'no_update', 'recurrent_cut3r'),
    ('public_c', 'no_update', 'lighter_ttt3r'),
    ('public_c', 'mixed', 'recurrent_cut3r'),
    ('public_c', 'mixed', 'lighter_ttt3r'),
    ('public_c', 'mixed', 'batch_cut3r'),
]
OUTPUTS = {
    'pts3d_in_self_view': 'points_camera',
    'pts3d_in_other_view': 'points_world',
    'conf_self': 'confidence_camera',
    'conf': 'confidence_world',
    'rgb': 'rgb',
    'camera_pose': 'camera_pose',
}


class Fixture:
    """One recorded model with its sequences."""

    def __init__(self, path: Path, sequence: str) -> None:
        """Open the file; tensors are read one by one."""
        from safetensors import safe_open

        self.path = path
        self._file = safe_open(path, framework='pt')
        self._prefix = f'seq/{sequence}/'
        self.config = json.loads(self._file.metadata()['config'])

    def __call__(self, name: str) -> torch.Tensor:
        """Return one recorded tensor."""
        return self._file.get_tensor(self._prefix + name)

    def has(self, name: str) -> bool:
        """Say whether a tensor was recorded."""
        return self._prefix + name in self._file.keys()  # noqa: SIM118 - not a dict

    def frames(self) -> list[FrameInput]:
        """Return the inputs as they were fed to the reference."""
        images, has_image = self('in/img'), self('in/img_mask').bool()
        has_rays, update, reset = (
            self(f'in/{name}').bool() for name in ('ray_mask', 'update', 'reset')
        )
        return [
            FrameInput(
                image=images[i : i + 1] if has_image[i] else None,
                ray_map=self('in/ray_map')[i : i + 1] if has_rays[i] else None,
                update=update[i : i + 1],
                reset=reset[i : i + 1],
            )
            for i in range(len(images))
        ]


def excess(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest error in units of the stated tolerance (1e-4 + 1e-3 |x|)."""
    return float(((actual.detach() - expected).abs() / (1e-4 + 1e-3 * expected.abs())).max())


@pytest.mark.parametrize(('name', 'sequence', 'run'), CASES)
def test_every_output_and_state_agrees_with_the_reference(shared_dir, name, sequence, run):
    fixture = Fixture(shared_dir / 'parity' / f'{name}.safetensors', sequence)
    config = ModelConfig.from_metadata(fixture.config)
    # CUT3R's own streaming function reads the initial memory after a reset.
    config = replace(config, pose_token_after_reset=not run.startswith('recurrent'))
    model = load_model(fixture.path, config=config)
    rule = update_rule(run.rpartition('_')[2])
    state = model.initial_state()
    worst = {}

    assert excess(state.tokens[0], fixture(f'run/{run}/state/state_feat')[0]) <= 1
    with torch.inference_mode():
        for i, frame in enumerate(fixture.frames()):
            prediction, state = model.step(
                frame, state, rule, masked_tokens=run.startswith('batch')
            )
            for theirs, ours in OUTPUTS.items():
                error = excess(getattr(prediction, ours)[0], fixture(f'run/{run}/out/{theirs}')[i])
                worst[theirs] = max(worst.get(theirs, 0), error)
            for theirs, ours in (('state_feat', state.tokens), ('mem', state.camera_memory)):
                error = excess(ours[0], fixture(f'run/{run}/state/{theirs}')[i + 1])
                worst[theirs] = max(worst.get(theirs, 0), error)
            c2w = fixture(f'run/{run}/derived/c2w')[i]
            worst['c2w'] = max(worst.get('c2w', 0), excess(prediction.T_world_camera[0], c2w))

    assert max(worst.values()) <= 1, worst


def test_a_ray_map_query_agrees_and_leaves_the_state_alone(shared_dir):
    fixture = Fixture(shared_dir / 'parity' / 'public_c.safetensors', 'mixed')
    model = load_model(fixture.path)
    state = model.initial_state()
    with torch.inference_mode():
        for frame in fixture.frames():
            _, state = model.step(frame, state)
        before = state.clone().to_dict()

        prediction = model.query(fixture('query/in/ray_map'), state)

    for theirs, ours in OUTPUTS.items():
        expected = fixture(f'query/out/{theirs}')
        assert excess(getattr(prediction, ours), expected) <= 1, theirs
    assert all(torch.equal(before[key], value) for key, value in state.to_dict().items())


@pytest.mark.parametrize(
    ('name', 'sequence', 'run'),
    [
        ('public_a', 'plain', 'recurrent_cut3r'),
        ('public_b', 'reset', 'lighter_ttt3r'),
        ('public_c', 'no_update', 'lighter_ttt3r'),
    ],
)
def test_the_encoder_rounds_as_the_reference_does(shared_dir, name, sequence, run):
    fixture = Fixture(shared_dir / 'parity' / f'{name}.safetensors', sequence)
    model, seen = load_model(fixture.path), []
    model.image_encoder.register_forward_hook(lambda *step: seen.append(step[2][0][0]))

    with torch.inference_mode():
        for frame in fixture.frames():
            model.step(frame, model.initial_state(), outputs={'camera_pose'})

    # One float16 rounding that goes the other way is off by half a tolerance.
    assert excess(torch.stack(seen), fixture(f'run/{run}/debug/enc_feat')) < 0.05


@pytest.mark.parametrize('name', ['public_a', 'public_b'])
def test_without_the_float16_rounding_the_numbers_are_visibly_off(shared_dir, name):
    sequence = {'public_a': 'plain', 'public_b': 'reset'}[name]
    fixture = Fixture(shared_dir / 'parity' / f'{name}.safetensors', sequence)
    config = replace(ModelConfig.from_metadata(fixture.config), round_qk_float16=False)
    model = load_model(fixture.path, config=config)

    with torch.inference_mode():
        prediction, _ = model.step(fixture.frames()[0], model.initial_state())

    recorded = fixture('run/lighter_ttt3r/out/pts3d_in_self_view')[:1]
    assert excess(prediction.points_camera, recorded) > 0.5
