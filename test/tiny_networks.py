# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Networks small enough to run in milliseconds, with every part of the large ones."""

from __future__ import annotations

from dataclasses import replace

import torch

from mem3r_ros.model import FrameInput, Mem3R, ModelConfig, Prediction, State, build_model

SIZE = (32, 48)  # height, width in px
CUT3R = ModelConfig(
    enc_embed_dim=32,
    enc_depth=2,
    enc_num_heads=4,
    dec_embed_dim=48,
    dec_depth=4,
    dec_num_heads=4,
    state_dec_num_heads=2,
    state_size=12,
    local_mem_size=6,
    ray_enc_depth=1,
    ray_num_heads=4,
    dpt_feature_dim=16,
    dpt_last_dim=8,
    dpt_layer_dims=(8, 8, 16, 16),
)
MEM3R = replace(
    CUT3R, pose_memory='fast_weights', fast_num_heads=3, state_gate=True, state_gate_dim=16
)
# The shipped preset's structure (convolution stem, motion input, depth, solver), narrower.
SMALL = replace(
    ModelConfig.preset('mem3r-tiny'),
    img_size=(48, 32),
    patch_size=8,
    stem_dims=(8, 12),
    enc_embed_dim=24,
    enc_num_heads=2,
    dec_embed_dim=24,
    dec_num_heads=2,
    state_dec_num_heads=2,
    state_size=10,
    fast_num_heads=2,
    state_gate_dim=12,
    dpt_feature_dim=8,
    dpt_last_dim=8,
    dpt_layer_dims=(8, 8, 8, 8),
)
CONFIGS = {'cut3r': CUT3R, 'mem3r': MEM3R, 'small': SMALL}
RULES = ('cut3r', 'ttt3r', 'ttsa3r', 'memix', 'filt3r')


def network(name: str, seed: int = 0) -> Mem3R:
    """Return a network with random values in every parameter, so that every path has an effect."""
    torch.manual_seed(seed)
    model = build_model(CONFIGS[name]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def image(seed: int, batch_size: int = 1, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """Return a smooth random image [B, 3, H, W] in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch_size, 3, size[0] // 8, size[1] // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse * 2 - 1, size=size, mode='bilinear')


def frame(seed: int, batch_size: int = 1, **fields: object) -> FrameInput:
    """Return an image frame; ``update`` and ``reset`` may be plain lists of booleans."""
    flags = {
        name: torch.tensor(value) if isinstance(value, list) else value
        for name, value in fields.items()
    }
    return FrameInput(image=flags.pop('image', image(seed, batch_size)), **flags)


def run(
    model: Mem3R, frames: list[FrameInput], state: State | None = None, rule: object = None
) -> tuple[list[Prediction], State]:
    """Step through the frames."""
    state = state or model.initial_state()
    predictions = []
    with torch.inference_mode():
        for item in frames:
            prediction, state = model.step(item, state, rule)
            predictions.append(prediction)
    return predictions, state


def worst_difference(first: object, second: object, stream: int | None = None) -> float:
    """
    Return the largest difference, over 1 + |x|, of the tensors of predictions or states.

    :param stream: which stream of ``first`` to compare (default: all).
    """
    rows = slice(None) if stream is None else slice(stream, stream + 1)
    first, second = tensors(first), tensors(second)
    assert set(first) == set(second)
    return max(_difference(first[key][rows].double(), second[key].double()) for key in first)


def _difference(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(((first - second).abs() / (1 + second.abs())).detach().max())


def tensors(value: Prediction | State) -> dict[str, torch.Tensor]:
    """Return all tensors of a prediction (without telemetry) or a state, by name."""
    if isinstance(value, State):
        return value.to_dict()
    found = {name: getattr(value, name) for name in value.__slots__}
    if value.two_view is not None:
        for part in (value.two_view, value.two_view.prior, value.two_view.depth):
            found |= {f'{type(part).__name__} {k}': v for k, v in part._asdict().items()}
    return {name: part for name, part in found.items() if isinstance(part, torch.Tensor)}


def tracked_network(**changes: object) -> Mem3R:
    """Return a network for the tracker: images of 48x32 px, and slow motion."""
    torch.manual_seed(0)
    config = replace(MEM3R, img_size=(48, 32), **changes)
    model = build_model(config).eval().requires_grad_(False)
    head = model.predictor.pose_head.fc2
    head.weight.mul_(0.01)
    head.bias.copy_(torch.tensor([0.0, 0, 0, 1, 0, 0, 0]))
    return model
