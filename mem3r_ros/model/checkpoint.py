# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Build networks, load and save their weights.

A checkpoint is data: safetensors is memory-mapped, pickles yield tensors and plain containers
and nothing else. Networks are built without memory and filled in place, so that loading needs
one copy of the weights.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from mem3r_ros.errors import UserError
from mem3r_ros.model.checkpoint_config import config_from_shapes
from mem3r_ros.model.checkpoint_file import StoredCheckpoint, open_checkpoint
from mem3r_ros.model.checkpoint_names import NameMap, cut3r_name
from mem3r_ros.model.config import PRESETS, ModelConfig
from mem3r_ros.model.network import Mem3R
from mem3r_ros.model.pose_memory import TrackingMemory
from mem3r_ros.model.state_gate import StateGate

logger = logging.getLogger(__name__)

CUT3R_LICENCE = (
    'CUT3R weights are under CC BY-NC-SA 4.0: not for commercial use, share alike, credit the '
    'authors'
)
_MAX_LISTED = 8  # names in an error message
# What Mem3R adds; it may be missing from a checkpoint that it starts from.
_NEW_IN_MEM3R = ('pose_memory.', 'state_gate.')
_DROPPED_BY_MEM3R = 'pose_retriever.'


def build_model(config: ModelConfig, device: str | torch.device = 'cpu') -> Mem3R:
    """Return a network with random weights, in float32, ready to train."""
    with torch.device(device):
        return Mem3R(config)


def load_model(
    source: str | Path,
    device: str | torch.device = 'cpu',
    dtype: torch.dtype = torch.float32,
    *,
    config: ModelConfig | None = None,
) -> Mem3R:
    """
    Load a network with its weights, in evaluation mode.

    :param source: a preset with shipped weights, a ``.safetensors`` file (our names or CUT3R's,
        the configuration in its metadata), or CUT3R's ``.pth``.
    :param dtype: float32 is exact; bfloat16 halves memory and time, memories stay float32.
    :param config: the network to fill (default: the checkpoint's own). A Mem3R configuration
        takes CUT3R weights; its new modules then start untrained, which is logged.
    :raises UserError: the source does not exist, is damaged, or does not fit.
    """
    path = _find(source)
    with open_checkpoint(path) as stored:
        chosen = config or _config_of(stored)
        with torch.device('meta'):
            model = Mem3R(chosen)
        tensors = _matched_tensors(model, stored)
        model.load_state_dict(tensors, assign=True)
        if stored.is_cut3r:
            logger.info('%s', CUT3R_LICENCE)
    return _to(model, torch.device(device), dtype).eval()


def save_checkpoint(
    model: Mem3R,
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
    names: str = 'ours',
) -> None:
    """
    Write the weights as safetensors, with the configuration in its metadata, atomically.

    :param metadata: further strings to keep in the file.
    :param dtype: what to store in (default: as it is).
    :param names: 'ours' or 'cut3r'.
    """
    from safetensors.torch import save_file

    rename = cut3r_name if names == 'cut3r' else str
    tensors = {
        rename(name): tensor.detach().to('cpu', dtype or tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    header = {'config': json.dumps(model.config.to_metadata()), **(metadata or {})}
    path = Path(path)
    partial = path.with_name(path.name + '.partial')
    save_file(tensors, partial, header)
    partial.replace(path)


def shipped_weights(preset: str) -> Path | None:
    """Return the file of a preset's shipped weights, or None."""
    path = Path(str(resources.files('mem3r_ros') / 'weights' / f'{preset}.safetensors'))
    return path if path.is_file() else None


def _find(source: str | Path) -> Path:
    if str(source) in PRESETS:
        path = shipped_weights(str(source))
        if path is None:
            with_weights = [name for name in PRESETS if shipped_weights(name)] or ['none yet']
            raise UserError(
                f'no weights are shipped for {str(source)!r} (shipped: '
                f'{", ".join(with_weights)}); give a .safetensors or .pth file'
            )
        return path
    path = Path(source).expanduser()
    if not path.is_file():
        raise UserError(
            f'no model {str(source)!r}: it is neither a file nor one of {", ".join(PRESETS)}'
        )
    return path


def _config_of(stored: StoredCheckpoint) -> ModelConfig:
    values = stored.config
    shapes = {name: stored.shape(name) for name in stored.names}
    if values is None:
        values = config_from_shapes(shapes, stored.written_config)
    return ModelConfig.from_metadata(values)


def _matched_tensors(model: Mem3R, stored: StoredCheckpoint) -> dict[str, Tensor]:
    """
    Pair the file's tensors with the network's parameters.

    :raises UserError: names are missing or unexpected, or shapes differ.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    name_map = NameMap(wanted)
    found: dict[str, str] = {}
    unexpected = []
    for stored_name in stored.names:
        ours = name_map.find(stored_name)
        if ours is not None:
            found.setdefault(ours, stored_name)
        else:
            unexpected.append(stored_name)
    missing = [name for name in wanted if name not in found]
    is_mem3r = model.config.pose_memory == 'fast_weights'
    fresh: dict[str, Tensor] = {}
    if is_mem3r and any(name.startswith(_DROPPED_BY_MEM3R) for name in stored.names):
        fresh = _untrained_modules(model.config)
        unexpected = [name for name in unexpected if not name.startswith(_DROPPED_BY_MEM3R)]
        missing = [name for name in missing if name not in fresh]
    _refuse_mismatch(stored, wanted, found, missing, unexpected)
    tensors = {ours: stored.tensor(name) for ours, name in found.items()}
    untrained = sorted(set(fresh) - set(tensors))
    if untrained:
        logger.warning(
            '%s is a CUT3R checkpoint: the tracking memory and the state gate are untrained '
            '(%d tensors at their initial values); fine-tune before trusting long sequences',
            stored.path.name,
            len(untrained),
        )
    return {**fresh, **tensors}


def _untrained_modules(config: ModelConfig) -> dict[str, Tensor]:
    """Return initial weights of what Mem3R adds to CUT3R."""
    fresh = {f'pose_memory.{k}': v for k, v in TrackingMemory(config).state_dict().items()}
    if config.state_gate:
        fresh |= {f'state_gate.{k}': v for k, v in StateGate(config).state_dict().items()}
    return fresh


def _refuse_mismatch(
    stored: StoredCheckpoint,
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, str],
    missing: list[str],
    unexpected: list[str],
) -> None:
    misshapen = [
        f'{name} is {stored.shape(stored_name)} instead of {wanted[name]}'
        for name, stored_name in found.items()
        if stored.shape(stored_name) != wanted[name]
    ]
    problems = [
        f'{len(names)} {what}: {", ".join(names[:_MAX_LISTED])}'
        + (', ...' if len(names) > _MAX_LISTED else '')
        for what, names in (
            ('missing', missing),
            ('unexpected', unexpected),
            ('of the wrong shape', misshapen),
        )
        if names
    ]
    if problems:
        raise UserError(
            f'{stored.path} does not fit the network: {"; ".join(problems)}. Give the '
            f'configuration that the checkpoint was made with, or another checkpoint'
        )


def _to(model: Mem3R, device: torch.device, dtype: torch.dtype) -> Mem3R:
    model = model.to(device=device, dtype=dtype)
    # Fast weights and poses need float32: their steps are far below bfloat16's resolution.
    if isinstance(model.pose_memory, TrackingMemory):
        model.pose_memory.float()
    if model.predictor.pose_head is not None:
        model.predictor.pose_head.float()
    return model
