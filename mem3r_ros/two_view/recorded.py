# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Functions of small tensors as recorded programs.

The geometry of two frames is thousands of operations on small tensors. Python between them takes
as long as they do, and holds the lock of the interpreter, which the other threads need. A recorded
program runs the same operations, with the same results bit by bit, without either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import warnings

import torch
from torch import Tensor

_MAX_PROGRAMS = 16  # shapes of images and batches in use
_PASSES = 3  # over the operations of a new program; each makes more of them constant
Function = Callable[..., tuple[Tensor, ...]]


class Recorded:
    """Records a function at the first call with each set of shapes, and repeats it later."""

    def __init__(self, function: Function) -> None:
        """
        Start without a record.

        :param function: of tensors; what it does depends on their shapes, never on their values.
        """
        self._function = function
        self._programs: dict[tuple, Function] = {}

    def __call__(self, *tensors: Tensor, fixed: tuple = ()) -> tuple[Tensor, ...]:
        """
        Return the results of the function, which have no gradients.

        :param fixed: further arguments, hashable; each value of them has a program of its own.
        """
        if torch.is_grad_enabled():
            return self._function(*tensors, *fixed)
        kinds = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors)
        key = (torch.is_inference_mode_enabled(), fixed, *kinds)
        program = self._programs.get(key)
        if program is None:
            if len(self._programs) >= _MAX_PROGRAMS:
                self._programs.clear()
            program = self._programs[key] = _recorded(self._function, tensors, fixed)
        return program(*tensors)


def _recorded(function: Function, tensors: tuple[Tensor, ...], fixed: tuple) -> Function:
    def of_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
        return function(*tensors, *fixed)

    of_tensors(*tensors)  # fills caches, which would otherwise be a part of the program
    with _freed_with_its_programs(), warnings.catch_warnings():
        # torch prefers compilers, which a robot need not have; and shapes are constants here.
        warnings.simplefilter('ignore')
        return _shortened(torch.jit.trace(of_tensors, tensors, check_trace=False))


def _shortened(program: torch.jit.ScriptFunction) -> Function:
    """
    Return the program without operations that have the same result in each call.

    Shapes and what depends on them alone (grids of pixels, tables of positions) become constants,
    and what is computed twice is computed once: a third of the operations.
    """
    passes = torch._C
    graph = program.graph.copy()
    try:
        passes._jit_pass_inline(graph)
        for _ in range(_PASSES):
            passes._jit_pass_peephole(graph, False)
            passes._jit_pass_constant_propagation(graph)
            passes._jit_pass_cse(graph)
            passes._jit_pass_dce(graph)
        return passes._create_function_from_graph('program', graph)
    except (AttributeError, TypeError):  # torch may change functions that are not public
        return program


@contextmanager
def _freed_with_its_programs() -> Iterator[None]:
    """
    Record into a unit of its own instead of that of the process.

    torch never frees a program of the process: each network that is loaded would leave its
    programs, with its weights, in memory.
    """
    state = torch.jit._state
    unit = getattr(state, '_python_cu', None)
    if unit is None:  # another version of torch
        yield
        return
    state._python_cu = torch._C.CompilationUnit()
    try:
        yield
    finally:
        state._python_cu = unit
