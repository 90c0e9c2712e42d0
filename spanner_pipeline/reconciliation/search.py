"""The simplest way to count that gives the old number exactly.

Ways are tried from the simplest on: switches over rows (`estimate`), then one operation on their
sum (`operations`), then days, files or hours that lack or count twice, then pairs of these. A way
is taken only if it gives the old number to the last digit and takes clearly fewer bits to say than
the number itself has: else so many ways would fit that one of them would by chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import TypeVar

from spanner_pipeline.reconciliation import plausibility
from spanner_pipeline.reconciliation.causes import CAUSES, MISSING, TWICE
from spanner_pipeline.reconciliation.estimate import Case, Switch, combinations, cost
from spanner_pipeline.reconciliation.operations import Operation, closing, rounded_parts

_MOST_SWITCHES = 3
_LONGEST_RUN_OF_HOURS = 48
_ORDER = {cause: place for place, cause in enumerate(CAUSES)}


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


Step = Switch | Span | Operation
AnyStep = TypeVar("AnyStep", Switch, Span, Operation)


@dataclass(frozen=True)
class Way:
    """One way to count that gives the old number.

    Attributes:
        bits: How much it takes to say it.
        switches: Rows counted otherwise.
        spans: Days, files or hours.
        operation: What was done to the sum.
        alternatives: Other ways of one step, which the number cannot tell from this.
    """

    bits: float
    switches: tuple[Switch, ...] = ()
    spans: tuple[Span, ...] = ()
    operation: Operation | None = None
    alternatives: tuple[str, ...] = ()

    @property
    def steps(self) -> list[Step]:
        """Its steps, from the lake's number to the old one."""
        last: list[Step] = [self.operation] if self.operation is not None else []
        return [*sorted(self.switches, key=lambda s: s.order), *self.spans, *last]

    @property
    def order(self) -> tuple[float, list[tuple[int, str]]]:
        """The simpler first, then by the declared order of causes."""
        return round(self.bits, 6), [(_ORDER[step.cause], step.detail) for step in self.steps]

    def parts(self, case: Case) -> list[tuple[Step, int]]:
        """What each step takes from the sum, so that the parts add up to new minus old."""
        total, parts = case.estimate(()), []
        switches: list[Switch] = []
        for step in self.steps:
            before = total
            if isinstance(step, Switch):
                switches.append(step)
                total = case.estimate(switches)
            else:
                total = total + step.effect if isinstance(step, Span) else case.target
            parts.append((step, before - total))
        assert total == case.target
        return parts

    @property
    def certain(self) -> bool:
        """Whether the number tells it from all others."""
        return not self.alternatives and all(len(step.names) == 1 for step in self.steps)


