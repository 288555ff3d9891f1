# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Export the step of a network, with the state as input and output, for another runtime.

``.onnx`` runs in ONNX Runtime and is the input of TensorRT; ``.pt2`` is machine code for this
processor (AOTInductor). Both have one image size, one update rule, and one stream. Beside the step
lies a ``.safetensors`` file of the same name: the state of a new stream, and in its metadata the
configuration of the network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
import json
from pathlib import Path
import shutil
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from mem3r_ros.errors import UserError
from mem3r_ros.files import replacing
from mem3r_ros.model.checkpoints.find import EXPORTED_SUFFIXES
from mem3r_ros.model.config import ModelConfig
from mem3r_ros.model.frame import FrameInput, Prediction
from mem3r_ros.model.network import Mem3R
from mem3r_ros.model.state import State
from mem3r_ros.model.update_rules import UpdateRule, update_rule

RULES = ('cut3r', 'ttt3r')  # without running values, so that every network has the same state
INPUTS = ('image', 'update', 'tokens', 'camera_memory', 'is_first')
STATE = ('tokens', 'camera_memory', 'is_first')
FIELDS = ('T_world_camera', 'points_camera', 'confidence_camera')
CPU_PROVIDER = 'CPUExecutionProvider'
_METADATA = 'mem3r_step'
_OPSET = 18


