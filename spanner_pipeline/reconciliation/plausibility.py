"""How many bits it takes to say each step from the lake's number to the old one.

The fewer, the sooner a step is believed. A choice among n costs log2(n) bits more, so that a long
list of candidates does not win by its length. Bits are floats; they choose between explanations and
never touch a quantity.
"""

from __future__ import annotations

from math import log2

MARGIN = 2.0
"""By so many bits must an explanation be simpler than the number that it explains."""

FURTHER = 2.5
"""By so many more for each further step: there are far more ways of several steps than of one."""

SEEN = 1.0
"""What explains another number already."""

ALTERNATIVE = 8.0
"""Explanations up to so much less simple than the best are named beside it."""

SIMPLE = 12.0
"""So simple an explanation is taken before hours and rounded parts are looked at."""

RECORDED = 1.0
DECLARED = 1.0
OLD_LINES = 1.0
VOIDS = 2.0
LATE = 2.0
UTC = 2.5
CLOCK = 3.0
CUSTOMER = 3.0
UNIT = 4.0
ROUNDED_TOTAL = 4.0
ROUNDED_PARTS = 5.0

_PART, _RUN, _HOUR = 2.0, 3.0, 3.0
_EPSILON = 1e-9


def chosen_of(bits: float, number: int) -> float:
    """A step that is one of so many alike."""
    return bits + log2(max(1, number))


def recorded_of(number: int) -> float:
    """One of so many kinds of rows on record, of which several may be meant at once."""
    return RECORDED + log2(max(1, number)) / 2


def part_of(number: int) -> float:
    """One day or file of so many, lacking or counted twice."""
    return chosen_of(_PART, 2 * number)


def run_of(days: int) -> float:
    """Some of so many days in a row, lacking or counted twice."""
    return chosen_of(_RUN, max(2, days**2))


def hours_of(number: int, longest: int) -> float:
    """One of so many hours or, where `longest` is above 1, some in a row."""
    return chosen_of(_HOUR, 2 * number * longest)


def less(one: float, other: float) -> bool:
    """Whether one is simpler, beyond the noise of adding bits."""
    return one + _EPSILON < other
