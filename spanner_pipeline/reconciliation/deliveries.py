"""What was delivered when, and what was not imported, of the sources that feed a meter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property

import polars as pl

from spanner_pipeline.configuration.source import WHOLE, Source, next_period
from spanner_pipeline.configuration.values import complete_date
from spanner_pipeline.lake.records import ImportRecord
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import Catalog


@dataclass(frozen=True)
class Deliveries:
    """The deliveries of a meter.

    Attributes:
        catalog: The meters and sources of the data root.
        meter: The meter.
        imports: The imports that made its events.
    """

    catalog: Catalog
    meter: Meter
    imports: Sequence[ImportRecord]

    @property
    def sources(self) -> list[Source]:
        """The sources that feed the meter."""
        return [
            source
            for source in self.catalog.sources.values()
            if any(usage.meter == self.meter.name for usage in source.usage)
        ]

    def delivered(self) -> pl.DataFrame:
        """When each import batch was delivered: `import_batch`, `delivered` (a date).

        Only where the source delivers by period: the first day of the period.
        """
        dates = {
            record.batch: date.fromisoformat(complete_date(record.partition))
            for record in self.imports
            if record.partition != WHOLE
        }
        schema = {"import_batch": pl.String, "delivered": pl.Date}
        return pl.DataFrame(sorted(dates.items()), schema=schema, orient="row")

    def zones(self) -> list[str]:
        """The clocks that the sources name."""
        usages = [(s, u) for s in self.sources for u in s.usage if u.meter == self.meter.name]
        zones = {source.zone_of(usage.timestamp) for source, usage in usages}
        return sorted(zone for zone in zones if zone is not None)

    @cached_property
    def _missing(self) -> list[tuple[str, str, date | None, date | None]]:
        """Deliveries that nobody imported: source, partition, first day, first day after.

        The whole of a source in one piece has no days.
        """
        imported = {(record.source, record.partition) for record in self.imports}
        today = datetime.now(UTC).date()
        found: list[tuple[str, str, date | None, date | None]] = []
        for source in self.sources:
            for key in source.partition_keys(today):
                if (source.source, key) in imported:
                    continue
                if key == WHOLE:
                    found.append((source.source, key, None, None))
                    continue
                first = date.fromisoformat(complete_date(key))
                found.append(
                    (source.source, key, first, next_period(source.partitions.grain, first))
                )
        return found

    def absent_during(self, first: date, days: int) -> list[str] | None:
        """The deliveries of some days, if none of them was imported; else None."""
        begins, ends = first.toordinal(), first.toordinal() + days
        left = {source.source: days for source in self.sources}
        names = []
        for source, key, since, until in self._missing:
            lasts = days
            if since is not None and until is not None:
                lasts = min(until.toordinal(), ends) - max(since.toordinal(), begins)
            if lasts > 0:
                left[source] -= lasts
                names.append(f"{source} {key}")
        return names if names and all(days <= 0 for days in left.values()) else None

    def not_imported_during(self, cells: pl.DataFrame) -> dict[str, list[str]]:
        """The missing deliveries of the time that numbers cover, by source."""
        if cells.is_empty():
            return {}
        start, end = cells["start"].min(), cells["end"].max()
        assert isinstance(start, datetime)
        assert isinstance(end, datetime)
        found: dict[str, list[str]] = {}
        for source, key, since, until in self._missing:
            if since is None or until is None or (since <= end.date() and start.date() < until):
                found.setdefault(source, []).append(key)
        return found