class _Step(nn.Module):
    """The step on plain tensors."""

    def __init__(self, network: Mem3R, rule: UpdateRule) -> None:
        super().__init__()
        self.network, self._rule = network, rule

    def forward(
        self,
        image: Tensor,
        update: Tensor,
        tokens: Tensor,
        camera_memory: Tensor,
        is_first: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return :data:`FIELDS`, the statistics, and the next state."""
        frame = FrameInput(image=image, update=update)
        state = State(tokens, camera_memory, is_first)
        wanted = (*FIELDS, 'telemetry')
        prediction, after = self.network.step(frame, state, self._rule, wanted)
        fields = [getattr(prediction, name) for name in FIELDS]
        return (*fields, *prediction.telemetry.values(), *(getattr(after, n) for n in STATE))


def export_step(
    network: Mem3R, path: str | Path, size: tuple[int, int], rule: str = 'cut3r'
) -> None:
    """
    Write the step of a network.

    :param network: in evaluation mode, float32, on the CPU.
    :param path: ends in .onnx or .pt2.
    :param size: width and height of its images, px.
    :param rule: cut3r or ttt3r.
    :raises UserError: the network, the rule or the path does not allow it, or a package or the
        compiler is missing.
    """
    path = Path(path)
    if path.suffix not in EXPORTED_SUFFIXES:
        raise UserError(f'{path} must end in {" or ".join(EXPORTED_SUFFIXES)}')
    if network.front_end is not None:
        raise UserError('a network with two-view geometry cannot be exported')
    if rule not in RULES:
        raise UserError(f'update rule {rule!r} cannot be exported; choose of {", ".join(RULES)}')
    width, height = size
    state = network.initial_state(1, size)
    example = (
        torch.zeros(1, 3, height, width),
        torch.ones(1, dtype=torch.bool),
        *(getattr(state, name) for name in STATE),
    )
    step = _Step(network, update_rule(rule)).eval()
    with torch.no_grad():
        # Tables of positions are made in the first step; the export takes them as constants.
        prediction, _ = network.step(FrameInput(image=example[0]), state, update_rule(rule))
        statistics = list(prediction.telemetry)
        program = torch.export.export(step, example, strict=False)
    write = _write_onnx if path.suffix == '.onnx' else _write_machine_code
    with torch.no_grad():
        write(program, path, [*FIELDS, *statistics, *(f'next_{name}' for name in STATE)])
    description = {
        'config': network.config.to_metadata(),
        'size': list(size),
        'rule': rule,
        'statistics': statistics,
    }
    _write_state(path, state, description)


def _write_onnx(program: torch.export.ExportedProgram, path: Path, outputs: list[str]) -> None:
    try:
        import onnx  # noqa: F401 - missing packages are reported before the work
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(
            f'ONNX needs the Python package {error.name} (pip install mem3r_ros[export])'
        ) from None
    torch.onnx.export(
        program,
        (),
        path,
        input_names=list(INPUTS),
        output_names=outputs,
        opset_version=_OPSET,
        dynamo=True,
        external_data=True,
        verbose=False,
    )


def _write_machine_code(
    program: torch.export.ExportedProgram, path: Path, outputs: list[str]
) -> None:
    del outputs  # they are known by their order
    if not any(map(shutil.which, ('c++', 'g++', 'clang++'))):
        raise UserError('.pt2 needs a C++ compiler; install g++, or export .onnx')
    from torch._inductor import aoti_compile_and_package

    aoti_compile_and_package(program, package_path=str(path))


def _write_state(path: Path, state: State, description: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    tensors = {name: getattr(state, name).contiguous() for name in STATE}
    with replacing(path.with_suffix('.safetensors')) as file:
        save_file(tensors, file.name, {_METADATA: json.dumps(description)})


class ExportedStep:
    """An exported step, used like a :class:`Mem3R` by the tracker; tensors are on the CPU."""

    def __init__(self, path: str | Path, providers: Sequence[Any] = (CPU_PROVIDER,)) -> None:
        """
        Load an exported step.

        :param providers: of ONNX Runtime, in the order to try, such as TensorRT's; for .onnx.
        :raises UserError: it cannot be read, or its runtime is not installed.
        """
        path = Path(path)
        self._initial, description = _read_state(path)
        self.config = ModelConfig.from_metadata(description['config'])
        self.device, self.dtype = torch.device('cpu'), torch.float32
        self._size, self._rule = tuple(description['size']), description['rule']
        self._statistics = description['statistics']
        self.predictor = SimpleNamespace(available=frozenset({*FIELDS, 'telemetry'}))
        if path.suffix == '.onnx':
            self._run = _load_onnx(path, providers)
        else:
            self._run = _load_machine_code(path)

    def modules(self) -> Iterator[nn.Module]:
        """Return no modules: the parts of an exported step are not accessible."""
        return iter(())

    def initial_state(
        self, batch_size: int = 1, image_size: tuple[int, int] | None = None
    ) -> State:
        """Return the state of a new stream, see :meth:`Mem3R.initial_state`."""
        if batch_size != 1:
            raise UserError('an exported step has one stream')
        return State(**{name: tensor.clone() for name, tensor in self._initial.items()})

    def step(
        self,
        frame: FrameInput,
        state: State,
        rule: UpdateRule | None = None,
        outputs: Collection[str] | None = None,
    ) -> tuple[Prediction, State]:
        """
        Advance the stream by one frame, see :meth:`Mem3R.step`; all outputs are computed.

        :raises UserError: the image has another size, or the rule is another one.
        """
        if rule is not None and rule.name != self._rule:
            raise UserError(
                f'this step was exported with update rule {self._rule!r}, not {rule.name!r}'
            )
        height, width = frame.image.shape[-2:]
        if len(frame.image) != 1:
            raise UserError('an exported step has one stream')
        if (width, height) != self._size:
            raise UserError(
                'this step was exported for network images of {}x{} px, not {}x{}'.format(
                    *self._size, width, height
                )
            )
        update = frame.update_mask(state.tokens)
        values = self._run([frame.image, update, *(getattr(state, name) for name in STATE)])
        fields = dict(zip(FIELDS, values))
        statistics = dict(zip(self._statistics, values[len(FIELDS) :]))
        return Prediction(**fields, telemetry=statistics), State(*values[-len(STATE) :])


def _read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    beside = path.with_suffix('.safetensors')
    try:
        with safe_open(beside, 'pt') as file:
            description = json.loads((file.metadata() or {})[_METADATA])
            return {name: file.get_tensor(name) for name in STATE}, description
    except FileNotFoundError:
        raise UserError(f'{beside} is missing; it belongs to {path.name}') from None
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f'{beside} does not belong to an exported step: {error}') from None


def _load_onnx(path: Path, providers: Sequence[Any]) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UserError(
            '.onnx needs the Python package onnxruntime (pip install mem3r_ros[export])'
        ) from None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=list(providers))
    except Exception as error:  # its errors have no common class
        raise UserError(f'ONNX Runtime does not load {path}: {error}') from None

    def run(tensors: list[Tensor]) -> list[Tensor]:
        given = {name: tensor.numpy() for name, tensor in zip(INPUTS, tensors)}
        return [torch.from_numpy(values) for values in session.run(None, given)]

    return run


def _load_machine_code(path: Path) -> Any:
    from torch._inductor import aoti_load_package

    try:
        package = aoti_load_package(str(path))
    except (RuntimeError, OSError) as error:
        raise UserError(f'torch does not load {path}: {error}') from None

    def run(tensors: list[Tensor]) -> list[Tensor]:
        return list(package(*tensors))

    return run
