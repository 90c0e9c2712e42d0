"""What the ledger says that the service has, exact, by subject and UTC day; beside the lake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb

from spanner_pipeline.control import Total
from spanner_pipeline.delivery.ledger import SETTLED, DeliveryLedger
from spanner_pipeline.delivery.payload import digest_sql
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.lake.sums import literal, totals_by
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot


@dataclass(frozen=True)
class SentEvent:
    """An event of the ledger."""

    subject: str
    quantity: Decimal
    timestamp: datetime
    status: str


class Sent:
    """The ledger's events of a window, in a DuckDB of their own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, meter: Meter) -> None:
        """Made by `reading_sent`."""
        self._connection = connection
        self._decimals = meter.decimals

    def beside_lake(self) -> dict[str, Total]:
        """Rows and quantity by how lake and ledger agree.

        `same` is in both, `changed` is another event under the same key in the lake now (by the
        lake's quantity), `not delivered` is in the lake alone, `gone from the lake` in the ledger.
        """
        found = totals_by(self._connection, "FROM beside", ("place",), self._decimals)
        return {place: total for (place,), total in sorted(found.items())}

    def by_subject(self) -> dict[str, Total]:
        """What the service has of each subject."""
        found = totals_by(self._connection, "FROM settled", ("subject",), self._decimals)
        return {subject: total for (subject,), total in found.items()}

    def by_day(self, subject: str) -> dict[date, Total]:
        """What the service has of a subject on each UTC day."""
        events = f"SELECT * FROM settled WHERE subject = {literal(subject)}"
        found = totals_by(self._connection, events, ("day",), self._decimals)
        return {day: total for (day,), total in found.items()}

    def events(self, subject: str, start: datetime, end: datetime) -> dict[str, SentEvent]:
        """The events of a subject that the service has, by key."""
        return self._named(
            "status IN (SELECT unnest($settled)) AND subject = $subject"
            " AND timestamp >= $start AND timestamp < $end",
            {"settled": list(SETTLED), "subject": subject, "start": start, "end": end},
        )

    def find(self, keys: list[str]) -> dict[str, SentEvent]:
        """What the whole ledger says of keys, whatever window they fall in."""
        return self._named("idempotency_key IN (SELECT unnest($keys))", {"keys": keys})

    def _named(self, where: str, parameters: dict[str, Any]) -> dict[str, SentEvent]:
        rows = self._connection.execute(
            f"SELECT idempotency_key, subject, quantity, timestamp, status FROM word WHERE {where}",
            parameters,
        ).fetchall()
        return {
            key: SentEvent(subject, Decimal(quantity), time, status)
            for key, subject, quantity, time, status in rows
        }


@contextmanager
def reading_sent(
    root: DataRoot, meter: Meter, ledger: DeliveryLedger, start: datetime, end: datetime
) -> Iterator[Sent]:
    """Read the ledger of a window.

    Args:
        root: The data root.
        meter: The meter.
        ledger: What was delivered into the live meter.
        start: First instant.
        end: First instant after the last one.
    """
    window = " AND ".join(
        f"timestamp {sign} TIMESTAMPTZ {literal(time.isoformat())}"
        for sign, time in ((">=", start), ("<", end))
    )
    settled = ", ".join(map(literal, SETTLED))
    with open_duckdb() as connection:
        connection.execute(f"CREATE TABLE word AS {ledger.last_words_sql()}")
        connection.execute(f"""
            CREATE VIEW settled AS SELECT idempotency_key, subject, digest, timestamp,
                quantity::{meter.quantity_type} AS quantity,
                timezone('UTC', timestamp)::DATE AS day
            FROM word WHERE status IN ({settled}) AND {window}""")
        lake = EventTable(root, meter).select(window)
        connection.execute(f"""
            CREATE VIEW beside AS SELECT coalesce(l.quantity, s.quantity) AS quantity, CASE
                WHEN s.idempotency_key IS NULL THEN 'not delivered'
                WHEN l.idempotency_key IS NULL THEN 'gone from the lake'
                WHEN l.digest <> s.digest THEN 'changed' ELSE 'same' END AS place
            FROM (SELECT idempotency_key, quantity, {digest_sql(meter)} AS digest
                  FROM ({lake})) AS l
            FULL JOIN settled AS s USING (idempotency_key)""")
        yield Sent(connection, meter)


def bounds_of(ledger: DeliveryLedger) -> tuple[datetime, datetime] | None:
    """The oldest and the newest event of a ledger; None where nothing stands in it."""
    with open_duckdb() as connection:
        [(oldest, newest)] = connection.execute(
            f"SELECT min(timestamp), max(timestamp) FROM ({ledger.last_words_sql()})"
        ).fetchall()
    return None if oldest is None else (oldest, newest)
