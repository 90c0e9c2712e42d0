"""The simplest way to count that gives the old number exactly.

Ways are tried from the simplest on: switches over rows (`estimate`), then one operation on their
sum (`operations`), then days, files or hours that lack or count twice, then pairs of these. A way
is taken only if it gives the old number to the last digit and takes clearly fewer bits to say than
the number itself has: else so many ways would fit that one of them would by chance.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import TypeVar

from spanner_pipeline.reconciliation import plausibility
from spanner_pipeline.reconciliation.atoms import HOWS
from spanner_pipeline.reconciliation.causes import CAUSES, ROUNDING
from spanner_pipeline.reconciliation.estimate import Case, Switch, combinations, cost
from spanner_pipeline.reconciliation.operations import (
    Operation,
    aims,
    closing,
    part_units,
    rounded_to,
    rounds_parts,
)
from spanner_pipeline.reconciliation.spans import (
    Span,
    file_spans,
    hour_spans,
    part_spans,
    run_spans,
)

_MOST_SWITCHES = 3
_MOST_OTHERS = 12
_ORDER = {cause: place for place, cause in enumerate(CAUSES)}


Step = Switch | Span | Operation
AnyStep = TypeVar("AnyStep", Switch, Span, Operation)


@dataclass(frozen=True)
class Way:
    """One way to count that gives the old number.

    Attributes:
        bits: How much it takes to say it.
        switches: Rows counted otherwise.
        spans: Days, files or hours.
        operations: What was done to the sum.
        alternatives: Other ways of one step, which the number cannot tell from this.
    """

    bits: float
    switches: tuple[Switch, ...] = ()
    spans: tuple[Span, ...] = ()
    operations: tuple[Operation, ...] = ()
    alternatives: tuple[str, ...] = ()

    @property
    def steps(self) -> list[Step]:
        """Its steps, from the lake's number to the old one, in the declared order of causes."""
        steps: list[Step] = [*self.switches, *self.spans, *self.operations]
        return sorted(steps, key=lambda step: (_ORDER[step.cause], step.detail))

    @property
    def order(self) -> tuple[float, list[tuple[int, str]]]:
        """The simpler first, then by the declared order of causes."""
        return round(self.bits, 6), [(_ORDER[step.cause], step.detail) for step in self.steps]

    def parts(self, case: Case) -> list[tuple[Step, int]]:
        """What each step takes from the sum, so that the parts add up to new minus old."""
        total, parts = case.estimate(()), []
        switches: list[Switch] = []
        lines = sum(switch.adds for switch in self.switches)  # still to come
        for step in self.steps:
            before = total
            if isinstance(step, Span):
                total += step.effect
            elif isinstance(step, Operation):
                total = case.target - lines if step.adds is None else total + step.adds
            elif step.adds:
                total, lines = total + step.adds, lines - step.adds
            else:
                switches.append(step)
                total = case.estimate(switches)
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
        others: Sequence[Operation],
        seen: Mapping[tuple[str, ...], int],
    ) -> None:
        """Prepare a search.

        Args:
            case: The number.
            switches: Those that change what is counted for it.
            others: Customers whose usage may be meant.
            seen: Steps that explain other numbers, which are more easily believed.
        """
        self._case, self._seen = case, seen
        self._switches = [self._believed(switch) for switch in switches]
        self._others: dict[int, list[Operation]] = defaultdict(list)
        for other in map(self._believed, others):
            assert other.adds is not None
            self._others[other.adds].append(other)
        self._budget = case.information(case.step) - plausibility.MARGIN
        self._found: list[Way] = []

    def run(self, *, deep: bool) -> Way | None:
        """The simplest way found; without `deep`, only ways of one step are tried."""
        ways = combinations(self._switches, _MOST_SWITCHES if deep else 1, self._budget)
        for chosen in ways:
            if self._beaten(cost(chosen)):
                break
            self._close(chosen, (), self._case.estimate(chosen), more=deep)
        if self._case.old:
            part = plausibility.part_of(len(self._case.by_day(())))
            for chosen in ways:
                if len(chosen) > (2 if deep else 0):
                    continue
                if chosen and self._hopeless(cost(chosen) + part):  # one step has alternatives
                    continue
                self._spans(chosen, pairs=deep and len(chosen) <= 1)
        return self._best()

    def hours(self) -> Way | None:
        """The simplest way with hours that lack or count twice; atoms must tell hours apart."""
        hour = plausibility.hours_of(len(self._case.by_part((), "hour")), 1)
        for chosen in combinations(self._switches, 2, self._budget) if self._case.old else ():
            if self._hopeless(cost(chosen) + hour):
                continue
            hours = self._case.by_part(chosen, "hour")
            need = self._case.goal(chosen) - self._case.estimate(chosen)
            for adds in (0, *self._others):
                for span in hour_spans(hours, need - adds):
                    both = (self._believed(span),)
                    self._close(chosen, both, self._case.estimate(chosen) + span.effect)
        return self._best()

    def rounded_parts(self, events: Mapping[tuple[Decimal, str], Case]) -> Way | None:
        """The simplest way that rounds each day or each event.

        Args:
            events: The number with each event rounded, by unit and how.
        """
        if not self._case.old:
            return None
        for chosen in combinations(self._switches, 2, self._budget):
            if self._hopeless(cost(chosen) + plausibility.SEEN):
                continue
            days, goal = self._case.by_day(chosen), self._case.goal(chosen)
            for unit, step in part_units(self._case, goal):
                for how in HOWS:
                    rounded = {day: rounded_to(q, step, how) for day, q in days.items()}
                    self._rounded(chosen, days, rounded, rounds_parts("day", unit, step, how))
                    if (unit, how) in events:
                        rounded = events[unit, how].by_day(chosen)
                        self._rounded(chosen, days, rounded, rounds_parts("event", unit, step, how))
        return self._best()

    def _rounded(
        self,
        chosen: tuple[Switch, ...],
        days: Mapping[date, int],
        rounded: Mapping[date, int],
        operation: Operation,
    ) -> None:
        """Offer a rounding of parts, and with it one day or customer."""
        if all(quantity == days.get(day, 0) for day, quantity in rounded.items()):
            return
        operation = self._believed(operation)
        bits = cost(chosen) + operation.bits
        need = self._case.goal(chosen) - sum(rounded.values())
        if not need:
            self._offer(Way(bits, chosen, (), (operation,)))
        for other in self._others.get(need, ()):
            self._offer(Way(bits + other.bits, chosen, (), (other, operation)))
        part = plausibility.part_of(len(days))
        for day, quantity in rounded.items():
            if need and abs(quantity) == abs(need):
                twice = quantity == need
                effect = days.get(day, 0) * (1 if twice else -1)
                span = self._believed(Span((str(day),), effect, part, twice))
                self._offer(Way(bits + span.bits, chosen, (span,), (operation,)))

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

    def _hopeless(self, bits: float) -> bool:
        return bits > self._budget or self._beaten(bits)

    def _offer(self, way: Way) -> None:
        """Keep a way, if it is simpler than what it explains.

        A rounding says the last digits of any sum: the other steps have to say the first ones. A
        sum that is rounded differs by less than that, so its own digits are those to be said.
        """
        rounding = [o for o in way.operations if o.cause == ROUNDING]
        of_sum = [operation for operation in rounding if not operation.of_parts]
        width = max((operation.width for operation in rounding), default=self._case.step)
        others = way.bits - sum(operation.bits for operation in of_sum)
        simple = not others or others <= self._case.information(width) - plausibility.MARGIN
        simple &= all(o.bits <= self._case.orders(o.width) - plausibility.MARGIN for o in of_sum)
        if simple and way.steps and all(part for _, part in way.parts(self._case)):
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

    def _close(
        self,
        chosen: tuple[Switch, ...],
        spans: tuple[Span, ...],
        total: int,
        *,
        more: bool = False,
    ) -> None:
        """Offer a sum, or the operation that makes the goal of it; with `more`, also two."""
        bits, goal = cost((*chosen, *spans)), self._case.goal(chosen)
        ways: list[tuple[Operation, ...]] = [()] if total == goal else []
        ways += [(operation,) for operation in closing(self._case, total, goal)]
        ways += [(other,) for other in self._others.get(goal - total, ())]
        if more and len(self._others) <= _MOST_OTHERS:
            ways += [
                (other, operation)
                for adds, others in self._others.items()
                for operation in closing(self._case, total + adds, goal)
                for other in others
            ]
        for operations in ways:
            believed = tuple(map(self._believed, operations))
            self._offer(Way(bits + cost(believed), chosen, spans, believed))

    def _spans(self, chosen: tuple[Switch, ...], *, pairs: bool) -> None:
        days = self._case.by_day(chosen)
        parts = part_spans({str(day): quantity for day, quantity in days.items()})
        files = file_spans(self._case.by_part(chosen, "file"), days)
        spans = self._sorted([*parts, *files, *run_spans(days)])
        self._fit(chosen, spans)
        if pairs:
            for first in self._sorted([*parts, *files]):
                if not self._hopeless(cost(chosen) + 2 * first.bits):
                    self._fit(chosen, spans, (first,))

    def _fit(
        self, chosen: tuple[Switch, ...], spans: Sequence[Span], first: tuple[Span, ...] = ()
    ) -> None:
        """Offer the spans that make the old number, by themselves or with an operation.

        Args:
            chosen: The switches.
            spans: Sorted by effect.
            first: What lacks or counts twice anyway.
        """
        goal, effects = self._case.goal(chosen), [span.effect for span in spans]
        total = self._case.estimate(chosen) + sum(span.effect for span in first)
        named = {name for span in first for name in span.names}
        bits = cost((*chosen, *first))
        for adds in [0, *self._others] if len(self._others) <= _MOST_OTHERS else [0]:
            for low, high in aims(self._case, goal):
                begin = bisect_left(effects, low - total - adds)
                for span in spans[begin : bisect_right(effects, high - total - adds)]:
                    if named & set(span.names) or bits + span.bits > self._budget:
                        continue
                    after = total + span.effect
                    self._close(chosen, (*first, span), after, more=bool(adds))

    def _sorted(self, spans: Sequence[Span]) -> list[Span]:
        """Spans by effect; those of one effect and as much to say are one, with all their names."""
        alike: dict[tuple[int, float], list[Span]] = defaultdict(list)
        for span in map(self._believed, spans):
            alike[span.effect, round(span.bits, 6)].append(span)
        return [
            same[0]
            if len(same) == 1
            else replace(same[0], names=tuple(name for span in same for name in span.names))
            for _, same in sorted(alike.items())
        ]
