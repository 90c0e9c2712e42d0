"""Whether the service holds what it was sent: totals first, and ever finer where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from spanner_pipeline.control import Total
from spanner_pipeline.delivery.causes import ROUNDING, Difference, Settling, alike
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.ledger import DeliveryLedger
from spanner_pipeline.delivery.live import Holding, LiveMeter, can_be_marked
from spanner_pipeline.delivery.sent import Sent, bounds_of, reading_sent
from spanner_pipeline.delivery.target import TargetError
from spanner_pipeline.meters import Meter
from spanner_pipeline.presence import at_work
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import ADDITIVE

_DAY = timedelta(days=1)
_RAW_DAYS = 31


@dataclass(frozen=True)
class Verified:
    """What a verification found.

    Attributes:
        meter: The meter's name.
        start: First UTC day.
        end: UTC day after the last one.
        beside_lake: Rows and quantity by how lake and ledger agree.
        delivered: What the ledger says that the service has.
        there: Events that the service counts as ours.
        beside: Events of the same window there without our mark: live traffic.
        marked: Whether ours were told from live traffic by their mark; else by their keys alone.
        totals: Whether totals could be compared; else every event was, by key.
        differences: Where ledger and service differ, and why.
        calls: Requests that it took.
    """

    meter: str
    start: date
    end: date
    beside_lake: Mapping[str, Total]
    delivered: Total
    there: int
    beside: int
    marked: bool
    totals: bool
    differences: list[Difference]
    calls: int

    @property
    def fails(self) -> bool:
        """Whether a difference is not explained."""
        return any(difference.fails for difference in self.differences)


def verify_delivery(
    root: DataRoot,
    meter: Meter,
    client: OpenSpanner,
    first: date | None = None,
    last: date | None = None,
    now: datetime | None = None,
) -> Verified:
    """Compare what the ledger says was delivered with what the service holds; nothing is changed.

    Memory holds the totals of all subjects, and the events of one subject and day (of 31 days where
    the meter's aggregation does not add up).

    Args:
        root: The data root.
        meter: The meter.
        client: The service.
        first: First UTC day; that of the oldest delivered event by default.
        last: UTC day after the last one; that after the newest delivered event by default.
        now: With a zone; the present by default.

    Raises:
        TargetError: When there is no such meter there, nothing was delivered into it, another
            delivery is at work, or the service refuses.
    """
    live = client.find_meter(meter.name)
    if live is None:
        raise TargetError(f"the service has no meter {meter.name}. Deliver first.")
    ledger = DeliveryLedger(root, client.target, live)
    if (bounds := bounds_of(ledger)) is None:
        raise TargetError(
            f"nothing was delivered from here into the live meter {meter.name}. Deliver first."
        )
    with at_work(root), ledger.alone():
        ledger = DeliveryLedger(root, client.target, live)
        start = _midnight(first or bounds[0].astimezone(UTC).date())
        end = _midnight(last or bounds[1].astimezone(UTC).date() + _DAY)
        if start >= end:
            raise TargetError(f"no day lies from {start:%Y-%m-%d} to {end:%Y-%m-%d}.")
        marked = can_be_marked([dimension.name for dimension in meter.dimensions])
        reader = LiveMeter(client, meter.name, marked=marked)
        kept_from = (now or datetime.now(UTC)) - timedelta(days=int(live["event_retention_days"]))
        with reading_sent(root, meter, ledger, start, end) as sent:
            comparison = _Comparison(meter, reader, sent, start, end, kept_from, marked=marked)
            theirs = reader.by_subject(start, end)
            ours = sent.by_subject()
            differences = list(comparison.differences(ours, theirs))
            every = reader.by_subject(start, end, marked=False) if marked else theirs
            there = sum(holding.events for holding in theirs.values())
            return Verified(
                meter=meter.name,
                start=start.date(),
                end=end.date(),
                beside_lake=sent.beside_lake(),
                delivered=sum(ours.values(), Total()),
                there=there,
                beside=sum(holding.events for holding in every.values()) - there,
                marked=marked,
                totals=comparison.totals,
                differences=differences,
                calls=reader.calls,
            )


class _Comparison:
    """Goes from subjects to days to events, as far as they differ."""

    def __init__(
        self,
        meter: Meter,
        reader: LiveMeter,
        sent: Sent,
        start: datetime,
        end: datetime,
        pruned_before: datetime,
        *,
        marked: bool,
    ) -> None:
        self.totals = meter.aggregation in ADDITIVE
        self._counts = meter.aggregation == "count"
        self._reader, self._sent = reader, sent
        self._start, self._end = start, end
        self._settling = Settling(sent, pruned_before, marked=marked)

    def differences(
        self, ours: Mapping[str, Total], theirs: Mapping[str, Holding]
    ) -> Iterator[Difference]:
        for subject in sorted(ours.keys() | theirs.keys()):
            mine = ours.get(subject, Total())
            its = theirs.get(subject, Holding(0, Decimal(0)))
            if not self.totals:
                yield from self._raw(subject, self._start, self._end, None)
            elif mine.rows != its.events or not alike(self._value(mine), its.quantity):
                yield from self._days(subject)
            elif self._value(mine) != its.quantity:
                more = its.quantity - self._value(mine)
                yield Difference(subject, self._start, self._end, ROUNDING, 0, more)

    def _days(self, subject: str) -> Iterator[Difference]:
        ours = self._sent.by_day(subject)
        theirs = self._reader.by_day(subject, self._start, self._end)
        nothing = Decimal(0)
        days = sorted(ours.keys() | theirs.keys())
        different = [
            day
            for day in days
            if not alike(self._value(ours.get(day, Total())), theirs.get(day, nothing))
        ]
        found: list[Difference] = []
        for day in different or days:  # quantities may make up for each other: then every day
            start = _midnight(day)
            found += self._raw(subject, start, start + _DAY, theirs.get(day, nothing))
        yield from found

    def _raw(
        self, subject: str, start: datetime, end: datetime, total: Decimal | None
    ) -> Iterator[Difference]:
        while start < end:
            last = min(end, start + _RAW_DAYS * _DAY)
            raw = self._reader.events(subject, start, last)
            yield from self._settling.compare(subject, start, last, raw, total, count=self._counts)
            start = last

    def _value(self, total: Total) -> Decimal:
        return Decimal(total.rows) if self._counts else total.quantity


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
