# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Loads the network that the parameters name, onto the device that they name."""

from __future__ import annotations

import torch

from mem3r_ros.errors import UserError
from mem3r_ros.model import load_model
from mem3r_ros.ros.settings import NodeConfig
from mem3r_ros.tracker import Tracker


def choose_device(name: str) -> str:
    """
    Return the torch device of a parameter value.

    :param name: auto, cpu, cuda or cuda:N.
    :raises UserError: it asks for a GPU that is not there, or is no device.
    """
    if name == 'auto':
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f'device is {name!r}; choose auto, cpu, cuda or cuda:N') from error
    if device.type not in ('cpu', 'cuda'):
        raise UserError(f'device is {name!r}; choose auto, cpu, cuda or cuda:N')
    if device.type == 'cuda':
        if not torch.cuda.is_available():
            raise UserError(
                f'device is {name!r} but torch {torch.__version__} sees no CUDA device; install '
                'a torch built for this GPU, or set device to cpu'
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(
                f'device is {name!r}; there are {torch.cuda.device_count()}, the first is cuda:0'
            )
    return name


def make_tracker(config: NodeConfig) -> tuple[Tracker, str]:
    """
    Load the network, warm it up and start a stream on it.

    :param config: the node's parameters.
    :return: the tracker and the device in use.
    :raises UserError: the model or the device cannot be had.
    """
    device = choose_device(config.device)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    model = load_model(config.model, device=device, dtype=getattr(torch, config.dtype))
    tracker = Tracker(model, config.tracking)
    if all(config.warm_up_size):
        tracker.warm_up(*config.warm_up_size)
    return tracker, device
