# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Camera memory (fast weights, slots) and channel-wise gate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_networks import CUT3R, MEM3R, frame, network, run
import torch
import torch.nn.functional as F

from mem3r_ros.model import ModelConfig
from mem3r_ros.model.pose_memory import TrackingMemory
from mem3r_ros.model.state_gate import StateGate
from mem3r_ros.model.state_update import blend

VARIANTS = {
    'as published': {},
    'query normalised as one token': {'fast_query_norm': 'token'},
    'no norm of the read-out': {'fast_output_norm': False},
    'neither': {'fast_query_norm': 'token', 'fast_output_norm': False},
    'posterior in the graph': {'fast_detach_posterior': False},
}


def tracking_memory(config=MEM3R, seed=0, **fields):
    """Return a tracking memory with random slow weights, and weights of two streams."""
    torch.manual_seed(seed)
    memory = TrackingMemory(replace(config, **fields))
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    weights = memory.initial(2)
    return memory, weights + 0.1 * torch.randn_like(weights)


def read_as_written(memory, pooled, weights, config):
    """Compute the paper's read-out term by term, one head at a time."""
    z = F.linear(pooled, memory.query.weight, memory.query.bias)
    heads = config.fast_num_heads
    if config.fast_query_norm == 'token':
        z = z / z.norm(dim=-1, keepdim=True)
    values = []
    for head, q in enumerate(z.chunk(heads, dim=-1)):
        if config.fast_query_norm == 'head':
            q = q / q.norm(dim=-1, keepdim=True)
        w1, w2, w3 = weights[:, :, head].unbind(1)
        hidden = F.silu(torch.einsum('bij,bj->bi', w1, q)) * torch.einsum('bij,bj->bi', w3, q)
        y = torch.einsum('bij,bj->bi', w2, hidden)
        if config.fast_output_norm:
            y = y / y.square().mean(-1, keepdim=True).sqrt()
        values.append(y)
    return F.linear(torch.cat(values, dim=-1), memory.output.weight, memory.output.bias)


