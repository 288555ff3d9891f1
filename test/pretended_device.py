# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A second device that is none: its tensors live on the CPU but must not meet the CPU's.

What a GPU refuses (an operation of tensors on two devices, numpy() without cpu()) is refused here
too, on machines without a GPU. Run as a script, with ``pretended`` or ``cuda``: the network, its
update rules, the tracker and an update of training there and on the CPU, whose answers must agree.
It builds on an experimental interface of torch, and keeps every tensor, so it is for small things
and for a process of its own.
"""

from __future__ import annotations

import math
from pathlib import Path
import sys

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = 'pretended'
_twins: dict[int, tuple[torch.Tensor, torch.UntypedStorage]] = {}
_ASKING = {'_local_scalar_dense', 'nonzero', 'equal', 'masked_select'}  # the host needs the answer
_waits = 0  # how often the host would have waited for the device


def _wrapped(twin: torch.Tensor) -> torch.Tensor:
    """Return the device's name for a CPU tensor."""
    made = torch._C._acc.create_empty_tensor(twin.shape, twin.dtype)
    _twins[made.untyped_storage()._cdata] = (twin, made.untyped_storage())
    return made


def _is_there(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == NAME


def _strided(twin: torch.Tensor, size: tuple, stride: tuple, offset: int) -> torch.Tensor:
    """
    Return a view of a twin.

    On the device every tensor is as if contiguous, which its twin, itself a view, need not be:
    offset and strides are taken apart into steps along each axis.
    """
    axes = [
        (math.prod(twin.shape[i + 1 :]), twin.stride(i))
        for i in range(twin.dim())
        if twin.shape[i] > 1
    ]

    def moved(steps: int) -> int:
        total = 0
        for there, here in axes:
            total, steps = total + steps // there * here, steps % there
        return total

    strides = [moved(wanted) if count > 1 else 0 for count, wanted in zip(size, stride)]
    return twin.as_strided(size, strides, twin.storage_offset() + moved(offset))


def _twin(value: object) -> object:
    if not _is_there(value):
        return torch.device('cpu') if _is_device(value) else value
    twin = _twins[value.untyped_storage()._cdata][0]
    if twin.shape != value.shape and twin.numel() >= value.numel() > 0:
        return _strided(twin, value.shape, value.stride(), value.storage_offset())
    return twin


def _is_device(value: object) -> bool:
    return isinstance(value, torch.device) and value.type == NAME


def _run(operation: object, *args: object, **kwargs: object) -> object:
    """Do on the CPU what was asked of the device, unless it mixes the two."""
    name, schema = operation._schema.name, operation._schema.arguments
    flat = pytree.tree_leaves((args, kwargs))
    there = [value for value in flat if _is_there(value)]
    here = [v for v in flat if isinstance(v, torch.Tensor) and not _is_there(v) and v.dim()]
    is_copy = name in ('aten::_copy_from', 'aten::_to_copy', 'aten::copy_')
    if there and here and not is_copy and not name.startswith('aten::index'):
        raise RuntimeError(f'{name}: tensors on {NAME} and on cpu, {[v.shape for v in here]}')
    _count_wait(name.removeprefix('aten::'), args, kwargs)
    args, kwargs = pytree.tree_map(_twin, (args, kwargs))
    if name == 'aten::_copy_from':
        args[1].copy_(args[0])
        return next(v for v in flat[1:] if isinstance(v, torch.Tensor))
    if name == 'aten::as_strided':
        offset = args[3] if len(args) > 3 else kwargs.get('storage_offset')
        return _wrapped(_strided(args[0], args[1], args[2], offset or 0))
    if name in ('aten::view', 'aten::_unsafe_view', 'aten::_reshape_alias'):
        args = (args[0].contiguous(), *args[1:])
    args = tuple(
        torch.tensor(v) if isinstance(v, (int, float)) and str(a.type) == 'Tensor' else v
        for v, a in zip(args, schema, strict=False)
    )
    found = operation(*args, **kwargs)
    devices = [value for value in flat if isinstance(value, torch.device)]
    if devices and all(device.type == 'cpu' for device in devices):
        return found
    for value in there:
        twin = _twins[value.untyped_storage()._cdata][0]
        if not value.numel() and twin.numel():  # an output that was made empty
            value.data = _wrapped(twin)
    known = {id(_twin(value)): value for value in there}
    rename = lambda v: known.get(id(v)) if id(v) in known else _wrapped(v)  # noqa: E731
    return pytree.tree_map(lambda v: rename(v) if isinstance(v, torch.Tensor) else v, found)


def _count_wait(name: str, args: tuple, kwargs: dict) -> None:
    """Count an operation for whose result the host waits."""
    global _waits
    if name == '_to_copy':
        target = kwargs.get('device')
        is_transfer = target is not None and _is_device(target) != _is_there(args[0])
        _waits += is_transfer and not kwargs.get('non_blocking')
    elif name == '_copy_from':
        is_transfer = _is_there(args[0]) != _is_there(args[1])
        _waits += is_transfer and not (len(args) > 2 and args[2])
    else:
        _waits += name in _ASKING


def _convolution(image: torch.Tensor, weight: torch.Tensor, bias: object, *how: object) -> object:
    if not (_is_there(image) and _is_there(weight)):
        raise RuntimeError('convolution: tensors on two devices')
    twins = map(_twin, (image, weight, bias))
    return _wrapped(torch.ops.aten.convolution(*twins, *how))


def _convolution_backward(*args: object) -> tuple:
    *tensors, mask = pytree.tree_map(_twin, args)
    slope, image, weight, *how = tensors
    bias = [weight.shape[0]] if mask[2] else None
    found = torch.ops.aten.convolution_backward(slope, image, weight, bias, *how, mask)
    return tuple(None if value is None else _wrapped(value) for value in found)


def register() -> torch.device:
    """Make the device known to torch, once per process."""
    _setup_privateuseone_for_python_backend(NAME)
    getattr(torch, NAME).get_amp_supported_dtype = lambda: [torch.bfloat16]
    every, aten = torch.library.Library('_', 'IMPL'), torch.library.Library('aten', 'IMPL')
    every.fallback(_run, 'PrivateUse1')
    aten.impl('convolution_overrideable', _convolution, 'PrivateUse1')
    aten.impl('convolution_backward_overrideable', _convolution_backward, 'PrivateUse1')
    register.keep = (every, aten)
    # Views of inference tensors are beyond this interface.
    torch.inference_mode = lambda on=True: torch.no_grad() if on else torch.enable_grad()
    return torch.device(NAME)


def mixing_is_refused(device: torch.device) -> None:
    """Check that this device would notice anything at all."""
    there, here = torch.ones(3, 4).to(device), torch.ones(3, 4)
    for mistake in (lambda: there + here, lambda: here @ there.T, there.numpy):
        try:
            mistake()
        except (RuntimeError, TypeError):
            continue
        raise AssertionError('a mixture of devices went through')


def rules_agree(device: torch.device) -> float:
    """Run every update rule of the shipped model; return the largest difference of depth, m."""
    from mem3r_ros.model import FrameInput, load_model, update_rule

    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 24, 32, generator=generator) * 2 - 1
    wide = torch.nn.functional.interpolate(coarse, (120, 160), mode='bicubic').clamp(-1, 1)
    intrinsics = torch.tensor([[110.0, 110.0, 63.5, 47.5]])
    worst = 0.0
    for name in ('cut3r', 'ttt3r', 'ttsa3r', 'memix', 'filt3r'):
        answers = []
        for place in (torch.device('cpu'), device):
            model = load_model('mem3r-tiny').eval().to(place)
            state = model.initial_state(1)
            for index in range(3):
                image = wide[..., 8:104, 8 + 2 * index : 136 + 2 * index]
                frame = FrameInput(
                    image=image.to(place),
                    intrinsics=intrinsics.to(place),
                    reset=torch.tensor([index == 1]).to(place),
                )
                found, state = model.step(frame, state, update_rule(name))
            places = {value.device.type for value in state.to_dict().values()}
            assert places == {place.type}, f'{name}: the state is on {places}'
            answers.append(found.points_camera.cpu())
        worst = max(worst, float((answers[0] - answers[1]).abs().max()))
    return worst


