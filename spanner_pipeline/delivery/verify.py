"""Whether the service holds what it was sent: totals first, and ever finer where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

from spanner_pipeline.control import Total
from spanner_pipeline.delivery.causes import Difference
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.ledger import DeliveryLedger
from spanner_pipeline.delivery.levels import DAY, Levels, midnight
from spanner_pipeline.delivery.live import LiveMeter, can_be_marked
from spanner_pipeline.delivery.meter import Retention
from spanner_pipeline.delivery.seam import Seam, look_at_seam
from spanner_pipeline.delivery.sent import Sent, bounds_of, reading_sent
from spanner_pipeline.delivery.settling import Settling
from spanner_pipeline.delivery.target import TargetError
from spanner_pipeline.meters import Meter
from spanner_pipeline.presence import at_work
from spanner_pipeline.root import DataRoot


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
        how: How far it looked where nothing differs, as of `levels`.
        differences: Where ledger and service differ, and why; those at the seam as well.
        seam: Where history and live traffic meet; None where no cut-over is declared.
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
    how: str
    differences: list[Difference]
    seam: Seam | None
    calls: int

    @property
    def fails(self) -> bool:
        """Whether a difference is not explained."""
        return any(difference.fails for difference in self.differences)


@dataclass(frozen=True)
class Verification:
    """All that a verification asks, while nobody delivers.

    Attributes:
        root: The data root.
        meter: The meter.
        reader: The service.
        ledger: What was delivered into it.
        sent: The same, of the window.
        start: First instant, a UTC midnight.
        end: First instant after it, another.
        settling: Compares raw events with the ledger.
        whole: Whether all that is added up are whole numbers.
        kept: How long the service keeps events.
        cut_over: First instant of live traffic, where it is declared.
        now: The present.
    """

    root: DataRoot
    meter: Meter
    reader: LiveMeter
    ledger: DeliveryLedger
    sent: Sent
    start: datetime
    end: datetime
    settling: Settling
    whole: bool
    kept: Retention
    cut_over: datetime | None
    now: datetime

    def run(self, *, thorough: bool = False) -> Verified:
        """Compare.

        Args:
            thorough: Compare every event by its key, not only where totals differ.

        Raises:
            TargetError: When the service refuses.
        """
        ours, theirs = self.sent.by_subject(), self.reader.by_subject(self.start, self.end)
        comparison = Levels(
            self.reader, self.sent, self.settling, self.meter, (self.start, self.end), ours, theirs
        )
        differences = comparison.run(thorough=thorough)
        everything = (
            self.reader.by_subject(self.start, self.end, marked=False)
            if self.reader.marked
            else theirs
        )
        seam = None
        if self.cut_over is not None:
            seam = look_at_seam(
                self.root, self.meter, self.reader, self.sent, self.cut_over, self.now
            )
            differences += seam.differences
        there = sum(holding.events for holding in theirs.values())
        return Verified(
            meter=self.meter.name,
            start=self.start.date(),
            end=self.end.date(),
            beside_lake=self.sent.beside_lake(),
            delivered=sum(ours.values(), Total()),
            there=there,
            beside=sum(holding.events for holding in everything.values()) - there,
            marked=self.reader.marked,
            how=comparison.how,
            differences=differences,
            seam=seam,
            calls=self.reader.calls,
        )


@contextmanager
def verifying(
    root: DataRoot,
    meter: Meter,
    client: OpenSpanner,
    first: date | None = None,
    last: date | None = None,
    now: datetime | None = None,
    *,
    cut_over: datetime | None = None,
) -> Iterator[Verification]:
    """Prepare a verification, and keep others from delivering; nothing is changed.

    Args:
        root: The data root.
        meter: The meter.
        client: The service.
        first: First UTC day; that of the oldest delivered event by default.
        last: UTC day after the last one; that after the newest delivered event by default.
        now: With a zone; the present by default.
        cut_over: First instant of live traffic, where it is declared.

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
        start = midnight(first or bounds[0].astimezone(UTC).date())
        end = midnight(last or bounds[1].astimezone(UTC).date() + DAY)
        if start >= end:
            raise TargetError(f"no day lies from {start:%Y-%m-%d} to {end:%Y-%m-%d}.")
        marked = can_be_marked([dimension.name for dimension in meter.dimensions])
        reader = LiveMeter(client, meter.name, marked=marked)
        now = now or datetime.now(UTC)
        kept = Retention(now, int(live["event_retention_days"]))
        with reading_sent(root, meter, ledger, start, end, cut_over) as sent:
            counts = meter.aggregation == "count"
            whole = counts or not sent.has_fractions()
            settling = Settling(reader, sent, kept.kept_from, counts=counts, whole=whole)
            yield Verification(
                root=root,
                meter=meter,
                reader=reader,
                ledger=ledger,
                sent=sent,
                start=start,
                end=end,
                settling=settling,
                whole=whole,
                kept=kept,
                cut_over=cut_over,
                now=now,
            )


def verify_delivery(
    root: DataRoot,
    meter: Meter,
    client: OpenSpanner,
    first: date | None = None,
    last: date | None = None,
    now: datetime | None = None,
    *,
    cut_over: datetime | None = None,
    thorough: bool = False,
) -> Verified:
    """Compare what the ledger says was delivered with what the service holds; nothing is changed.

    Memory holds the totals of all subjects, of 200,000 subjects and days, and the events of one
    subject and day, or of an hour and up to 100,000 more where every event is compared.

    Args:
        root: The data root.
        meter: The meter.
        client: The service.
        first: As of `verifying`, like the next ones.
        last: The same.
        now: The same.
        cut_over: The same.
        thorough: Compare every event by its key, not only where totals differ.

    Raises:
        TargetError: As of `verifying`.
    """
    with verifying(root, meter, client, first, last, now, cut_over=cut_over) as verification:
        return verification.run(thorough=thorough)
