# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Load the network of the settings onto its device; the settings themselves need no torch."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from mem3r_ros.config import setting, settings
from mem3r_ros.errors import UserError
from mem3r_ros.model.checkpoints.find import EXPORTED_SUFFIXES, find_weights
from mem3r_ros.model.processor import multiplies_bfloat16, multiplies_float16
from mem3r_ros.threads import choose_num_threads, runs_in_parallel, use_num_threads

if TYPE_CHECKING:
    from mem3r_ros.model.execution import Network
    from mem3r_ros.model.export import ExportedStep

logger = logging.getLogger(__name__)

DTYPES = ('float32', 'auto', 'int8', 'float16', 'bfloat16')
EXECUTIONS = ('auto', 'eager', 'graph', 'compile')
_DEVICE = re.compile(r'auto|cpu|cuda(:\d+)?')


@settings
class BackendConfig:
    """The network, its device, dtype and CPU threads."""

    model: str = setting(
        'mem3r-tiny',
        'preset with shipped weights, .safetensors file, .pth file of CUT3R, or exported step '
        '(.onnx, .pt2)',
    )
    device: str = setting('auto', 'auto (CUDA if there is one), cpu, cuda or cuda:N')
    dtype: str = setting(
        'float32',
        'dtype of the network weights; int8: large layers of a large network on a CPU; auto: the '
        'faster of float32 and int8, measured at the start; on a GPU bfloat16, or float16 where '
        'the GPU has no bfloat16 (small networks: float32)',
        choices=DTYPES,
    )
    execution: str = setting(
        'auto',
        'how a step of the network runs; graph: recorded once, then repeated from fixed memory (a '
        'CUDA graph); compile: the same with torch.compile, which takes minutes at the start; '
        'auto: graph for a large network on a GPU; on a CPU the parts of a small network are '
        'recorded, others run as they are',
        choices=EXECUTIONS,
    )
    pipelined: bool = setting(
        True,
        'finish an image on a second core while the network runs on the next one; the results are '
        'the same, and one core is used where there is only one',
    )
    num_threads: int = setting(
        0,
        'CPU threads; 0: as many as cores are idle at the start; one for a small network if '
        'pipelined',
        low=0,
    )


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


def load_backend(config: BackendConfig) -> tuple[Network | ExportedStep, str]:
    """
    Load the network onto its device and set the number of CPU threads.

    :return: the network, which records its steps if the settings say so, and its device.
    :raises UserError: the model does not load, the device does not exist, or the processor does
        not compute in the dtype.
    """
    check_backend(config)
    if config.model.endswith(EXPORTED_SUFFIXES):
        return _load_exported(config), 'cpu'
    device = choose_device(config.device)
    import torch

    from mem3r_ros.model import load_model
    from mem3r_ros.model.checkpoints.load import half_precision
    from mem3r_ros.model.execution import prepared_for
    from mem3r_ros.model.freed_memory import keep_freed_memory
    from mem3r_ros.model.speedups import SpeedUps, choose_cpu_dtype, choose_gpu_dtype, is_large

    dtype = getattr(torch, _weights_dtype(config.dtype, device))
    if dtype == torch.float32:
        # TF32 convolutions round their inputs to 10 bits of mantissa, which is not float32.
        torch.backends.cudnn.allow_tf32 = False
    use_num_threads(choose_num_threads(config.num_threads))
    chooses_half = config.dtype == 'auto' and device != 'cpu'
    # On the CPU first, so that the GPU never holds the weights in float32 too.
    model = load_model(config.model, device='cpu' if chooses_half else device, dtype=dtype)
    keep_freed_memory()
    if config.dtype == 'int8' or (
        config.dtype == 'auto' and device == 'cpu' and choose_cpu_dtype(model) == 'int8'
    ):
        SpeedUps.int8(model).apply(model)
    elif device == 'cpu' and dtype == torch.float32:
        SpeedUps.float32(model).apply(model)
    if not config.num_threads and runs_in_parallel(config.pipelined) and not is_large(model):
        # Its operations are too small for two threads; the other core finishes the last image.
        use_num_threads(1)
    if chooses_half:
        model = half_precision(model, choose_gpu_dtype(model)).to(device)
    return prepared_for(config.execution, model), device


def _load_exported(config: BackendConfig) -> ExportedStep:
    """
    Load an exported step; its dtype is that of the export.

    :raises UserError: it does not load, or another device is asked for.
    """
    if config.device not in ('auto', 'cpu'):
        raise UserError(f'device is {config.device!r}, but an exported step runs on the cpu')
    from mem3r_ros.model.export import ExportedStep

    use_num_threads(choose_num_threads(config.num_threads))
    return ExportedStep(config.model)


def _weights_dtype(name: str, device: str) -> str:
    """
    Return the name of the dtype to load the weights in.

    :param name: one of :data:`DTYPES`.
    :raises UserError: a GPU is asked for int8.
    """
    if name == 'int8' and device != 'cpu':
        raise UserError(f'dtype is int8 and device is {device}; int8 is for device cpu')
    if name in ('auto', 'int8'):
        return 'float32'
    in_hardware = {'bfloat16': multiplies_bfloat16, 'float16': multiplies_float16}
    if device == 'cpu' and name in in_hardware and not in_hardware[name]():
        logger.warning(
            'this processor does not multiply %s in hardware, so it is slower than float32; set '
            'dtype to auto',
            name,
        )
    return name
