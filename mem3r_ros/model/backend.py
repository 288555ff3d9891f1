# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Load the network of the settings onto its device; the settings themselves need no torch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mem3r_ros.config import setting, settings
from mem3r_ros.errors import UserError
from mem3r_ros.model.checkpoints.find import find_weights
from mem3r_ros.threads import choose_num_threads, use_num_threads

if TYPE_CHECKING:
    from mem3r_ros.model import Mem3R

_DEVICE = re.compile(r'auto|cpu|cuda(:\d+)?')


@settings
class BackendConfig:
    """The network, its device, dtype and CPU threads."""

    model: str = setting(
        'mem3r-tiny', 'preset with shipped weights, .safetensors file, or .pth file of CUT3R'
    )
    device: str = setting('auto', 'auto (CUDA if there is one), cpu, cuda or cuda:N')
    dtype: str = setting(
        'float32', 'dtype of the network weights', choices=('float32', 'float16', 'bfloat16')
    )
    num_threads: int = setting(0, 'CPU threads; 0: as many as cores are idle at the start', low=0)


def choose_device(name: str) -> str:
    """
    Return the torch device of a setting.

    :param name: auto, cpu, cuda or cuda:N.
    :raises UserError: the name is no device, or the GPU does not exist.
    """
    check_device(name)
    import torch

    if name == 'auto':
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    device = torch.device(name)
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


def check_device(name: str) -> None:
    """
    Check the spelling of a device.

    :raises UserError: it is not auto, cpu, cuda or cuda:N.
    """
    if not _DEVICE.fullmatch(name):
        raise UserError(f'device is {name!r}; choose auto, cpu, cuda or cuda:N')


def check_backend(config: BackendConfig) -> None:
    """
    Check model and device as far as that is possible without torch, which takes seconds to import.

    :raises UserError: there is no such model, or the device is misspelt.
    """
    check_device(config.device)
    find_weights(config.model)


def load_backend(config: BackendConfig) -> tuple[Mem3R, str]:
    """
    Load the network onto its device and set the number of CPU threads.

    :return: the network and its device.
    :raises UserError: the model does not load or the device does not exist.
    """
    check_backend(config)
    device = choose_device(config.device)
    import torch

    from mem3r_ros.model import load_model

    if config.dtype == 'float32':
        # TF32 convolutions round their inputs to 10 bits of mantissa, which is not float32.
        torch.backends.cudnn.allow_tf32 = False
    use_num_threads(choose_num_threads(config.num_threads))
    return load_model(config.model, device=device, dtype=getattr(torch, config.dtype)), device