def tracker_agrees(device: torch.device) -> tuple[float, int]:
    """
    Track a sequence with two-view geometry, with a snapshot in between.

    :return: the largest difference of pose; how often the host waited in the last frame.
    """
    from mem3r_ros.data import open_sequence
    from mem3r_ros.model import load_model
    from mem3r_ros.tracker import CameraFrame, Tracker

    sample = Path(__file__).parents[1] / 'mem3r_ros' / 'samples' / 'rendered_room'
    poses = []
    for place in ('cpu', device):
        tracker = Tracker(load_model('mem3r-tiny').eval().to(place))
        tracker.warm_up(320, 240)
        for number, frame in enumerate(open_sequence(sample, max_frames=4)):
            before = _waits_of(tracker)
            tracked = tracker.track(CameraFrame(frame.stamp_ns, frame.image, frame.camera))
            if number == 1:
                tracker.restore(tracker.snapshot())
        poses.append(tracked.T_odom_camera)
    return float(np.abs(poses[0] - poses[1]).max()), _waits_of(tracker) - before


def update_agrees(device: torch.device) -> float:
    """Take the loss and gradients of a chunk; return their largest relative difference."""
    from dataclasses import replace

    from test_training_loop import SIZE, SMALL, PlaneSource, loader, recipe

    from mem3r_ros.model import ModelConfig, build_model
    from mem3r_ros.training.chunk_loss import ChunkLoss

    loader.build_source = lambda source: PlaneSource()
    torch.manual_seed(1)  # with 0 the gradients multiply rounding errors by 50
    config = replace(ModelConfig.preset('mem3r-tiny'), img_size=SIZE, **SMALL)
    model, run = build_model(config), recipe(unknown_focal=1.0)
    _, batch = loader.BatchLoader(run, lambda number: run.stages[1]).next()
    found = []
    for place in (torch.device('cpu'), device):
        model = model.to(place)
        model.zero_grad()
        loss, _, _ = ChunkLoss(model, 'cut3r')(batch.to(place), None, 0, 4, run.losses)
        loss.backward()
        slopes = [parameter.grad.cpu().flatten() for parameter in model.parameters()]
        found.append(torch.cat([loss.detach().cpu().reshape(1), *slopes]))
    return float((found[0] - found[1]).norm() / found[0].norm())


