# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a target is, and values that the bytes of an input choose, many of them absurd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math
import random
from typing import Any

from hypothesis import strategies as st

from mem3r_ros.errors import UserError


@dataclass(frozen=True, slots=True)
class Target:
    """
    Good inputs, and what reads an input.

    An input that is chosen is a source of values in place of bytes.
    """

    seeds: list[bytes]
    read: Callable[[Any], object]
    is_chosen: bool = False
    has_good_seeds: bool = True  # each is read; otherwise they are only beginnings


NUMBERS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 60.0, 480.0, 640.0, math.nan, math.inf, -math.inf,
    1e-300, 1e6, 1e30, 1e300, -1e300, 2.0**31, 2.0**63, -(2.0**63),
)  # fmt: skip
WORDS = (
    '', 'rgb8', 'bgr8', 'mono8', 'mono16', '16UC1', '32FC1', 'bayer_rggb8', 'yuv422', 'nv12',
    'rgb9', 'plumb_bob', 'equidistant', 'rational_polynomial', 'jpeg', 'png',
    'rgb8; jpeg compressed bgr8', '16UC1; compressedDepth png', 'h264', '\x00', 'a' * 5000,
)  # fmt: skip


class Choices:
    """Values that the bytes of an input choose."""

    def __init__(self, data: bytes) -> None:
        """Begin with the first choice."""
        self._random = random.Random(data)

    def number(self) -> float:
        """Return a float, often an absurd one."""
        if self._random.random() < 0.5:
            return self._random.choice(NUMBERS)
        return self._random.uniform(-2.0, 2.0) * 10 ** self._random.uniform(-3, 4)

    def whole(self, bits: int = 32) -> int:
        """Return an unsigned integer, often small or at a limit."""
        return self._random.choice((*_wholes(bits), self._random.getrandbits(bits)))

    def word(self) -> str:
        """Return a text."""
        return self._random.choice(WORDS)

    def data(self, longest: int = 10_000) -> bytes:
        """Return bytes."""
        return self._random.randbytes(self._random.randint(0, longest))

    def one_of(self, values: Any) -> Any:
        """Return one of several values."""
        return self._random.choice(list(values))

    def value(self) -> Any:
        """Return a value of any type that YAML has."""
        kinds = (self.number, self.whole, self.word, lambda: None, lambda: True)
        make = self.one_of((*kinds, None))
        if make is None:
            return [self.one_of(kinds)() for _ in range(self.one_of(range(8)))]
        return make()


def _wholes(bits: int) -> tuple[int, ...]:
    return (*(n for n in (0, 1, 2, 7, 48, 64, 192, 640) if n < 2**bits), 2**bits - 1)


class DrawnChoices(Choices):
    """Values that Hypothesis draws: it covers the limits, and shrinks what fails."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        """
        Begin with the first choice.

        :param draw: of ``hypothesis.strategies.data``.
        """
        self._draw = draw

    def number(self) -> float:
        """Return any float."""
        return self._draw(st.one_of(st.sampled_from(NUMBERS), st.floats()))

    def whole(self, bits: int = 32) -> int:
        """Return any unsigned integer of so many bits."""
        return self._draw(st.one_of(st.sampled_from(_wholes(bits)), st.integers(0, 2**bits - 1)))

    def word(self) -> str:
        """Return a text."""
        return self._draw(st.one_of(st.sampled_from(WORDS), st.text(max_size=60)))

    def data(self, longest: int = 10_000) -> bytes:
        """Return bytes."""
        return self._draw(st.binary(max_size=min(longest, 1000)))

    def one_of(self, values: Any) -> Any:
        """Return one of several values."""
        return self._draw(st.sampled_from(list(values)))


def refused(action: Callable[[], Any]) -> Any:
    """Return the result of an action; None if it refuses."""
    try:
        return action()
    except UserError:
        return None


def each(*actions: Callable[[], Any]) -> None:
    """Run all; raise UserError if all of them refuse."""
    refusals = []
    for action in actions:
        try:
            action()
        except UserError as error:
            refusals.append(error)
    if len(refusals) == len(actions):
        raise refusals[-1]
