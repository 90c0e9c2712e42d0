"""What a delivery would send, what it leaves out and why, and what the service makes of the rest.

The only place that says when an event is too old for the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from spanner_pipeline.control import Total
from spanner_pipeline.delivery import netting
from spanner_pipeline.delivery.fates import NET, RESEND, SEND, Choices, Contradiction, choosing
from spanner_pipeline.delivery.ledger import DeliveryLedger
from spanner_pipeline.delivery.meter import LONGEST_RETENTION, Difference, Retention, retention_of
from spanner_pipeline.delivery.seam import Seam
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot

_NAMED = 20
"""How many events a plan names."""

_MARGIN = 31
"""Days that a delivery may take, and a person to look at it, before the oldest events go."""


@dataclass(frozen=True)
class Plan:
    """What a delivery would do.

    Attributes:
        meter: The meter's name.
        lake_version: The version of the lake's table; None where there is none.
        live: The live meter; None where it would be created.
        differences: Where the live meter is another than ours.
        fates: Rows and quantity by fate; every fate of `FATES` is there.
        nets: The groups that would be sent as one event each.
        gone: What was delivered and is not in the lake any more.
        contradictions: The first events that were delivered and are gone or changed since.
        retention: How long the service keeps events.
        oldest: The oldest event that could be sent.
        rounded: Of what would be sent: rows whose quantity is another one as a double.
        largest_rounding: The largest difference that makes.
        fractional: Rows with a fraction of a second.
        ties: Instants of a subject with several quantities, which first and last cannot tell apart.
        minutes: How long sending takes at least.
        seam: Where history and live traffic meet; None where no cut-over is declared.
    """

    meter: str
    lake_version: int | None
    live: Mapping[str, Any] | None
    differences: Sequence[Difference]
    fates: Mapping[str, Total]
    nets: Total
    gone: Total
    contradictions: Sequence[Contradiction]
    retention: Retention
    oldest: datetime | None
    rounded: int
    largest_rounding: Decimal
    fractional: int
    ties: int
    minutes: int
    seam: Seam | None = None

    @property
    def to_send(self) -> int:
        """Events that would be sent."""
        return sum(self.fates[fate].rows for fate in (SEND, RESEND, NET))

    @property
    def stops(self) -> bool:
        """Whether the live meter is another one, so that nothing may be sent."""
        return any(difference.stops for difference in self.differences)

    def remarks(self) -> list[str]:
        """What a person should know of the events that would be sent, a sentence each."""
        found = []
        if self.gone.rows:
            found.append(
                f"{self.gone.rows:,} events, {self.gone.quantity.normalize():f} in all, were "
                "delivered and are gone from the lake: removed by a snapshot, or reverted. The "
                "service cannot delete, and counts them for ever."
            )
        kept = self.retention
        if kept.raised_to is not None:
            found.append(f"Retention would be raised from {kept.days} to {kept.raised_to} days.")
        found.append(
            f"The service prunes raw events before {kept.kept_from:%Y-%m-%d %H:%M} UTC at its "
            "next pass."
        )
        if self.oldest is not None and self.oldest < kept.kept_from:
            found.append(
                f"Events since {self.oldest:%Y-%m-%d} are older, and would go as well: the service "
                f"keeps at most {LONGEST_RETENTION} days."
            )
        if self.fates[NET].rows:
            left = f"{self.nets.quantity.normalize():f}"
            found.append(
                f"{self.fates[NET].rows:,} events would be sent with {left}, which is what netting "
                f"leaves of {self.nets.rows:,}. The service will not tell them apart."
            )
        if self.rounded:
            found.append(
                f"{self.rounded:,} quantities are rounded by the service's double, by up to "
                f"{self.largest_rounding.normalize():f}."
            )
        if self.fractional:
            found.append(
                f"{self.fractional:,} events have a fraction of a second, which the service's "
                "SQLite store sorts into wrong buckets at their edges (--whole-seconds)."
            )
        if self.ties:
            found.append(
                f"At {self.ties:,} instants a subject has several quantities: which one is first "
                "or last, the service leaves to chance."
            )
        return found + (self.seam.remarks() if self.seam is not None else [])


def make_plan(
    root: DataRoot,
    meter: Meter,
    live: Mapping[str, Any] | None,
    differences: Sequence[Difference],
    ledger: DeliveryLedger | None,
    choices: Choices,
    now: datetime | None = None,
    seam: Seam | None = None,
) -> Plan:
    """Say what a delivery would do; nothing is changed anywhere.

    Args:
        root: The data root.
        meter: The meter.
        live: The live meter; None where there is none.
        differences: Where it is another than ours.
        ledger: What was delivered into it.
        choices: What a person said.
        now: With a zone; the present by default.
        seam: Where history and live traffic meet.

    Raises:
        TargetError: When the events cannot be netted as was chosen.
    """
    netting.check(meter, choices.net, choices.start, choices.end)
    now = now or datetime.now(UTC)
    days = retention_of(meter) if live is None else int(live["event_retention_days"])
    raised = _needed(root, meter, choices, now, days) if choices.raise_retention else None
    retention = Retention(now, days, raised)
    with choosing(root, meter, ledger, choices, retention) as chosen:
        fates, nets = chosen.count(), chosen.nets()
        gone, contradictions = chosen.gone(), list(islice(chosen.contradictions(), _NAMED))
        oldest, rounded, largest, fractional = chosen.facts()
        ties = chosen.ties() if meter.aggregation in ("first", "last") else 0
        version = chosen.table.version
    rows = sum(fates[fate].rows for fate in (SEND, RESEND, NET))
    return Plan(
        meter=meter.name,
        lake_version=version,
        live=live,
        differences=differences,
        fates=fates,
        nets=nets,
        gone=gone,
        contradictions=contradictions,
        retention=retention,
        oldest=oldest,
        rounded=rounded,
        largest_rounding=largest or Decimal(0),
        fractional=0 if choices.spelling.whole_seconds else fractional,
        ties=ties,
        minutes=-(-rows // choices.rate),
        seam=seam,
    )


def _needed(root: DataRoot, meter: Meter, choices: Choices, now: datetime, days: int) -> int | None:
    """What retention must be raised to for the oldest event, as far as the service goes."""
    with choosing(root, meter, None, choices, Retention(now, LONGEST_RETENTION - 1)) as chosen:
        oldest, *_ = chosen.facts()
    if oldest is None or oldest >= now - timedelta(days=days):
        return None
    needed = min(LONGEST_RETENTION, max(retention_of(meter), (now - oldest).days + _MARGIN))
    return needed if needed > days else None
