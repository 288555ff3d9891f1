# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Build networks, load and save their weights.

A checkpoint is data: a pickle yields tensors and plain containers, and nothing of it runs. The
network is built on the meta device and takes the memory-mapped tensors as its parameters, so
loading in float32 copies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from mem3r_ros.errors import UserError
from mem3r_ros.files import replacing
from mem3r_ros.model.checkpoints.cut3r_config import config_from_shapes
from mem3r_ros.model.checkpoints.cut3r_names import NameMap, cut3r_name, state_side_source
from mem3r_ros.model.checkpoints.file_formats import StoredCheckpoint, open_checkpoint
from mem3r_ros.model.checkpoints.find import find_weights
from mem3r_ros.model.checkpoints.published import CUT3R_LICENCE
from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.network import Mem3R
from mem3r_ros.model.pose_memory import TrackingMemory
from mem3r_ros.model.state_gate import StateGate

logger = logging.getLogger(__name__)

_MAX_LISTED = 8  # names in an error message
# Modules that Mem3R adds; a CUT3R checkpoint lacks them.
_NEW_IN_MEM3R = ('pose_memory.', 'state_gate.')
_DROPPED_BY_MEM3R = ('pose_retriever.', 'pose_memory.')


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
        the configuration in its metadata), or CUT3R's ``.pth``. ``preset:file`` fills that
        preset's network from the file: ``mem3r-512-dpt:cut3r_512_dpt_4_64.pth`` starts a Mem3R
        from CUT3R's weights; its new modules are then untrained, which is logged.
        ``hf:owner/name@commit`` is a file of the Hugging Face Hub, see ``checkpoints.hub``.
    :param dtype: float32 is exact; bfloat16 halves memory and time, memories stay float32.
    :param config: of the network to fill (default: that of the preset or of the checkpoint).
    :raises UserError: the source does not exist, is damaged, or does not fit.
    """
    preset, path = find_weights(source)
    if config is None and preset is not None:
        config = ModelConfig.preset(preset)
    with open_checkpoint(path) as stored:
        with torch.device('meta'):
            model = Mem3R(config or configuration_of(stored))
        tensors = _matched_tensors(model, stored)
        # A single view would keep the whole file mapped, so a conversion copies every tensor.
        copy = dtype != torch.float32
        chosen = {
            name: tensor.to(
                device, torch.float32 if _is_exact(model.config, name) else dtype, copy=copy
            )
            for name, tensor in tensors.items()
        }
        model.load_state_dict(chosen, assign=True)
        if stored.is_cut3r:
            logger.info('%s', CUT3R_LICENCE)
    return model.eval()


def save_checkpoint(
    model: Mem3R,
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
    names: str = 'ours',
) -> None:
    """
    Write the weights as safetensors, with the configuration in its metadata, atomically.

    :param metadata: further strings to store.
    :param dtype: of the stored weights (default: unchanged); the camera memory stays float32.
    :param names: 'ours' or 'cut3r'.
    :raises UserError: the folder does not exist or may not be written to.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    rename = cut3r_name if names == 'cut3r' else str
    tensors = {}
    for name, tensor in model.state_dict().items():
        kept = tensor.dtype if dtype is None or _is_exact(model.config, name) else dtype
        tensors[rename(name)] = tensor.detach().to('cpu', kept).contiguous()
    header = {'config': json.dumps(model.config.to_metadata()), **(metadata or {})}
    path = Path(path)
    try:
        with replacing(path) as file:
            save_file(tensors, file.name, header)
    except SafetensorError as error:
        raise UserError(f'cannot write {path}: {error}') from None


def half_precision(model: Mem3R, dtype: torch.dtype) -> Mem3R:
    """Convert the weights in place, except those that :func:`load_model` keeps in float32."""
    for name, weight in model.named_parameters():
        if not _is_exact(model.config, name):
            weight.data = weight.data.to(dtype)
    return model


def configuration_of(stored: StoredCheckpoint) -> ModelConfig:
    """
    Return the configuration of a checkpoint: stored, or derived from its shapes.

    :raises UserError: it is not a checkpoint of such a network.
    """
    if stored.config is not None:
        return ModelConfig.from_metadata(stored.config)
    shapes = {name: stored.shape(name) for name in stored.names}
    return ModelConfig.from_metadata(config_from_shapes(shapes, stored.written_config))


def _is_exact(config: ModelConfig, name: str) -> bool:
    """
    Return whether a parameter stays float32: fast weights, state gate, poses, points.

    Of the dense heads that is the last layer, which gives the values.
    """
    last = '.head3.' if config.head_type == 'dpt' else '.proj.fc2.'
    exact = ['predictor.pose_head.', 'state_gate.']
    exact += [f'predictor.{head}{last}' for head in ('camera_head', 'world_head')]
    if config.pose_memory == 'fast_weights':
        exact.append('pose_memory.')
    return name.startswith(tuple(exact))


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
    copied = _state_side_copies(wanted, found)
    missing = [name for name in wanted if name not in found and name not in copied]
    starts_mem3r = stored.is_cut3r and model.config.pose_memory == 'fast_weights'
    fresh: list[str] = []
    if starts_mem3r:
        fresh = [name for name in missing if name.startswith(_NEW_IN_MEM3R)]
        missing = [name for name in missing if name not in fresh]
        unexpected = [name for name in unexpected if not name.startswith(_DROPPED_BY_MEM3R)]
    _refuse_mismatch(stored, wanted, found, missing, unexpected)
    tensors = {ours: stored.tensor(name) for ours, name in found.items()}
    # Copies, because the two sides are trained separately.
    tensors |= {ours: tensors[source].clone() for ours, source in copied.items()}
    if fresh:
        initial = _untrained_modules(model.config)
        tensors |= {name: initial[name] for name in fresh}
        logger.warning(
            '%s is a CUT3R checkpoint: the tracking memory and the state gate are untrained '
            '(%d tensors at their initial values); fine-tune before trusting long sequences',
            stored.path.name,
            len(fresh),
        )
    return tensors


def _state_side_copies(wanted: Mapping[str, object], found: Mapping[str, str]) -> dict[str, str]:
    """Return which parameters of the state decoder come from the image decoder."""
    sources = {name: state_side_source(name) for name in wanted}
    copied = {name: source for name, source in sources.items() if source in found}
    return {} if any(name in found for name in copied) else copied


def _untrained_modules(config: ModelConfig) -> dict[str, Tensor]:
    """Return the initial weights of the modules that Mem3R adds to CUT3R, with a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        modules: dict[str, nn.Module] = {'pose_memory': TrackingMemory(config)}
        if config.state_gate:
            modules['state_gate'] = StateGate(config)
    return {
        f'{prefix}.{name}': tensor
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


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
