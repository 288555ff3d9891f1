# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
State of a training run in one safetensors file, and the start from other weights.

A resumed run gives the same result as an uninterrupted one. The file holds tensors and one JSON
text, no pickled objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mem3r_ros.errors import UserError
from mem3r_ros.files import replacing
from mem3r_ros.model import load_model

STATE_FILE = 'state.safetensors'


@dataclass
class Counters:
    """Progress of a run."""

    batches: int = 0  # per process
    updates: int = 0  # of the weights
    skipped: int = 0  # updates skipped because loss or gradient was not finite
    frames: int = 0  # seen by this process
    elapsed_s: float = 0.0  # of training, stops excluded
    stages: dict[str, int] = field(default_factory=dict)  # batches per stage


def save_state(
    path: Path,
    model: nn.Module,
    average: AveragedModel,
    optimiser: torch.optim.Optimizer,
    counters: Counters,
) -> None:
    """Write the state of the run; the file is replaced at once."""
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        tensors[f'model/{name}'] = value
    for name, value in average.module.state_dict().items():
        tensors[f'average/{name}'] = value
    for index, entry in optimiser.state_dict()['state'].items():
        for key, value in entry.items():
            tensors[f'optimiser/{index}/{key}'] = torch.as_tensor(value)
    tensors['random/cpu'] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors['random/cuda'] = torch.cuda.get_rng_state()
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {
        'counters': json.dumps(vars(counters)),
        'average_updates': str(int(average.n_averaged) - 1),  # the initial weights count as one
    }
    with replacing(path) as file:
        save_file(tensors, file.name, metadata=metadata)


def load_state(
    path: Path,
    model: nn.Module,
    average: AveragedModel,
    optimiser: torch.optim.Optimizer,
) -> Counters:
    """
    Restore a saved state.

    :raises UserError: there is none, or it belongs to another model.
    """
    if not path.is_file():
        raise UserError(f'{path} does not exist: no run to resume; leave out --resume')
    try:
        with safe_open(path, framework='pt') as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f'{path} is not a training state ({error}); start anew') from error

    def part(prefix: str) -> dict[str, Tensor]:
        start = len(prefix) + 1
        return {k[start:]: v for k, v in tensors.items() if k.startswith(prefix + '/')}

    try:
        model.load_state_dict(part('model'))
    except RuntimeError as error:
        raise UserError(
            f'{path} was saved by another model; give another --output. {error}'
        ) from error
    average.module.load_state_dict(part('average'))
    average.n_averaged.fill_(int(metadata['average_updates']) + 1)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in part('optimiser').items():
        index, key = name.split('/')
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(
        {'state': state, 'param_groups': optimiser.state_dict()['param_groups']}
    )
    torch.set_rng_state(tensors['random/cpu'])
    if 'random/cuda' in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors['random/cuda'])
    return Counters(**json.loads(metadata['counters']))


def start_weights(model: nn.Module, source: str, is_partial: bool) -> list[str]:
    """
    Copy the weights of a checkpoint whose names and shapes match.

    A Mem3R takes all of CUT3R but its pose memory; the query projection of the fast weights is
    CUT3R's ``pose_retriever.proj_q`` and keeps its name.

    :param source: any argument of load_model.
    :param is_partial: whether weights missing in the checkpoint keep their initial values.
    :return: names of the weights that were not copied.
    :raises UserError: weights are missing and ``is_partial`` is false, or none match.
    """
    given = load_model(source).state_dict()
    own = model.state_dict()
    fitting = {
        name: value
        for name, value in given.items()
        if name in own and own[name].shape == value.shape
    }
    fresh = sorted(set(own) - set(fitting))
    if not fitting:
        raise UserError(f'no weight of {source} fits the model; choose the preset it was made for')
    if fresh and not is_partial:
        raise UserError(
            f'{source} lacks {len(fresh)} weights of the model ({", ".join(fresh[:3])}, ...); '
            'set is_partial_start: true to train those from scratch'
        )
    model.load_state_dict(fitting, strict=False)
    return fresh