def recorded_steps_agree(device: torch.device) -> tuple[float, int]:
    """
    Track with recorded steps, and on the CPU with direct ones.

    :return: the largest difference of poses and depth, over one plus their size; how often the
        host waited in a frame.
    """
    from tiny_networks import tracked_network

    from mem3r_ros.data import open_sequence
    from mem3r_ros.model.static_step import StaticStep
    from mem3r_ros.odometry.config import RefinementConfig
    from mem3r_ros.odometry.fusion_config import DepthFusionConfig
    from mem3r_ros.tracker import CameraFrame, Tracker, TrackerConfig
    from mem3r_ros.tracker.config import DepthConfig

    sample = Path(__file__).parents[1] / 'mem3r_ros' / 'samples' / 'rendered_room'
    frames = list(open_sequence(sample, max_frames=9))
    # Window and fusion run on the host, and amplify differences of rounding.
    config = TrackerConfig(
        update_rule='ttt3r',
        reset_interval=6,
        refinement=RefinementConfig(enabled=False),
        depth=DepthConfig(resolution='network', fusion=DepthFusionConfig(enabled=False)),
    )
    results, counts = [], []
    for place in (torch.device('cpu'), device):
        model = tracked_network().to(place)
        tracker = Tracker(model if place.type == 'cpu' else StaticStep(model), config)
        found = []
        for frame in frames:
            before = _waits_of(tracker)
            tracked = tracker.track(CameraFrame(frame.stamp_ns, frame.image, frame.camera))
            counts.append(_waits_of(tracker) - before)
            found += [tracked.T_odom_camera.ravel(), np.nan_to_num(tracked.depth).ravel()]
        results.append(np.concatenate(found))
    # Recordings are made in the first frames; the sixth starts a segment with a second step.
    steady = [count for index, count in enumerate(counts[-9:]) if index in (3, 4, 6, 7, 8)]
    difference = np.abs(results[0] - results[1]) / (1 + np.abs(results[0]))
    return float(difference.max()), max(steady)


def _waits_of(tracker: object) -> int:
    return _waits + tracker._upload._queue.num_waits


if __name__ == '__main__':
    torch.set_num_threads(1)
    # The CPU's numbers are float32 throughout.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    place = register() if sys.argv[1] == NAME else torch.device(sys.argv[1])
    with torch.no_grad():
        mixing_is_refused(place)
        print('rules', rules_agree(place))
        difference, two_view_waits = tracker_agrees(place)
        print('tracker', difference)
        difference, waits = recorded_steps_agree(place)
        print('recorded', difference)
        print('waits', max(waits, two_view_waits))
    print('update', update_agrees(place))
