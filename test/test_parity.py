# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The network against recorded numbers of the public reference implementation."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path

from agreement import Agreement
from network_mistakes import MISTAKES, Mistake
import pytest
import torch

from mem3r_ros.model import FrameInput, Mem3R, ModelConfig, load_model, update_rule
from mem3r_ros.model.encoder import Encoded

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
# Which run of a sequence holds the encoder's features; they do not depend on the rule.
FEATURES = {
    'plain': 'recurrent_cut3r',
    'reset': 'lighter_ttt3r',
    'no_update': 'lighter_ttt3r',
    'mixed': 'lighter_ttt3r',
}
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


def rerun(
    fixture: Fixture,
    run: str,
    mistake: Mistake | None = None,
    features: torch.Tensor | None = None,
) -> Agreement:
    """
    Repeat a recorded run and compare all outputs and memories of all frames.

    :param mistake: made on purpose, before the first frame.
    :param features: fed to the decoder in place of the encoder's, [F, N, E].
    """
    config = ModelConfig.from_metadata(fixture.config)
    # CUT3R's own streaming function reads the initial memory after a reset.
    config = replace(config, pose_token_after_reset=not run.startswith('recurrent'))
    model = load_model(fixture.path, config=config)
    rule = update_rule(run.rpartition('_')[2])
    agreement = Agreement()

    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        if mistake is not None:
            mistake(patch, model)
        if features is not None:
            feed_features(patch, model, features)
        state = model.initial_state()
        agreement.add('state_feat', state.tokens[0], fixture(f'run/{run}/state/state_feat')[0])
        for i, frame in enumerate(fixture.frames()):
            prediction, state = model.step(
                frame, state, rule, masked_tokens=run.startswith('batch')
            )
            found = {
                f'out/{theirs}': getattr(prediction, ours) for theirs, ours in OUTPUTS.items()
            }
            found['derived/c2w'] = prediction.T_world_camera
            for name, tensor in found.items():
                agreement.add(name, tensor[0], fixture(f'run/{run}/{name}')[i])
            for name, tensor in (('state_feat', state.tokens), ('mem', state.camera_memory)):
                agreement.add(name, tensor[0], fixture(f'run/{run}/state/{name}')[i + 1])
    return agreement


def feed_features(patch: pytest.MonkeyPatch, model: Mem3R, features: torch.Tensor) -> None:
    """Replace the features of one frame after the other."""
    original, rest = model._encode, iter(features)

    def encode(*arguments: object) -> Encoded:
        recorded = next(rest)[None]
        return original(*arguments)._replace(features=recorded, pooled=recorded.mean(dim=1))

    patch.setattr(model, '_encode', encode)


@pytest.mark.parametrize(('name', 'sequence', 'run'), CASES)
def test_every_output_and_state_agrees_with_the_reference(shared_dir, name, sequence, run):
    agreement = rerun(Fixture(shared_dir / 'parity' / f'{name}.safetensors', sequence), run)

    print(agreement)
    assert agreement, agreement
    assert agreement.num_values > 80_000


@pytest.mark.parametrize(('name', 'sequence', 'run'), CASES)
def test_after_the_encoder_every_single_value_agrees(shared_dir, name, sequence, run):
    fixture = Fixture(shared_dir / 'parity' / f'{name}.safetensors', sequence)
    source = run if run.startswith('batch') else FEATURES[sequence]

    # Only the encoder rounds to float16: behind it, processors differ by far less.
    agreement = rerun(fixture, run, features=fixture(f'run/{source}/debug/enc_feat'))

    assert agreement.worst <= 1, agreement


@pytest.mark.parametrize('mistake', MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_network_with_a_mistake_does_not_agree(shared_dir, mistake):
    fixture = Fixture(shared_dir / 'parity' / 'public_b.safetensors', 'reset')

    agreement = rerun(fixture, 'lighter_ttt3r', mistake)

    assert not agreement, agreement


def test_a_ray_map_query_agrees_and_leaves_the_state_alone(shared_dir):
    fixture = Fixture(shared_dir / 'parity' / 'public_c.safetensors', 'mixed')
    model = load_model(fixture.path)
    state, agreement = model.initial_state(), Agreement()
    with torch.inference_mode():
        for frame in fixture.frames():
            _, state = model.step(frame, state)
        before = state.clone().to_dict()

        prediction = model.query(fixture('query/in/ray_map'), state)

    for theirs, ours in OUTPUTS.items():
        agreement.add(theirs, getattr(prediction, ours), fixture(f'query/out/{theirs}'))
    assert agreement, agreement
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
    model, seen, agreement = load_model(fixture.path), [], Agreement()
    model.image_encoder.register_forward_hook(lambda *step: seen.append(step[2][0][0]))

    with torch.inference_mode():
        for frame in fixture.frames():
            model.step(frame, model.initial_state(), outputs={'camera_pose'})

    agreement.add('enc_feat', torch.stack(seen), fixture(f'run/{run}/debug/enc_feat'))
    assert agreement, agreement