@pytest.mark.parametrize('variant', VARIANTS)
def test_read_out_is_the_swiglu_of_the_fast_weights(variant):
    config = replace(MEM3R, **VARIANTS[variant])
    memory, weights = tracking_memory(config)
    pooled = torch.randn(2, config.enc_embed_dim)

    prior = memory.read(pooled, weights).prior[:, 0]

    expected = read_as_written(memory, pooled, weights, config)
    torch.testing.assert_close(prior, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('variant', VARIANTS)
def test_closed_form_update_equals_autograd_through_the_read_out(variant):
    config = replace(MEM3R, **VARIANTS[variant])
    memory, weights = tracking_memory(config)
    pooled = torch.randn(2, config.enc_embed_dim)
    posterior = torch.randn(2, 1, config.dec_embed_dim)

    # The reference is autograd in double precision; the closed form runs as in the network.
    exact, leaf = memory.double(), weights.double().requires_grad_()
    prior = read_as_written(exact, pooled.double(), leaf, config)
    (gradient,) = torch.autograd.grad((prior * posterior[:, 0]).sum(), leaf)
    memory = memory.float()
    read = memory.read(pooled, weights)
    rate = read.learning_rate.transpose(1, 2)[..., None, None]
    keep = read.keep[:, None, :, None, None]
    expected = keep * weights + rate * gradient.float()

    updated = memory.update(weights, read, posterior)

    scale = gradient.abs().max().float()
    found = memory.gradient(weights, read, posterior)
    assert (found - gradient.float()).abs().max() <= 1e-6 * max(scale, 1)
    torch.testing.assert_close(updated, expected, rtol=0, atol=1e-6)


def test_full_size_update_equals_autograd_too():
    config = ModelConfig.preset('mem3r-512-dpt')
    memory, weights = tracking_memory(config)
    pooled = torch.randn(2, config.enc_embed_dim)
    posterior = torch.randn(2, 1, config.dec_embed_dim)

    leaf = weights.clone().requires_grad_()
    prior = memory.read(pooled, leaf).prior
    (gradient,) = torch.autograd.grad((prior * posterior).sum(), leaf)

    found = memory.gradient(weights, memory.read(pooled, weights), posterior)
    assert weights.shape == (2, 3, 12, 64, 64)
    assert (found - gradient).abs().max() <= 1e-6 * gradient.abs().max().clamp(min=1)


def test_initial_decay_and_rates_are_those_of_the_configuration():
    memory = TrackingMemory(MEM3R)
    read = memory.read(torch.randn(3, MEM3R.enc_embed_dim), memory.initial(3))

    torch.testing.assert_close(read.learning_rate, torch.full_like(read.learning_rate, 1e-3))
    torch.testing.assert_close(read.keep, torch.full_like(read.keep, 1 - 0.01 * 0.5))


def test_decay_per_frame_is_at_most_the_limit():
    memory, weights = tracking_memory()
    with torch.no_grad():
        memory.decay.bias.fill_(100.0)

    keep = memory.read(torch.randn(2, MEM3R.enc_embed_dim), weights).keep

    torch.testing.assert_close(keep, torch.full_like(keep, 0.99))


def test_training_reaches_the_slow_weights_through_the_update():
    memory, _ = tracking_memory()
    weights = memory.initial(1)
    for _ in range(2):
        pooled = torch.randn(1, MEM3R.enc_embed_dim)
        read = memory.read(pooled, weights)
        weights = memory.update(weights, read, torch.randn(1, 1, MEM3R.dec_embed_dim))
    memory.read(torch.randn(1, MEM3R.enc_embed_dim), weights).prior.sum().backward()

    without = [name for name, value in memory.named_parameters() if value.grad is None]
    assert without == []
    assert all(value.grad.abs().max() > 0 for value in memory.parameters())


def track(output_norm: bool, learning_rate: float, num_frames: int) -> tuple[list[float], float]:
    """
    Run one memory of published size on random data.

    The query is a random walk, the posterior a constant plus noise.

    :return: cos(prior, posterior) per frame and the largest fast weight.
    """
    config = replace(
        ModelConfig.preset('mem3r-512-dpt'),
        fast_output_norm=output_norm,
        fast_learning_rate=learning_rate,
    )
    memory = TrackingMemory(config)
    target = torch.randn(config.dec_embed_dim)
    weights, pooled, cosines = memory.initial(1), torch.randn(1, config.enc_embed_dim), []
    with torch.inference_mode():
        for _ in range(num_frames):
            pooled = 0.98 * pooled + 0.2 * torch.randn_like(pooled)
            posterior = target + 0.5 * torch.randn(1, 1, config.dec_embed_dim)
            read = memory.read(pooled, weights)
            cosines.append(float(torch.cosine_similarity(read.prior, posterior, dim=-1)))
            weights = memory.update(weights, read, posterior)
    return cosines, float(weights.abs().max())


def test_tracking_learns_and_stays_stable_for_a_thousand_frames():
    cosines, largest = track(output_norm=True, learning_rate=1e-3, num_frames=1000)

    assert max(cosines[:5]) < 0.5
    assert min(cosines[500:]) >= 0.8
    assert largest < 10


@pytest.mark.parametrize('learning_rate', [1e-3, 1e-2])
def test_tracking_fails_without_the_norm_of_the_read_out(learning_rate):
    cosines, largest = track(output_norm=False, learning_rate=learning_rate, num_frames=1000)

    is_lost = not cosines[-1] >= 0.8  # also for NaN
    assert is_lost or not largest < 10


def test_the_printed_learning_rate_diverges():
    cosines, _ = track(output_norm=False, learning_rate=0.69, num_frames=100)

    assert not cosines[-1] >= 0.8


def test_an_open_channel_gate_is_bit_identical_to_the_cut3r_update():
    mem3r = network('mem3r')
    with torch.no_grad():
        mem3r.state_gate.fc2.weight.zero_()
        mem3r.state_gate.fc2.bias.fill_(100.0)  # sigmoid(100) is 1 in float32
    gated, _ = run(mem3r, [frame(i) for i in range(3)])
    _, state = run(mem3r, [frame(i) for i in range(3)])
    mem3r.state_gate = None
    plain, plain_state = run(mem3r, [frame(i) for i in range(3)])

    assert torch.equal(state.tokens, plain_state.tokens)
    assert torch.equal(gated[-1].points_camera, plain[-1].points_camera)


def test_a_closed_channel_gate_keeps_the_state():
    mem3r = network('mem3r')
    with torch.no_grad():
        mem3r.state_gate.fc2.weight.zero_()
        mem3r.state_gate.fc2.bias.fill_(-200.0)
    before = mem3r.initial_state()

    _, after = run(mem3r, [frame(0)], before)

    assert torch.equal(before.tokens, after.tokens)


def test_the_gate_starts_nearly_open_and_depends_on_state_and_image():
    torch.manual_seed(0)
    gate = StateGate(MEM3R)
    state, pooled = torch.randn(2, 12, 48), torch.randn(2, 32)
    start = gate(state, pooled)
    torch.testing.assert_close(start, torch.full_like(start, torch.tensor(3.0).sigmoid().item()))

    with torch.no_grad():
        gate.fc2.weight.normal_()
    together = torch.cat((state, pooled[:, None].expand(-1, 12, -1)), dim=-1)
    expected = torch.sigmoid(gate.fc2(F.gelu(gate.fc1(together))))

    torch.testing.assert_close(gate(state, pooled), expected, rtol=1e-5, atol=1e-6)


def test_blend_keeps_the_state_where_gates_are_closed():
    previous, candidate = torch.full((1, 2, 3), 4.0), torch.full((1, 2, 3), 8.0)
    channel, token = torch.full((1, 2, 3), 0.5), torch.tensor([[[1.0], [0.25]]])

    mixed = blend(previous, candidate, channel, token)

    assert mixed[0, 0].tolist() == [6.0, 6.0, 6.0]
    assert mixed[0, 1].tolist() == [4.5, 4.5, 4.5]


def test_cut3r_memory_keeps_its_number_of_slots():
    model = network('cut3r')

    _, state = run(model, [frame(i) for i in range(3)])

    assert state.camera_memory.shape == (1, CUT3R.local_mem_size, 2 * CUT3R.dec_embed_dim)
    assert state.camera_memory.dtype == torch.float32
