"""What a source should have delivered by now, beside what the ledger has of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from statistics import median
from zoneinfo import ZoneInfo

from spanner_pipeline.configuration.source import WHOLE, Source, next_period
from spanner_pipeline.configuration.values import complete_date
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import file_pattern, present_files

_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """What a check found: whether all is well, and what a person should know and do."""

    passed: bool
    message: str


@dataclass(frozen=True)
class Arrived:
    """What an imported partition brought: rows that were read, and events of all usages."""

    rows: int = 0
    events: int = 0


def arrived(root: DataRoot, source: Source) -> dict[str, Arrived]:
    """What each imported partition brought, oldest first; what was reverted does not count."""
    found: dict[str, Arrived] = {}
    for record in Ledger(root).current(source.source):
        totals, known = record.totals, found.get(record.partition, Arrived())
        events = totals.new + totals.present + totals.corrected + totals.conflicting
        # Every usage reads the same files.
        rows = max(known.rows, totals.read.rows)
        found[record.partition] = Arrived(rows, known.events + events.rows)
    return dict(sorted(found.items()))


def due(source: Source, partition: str) -> datetime | None:
    """When the files of a partition should be there; None where it has no end."""
    if partition == WHOLE:
        return None
    end = next_period(source.partitions.grain, date.fromisoformat(complete_date(partition)))
    midnight = datetime.combine(end, time(), ZoneInfo(source.zone or "UTC"))
    return midnight + source.expect.delivered_within


def completeness(
    root: DataRoot,
    source: Source,
    partition: str,
    known: Mapping[str, Arrived],
    now: datetime,
    why: str = "",
) -> Finding:
    """Whether a partition that should have data has some.

    Args:
        root: The data root.
        source: The source.
        partition: One of its partition keys.
        known: What was imported, from `arrived`.
        now: With a zone.
        why: Why its import failed, where that is known.
    """
    here = known.get(partition)
    when = due(source, partition)
    since = "" if when is None else f", due since {when:%Y-%m-%d %H:%M %Z}"
    if here is not None and here.events:
        return Finding(True, f"{here.rows:,} rows.")
    if here is not None and not here.rows:
        return Finding(False, f"no rows{since}: ask the old system whether it has none.")
    if here is not None:
        return Finding(
            False,
            f"{here.rows:,} rows, and no usage{since}: all were rejected or left out. Look at "
            f"quarantine/{source.source}/{partition}/ and at `where` and `scope`.",
        )
    if when is not None and now < when:
        return Finding(True, f"nothing yet; not due before {when:%Y-%m-%d %H:%M %Z}.")
    if not present_files(root, source, partition):
        pattern = file_pattern(source, partition)
        return Finding(False, f"no file {pattern}{since}. Fetch it, and import the partition.")
    reason = f": {why}" if why else "."
    return Finding(False, f"its files are there but are not imported{since}{reason}")


def near_neighbours(source: Source, partition: str, known: Mapping[str, Arrived]) -> Finding | None:
    """Whether the row count of a partition is within its declared bounds.

    Args:
        source: The source.
        partition: One of its partition keys.
        known: What was imported, from `arrived`.

    Returns:
        None where no bounds are declared or the partition was not imported.
    """
    bounds = source.expect.rows
    if bounds is None or partition not in known:
        return None
    neighbours = _nearest(partition, list(known), bounds.of)
    count = known[partition].rows
    if not neighbours:
        return Finding(True, f"{count:,} rows; no neighbour to compare with yet.")
    middle = median([Decimal(known[key].rows) for key in neighbours])
    low = None if bounds.min is None else bounds.min * middle
    high = None if bounds.max is None else bounds.max * middle
    what = f"median {middle:,f} of {len(neighbours)} neighbours ({min(neighbours)} to "
    what += f"{max(neighbours)})"
    if low is not None and count < low:
        return Finding(
            False,
            f"{count:,} rows, less than {bounds.min:f} times the {what}. Is the delivery whole?",
        )
    if high is not None and count > high:
        return Finding(
            False,
            f"{count:,} rows, more than {bounds.max:f} times the {what}. Was something delivered "
            "twice?",
        )
    return Finding(True, f"{count:,} rows; {what}.")


def _nearest(partition: str, known: list[str], count: int) -> list[str]:
    """The keys nearest in time, without the partition itself; of two as near, the earlier."""
    place = bisect_left(known, partition)
    around = known[max(0, place - count) : place + count + 1]
    own = _day(partition)
    others = sorted((abs(_day(key) - own), key) for key in around if key != partition)
    return [key for _, key in others[:count]]


def _day(partition: str) -> int:
    return date.fromisoformat(complete_date(partition)).toordinal()


def overdue(source: Source, known: Mapping[str, Arrived], now: datetime) -> Finding:
    """Whether all partitions that should have data by now have some.

    Args:
        source: The source.
        known: What was imported, from `arrived`.
        now: With a zone.
    """
    held = {key for key, here in known.items() if here.events}
    newest = max(held, default=None)
    last = f"The newest partition with data is {newest}." if newest else "Nothing was imported."
    late = []
    for key in source.partition_keys(now.date()):
        when = due(source, key)
        if key not in held and (when is None or when <= now):
            late.append(key if when is None else f"{key} (due since {when:%Y-%m-%d %H:%M %Z})")
    if not late:
        return Finding(True, f"nothing is missing. {last}")
    listing = ", ".join(late[:_SHOWN])
    more = f" and {len(late) - _SHOWN} more" if late[_SHOWN:] else ""
    noun = "partition has" if len(late) == 1 else "partitions have"
    return Finding(False, f"{len(late)} {noun} no data: {listing}{more}. {last} Import them.")
