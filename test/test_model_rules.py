# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Update rules against hand-computed cases."""

from __future__ import annotations

import math

import pytest
from tiny_networks import RULES, frame, network, run
import torch

from mem3r_ros.errors import UserError
from mem3r_ros.model import UPDATE_RULES, update_rule
from mem3r_ros.model.update_rules import AttentionMean, AttentionProduct, RuleInput


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


class Seen:
    """An observer with given logits."""

    def __init__(self, logits):
        self.value = torch.tensor([logits])


def seen(candidate, features=((1.0, 0.0),), image_token=(0.0, 0.0), logits=None):
    """Return the input of a rule for one stream."""
    return RuleInput(
        torch.tensor([candidate]),
        torch.tensor([features]),
        torch.tensor([image_token]),
        None if logits is None else Seen(logits),
    )


def gate_of(rule, first, second):
    """Return the gate [S] of a rule for the second frame, and its running values."""
    gate, after = rule.gate(second, rule.initial_state(first))
    return gate[0, :, 0], after


def random_attention():
    """Return rotated queries and keys of three layers: B 2, H 4, S 5, N+1 7, D 8."""
    generator = torch.Generator().manual_seed(1)
    return [
        tuple(torch.randn(2, 4, length, 8, generator=generator) for length in (5, 7))
        for _ in range(3)
    ]


def all_logits(layers):
    """Return scaled logits before the softmax, [L, B, H, S, N+1]."""
    return torch.stack([query @ key.transpose(-1, -2) / 8**0.5 for query, key in layers])


def test_the_mean_logit_comes_from_averaged_keys():
    observer, layers = AttentionMean(), random_attention()
    for query, key in layers:
        observer.add(query, key)

    expected = all_logits(layers).mean(dim=(0, 2, 4))
    torch.testing.assert_close(observer.value, expected, rtol=1e-5, atol=1e-6)


def test_the_mean_over_heads_comes_from_one_product():
    observer, layers = AttentionProduct(), random_attention()
    for query, key in layers:
        observer.add(query, key)

    expected = all_logits(layers).mean(dim=(0, 2))
    torch.testing.assert_close(observer.value, expected, rtol=1e-5, atol=1e-6)


def test_cut3r_has_no_gate():
    gate, after = update_rule('cut3r').gate(seen([[1.0, 2.0]]), {})

    assert gate is None
    assert after == {}


def test_ttt3r_is_the_sigmoid_of_the_mean_logit():
    rule = update_rule('ttt3r')

    gate, _ = rule.gate(seen([[0.0], [0.0]], logits=[0.5, -2.0]), {})

    assert gate[0, :, 0].tolist() == pytest.approx([sigmoid(0.5), sigmoid(-2.0)])


def test_ttsa3r_multiplies_temporal_and_spatial_gate():
    first = seen([[0.0, 0.0], [0.0, 0.0]], features=((1.0, 0.0), (0.0, 2.0)))
    # Token 0 changes by 5, token 1 by 1: over their mean 3. Image token 0 rotates by 90 degrees
    # (novelty 1), image token 1 only grows (novelty 0). The first column is the pose token.
    second = seen(
        [[3.0, 4.0], [1.0, 0.0]],
        features=((0.0, 3.0), (0.0, 7.0)),
        logits=[[9.0, -0.4, 5.0], [9.0, 0.2, 5.0]],
    )

    gate, after = gate_of(update_rule('ttsa3r'), first, second)

    expected = [
        sigmoid(5 / 3 - 1.5) * sigmoid(0.4 * 1.0),
        sigmoid(1 / 3 - 1.5) * sigmoid(0.2 * 1.0),
    ]
    assert gate.tolist() == pytest.approx(expected)
    assert torch.equal(after['candidate'], second.candidate)
    assert torch.equal(after['features'], second.features)


def test_memix_updates_the_patches_with_the_lowest_similarity():
    rule = update_rule('memix', num_patches=3, num_written=2)
    # The similarity to (1, 0) is the first component; patches are pairs of tokens, by their mean.
    frame_seen = seen(
        [[5.0, 0], [1.0, 0], [2.0, 0], [2.0, 0], [-9.0, 0], [20.0, 0]], image_token=(1.0, 0.0)
    )

    gate, _ = rule.gate(frame_seen, {})

    # Patch means 3, 2 and 5.5: the last is kept.
    assert gate[0, :, 0].tolist() == [1, 1, 1, 1, 0, 0]


def test_memix_updates_708_of_768_tokens_by_default_and_the_same_fraction_of_fewer():
    rule = update_rule('memix')
    for num_tokens, written in ((768, 708), (64, 59)):
        candidate = torch.arange(num_tokens, dtype=torch.float32)[:, None].repeat(1, 2).tolist()

        gate, _ = rule.gate(seen(candidate, image_token=(1.0, 0.0)), {})

        assert gate[0, :, 0].tolist() == [1] * written + [0] * (num_tokens - written)


