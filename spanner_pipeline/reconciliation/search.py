"""The simplest way to count that gives the old number exactly.

Ways are tried from the simplest on: switches over rows (`estimate`), then one operation on their
sum (`operations`), then days, files or hours (`spans`) that lack or count twice, then pairs. A way
is taken only if it gives the old number to the last digit and takes clearly fewer bits to say than
the number itself has: else so many ways would fit that one of them would by chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from spanner_pipeline.reconciliation import plausibility
from spanner_pipeline.reconciliation.atoms import HOWS
from spanner_pipeline.reconciliation.causes import MISSING, ROUNDING, TWICE
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
    ByDay,
    Span,
    Spans,
    day_spans,
    file_spans,
    hour_span,
    hour_spans,
    run_spans,
    runs_with,
)
from spanner_pipeline.reconciliation.ways import Way

_MOST_SWITCHES = 3
_MOST_OTHERS = 12

AnyStep = TypeVar("AnyStep", Switch, Operation)


class Search:
    """Looks for the way in which the old number of a case was counted."""

    def __init__(
        self,
        case: Case,
        switches: Sequence[Switch],
        others: Sequence[Operation],
        seen: Mapping[tuple[object, ...], int],
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
                spans = Spans(self._spans(chosen))
                self._fit(chosen, spans)
                if deep and len(chosen) <= 1:
                    self._fit_pairs(chosen, spans, spans)
        return self._best()

    def closely(
        self, events: Mapping[tuple[Decimal, str], Case], known: Way | None = None
    ) -> Way | None:
        """The simplest way with hours, or that rounds each day or event.

        Args:
            events: The number with each event rounded, by unit and how; like the case itself, their
                atoms must tell hours apart.
            known: The simplest way without that.
        """
        self._found = [known] if known else []
        for chosen in combinations(self._switches, 2, self._budget) if self._case.old else ():
            if self._hopeless(cost(chosen) + plausibility.SEEN):
                continue
            by_hour = self._case.by_part(chosen, "hour")
            spans = self._spans(chosen)
            if not self._hopeless(cost(chosen) + plausibility.hours_of(len(by_hour), 1)):
                self._only_hours(chosen, by_hour)
                if len(chosen) <= 1:
                    hours = self._believed_spans(hour_spans(by_hour))
                    spans += hours
                    self._fit(chosen, Spans(hours))
                    self._fit_pairs(chosen, Spans(hours), Spans(spans))
            self._round_parts(chosen, Spans(spans), events)
        return self._best()

    def _only_hours(self, chosen: tuple[Switch, ...], by_hour: Mapping[int, ByDay]) -> None:
        """Offer hours in a row, and with them a customer."""
        hours = {hour: sum(days.values()) for hour, days in by_hour.items()}
        total = self._case.estimate(chosen)
        for adds in (0, *self._others):
            need = self._case.goal(chosen) - total - adds
            for found in runs_with(hours, need) if need else ():
                [span] = self._believed_spans([hour_span(len(hours), need, *found)])
                self._close(chosen, (span,), total + need)

    def _round_parts(
        self,
        chosen: tuple[Switch, ...],
        spans: Spans,
        events: Mapping[tuple[Decimal, str], Case],
    ) -> None:
        days = self._case.by_day(chosen)
        for unit, step in part_units(self._case, self._case.goal(chosen)):
            for how in HOWS:
                operation = self._believed(rounds_parts("day", unit, step, how))
                self._round_days(chosen, days, spans, operation, step, how)
                if (unit, how) in events:
                    operation = self._believed(rounds_parts("event", unit, step, how))
                    self._round_events(chosen, spans, operation, events[unit, how])

    def _round_days(
        self,
        chosen: tuple[Switch, ...],
        days: Mapping[date, int],
        spans: Spans,
        operation: Operation,
        step: int,
        how: str,
    ) -> None:
        """Offer that each day is rounded, and with it a customer or a span."""
        rounded = {day: rounded_to(quantity, step, how) for day, quantity in days.items()}
        if rounded == days:
            return
        need = self._offer_rounded(chosen, sum(rounded.values()), operation)
        wide = step * (len(days) + 1)
        for span in spans.between(need - wide, need + wide):
            sign = 1 if span.twice else -1
            effect = sum(
                rounded_to(days.get(day, 0) + sign * of, step, how) - rounded.get(day, 0)
                for day, of in span.by_day.items()
            )
            if effect == need:
                bits = cost((*chosen, span, operation))
                self._offer(Way(bits, chosen, (span,), (operation,)))

    def _round_events(
        self, chosen: tuple[Switch, ...], spans: Spans, operation: Operation, events: Case
    ) -> None:
        """Offer that each event is rounded, and with it a customer or a span."""
        rounded = events.by_day(chosen)
        if rounded == self._case.by_day(chosen):
            return
        need = self._offer_rounded(chosen, sum(rounded.values()), operation)
        if not need or self._hopeless(cost((*chosen, operation)) + spans.least):
            return
        found: set[tuple[str, tuple[Any, Any], bool]] = {
            ("file", (name, name), twice)
            for name, days in events.by_part(chosen, "file").items()
            for twice in (True, False)
            if sum(days.values()) == (need if twice else -need)
        }
        ordinals = {day.toordinal(): quantity for day, quantity in rounded.items()}
        for begins, ends, twice in runs_with(ordinals, need):
            found.add(("day", (date.fromordinal(begins), date.fromordinal(ends)), twice))
        by_hour = events.by_part(chosen, "hour")
        hours = {hour: sum(days.values()) for hour, days in by_hour.items()}
        for first, last, twice in runs_with(hours, need):
            found.add(("hour", (first, last), twice))
        for span in spans.all if found else ():
            if (span.part, span.pieces[0], span.twice) in found:
                bits = cost((*chosen, span, operation))
                self._offer(Way(bits, chosen, (span,), (operation,)))

    def _offer_rounded(self, chosen: tuple[Switch, ...], rounded: int, operation: Operation) -> int:
        """Offer a rounding of parts, and with it a customer; what else it needs."""
        bits = cost((*chosen, operation))
        need = self._case.goal(chosen) - rounded
        if not need:
            self._offer(Way(bits, chosen, (), (operation,)))
        for other in self._others.get(need, ()):
            self._offer(Way(bits + other.bits, chosen, (), (other, operation)))
        return need

    def _believed(self, step: AnyStep) -> AnyStep:
        """A step that explains other numbers takes less to say."""
        seen = [place for place, key in enumerate(step.keys) if key in self._seen]
        bits = min(step.bits, plausibility.SEEN)
        if isinstance(step, Switch):
            return replace(step, bits=bits) if seen else step
        names = tuple(step.names[place] for place in seen)
        return replace(step, names=names, bits=bits) if seen else step

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
        of_sum = [o for o in way.operations if o.cause == ROUNDING and not o.of_parts]
        width = max((self._case.step, *(operation.width for operation in way.operations)))
        others = way.bits - sum(operation.bits for operation in of_sum)
        further = plausibility.FURTHER * (len(way.steps) - 1)
        simple = not others or others <= self._most(width) - further
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

    def _spans(self, chosen: tuple[Switch, ...]) -> list[Span]:
        """Days, days in a row and files."""
        days = self._case.by_day(chosen)
        files = file_spans(self._case.by_part(chosen, "file"), days)
        return self._believed_spans([*day_spans(days), *files, *run_spans(days)])

    def _believed_spans(self, spans: list[Span]) -> list[Span]:
        """Those that explain other numbers take less to say."""
        if not any(cause in (MISSING, TWICE) for cause, *_ in self._seen):
            return spans
        return [
            span._replace(bits=plausibility.SEEN)
            if (span.cause, span.part, span.pieces[0]) in self._seen
            else span
            for span in spans
        ]

    def _fit(self, chosen: tuple[Switch, ...], spans: Spans) -> None:
        """Offer the spans that make the old number, by themselves or with an operation."""
        goal, total = self._case.goal(chosen), self._case.estimate(chosen)
        bits = cost(chosen)
        for adds in self._added():
            for low, high, width in aims(self._case, goal):
                most = self._most(width) - bits
                for span in spans.between(low - total - adds, high - total - adds):
                    if span.bits <= most:
                        self._close(chosen, (span,), total + span.effect, more=bool(adds))

    def _fit_pairs(self, chosen: tuple[Switch, ...], firsts: Spans, seconds: Spans) -> None:
        """Offer two spans that share no rows and make the old number, alone or with an operation.

        Most aims are too far off for any two, and most pairs take more bits than the number has:
        so few of them are looked at.
        """
        goal, total = self._case.goal(chosen), self._case.estimate(chosen)
        reach = [sum(ends) for ends in zip(firsts.range, seconds.range, strict=True)]
        least_bits = firsts.least + seconds.least
        different: list[Span] = []
        for adds in self._added():
            for low, high, width in aims(self._case, goal):
                least, most = low - total - adds, high - total - adds
                simplest = min((way.bits for way in self._found), default=self._budget)
                bits = min(self._most(width), simplest) - cost(chosen)
                if most < reach[0] or least > reach[1] or least_bits > bits:
                    continue
                different = different or firsts.alike()
                for first in different:
                    if first.bits + seconds.least > bits:
                        continue
                    for second in seconds.between(least - first.effect, most - first.effect):
                        if first.bits + second.bits <= bits and not first.meets(second):
                            after = total + first.effect + second.effect
                            self._close(chosen, (first, second), after, more=bool(adds))

    def _added(self) -> list[int]:
        return [0, *self._others] if len(self._others) <= _MOST_OTHERS else [0]

    def _most(self, width: int) -> float:
        """How much may be said beside an operation that makes the same of so many sums."""
        return self._case.information(max(width, self._case.step)) - plausibility.MARGIN
