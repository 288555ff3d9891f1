# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The project's own recording: which networks, frames and numbers it holds.

The weights come from the parameters' names (see :mod:`full_size_recipe`), so that the file holds
results only. ``python tools/record_small.py`` makes it again, after a run of the recorded cases of
the reference: the recording stands in for them where they are absent. It covers both networks,
every update rule, every output and both memories over a reset, a read-only frame and ray maps.
"""

from __future__ import annotations

from collections.abc import Iterator

from full_size_recipe import uniform, weight
from tiny_networks import CUT3R, MEM3R, RULES, SIZE
import torch

from mem3r_ros.model import FrameInput, Mem3R, update_rule
from mem3r_ros.model.checkpoints.cut3r_names import cut3r_name

FILE = 'test/data/recorded_small.safetensors'
NETWORKS = {'cut3r': CUT3R, 'mem3r': MEM3R}
OUTPUTS = (
    'points_camera',
    'points_world',
    'confidence_camera',
    'confidence_world',
    'rgb',
    'camera_pose',
)
NUM_FRAMES = 8
NUM_SAMPLES = 40  # of each tensor, spread evenly


def recorded_network(name: str) -> Mem3R:
    """Return a network whose weights follow from its parameters' names."""
    with torch.device('meta'):
        model = Mem3R(NETWORKS[name])
    tensors = {
        key: weight(cut3r_name(key), tuple(tensor.shape))
        for key, tensor in model.state_dict().items()
    }
    if 'pose_memory.learning_rate.bias' in tensors:
        tensors['pose_memory.learning_rate.bias'] -= 4  # rates of some hundredths: it learns
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def recorded_frames() -> list[FrameInput]:
    """Return images, a reset after frame 2, a read-only frame, a ray map alone and with image."""
    height, width = SIZE
    frames = []
    for i in range(NUM_FRAMES):
        image = torch.from_numpy(uniform(f'small/image/{i}', 3 * height * width))
        rays = torch.from_numpy(uniform(f'small/rays/{i}', 6 * height * width))
        frames.append(
            FrameInput(
                image=None if i == 5 else image.reshape(1, 3, height, width),
                ray_map=rays.reshape(1, height, width, 6) if i in (5, 6) else None,
                update=torch.tensor([i != 4]),
                reset=torch.tensor([i == 2]),
            )
        )
    return frames


def samples(tensor: torch.Tensor) -> torch.Tensor:
    """Return some numbers of a tensor, evenly spread."""
    flat = tensor.flatten().float()
    return flat[torch.linspace(0, len(flat) - 1, min(NUM_SAMPLES, len(flat))).long()].clone()


def record(name: str, rule: str, model: Mem3R | None = None) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield named samples of every frame's outputs and memories; the network may be replaced."""
    model = model or recorded_network(name)
    with torch.inference_mode():
        state = model.initial_state()
        for i, frame in enumerate(recorded_frames()):
            prediction, state = model.step(frame, state, update_rule(rule))
            for output in OUTPUTS:
                yield f'{name}/{rule}/{i}/{output}', samples(getattr(prediction, output))
            yield f'{name}/{rule}/{i}/tokens', samples(state.tokens)
            yield f'{name}/{rule}/{i}/camera_memory', samples(state.camera_memory)


def record_all() -> dict[str, torch.Tensor]:
    """Return the whole recording."""
    return {key: value for name in NETWORKS for rule in RULES for key, value in record(name, rule)}
