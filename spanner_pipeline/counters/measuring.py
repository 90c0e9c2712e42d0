"""Readings become usage, in SQL: each is compared with the one before it of the same counter.

Belongs here: what a reading is, and how much it measures. Not here: the readings of the partitions
before (`openings`). Nothing is guessed: what does not follow from the declaration has no usage, and
says why in `kind`.
"""

from __future__ import annotations

from decimal import Decimal

from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.meters import Meter

MEASURED, IDLE, FIRST, RESTARTED, ROLLED_OVER = (
    "measured",
    "no usage since the reading before",
    "first reading of its counter",
    "restarted at 0",
    "rolled over",
)
REPEATED = "repeated reading"
OLDER = "reading older than one of an earlier partition"
HELD, FELL, CONTRADICTED, BEYOND = "held", "fell", "contradicted", "beyond the roll-over"

UNSOUND = (HELD, FELL, CONTRADICTED, BEYOND)
"""Readings without usage, which are rejected."""

CHAINED = (MEASURED, IDLE, FIRST, RESTARTED, ROLLED_OVER, HELD)
"""The readings that the next one of their counter is measured from."""

_UNUSED = (IDLE, REPEATED, OLDER)
"""Readings that are in order, and no usage."""


def measured(rows: str, quantity: Quantity, meter: Meter, lacking: str | None) -> str:
    """SQL that measures the usage of readings; same rows, in any order.

    The connection has `opening`: the last `reading` of each `counter` before these rows, its
    `timestamp`, and whether it `fell`.

    Args:
        rows: The table of mapped rows, which is read once: `quantity` is the reading.
        quantity: The declaration.
        meter: The meter.
        lacking: The partition before these rows that has no files, if there is one.

    Returns:
        The rows with their `reading`, the one `previous` to it, its `kind`, and `quantity`: the
        usage, null where there is none.
    """
    declared = quantity.cumulative
    assert declared is not None
    type_ = meter.quantity_type
    counts = f"{quantity.rolls_over_at or Decimal(0):f}::{type_}"
    beyond = rolled = ""
    if quantity.rolls_over_at is not None:
        beyond = f"WHEN placed.quantity < 0 OR placed.quantity >= {counts} THEN '{BEYOND}'"
        step = f"(quantity + ({counts} - previous))"
        rolled = f"WHEN {step} <= {counts} - {step} THEN '{ROLLED_OVER}'"
    unknown = HELD if lacking is not None else FIRST
    idle = IDLE if quantity.nonpositive == "reject" else MEASURED
    fallen = FELL if declared.reset == "reject" else RESTARTED
    unused = [*_UNUSED, *([FIRST] if declared.first == "baseline" else [])]
    return f"""
        WITH placed AS (
            SELECT *, coalesce(usable AND counter IS NOT NULL AND quantity IS NOT NULL
                AND "timestamp" IS NOT NULL, false) AS takes_part
            FROM {rows}
        ), compared AS (
            SELECT placed.*, opening.reading AS known, coalesce(opening.fell, false) AS has_fallen,
                CASE WHEN NOT takes_part THEN NULL
                    {beyond}
                    WHEN placed."timestamp" < opening."timestamp" THEN '{OLDER}'
                    WHEN placed."timestamp" = opening."timestamp" THEN
                        CASE WHEN placed.quantity = opening.reading
                            THEN '{REPEATED}' ELSE '{CONTRADICTED}' END
                    WHEN min(placed.quantity) OVER at_once <> max(placed.quantity) OVER at_once
                        THEN '{CONTRADICTED}'
                    WHEN row_number() OVER (at_once ORDER BY source_file, source_line) > 1
                        THEN '{REPEATED}'
                    ELSE '{MEASURED}'
                END AS kind
            FROM placed LEFT JOIN opening ON placed.counter = opening.counter
            WINDOW at_once AS (PARTITION BY takes_part, placed.counter, placed."timestamp")
        ), followed AS (
            SELECT *, CASE WHEN kind = '{MEASURED}' THEN coalesce(
                lag(quantity) OVER (PARTITION BY kind, counter ORDER BY "timestamp"), known
            ) END AS previous
            FROM compared
        ), named AS (
            SELECT * REPLACE (CASE
                WHEN kind IS DISTINCT FROM '{MEASURED}' THEN kind
                WHEN previous IS NULL THEN '{unknown}'
                WHEN quantity = previous THEN '{idle}'
                WHEN quantity > previous THEN '{MEASURED}'
                {rolled}
                ELSE '{fallen}' END AS kind)
            FROM followed
        ), settled AS (
            SELECT * REPLACE (CASE
                WHEN kind IN ({_listed(CHAINED)}) AND (has_fallen
                    OR bool_or(kind = '{FELL}') OVER (PARTITION BY counter ORDER BY "timestamp"))
                THEN '{FELL}' ELSE kind END AS kind)
            FROM named
        )
        SELECT * EXCLUDE (takes_part, usable, known, has_fallen) REPLACE (
                CASE
                    WHEN kind IN ('{FIRST}', '{RESTARTED}') THEN quantity
                    WHEN kind IN ('{MEASURED}', '{IDLE}') THEN TRY(quantity - previous)
                    WHEN kind = '{ROLLED_OVER}' THEN quantity + ({counts} - previous)
                    WHEN kind IN ({_listed(_UNUSED)}) THEN 0
                END::{type_} AS quantity,
                coalesce(out_of_scope, CASE WHEN kind IN ({_listed(unused)}) THEN kind END)
                    AS out_of_scope),
            quantity AS reading,
            {"NULL" if lacking is None else f"'{lacking}'"}::VARCHAR AS lacking
        FROM settled"""


def _listed(kinds: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"'{kind}'" for kind in kinds)
