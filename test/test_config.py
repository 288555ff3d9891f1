# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Classes of settings: when their values are checked, and what is normalised."""

import dataclasses

import pytest

from mem3r_ros.config import from_dict, setting, settings
from mem3r_ros.errors import UserError


@settings
class Span:
    """Two numbers in order, and a direction."""

    low: float = setting(0.0, 'lower end', low=-1.0)
    high: float = setting(1.0, 'upper end')
    direction: tuple = setting((1.0, 0.0), 'unit vector')

    def check(self) -> None:
        """Refuse an empty span."""
        if self.low >= self.high:
            raise UserError(f'low is {self.low}; it must be below high ({self.high})')


@settings
class NamedSpan(Span):
    """A span with a name."""

    name: str = setting('span', 'its name')


def test_a_limit_is_checked_before_the_relation_of_two_settings():
    with pytest.raises(UserError, match=r'Span\.low is -5\.0; it must be at least -1\.0'):
        Span(low=-5.0, high=-6.0)


def test_a_subclass_checks_the_relations_of_its_base():
    with pytest.raises(UserError, match='it must be below high'):
        NamedSpan(low=2.0)


def test_a_replaced_value_is_checked():
    with pytest.raises(UserError, match='it must be below high'):
        dataclasses.replace(Span(), high=-0.5)


def test_settings_cannot_be_assigned():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Span().low = 0.5


def test_whole_numbers_become_floats_where_the_default_is_a_float():
    span = from_dict(Span, {'low': 0, 'direction': [0, 1]})

    assert type(span.low) is float
    assert span.direction == (0.0, 1.0)
    assert all(type(value) is float for value in span.direction)


def test_a_word_among_numbers_is_refused():
    with pytest.raises(UserError, match=r"Span.direction is \(1.0, 'x'\); it must hold numbers"):
        Span(direction=[1, 'x'])
