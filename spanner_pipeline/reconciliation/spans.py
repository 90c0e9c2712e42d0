"""Days, files or hours that the old system may lack or count twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise

from spanner_pipeline.reconciliation import plausibility
from spanner_pipeline.reconciliation.causes import MISSING, TWICE

_LONGEST_RUN_OF_HOURS = 48


@dataclass(frozen=True)
class Span:
    """Days, files or hours that the old system lacks, or counts twice.

    Attributes:
        names: What they are; several where the numbers cannot tell them apart.
        effect: What that adds to the sum.
        bits: How much it takes to say it.
        twice: Whether they count twice.
    """

    names: tuple[str, ...]
    effect: int
    bits: float
    twice: bool = False

    @property
    def cause(self) -> str:
        """The cause that it is."""
        return TWICE if self.twice else MISSING

    def key(self, name: str) -> tuple[str, ...]:
        """What tells it from other steps; the same for all numbers."""
        return (self.cause, name)

    @property
    def detail(self) -> str:
        """What exactly, for a person."""
        verb = "counts twice" if self.twice else "lacks"
        return f"the old bill {verb} {' or '.join(self.names)}"


def part_spans(named: Mapping[str, int]) -> list[Span]:
    """Each of some parts, lacking or counted twice."""
    parts = {name: quantity for name, quantity in named.items() if quantity}
    return list(_both(parts.items(), plausibility.part_of(len(parts)), whole=len(parts) == 1))


def file_spans(files: Mapping[object, int], days: Mapping[date, int]) -> list[Span]:
    """Files, but for those that are just one of the days."""
    known = {abs(quantity) for quantity in days.values()}
    named = {f"the file {name}": quantity for name, quantity in files.items() if quantity}
    if len(named) < 2:
        return []
    return [span for span in part_spans(named) if abs(span.effect) not in known]


def run_spans(days: Mapping[date, int]) -> list[Span]:
    """Two and more days in a row."""
    dates, found = list(days), list[Span]()
    bits = plausibility.run_of(len(dates))
    for index, first in enumerate(dates):
        total = days[first]
        for before, last in pairwise(dates[index:]):
            if (last - before).days != 1:
                break
            total += days[last]
            whole = index == 0 and last == dates[-1]
            found += _both([(f"{first} to {last}", total)], bits, whole=whole)
    return found


def hour_spans(hours: Mapping[object, int], need: int) -> list[Span]:
    """Hours (numbered since 1970), and hours in a row, that have the effect needed."""
    known = {int(str(hour)): quantity for hour, quantity in hours.items()}
    numbers, found = sorted(known), list[Span]()
    single = plausibility.hours_of(len(numbers), 1)
    several = plausibility.hours_of(len(numbers), _LONGEST_RUN_OF_HOURS)
    begun: dict[int, list[int]] = defaultdict(list)  # by what all hours before hold
    total = 0
    for place, last in enumerate(numbers):
        begun[total].append(place)
        total += known[last]
        for effect in {need, -need} - {0}:
            for begin in begun.get(total - effect, ()):
                first = numbers[begin]
                if last - first < _LONGEST_RUN_OF_HOURS:
                    whole = begin == 0 and place == len(numbers) - 1
                    name, bits = _named_hours(first, last), single if first == last else several
                    found += _both([(name, effect)], bits, whole=whole)
    return [span for span in found if span.effect == need]


def _both(parts: Iterable[tuple[str, int]], bits: float, *, whole: bool) -> Iterator[Span]:
    """Parts lacking and counted twice; what is the whole cannot lack."""
    for name, quantity in parts:
        if quantity and not whole:
            yield Span((name,), -quantity, bits)
        if quantity:
            yield Span((name,), quantity, bits, twice=True)


def _named_hours(first: int, last: int) -> str:
    begins, ends = (datetime.fromtimestamp(hour * 3600, UTC) for hour in (first, last + 1))
    return f"{begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