def test_memix_multiplies_the_soft_gate_of_another_rule():
    rule = update_rule('memix', num_patches=2, num_written=1, soft_gate='ttt3r')
    frame_seen = seen([[1.0, 0.0], [2.0, 0.0]], image_token=(1.0, 0.0), logits=[0.7, 0.1])

    gate, _ = rule.gate(frame_seen, {})

    assert rule.observer is AttentionMean
    assert gate[0, :, 0].tolist() == pytest.approx([sigmoid(0.7), 0.0])


def test_filt3r_is_a_kalman_filter_of_each_token():
    rule = update_rule('filt3r')
    frames = [seen([[0.0, 0.0], [0.0, 0.0]]), seen([[8.0, 0.0], [0.0, 0.0]])]
    frames.append(seen([[8.0, 6.0], [0.0, 0.0]]))

    gates, state = [], rule.initial_state(frames[0])
    for item in frames[1:]:
        gate, state = rule.gate(item, state)
        gates.append(gate[0, :, 0].tolist())

    # Changes of the two tokens: (8, 0), mean 4, the initial running mean; then (6, 0).
    variance, mean, expected = [1.5, 1.5], 4.0, []
    for step, changes in enumerate(((8.0, 0.0), (6.0, 0.0))):
        mean = mean if step == 0 else 0.95 * mean + 0.05 * 3.0
        predicted = [
            v + 0.02 + 0.48 * sigmoid(20 * (change / mean - 3))
            for v, change in zip(variance, changes, strict=True)
        ]
        gain = [p / (p + 1) for p in predicted]
        variance = [(1 - k) ** 2 * p + k**2 for k, p in zip(gain, predicted, strict=True)]
        expected.append(gain)
    assert gates[0] == pytest.approx(expected[0], rel=1e-5)
    assert gates[1] == pytest.approx(expected[1], rel=1e-5)
    assert state['variance'][0].tolist() == pytest.approx(variance, rel=1e-5)
    assert float(state['mean_change']) == pytest.approx(mean, rel=1e-5)


def test_filt3r_lowers_its_gain_on_a_static_scene_and_raises_it_after_a_jump():
    rule = update_rule('filt3r')
    still = seen([[1.0, 0.0], [0.0, 1.0]])
    state, gains = rule.initial_state(still), []
    for i in range(60):
        # One token changes a little; at the end it jumps.
        jump = 5.0 if i == 59 else 0.02 * (i % 2)
        gate, state = rule.gate(seen([[1.0 + jump, 0.0], [0.0, 1.0]]), state)
        gains.append(float(gate[0, 0, 0]))

    assert gains[0] > 0.55
    assert gains[58] < 0.2
    assert gains[59] > gains[58] + 0.1


@pytest.mark.parametrize('name', RULES)
def test_the_first_frame_has_gate_one_and_later_ones_are_gated(name):
    model, rule = network('cut3r'), update_rule(name)
    predictions, _ = run(model, [frame(i) for i in range(3)], rule=rule)

    gates = [float(prediction.telemetry['gate_mean']) for prediction in predictions]

    assert gates[0] == 1
    if name == 'cut3r':
        assert gates == [1, 1, 1]
    else:
        assert 0 < gates[1] < 1
        assert 0 < gates[2] < 1


@pytest.mark.parametrize('name', RULES)
def test_the_first_frame_under_a_rule_with_running_values_has_gate_one(name):
    model = network('cut3r')
    _, state = run(model, [frame(0), frame(1)], rule=update_rule('cut3r'))

    predictions, _ = run(model, [frame(2), frame(3)], state, update_rule(name))

    gates = [float(prediction.telemetry['gate_mean']) for prediction in predictions]
    assert (gates[0] == 1) == (name in ('cut3r', 'ttsa3r', 'filt3r'))
    assert (gates[1] == 1) == (name == 'cut3r')


@pytest.mark.parametrize('name', RULES)
def test_the_camera_memory_is_always_fully_updated(name):
    model = network('cut3r')
    _, state = run(model, [frame(0), frame(1)])

    _, plain = run(model, [frame(2)], state)
    _, gated = run(model, [frame(2)], state, update_rule(name))

    assert torch.equal(plain.camera_memory, gated.camera_memory)


def test_another_image_size_resets_the_running_values():
    model, rule = network('cut3r'), update_rule('ttsa3r')
    _, state = run(model, [frame(0), frame(1)], rule=rule)

    larger = frame(2, image=torch.zeros(1, 3, 48, 48))
    (prediction,), state = run(model, [larger], state, rule)

    assert float(prediction.telemetry['gate_mean']) == 1
    assert state.rule['features'].shape[1] == 9


def test_unknown_rules_and_options_are_refused_with_a_list_of_known_ones():
    with pytest.raises(UserError, match='choose one of cut3r, ttt3r, ttsa3r, memix, filt3r'):
        update_rule('ttt4r')
    with pytest.raises(UserError, match='it has: threshold'):
        update_rule('ttsa3r', treshold=2.0)
    with pytest.raises(UserError, match='at most num_patches'):
        update_rule('memix', num_patches=4, num_written=5)
    with pytest.raises(UserError, match='at most 1'):
        update_rule('filt3r', mean_rate=2.0)
    assert set(UPDATE_RULES) == set(RULES)
