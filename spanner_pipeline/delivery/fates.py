"""What becomes of each event of a window: sent, known, or left out for a reason.

Every event has exactly one fate, so that the fates add up to the window (law 1). All of it is
counted by DuckDB over the lake's table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import duckdb
import polars as pl

from spanner_pipeline.control import Total
from spanner_pipeline.delivery import netting
from spanner_pipeline.delivery.ledger import SETTLED, DeliveryLedger
from spanner_pipeline.delivery.meter import Retention
from spanner_pipeline.delivery.payload import Spelling, body_sql, digest_sql
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import ConservationError
from spanner_pipeline.lake.sums import literal, totals_by
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot

SEND, RESEND, NET = "send", "send again", "net"
BESIDE_GONE = "beside gone"
FATES = {
    SEND: "would be sent",
    **netting.FATES,
    RESEND: "was sent without an answer, or failed: would be sent again under the same keys",
    "delivered": "the service has it already",
    "pulled": "was pulled from this very meter: the service has it, under its own key",
    "changed": "was delivered, and changed in the lake since; the service cannot change an event",
    "after the cut-over": "left out: at or after the cut-over, where live traffic counts",
    BESIDE_GONE: "held back: an event of its subject and day was delivered and is gone from the "
    "lake; the service would count both (--beside-gone)",
    "not positive": "left out: the service takes no quantity of 0 or less (--net takes what is "
    "below 0 from other events)",
    "older": "left out: the service would prune it (--raise-retention, --include-old)",
    "unsettled": "was sent without an answer and is older than the retention: never sent again, "
    "because it may have been counted and forgotten",
}
"""What can become of an event, and what a person reads about it."""

_FETCHED = 10_000

RATE = 8000
"""Events a minute by default: 80 % of what the service takes from a workspace, live ones too."""


@dataclass(frozen=True)
class Choices:
    """What a person can say about a delivery.

    Attributes:
        start: First instant of the window; None for all before.
        end: First instant after the window; None for all from `start`.
        spelling: How events are spelled.
        raise_retention: Have the live meter keep events as long as these need, before they go.
        include_old: Send what the service will prune, too.
        beside_gone: Send what stands on a day of its subject of which a delivered event is gone.
        rate: Events a minute at most.
        cut_over: First instant of live traffic, as declared; nothing is sent from there on.
        net: Take what is below 0 from events of the same bucket of this size, as `netting` says.
    """

    start: datetime | None = None
    end: datetime | None = None
    spelling: Spelling = field(default_factory=Spelling)
    raise_retention: bool = False
    include_old: bool = False
    beside_gone: bool = False
    rate: int = RATE
    cut_over: datetime | None = None
    net: str | None = None


@dataclass(frozen=True)
class Contradiction:
    """An event that the service has otherwise than the lake.

    Attributes:
        key: Its idempotency key.
        subject: Its subject, as it was delivered.
        timestamp: Its time, as it was delivered.
        delivered: The quantity that was delivered.
        now: The lake's quantity; None where the event is gone.
    """

    key: str
    subject: str
    timestamp: datetime
    delivered: Decimal
    now: Decimal | None


_TO_SEND = f"fate IN ('{SEND}', '{RESEND}', '{NET}')"


class Chosen:
    """The events of a window with their fates, in a DuckDB of their own."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: EventTable,
        choices: Choices,
        retention: Retention,
    ) -> None:
        """Made by `choosing`."""
        self.table = table
        self.choices = choices
        self.retention = retention
        self.connection = connection

    def count(self) -> dict[str, Total]:
        """Rows and quantity by fate.

        Raises:
            ConservationError: When they do not add up to the window.
        """
        decimals = self.table.meter.decimals
        found = totals_by(self.connection, "FROM chosen", ("fate",), decimals)
        fates = {fate: found.get((fate,), Total()) for fate in FATES}
        events = "SELECT *, 1 AS one FROM window_"
        whole = totals_by(self.connection, events, ("one",), decimals).get((1,), Total())
        told = sum(fates.values(), Total())
        if told != whole:
            raise ConservationError(
                f"meter {self.table.meter.name}: the fates of its events add up to {told}, not "
                f"{whole}. Nothing was sent. This is a defect; please report it."
            )
        return fates

    def facts(self) -> tuple[datetime | None, int, Decimal | None, int]:
        """Of what would be sent: the oldest, rows rounded and by how much, fractional."""
        kind = self.table.meter.quantity_type
        # Read from the text, because DuckDB's own cast does not give the nearest double.
        double = f"TRY_CAST(quantity::VARCHAR::DOUBLE::VARCHAR AS {kind})"
        [facts] = self.connection.execute(f"""
            SELECT min(timestamp), count(*) FILTER (quantity IS DISTINCT FROM {double}),
                max(abs(quantity - {double})),
                count(*) FILTER (epoch_us(timestamp) % 1000000 <> 0)
            FROM going""").fetchall()
        oldest, rounded, largest, fractional = facts
        return oldest, rounded, largest, fractional

    def nets(self) -> Total:
        """Rows and quantity of the groups that would be sent as one event each."""
        heads = f"SELECT net FROM chosen WHERE fate = '{NET}'"
        events = f"SELECT *, 1 AS one FROM chosen WHERE net IN ({heads})"
        found = totals_by(self.connection, events, ("one",), self.table.meter.decimals)
        return found.get((1,), Total())

    def gone(self) -> Total:
        """What was delivered of the window and is not in the lake any more."""
        events = "SELECT *, 1 AS one FROM gone WHERE inside"
        found = totals_by(self.connection, events, ("one",), self.table.meter.decimals)
        return found.get((1,), Total())

    def contradictions(self) -> Iterator[Contradiction]:
        """What was delivered and is gone from the lake or another event there now, by time."""
        rows = self.connection.execute("""
            SELECT idempotency_key, subject, timestamp, quantity, NULL AS now
            FROM gone WHERE inside
            UNION ALL SELECT idempotency_key, word.subject, word.timestamp, word.quantity,
                chosen.quantity
            FROM chosen JOIN word USING (idempotency_key) WHERE fate = 'changed'
            ORDER BY timestamp, idempotency_key""")
        while found := rows.fetchmany(_FETCHED):
            for key, subject, timestamp, delivered, now in found:
                yield Contradiction(key, subject, timestamp, Decimal(delivered), now)

    def ties(self) -> int:
        """Instants, as they are sent, at which a subject has several quantities."""
        unit = "second" if self.choices.spelling.whole_seconds else "microsecond"
        [[ties]] = self.connection.execute(f"""
            SELECT count(*) FROM (SELECT 1 FROM going
            GROUP BY subject, date_trunc('{unit}', timestamp) HAVING min(quantity) < max(quantity))
            """).fetchall()
        return int(ties)

    def stream(self, rows: int) -> Iterator[pl.DataFrame]:
        """What is to be sent, by time, so many rows at a time; memory holds no more of it.

        Columns are those of the ledger; `sent` is the event's JSON, `members` what goes with it.
        """
        kept = self.retention.raised_to or self.retention.days
        body = body_sql(self.table.meter, self.choices.spelling)
        reader = self.connection.sql(f"""
            SELECT idempotency_key, digest, subject, quantity::VARCHAR AS quantity, timestamp,
                net, members, {kept}::INTEGER AS retention_days, {body} AS sent
            FROM going LEFT JOIN (
                SELECT net, list(struct_pack(idempotency_key, digest, subject,
                    quantity := quantity::VARCHAR, timestamp)) AS members
                FROM netting WHERE idempotency_key <> net GROUP BY net) USING (net)
            ORDER BY timestamp, idempotency_key
            """).to_arrow_reader(rows)
        waiting = pl.DataFrame()
        for batch in reader:
            waiting = pl.concat([waiting, pl.DataFrame(batch)], how="diagonal")
            while waiting.height >= rows:
                yield waiting.head(rows)
                waiting = waiting.slice(rows)
        if waiting.height:
            yield waiting