class Search:
    """Looks for the way in which the old number of a case was counted."""

    def __init__(
        self,
        case: Case,
        switches: Sequence[Switch],
        others: Mapping[int, Sequence[Operation]],
        seen: Mapping[tuple[str, ...], int],
    ) -> None:
        """Prepare a search.

        Args:
            case: The number.
            switches: Those that change what is counted for it.
            others: Customers whose usage may be meant, by the amount that they add.
            seen: Steps that explain other numbers, which are more easily believed.
        """
        self._case = case
        self._others, self._seen = others, seen
        self._switches = [self._believed(switch) for switch in switches]
        self._budget = case.information - plausibility.MARGIN
        self._found: list[Way] = []

    def run(self, *, deep: bool) -> Way | None:
        """The simplest way found; without `deep`, only ways of one step are tried."""
        case, target = self._case, self._case.target
        ways = combinations(self._switches, _MOST_SWITCHES if deep else 1, self._budget)
        for chosen in ways:
            if self._beaten(cost(chosen)):
                break
            total = case.estimate(chosen)
            if total == target:
                self._offer(Way(cost(chosen), chosen))
            self._close(chosen, (), total)
        if case.old:
            for chosen in ways:
                if self._beaten(cost(chosen)) or len(chosen) > (2 if deep else 0):
                    continue
                self._spans(chosen, pairs=deep and len(chosen) <= 1)
        return self._best()

    def hours(self) -> Way | None:
        """The simplest way with hours that lack or count twice; atoms must tell hours apart."""
        if self._case.old:
            for chosen in combinations(self._switches, 1, self._budget):
                hours = self._case.by_part(chosen, "hour")
                need = self._case.target - self._case.estimate(chosen)
                self._take(chosen, self._grouped(self._hours(hours, need)))
        return self._best()

    def rounded_events(self, events: Sequence[Sequence[int]]) -> Way | None:
        """The simplest way that rounds each day or each event."""
        for chosen in combinations(self._switches, 1, self._budget):
            days = self._case.by_day(chosen)
            for found in rounded_parts(self._case, days, () if chosen else events):
                rounded = self._believed(found)
                self._offer(Way(cost(chosen) + rounded.bits, chosen, (), rounded))
        return self._best()

    def _believed(self, step: AnyStep) -> AnyStep:
        """A step by those of its names that explain other numbers, if there are any."""
        seen = tuple(name for name in step.names if step.key(name) in self._seen)
        bits = min(step.bits, plausibility.SEEN)
        if isinstance(step, Switch):
            return replace(step, bits=bits) if seen else step
        return replace(step, names=seen, bits=bits) if seen else step

    def _beaten(self, bits: float) -> bool:
        """Whether something simpler was found already."""
        return any(plausibility.less(way.bits, bits) for way in self._found)

    def _offer(self, way: Way) -> None:
        if way.bits <= self._budget and way.steps and all(p for _, p in way.parts(self._case)):
            self._found.append(way)

    def _best(self) -> Way | None:
        if not self._found:
            return None
        best, *_ = ordered = sorted(self._found, key=lambda way: way.order)
        said = {step.detail for step in best.steps}
        alternatives = [
            way.steps[0].detail
            for way in ordered
            if len(way.steps) == len(best.steps) == 1
            and way.bits <= best.bits + plausibility.ALTERNATIVE
            and way.steps[0].detail not in said
            and not getattr(best.steps[0], "known", False)
            and best.bits > plausibility.SEEN
        ]
        return replace(best, alternatives=tuple(dict.fromkeys(alternatives)))

    def _close(self, chosen: tuple[Switch, ...], spans: tuple[Span, ...], total: int) -> None:
        """Offer every operation that makes the old number of a sum."""
        bits = cost(chosen) + sum(span.bits for span in spans)
        operations = [*closing(self._case, total)]
        operations += self._others.get(self._case.target - total, ())
        for operation in operations:
            believed = self._believed(operation)
            self._offer(Way(bits + believed.bits, chosen, spans, believed))

    def _spans(self, chosen: tuple[Switch, ...], *, pairs: bool) -> None:
        case = self._case
        total, days = case.estimate(chosen), case.by_day(chosen)
        named = {str(day): quantity for day, quantity in days.items() if quantity}
        singles = self._grouped([*self._parts(named), *self._files(chosen, named)])
        self._take(chosen, singles)
        need = case.target - total
        self._take(chosen, self._grouped(self._runs(days, need)))
        if not pairs:
            return
        for spans in singles.values():
            for span in spans:
                self._close(chosen, (span,), total + span.effect)
        daily = self._grouped(self._parts(named))
        for effect, spans in daily.items():
            for second in daily.get(need - effect, ()) if effect <= need - effect else ():
                for first in spans:
                    if not set(first.names) & set(second.names):
                        pair = (first, second)
                        self._offer(Way(cost(chosen) + first.bits + second.bits, chosen, pair))

    def _take(self, chosen: tuple[Switch, ...], spans: Mapping[int, Sequence[Span]]) -> None:
        """Offer the spans that by themselves make the old number."""
        need = self._case.target - self._case.estimate(chosen)
        for span in spans.get(need, ()):
            self._offer(Way(cost(chosen) + span.bits, chosen, (span,)))

    def _grouped(self, spans: Iterator[Span] | Sequence[Span]) -> dict[int, list[Span]]:
        """Spans by effect; those of one effect and as much to say are one, with all their names."""
        alike: dict[tuple[int, float], list[Span]] = defaultdict(list)
        for span in map(self._believed, spans):
            alike[span.effect, round(span.bits, 6)].append(span)
        grouped: dict[int, list[Span]] = defaultdict(list)
        for (effect, _), same in alike.items():
            names = tuple(name for span in same for name in span.names)
            grouped[effect].append(replace(same[0], names=names))
        return grouped

    def _parts(self, named: Mapping[str, int]) -> Iterator[Span]:
        bits = plausibility.part_of(len(named))
        for name, quantity in named.items():
            if len(named) > 1:  # else the old bill would lack all there is
                yield Span((name,), -quantity, bits)
            yield Span((name,), quantity, bits, twice=True)

    def _files(self, chosen: tuple[Switch, ...], days: Mapping[str, int]) -> list[Span]:
        """Files, but for those that are just one of the days."""
        files = self._case.by_part(chosen, "file")
        named = {f"the file {name}": quantity for name, quantity in files.items() if quantity}
        if len(named) < 2:
            return []
        known = set(days.values())
        return [
            span for span in self._parts(named) if abs(span.effect) not in {abs(k) for k in known}
        ]

    def _runs(self, days: Mapping[date, int], need: int) -> Iterator[Span]:
        """Two and more days in a row that have the effect needed."""
        dates = list(days)
        bits = plausibility.run_of(len(dates))
        for index in range(len(dates)):
            total = days[dates[index]]
            for before, last in pairwise(dates[index:]):
                if (last - before).days != 1:
                    break
                total += days[last]
                if abs(total) == abs(need) and (index or last != dates[-1] or total == need):
                    names = (f"{dates[index]} to {last}",)
                    yield Span(names, need, bits, twice=total == need)

    def _hours(self, hours: Mapping[object, int], need: int) -> Iterator[Span]:
        """Hours, and hours in a row, that have the effect needed."""
        known = {int(str(hour)): quantity for hour, quantity in hours.items()}
        numbers = sorted(known)
        single = plausibility.hours_of(len(numbers), 1)
        several = plausibility.hours_of(len(numbers), _LONGEST_RUN_OF_HOURS)
        for index, first in enumerate(numbers):
            total = 0
            for place, last in enumerate(numbers[index:], start=index + 1):
                if last - first >= _LONGEST_RUN_OF_HOURS:
                    break
                total += known[last]
                whole = index == 0 and place == len(numbers)
                if abs(total) == abs(need) and (not whole or total == need):
                    names = (_named_hours(first, last),)
                    bits = single if first == last else several
                    yield Span(names, need, bits, twice=total == need)


def _named_hours(first: int, last: int) -> str:
    begins, ends = (datetime.fromtimestamp(hour * 3600, UTC) for hour in (first, last + 1))
    return f"{begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
