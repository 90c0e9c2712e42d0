"""Days, files or hours that the old system may lack or count twice."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from spanner_pipeline.reconciliation import plausibility
from spanner_pipeline.reconciliation.causes import MISSING, TWICE

FEW_HOURS = 6
"""So many hours in a row are looked at beside other causes."""

_LONGEST_RUN = 48

ByDay = Mapping[date, int]
Part = Literal["day", "file", "hour"]
Piece = tuple[Any, Any]


class Span(NamedTuple):
    """Days, files or hours that the old system lacks, or counts twice.

    There are so many of them that they are made cheaply, and named only when it comes to that.

    Attributes:
        effect: What that adds to the sum.
        bits: How much it takes to say it.
        twice: Whether they count twice.
        part: What they are.
        pieces: Their first and last; several where the numbers cannot tell them apart.
        by_day: The usage in them on each day.
    """

    effect: int
    bits: float
    twice: bool
    part: Part
    pieces: tuple[Piece, ...]
    by_day: ByDay

    @property
    def cause(self) -> str:
        """The cause that it is."""
        return TWICE if self.twice else MISSING

    @property
    def keys(self) -> tuple[tuple[object, ...], ...]:
        """What tells it from other steps, the same for all numbers; several as `pieces`."""
        return tuple((self.cause, self.part, piece) for piece in self.pieces)

    @property
    def detail(self) -> str:
        """What exactly, for a person."""
        verb = "counts twice" if self.twice else "lacks"
        named = " or ".join(_named(self.part, *piece) for piece in self.pieces)
        return f"the old bill {verb} {named}"

    def meets(self, other: Span) -> bool:
        """Whether they may share rows: then their effects do not add up."""
        if self.part == other.part == "file":
            return self.pieces == other.pieces
        if self.part == other.part == "hour":
            (first, last), (begins, ends) = self.pieces[0], other.pieces[0]
            return bool(first <= ends and begins <= last)
        return not self.by_day.keys().isdisjoint(other.by_day)


class Spans:
    """Spans, sorted by effect."""

    def __init__(self, spans: Iterable[Span]) -> None:
        """Sort them.

        Args:
            spans: In any order.
        """
        self.all = sorted(spans, key=lambda span: span.effect)
        self._effects = [span.effect for span in self.all]
        self.least = min((span.bits for span in self.all), default=0)

    @property
    def range(self) -> tuple[int, int]:
        """The least and the largest effect."""
        return (self._effects[0], self._effects[-1]) if self._effects else (0, 0)

    def between(self, low: int, high: int) -> list[Span]:
        """Those with an effect within bounds; those that no number tells apart as one."""
        begin = bisect_left(self._effects, low)
        end = bisect_right(self._effects, high, begin)
        return _alike(self.all[begin:end]) if begin < end else []

    def alike(self) -> list[Span]:
        """All; those that no number tells apart as one."""
        return _alike(self.all)


def _alike(spans: Sequence[Span]) -> list[Span]:
    if len(spans) < 2:
        return list(spans)
    same: dict[tuple[int, float, bool, str], list[Span]] = defaultdict(list)
    for span in spans:
        same[span.effect, span.bits, span.twice, span.part].append(span)
    return [
        first._replace(pieces=tuple(piece for span in (first, *others) for piece in span.pieces))
        if others
        else first
        for first, *others in same.values()
    ]


def day_spans(days: ByDay) -> list[Span]:
    """Each day."""
    return _parts("day", {day: {day: quantity} for day, quantity in days.items()})


def file_spans(files: Mapping[str, ByDay], days: ByDay) -> list[Span]:
    """Files, but for those that are just one of the days."""
    known = {abs(quantity) for quantity in days.values()}
    if sum(any(by_day.values()) for by_day in files.values()) < 2:
        return []
    return [span for span in _parts("file", files) if abs(span.effect) not in known]


def run_spans(days: ByDay) -> list[Span]:
    """Two and more days in a row."""
    dates, found = list(days), list[Span]()
    bits = plausibility.run_of(len(dates))
    for index, first in enumerate(dates):
        by_day = {first: days[first]}
        for before, last in pairwise(dates[index:]):
            if (last - before).days != 1:
                break
            by_day = {**by_day, last: days[last]}
            whole = index == 0 and last == dates[-1]
            found += _both("day", (first, last), by_day, bits, whole)
    return found


def hour_spans(hours: Mapping[int, ByDay]) -> list[Span]:
    """Hours (numbered since 1970), alone and a few in a row."""
    found = list[Span]()
    single = plausibility.hours_of(len(hours), 1)
    several = plausibility.hours_of(len(hours), FEW_HOURS)
    numbers = list(hours)
    for place, first in enumerate(numbers):
        by_day: dict[date, int] = {}
        for last in numbers[place : place + FEW_HOURS]:
            if last - first >= FEW_HOURS:
                break
            by_day = by_day.copy()
            for day, quantity in hours[last].items():
                by_day[day] = by_day.get(day, 0) + quantity
            whole = place == 0 and last == numbers[-1]
            bits = single if first == last else several
            found += _both("hour", (first, last), by_day, bits, whole)
    return found


def runs_with(parts: Mapping[int, int], need: int) -> Iterator[tuple[int, int, bool]]:
    """The first and last of numbered parts in a row that make just that, lacking or twice."""
    numbers = list(parts)
    begun: dict[int, list[int]] = defaultdict(list)  # by what all parts before hold
    total = 0
    for place, last in enumerate(numbers):
        begun[total].append(place)
        total += parts[last]
        for effect, twice in ((need, True), (-need, False)):
            for begin in begun.get(total - effect, ()):
                whole = begin == 0 and place == len(numbers) - 1
                if last - numbers[begin] < _LONGEST_RUN and (twice or not whole):
                    yield numbers[begin], last, twice


def hour_span(hours: int, need: int, first: int, last: int, twice: bool) -> Span:
    """Hours in a row that are known by their effect, one run of so many hours."""
    longest = 1 if first == last else FEW_HOURS if last - first < FEW_HOURS else _LONGEST_RUN
    bits = plausibility.hours_of(hours, longest)
    return Span(need, bits, twice, "hour", ((first, last),), {})


def _parts(part: Part, named: Mapping[Any, ByDay]) -> list[Span]:
    parts = {name: by_day for name, by_day in named.items() if any(by_day.values())}
    bits, whole = plausibility.part_of(len(parts)), len(parts) == 1
    return [
        span
        for name, by_day in parts.items()
        for span in _both(part, (name, name), by_day, bits, whole)
    ]


def _both(part: Part, piece: Piece, by_day: ByDay, bits: float, whole: bool) -> list[Span]:
    """A part lacking and counted twice; what is the whole cannot lack."""
    quantity = sum(by_day.values())
    if not quantity:
        return []
    twice = Span(quantity, bits, True, part, (piece,), by_day)
    return [twice] if whole else [Span(-quantity, bits, False, part, (piece,), by_day), twice]


def _named(part: Part, first: Any, last: Any) -> str:
    if part == "hour":
        begins, ends = (datetime.fromtimestamp(hour * 3600, UTC) for hour in (first, last + 1))
        return f"{begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
    if part == "file":
        return f"the file {first}"
    return str(first) if first == last else f"{first} to {last}"