@contextmanager
def choosing(
    root: DataRoot,
    meter: Meter,
    ledger: DeliveryLedger | None,
    choices: Choices,
    retention: Retention,
) -> Iterator[Chosen]:
    """Find the fate of every event of a window.

    Args:
        root: The data root.
        meter: The meter.
        ledger: What was delivered; None where the live meter does not exist yet.
        choices: What a person said.
        retention: How long the service keeps events.
    """
    table = EventTable(root, meter)
    bounds = [
        f"timestamp {sign} TIMESTAMPTZ {literal(time.isoformat())}"
        for sign, time in ((">=", choices.start), ("<", choices.end))
        if time is not None
    ]
    window = table.select(" AND ".join(["true", *bounds]))
    words, heads, pulled = DeliveryLedger.nothing_sql(), DeliveryLedger.nothing_sql(), "false"
    if ledger:
        words, heads = ledger.last_words_sql(), ledger.heads_sql()
        pulled = ledger.pulled_sql
    cut = choices.cut_over
    live = "false" if cut is None else f"timestamp >= TIMESTAMPTZ {literal(cut.isoformat())}"
    there = ", ".join(map(literal, (*SETTLED, "sent", "netted")))
    with open_duckdb() as connection:
        connection.execute(f"CREATE VIEW window_ AS {window}")
        connection.execute(f"CREATE VIEW word AS {words}")
        connection.execute(f"CREATE VIEW head AS {heads}")
        connection.execute(f"""
            CREATE TABLE gone AS SELECT idempotency_key, subject, timestamp,
                (quantity::{meter.quantity_type} - coalesce(part, 0))::{meter.quantity_type}
                AS quantity, {" AND ".join(["true", *bounds])} AS inside
            FROM word ANTI JOIN (SELECT idempotency_key FROM ({table.select()}))
            USING (idempotency_key)
            LEFT JOIN (SELECT net AS idempotency_key, sum(quantity::{meter.quantity_type}) AS part
                FROM word WHERE status = 'netted' GROUP BY net) AS parts USING (idempotency_key)
            WHERE status IN ({there})""")
        connection.execute(f"""
            CREATE VIEW known AS SELECT window_.*, {digest_sql(meter)} AS digest, word.status,
                word.digest AS known_digest, word.net, coalesce(head.status, word.status)
                AS standing, coalesce(head.retention_days, word.retention_days) AS sent_under,
                {pulled} AS pulled, {live} AS live
            FROM window_
            LEFT JOIN (SELECT idempotency_key, status, digest, net, retention_days FROM word)
                AS word USING (idempotency_key)
            LEFT JOIN (SELECT idempotency_key, status, retention_days FROM head) AS head
                ON head.idempotency_key = word.net AND word.status = 'netted'""")
        [[heads]] = connection.execute("SELECT count(*) FROM head").fetchall()
        netted = netting.table_sql(meter, choices.net, announced=heads > 0)
        connection.execute(f"CREATE TEMP TABLE netting AS {netted}")
        nets = heads > 0 or choices.net is not None
        connection.execute(_fates_sql(choices, retention, netted=nets))
        connection.execute(f"""
            CREATE VIEW going AS SELECT * REPLACE (coalesce(rest, quantity) AS quantity)
            FROM chosen WHERE {_TO_SEND}""")
        yield Chosen(connection, table, choices, retention)


