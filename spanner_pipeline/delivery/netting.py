"""Netting: negative quantities, which the service refuses, are taken from events that it takes.

Within one bucket, subject and set of dimensions, what is negative is taken from the largest events
(of equals the earliest), as many as it needs; all of them go as one event, under the key, time and
origin of the largest. So every total of the service by these buckets, or longer ones, is exact.
Only events that were never sent take part, and what was sent together stays together.
"""

from __future__ import annotations

from typing import Literal, get_args

from spanner_pipeline.delivery.ledger import SETTLED
from spanner_pipeline.delivery.target import TargetError
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.meters import Meter

Bucket = Literal["hour", "day", "month"]
"""The service's buckets, in UTC."""

CANCELLED, BELOW, LATE = "cancelled", "below zero", "too late"

FATES = {
    "net": "would be sent with what is left of them, after those below",
    "netted": "would be part of those above, which are sent in their place",
    CANCELLED: "cancel out to 0 together: nothing is sent, and no total lacks them",
    BELOW: "left out: together they are below 0, and the service takes no such quantity",
    LATE: "left out: below 0, and their counterpart is there already, which cannot be changed",
}
"""What can become of an event that is netted, and what a person reads about it."""


def check(meter: Meter, bucket: str | None, *bounds: object) -> None:
    """Check that events of a meter can be netted.

    Args:
        meter: The meter.
        bucket: In which buckets; None where nothing is to be netted.
        bounds: The bounds of the window, as instants in UTC; None where there is none.

    Raises:
        TargetError: When its aggregation does not add up, there is no such bucket, or the window
            would cut one.
    """
    if bucket is None:
        return
    if bucket not in get_args(Bucket):
        raise TargetError(f"net {bucket}: write {', '.join(get_args(Bucket))}.")
    if meter.aggregation != "sum":
        raise TargetError(
            f"events of {meter.name} cannot be netted: its aggregation is {meter.aggregation}, and "
            "only sums stay the same when several events become one. Leave out `net`."
        )
    ends = {"hour": ":00:00+00:00", "day": " 00:00:00+00:00", "month": "-01 00:00:00+00:00"}
    for bound in bounds:
        if bound is not None and not str(bound).endswith(ends[bucket]):
            raise TargetError(
                f"{bound} lies inside a {bucket} (UTC), and one that was cut would be netted "
                f"wrongly. Begin and end with a whole {bucket}."
            )


def table_sql(meter: Meter, bucket: str | None, *, announced: bool) -> str:
    """SQL for the events that are netted, or were and have no answer yet.

    It selects from `known`: the events of the lake with what the ledger says of them. `net` is the
    key that all of them go under, `rest` what is left of them, `moment` when; `verdict` says why
    they do not go.

    Args:
        meter: The meter.
        bucket: In which buckets to net; None where nothing new is netted.
        announced: Whether anything was netted before.
    """
    parts = [_announced_sql() if announced else _NOTHING]
    parts += [_fresh_sql(meter, bucket)] if bucket is not None else []
    return f"""
        SELECT * EXCLUDE verdict, CASE
            WHEN rest > 0 OR verdict IS NULL THEN NULL
            WHEN rest = 0 THEN '{CANCELLED}' ELSE verdict END AS verdict
        FROM (SELECT *, (sum(quantity) OVER (PARTITION BY net))::{meter.quantity_type} AS rest
              FROM ({" UNION ALL ".join(parts)}))"""


_COLUMNS = "idempotency_key, digest, subject, quantity, timestamp"


_NOTHING = f"""
        SELECT {_COLUMNS}, NULL::VARCHAR AS net, NULL::TIMESTAMPTZ AS moment,
            NULL::VARCHAR AS verdict
        FROM known WHERE false"""


def _announced_sql() -> str:
    """Those that stand together in the ledger: what was announced under one key stays so.

    As long as all of them are in the lake as they were: else nobody can say what would be counted.
    """
    settled = ", ".join(map(literal, SETTLED))
    head = "max(timestamp) FILTER (idempotency_key = net) OVER (PARTITION BY net)"
    return f"""
        SELECT {_COLUMNS}, net, {head} AS moment, NULL::VARCHAR AS verdict
        FROM known SEMI JOIN (
            SELECT word.net FROM word LEFT JOIN known ON known.idempotency_key =
                word.idempotency_key AND known.digest = word.digest
            WHERE word.net IS NOT NULL
            GROUP BY word.net HAVING count(*) = count(known.idempotency_key)
        ) USING (net)
        WHERE standing NOT IN ({settled})"""


def _fresh_sql(meter: Meter, bucket: str) -> str:
    group = ", ".join(["subject", "bucket", *(f'"{d.column}"' for d in meter.dimensions)])
    return f"""
        SELECT {_COLUMNS}, net, moment, CASE WHEN late THEN '{LATE}' ELSE '{BELOW}' END AS verdict
        FROM (SELECT *,
                sum(quantity) FILTER (open AND quantity < 0) OVER whole AS owed,
                bool_or(NOT open AND NOT live AND quantity > 0) OVER whole AS late,
                sum(quantity) FILTER (open) OVER falling AS running,
                first_value(idempotency_key) OVER falling AS net,
                first_value(timestamp) OVER falling AS moment
            FROM (SELECT * EXCLUDE net, standing IS NULL AND NOT pulled AND NOT live AS open,
                      date_trunc('{bucket}', timezone('UTC', timestamp)) AS bucket FROM known)
            WHERE (subject, bucket) IN (
                SELECT (subject, date_trunc('{bucket}', timezone('UTC', timestamp)))
                FROM known
                WHERE standing IS NULL AND NOT pulled AND NOT live AND quantity < 0)
            WINDOW whole AS (PARTITION BY {group}),
                falling AS (PARTITION BY {group}
                    ORDER BY open DESC, quantity DESC, timestamp, idempotency_key
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))
        WHERE open AND (quantity < 0 OR (quantity > 0 AND running - quantity < -owed))"""
