"""Events put into a lake directly, where a test is about what is asked of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.lake.writing import write_day
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot


@dataclass(frozen=True)
class Event:
    """One usage event."""

    time: str | datetime
    quantity: Decimal | int | str = 1
    subject: str = "acme"
    dimensions: dict[str, Any] = field(default_factory=dict)
    key: str = ""

    @property
    def moment(self) -> datetime:
        """When, in UTC."""
        given = self.time
        return (given if isinstance(given, datetime) else datetime.fromisoformat(given)).astimezone(
            UTC
        )

    @property
    def exact(self) -> Decimal:
        """How much."""
        return Decimal(self.quantity)


def a_meter(aggregation: str = "sum", **more: Any) -> Meter:
    """A meter of calls."""
    return Meter.model_validate(
        {"name": "calls", "unit": "call", "aggregation": aggregation, **more}
    )


def fill(path: Path, meter: Meter, events: Iterable[Event]) -> DataRoot:
    """Put events into the lake of a data root."""
    root = DataRoot(path)
    table = EventTable(root, meter)
    rows = [
        {
            "idempotency_key": event.key or f"key_{index:06}",
            "subject": event.subject,
            "timestamp": event.moment,
            "quantity": event.exact,
            **{f"dim_{name}": value for name, value in event.dimensions.items()},
            "source": "test",
            "import_batch": "test/whole/0",
            "source_file": "legacy/test.csv",
            "source_line": index,
            "event_date": event.moment.date(),
        }
        for index, event in enumerate(events)
    ]
    schema = table.schema()
    columns = [pa.array([row.get(f.name) for row in rows], type=f.type) for f in schema]
    batch = pa.table(columns, schema=schema)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("events", batch)
        written = [
            file
            for day in sorted({row["event_date"] for row in rows})
            for file in write_day(
                connection,
                f"FROM events WHERE event_date = DATE '{day}'",
                len(rows),
                table.path,
                day,
            )
        ]
    table.commit(written, [], {})
    return root