def _fates_sql(choices: Choices, retention: Retention, *, netted: bool) -> str:
    settled = f"standing IN ({', '.join(map(literal, SETTLED))})"
    time = "coalesce(moment, timestamp)"  # what is netted goes with the largest, or not at all
    pruned = unsettled = "false"
    if not choices.include_old:
        old = f"{time} < TIMESTAMPTZ {{}}"
        pruned = old.format(literal(retention.kept_from.isoformat()))
        # Retention may have been raised since it was sent, when it was gone already.
        raised = f"to_days(greatest({retention.days} - coalesce(sent_under, {retention.days}), 0))"
        unsettled = f"{old.format(literal(retention.known_from.isoformat()))} + {raised}"
    live = "false"
    if choices.cut_over is not None:
        live = f"{time} >= TIMESTAMPTZ {literal(choices.cut_over.isoformat())}"
    beside = "false" if choices.beside_gone else "held.day IS NOT NULL"
    if netted:  # what goes together is held together
        beside = f"bool_or({beside}) OVER (PARTITION BY coalesce(netting.net, idempotency_key))"
    return f"""
        CREATE VIEW chosen AS SELECT known.*, rest, moment, verdict, netting.net, CASE
            WHEN pulled AND standing IS NULL THEN 'pulled'
            WHEN {settled} AND known_digest = digest THEN 'delivered'
            WHEN {settled} OR (known_net IS NOT NULL AND moment IS NULL) THEN 'changed'
            WHEN {live} THEN 'after the cut-over'
            WHEN standing = 'sent' AND {unsettled} THEN 'unsettled'
            WHEN verdict IS NOT NULL THEN verdict
            WHEN coalesce(rest, quantity) <= 0 THEN 'not positive'
            WHEN {pruned} THEN 'older'
            WHEN {beside} THEN '{BESIDE_GONE}'
            WHEN netting.net <> known.idempotency_key THEN 'netted'
            WHEN standing IS NOT NULL THEN '{RESEND}'
            WHEN netting.net IS NOT NULL THEN '{NET}'
            ELSE '{SEND}' END AS fate
        FROM (SELECT * RENAME (net AS known_net) FROM known) AS known
        LEFT JOIN (SELECT idempotency_key, net, rest, moment, verdict FROM netting) AS netting
            USING (idempotency_key)
        LEFT JOIN (SELECT DISTINCT subject, timezone('UTC', timestamp)::DATE AS day FROM gone)
            AS held ON held.subject = known.subject
            AND held.day = timezone('UTC', known.timestamp)::DATE"""
