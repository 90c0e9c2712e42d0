"""How far a verification looks: subjects, their days, events, ever finer where they differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from spanner_pipeline.control import EXACT, Total
from spanner_pipeline.delivery.causes import (
    ROUNDING,
    UNEXPLAINED,
    Difference,
    alike,
    rolled_up,
)
from spanner_pipeline.delivery.live import Holding, LiveMeter
from spanner_pipeline.delivery.sent import Place, Sent
from spanner_pipeline.delivery.settling import Settling
from spanner_pipeline.meters import Meter
from spanner_pipeline.usage.aggregations import ADDITIVE

DAY = timedelta(days=1)

BY_SUBJECT_AND_DAY = "by subject, and by subject and day"
BY_MARGINS = "by subject, and by day of all subjects together, as there are so many"
BY_EVENT = "event by event"

MOST_PLACES = 200_000
"""Subjects times days that are compared one by one: some 300 calls."""

_PLACES_OF_A_CALL = 700
_LONGEST_CALL = 366
_EVENTS_AT_ONCE = 100_000
_LONGEST_STRETCH = 31 * DAY


def midnight(day: date) -> datetime:
    """When a UTC day begins."""
    return datetime.combine(day, time(), UTC)


class Levels:
    """Goes from subjects to days to events, as far as they differ."""

    def __init__(
        self,
        reader: LiveMeter,
        sent: Sent,
        settling: Settling,
        meter: Meter,
        window: tuple[datetime, datetime],
        ours: Mapping[str, Total],
        theirs: Mapping[str, Holding],
    ) -> None:
        """Nothing is compared yet.

        Args:
            reader: The service.
            sent: The ledger of the window.
            settling: Compares raw events with it.
            meter: The meter.
            window: UTC midnights: the first, and that after the last day.
            ours: What the ledger says that each subject has.
            theirs: What the service says.
        """
        self._reader, self._sent, self._settling = reader, sent, settling
        self._start, self._end = window
        self._ours, self._theirs = ours, theirs
        self._additive = meter.aggregation in ADDITIVE
        self._counts = meter.aggregation == "count"
        self._whole = self._counts or not sent.has_fractions()
        self._grid: dict[str, dict[date, Decimal]] | None = None
        self._settled: set[Place] = set()
        self.how = BY_EVENT

    def run(self, *, thorough: bool) -> list[Difference]:
        """Find all differences, those of one subject together; `how` says how far it looked.

        Args:
            thorough: Compare every event by its key, not only where totals differ.

        Raises:
            TargetError: When the service refuses.
        """
        found: dict[str, list[Difference]] = defaultdict(list)
        uneven: set[str] = set()
        if self._additive:
            uneven = {s for s in self._ours.keys() | self._theirs.keys() if self._is_uneven(s)}
            days = self._days_that_differ()
            for subject in uneven | days.keys():
                found[subject] += self._settle(subject, days.get(subject))
            for subject in (self._ours.keys() & self._theirs.keys()) - found.keys():
                more = EXACT.subtract(
                    self._theirs[subject].quantity, self._value(self._ours[subject])
                )
                if more:
                    whole = Difference(subject, self._start, self._end, ROUNDING, 0, more)
                    found[subject].append(whole)
        if thorough or not self._additive:
            self.how = BY_EVENT
            for one in self._event_by_event():
                still = self._additive and one.subject not in uneven
                found[one.subject] += rolled_up([one]) if still else [one]
        return [one for subject in sorted(found) for one in found[subject]]

    def _is_uneven(self, subject: str) -> bool:
        mine = self._ours.get(subject, Total())
        its = self._theirs.get(subject, Holding(0, Decimal(0)))
        return mine.rows != its.events or not self._alike(mine, its.quantity)

    def _alike(self, ours: Total, theirs: Decimal) -> bool:
        return alike(self._value(ours), theirs, ours.rows, whole=self._whole)

    def _days_that_differ(self) -> dict[str, list[date]]:
        """The days on which a subject differs, so that no day makes up for another."""
        expected = self._sent.subjects_of_days()
        days: set[date] | None = None
        if sum(expected.values()) > MOST_PLACES:
            self.how, days = BY_MARGINS, self._uneven_days()
            windows = [(midnight(day), midnight(day) + DAY) for day in sorted(days)]
        else:
            self.how, self._grid = BY_SUBJECT_AND_DAY, defaultdict(dict)
            windows = list(_windows(expected, self._start.date(), self._end.date()))
        theirs = self._reader.by_subject_and_day(windows)
        ours = self._sent.by_subject_and_day(days)
        found: dict[str, list[date]] = defaultdict(list)
        for subject, day in sorted(ours.keys() | theirs.keys()):
            there = theirs.get((subject, day), Decimal(0))
            if self._grid is not None:
                self._grid[subject][day] = there
            if not self._alike(ours.get((subject, day), Total()), there):
                found[subject].append(day)
        return found

    def _uneven_days(self) -> set[date]:
        ours, theirs = self._sent.by_day(), self._reader.by_day(self._start, self._end)
        inside = {day for day in ours.keys() | theirs.keys() if day < self._end.date()}
        return {
            day
            for day in inside
            if not self._alike(ours.get(day, Total()), theirs.get(day, Decimal(0)))
        }

    def _settle(self, subject: str, days: list[date] | None) -> Iterator[Difference]:
        ours = self._sent.by_day(subject)
        if self._grid is not None:
            theirs = self._grid.get(subject, {})
        else:
            theirs = self._reader.by_day(self._start, self._end, subject)
            every = sorted(ours.keys() | theirs.keys())
            days = [
                day
                for day in every
                if not self._alike(ours.get(day, Total()), theirs.get(day, Decimal(0)))
            ]
        # Where only the numbers of events differ, every day is looked at.
        for day in days or sorted(ours.keys() | theirs.keys()):
            start, there = midnight(day), theirs.get(day, Decimal(0))
            if start >= self._end:
                yield from self._beyond(subject, there)
                continue
            edges = {start: -1} if start == self._start else {}
            yield from self._settling.compare(start, start + DAY, subject, there, edges=edges)
            self._settled.add((subject, day))

    def _beyond(self, subject: str, there: Decimal) -> Iterator[Difference]:
        """Events of the day after the last one, which the service counts before its midnight."""
        place = (self._end, self._end + DAY)
        moved = self._settling.moved(*place, subject, {self._end: 1})
        if moved is not None:
            yield moved
            there = EXACT.subtract(there, moved.quantity)
        if there:
            yield Difference(subject, *place, UNEXPLAINED, 0, there)

    def _event_by_event(self) -> Iterator[Difference]:
        for start, end in self._stretches():
            yield from self._settling.compare(start, end, but=self._settled)

    def _stretches(self) -> Iterator[tuple[datetime, datetime]]:
        """The window in stretches of whole hours, of few enough events."""
        start, held = self._start, 0
        for hour, events in [*self._sent.hours(), (self._end, 0)]:
            while start + _LONGEST_STRETCH < hour:
                yield start, start + _LONGEST_STRETCH
                start, held = start + _LONGEST_STRETCH, 0
            if held + events > _EVENTS_AT_ONCE and start < hour:
                yield start, hour
                start, held = hour, 0
            held += events
        yield start, self._end

    def _value(self, total: Total) -> Decimal:
        return Decimal(total.rows) if self._counts else total.quantity


def _windows(
    expected: Mapping[date, int], first: date, last: date
) -> Iterator[tuple[datetime, datetime]]:
    """Whole days in windows of which an answer holds all subjects and days, as far as we know."""
    start, held = first, 0
    for day, subjects in sorted(expected.items()):
        while day >= start + _LONGEST_CALL * DAY:
            yield midnight(start), midnight(start + _LONGEST_CALL * DAY)
            start, held = start + _LONGEST_CALL * DAY, 0
        if held and held + subjects > _PLACES_OF_A_CALL:
            yield midnight(start), midnight(day)
            start, held = day, 0
        held += subjects
    while start < last:
        end = min(last, start + _LONGEST_CALL * DAY)
        yield midnight(start), midnight(end)
        start = end
