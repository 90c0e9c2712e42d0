"""What the ledger says that the service has, exact, by subject and UTC day; beside the lake."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
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
from spanner_pipeline.usage.filters import group_sql

Place = tuple[str, date]
"""A subject and a UTC day."""


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

        `same` is in both, `netted` in the ledger as part of another, `changed` is another event
        under the same key in the lake now (by the lake's quantity), `not delivered` is in the lake
        alone, as are `after the cut-over`, which is not meant to go, and `pulled from there`;
        `gone from the lake` is in the ledger.
        """
        found = totals_by(self._connection, "FROM beside", ("place",), self._decimals)
        return {place: total for (place,), total in sorted(found.items())}

    def by_subject(self) -> dict[str, Total]:
        """What the service has of each subject."""
        found = totals_by(self._connection, "FROM settled", ("subject",), self._decimals)
        return {subject: total for (subject,), total in found.items()}

    def by_day(self, subject: str | None = None) -> dict[date, Total]:
        """What the service has on each UTC day, of one subject or of all together."""
        whose = "true" if subject is None else f"subject = {literal(subject)}"
        events = f"SELECT * FROM settled WHERE {whose}"
        found = totals_by(self._connection, events, ("day",), self._decimals)
        return {day: total for (day,), total in found.items()}

    def by_subject_and_day(self, days: Collection[date] | None = None) -> dict[Place, Total]:
        """What the service has of each subject on each UTC day, or on some days."""
        chosen = ", ".join(f"DATE {literal(day)}" for day in sorted(days or ()))
        where = "true" if days is None else f"day IN ({chosen})" if days else "false"
        events = f"SELECT * FROM settled WHERE {where}"
        found = totals_by(self._connection, events, ("subject", "day"), self._decimals)
        return {(subject, day): total for (subject, day), total in found.items()}

    def subjects_of_days(self) -> dict[date, int]:
        """How many subjects have events on each UTC day, by day."""
        return dict(
            self._connection.execute(
                "SELECT day, count(DISTINCT subject) FROM settled GROUP BY day ORDER BY day"
            ).fetchall()
        )

    def has_fractions(self) -> bool:
        """Whether a quantity is no whole number."""
        [[found]] = self._connection.execute(
            "SELECT count(*) FILTER (quantity <> trunc(quantity)) FROM settled"
        ).fetchall()
        return bool(found)

    def hours(self) -> list[tuple[datetime, int]]:
        """How many events are in each hour that has any, oldest first."""
        found: list[tuple[datetime, int]] = self._connection.execute(
            "SELECT time_bucket(INTERVAL 1 HOUR, timestamp) AS hour, count(*) FROM settled"
            " GROUP BY hour ORDER BY hour"
        ).fetchall()
        return found

    def since(self, start: datetime) -> dict[str, Total]:
        """What the service has of each subject from an instant on, whatever the window."""
        found = totals_by(
            self._connection,
            f"FROM known WHERE timestamp >= {_time(start)}",
            ("subject",),
            self._decimals,
        )
        return {subject: total for (subject,), total in found.items()}

    def events(
        self, start: datetime, end: datetime, subject: str | None = None
    ) -> dict[str, SentEvent]:
        """The events of a range that the service has, of one subject or of all, by key."""
        window = "timestamp >= $start AND timestamp < $end"
        asked: dict[str, Any] = {"settled": list(SETTLED), "start": start, "end": end}
        if subject is not None:
            window, asked = f"{window} AND subject = $subject", {**asked, "subject": subject}
        return self._named(f"status IN (SELECT unnest($settled)) AND {window}", asked)

    def keys_of(
        self,
        meter: Meter,
        start: datetime,
        end: datetime,
        dimensions: Mapping[str, Collection[str]],
    ) -> set[str]:
        """Keys of the lake's events of a range that have one of some texts in each dimension."""
        where = [f"timestamp >= {_time(start)}", f"timestamp < {_time(end)}"]
        for name, texts in dimensions.items():
            listing = ", ".join(map(literal, sorted(texts)))
            where.append(f"{group_sql(meter, name)} IN ({listing})")
        rows = self._connection.execute(
            f"SELECT idempotency_key FROM lake WHERE {' AND '.join(where)}"
        ).fetchall()
        return {key for (key,) in rows}

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
    root: DataRoot,
    meter: Meter,
    ledger: DeliveryLedger,
    start: datetime,
    end: datetime,
    cut_over: datetime | None = None,
) -> Iterator[Sent]:
    """Read the ledger of a window.

    Args:
        root: The data root.
        meter: The meter.
        ledger: What was delivered into the live meter.
        start: First instant.
        end: First instant after the last one.
        cut_over: First instant of live traffic; nothing of the lake is meant to go from there on.
    """
    later = "false" if cut_over is None else f"l.timestamp >= {_time(cut_over)}"
    window = " AND ".join(
        f"timestamp {sign} {_time(time)}" for sign, time in ((">=", start), ("<", end))
    )
    settled = ", ".join(map(literal, SETTLED))
    with open_duckdb() as connection:
        connection.execute(f"CREATE TABLE word AS {ledger.last_words_sql()}")
        connection.execute(f"""
            CREATE VIEW known AS SELECT idempotency_key, subject, digest, timestamp,
                quantity::{meter.quantity_type} AS quantity,
                timezone('UTC', timestamp)::DATE AS day
            FROM word WHERE status IN ({settled})""")
        connection.execute(f"CREATE VIEW settled AS FROM known WHERE {window}")
        connection.execute(f"CREATE VIEW lake AS {EventTable(root, meter).select()}")
        connection.execute(f"""
            CREATE VIEW part AS SELECT word.idempotency_key, word.digest, true AS netted,
                word.quantity::{meter.quantity_type} AS quantity
            FROM word JOIN (SELECT idempotency_key FROM known) AS head
                ON head.idempotency_key = word.net
            WHERE word.status = 'netted' AND {window}""")
        connection.execute(f"""
            CREATE VIEW beside AS SELECT coalesce(l.quantity, s.quantity) AS quantity, CASE
                WHEN s.idempotency_key IS NULL AND l.pulled THEN 'pulled from there'
                WHEN s.idempotency_key IS NULL AND {later} THEN 'after the cut-over'
                WHEN s.idempotency_key IS NULL THEN 'not delivered'
                WHEN l.idempotency_key IS NULL THEN 'gone from the lake'
                WHEN l.digest <> s.digest THEN 'changed'
                WHEN s.netted THEN 'netted' ELSE 'same' END AS place
            FROM (SELECT idempotency_key, timestamp, quantity, {digest_sql(meter)} AS digest,
                      {ledger.pulled_sql} AS pulled
                  FROM lake WHERE {window}) AS l
            FULL JOIN (SELECT idempotency_key, digest, false AS netted, quantity FROM settled
                       UNION ALL BY NAME FROM part) AS s USING (idempotency_key)""")
        yield Sent(connection, meter)


def _time(time: datetime) -> str:
    return f"TIMESTAMPTZ {literal(time.isoformat())}"


def bounds_of(ledger: DeliveryLedger) -> tuple[datetime, datetime] | None:
    """The oldest and the newest event of a ledger; None where nothing stands in it."""
    with open_duckdb() as connection:
        [(oldest, newest)] = connection.execute(
            f"SELECT min(timestamp), max(timestamp) FROM ({ledger.last_words_sql()})"
        ).fetchall()
    return None if oldest is None else (oldest, newest)
