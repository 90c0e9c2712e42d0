"""The usage that may stand behind a difference, in the smallest parts that causes tell apart.

An atom is the sum of rows that no cause tells apart: the same number, the same record (in the lake,
rejected, ...), the same day, file and delivery, inside the same candidate periods.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.control import EXACT
from spanner_pipeline.lake.quarantine import Kind, quarantine_files
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.reconciliation.causes import CONFLICTS, LEFT_OUT, REJECTED, REPEATED
from spanner_pipeline.reconciliation.clocks import Clock, candidates
from spanner_pipeline.reconciliation.deliveries import Deliveries
from spanner_pipeline.reconciliation.totals import dimension_columns
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import ADDITIVE
from spanner_pipeline.usage.calendar import first_instant
from spanner_pipeline.usage.filters import group_sql

LAKE = "lake"

HOWS = ("to the nearest", "up to", "down to")
"""How a quantity may be rounded."""

_MOST_CLOCKS = 12
_SIDE_COLUMNS = ("subject", '"timestamp"', "source_file")
_DIGITS_FOR_SUMS = 7


@dataclass(frozen=True)
class Atom:
    """One part of the usage around a number.

    Attributes:
        record: `LAKE`, or the cause whose rows these are.
        detail: Which of them, such as the reason of their rejection.
        inside: The candidate periods that it is inside of; the first is the number's own.
        days: Its day on the number's clock; where clocks are told apart, on each candidate's.
        hour: Its hour (UTC), where hours are told apart.
        file: Its source file.
        late: Days from the end of the period to its delivery; None where nobody knows.
        negative: Whether it is zero or less.
        forgotten: Whether it is older than what the old system kept.
        rows: How many rows it is.
        quantity: Usage, in the smallest digit that the meter has.
    """

    record: str
    detail: str
    inside: int
    days: tuple[date, ...]
    hour: int | None
    file: str
    late: int | None
    negative: bool
    forgotten: bool
    rows: int
    quantity: int


@dataclass(frozen=True)
class Surroundings:
    """The atoms of some numbers, and what their candidate periods are called.

    Attributes:
        atoms: By number.
        clocks: The names of the candidate periods of all numbers, in the order of `Atom.inside`.
    """

    atoms: dict[int, list[Atom]]
    clocks: list[str]


class Neighbourhood:
    """Finds the atoms of numbers that differ."""

    def __init__(
        self,
        root: DataRoot,
        connection: duckdb.DuckDBPyConnection,
        meter: Meter,
        total: BillingTotal,
        deliveries: Deliveries,
        zones: Iterable[str],
    ) -> None:
        """Prepare the rows beside the lake.

        Args:
            root: The data root.
            connection: Has the view `events`; its time zone is UTC.
            meter: The meter, whose aggregation adds.
            total: The declaration.
            deliveries: The deliveries of the meter.
            zones: The clocks that the old bill names.
        """
        assert meter.aggregation in ADDITIVE
        self._connection, self._meter, self._total = connection, meter, total
        known = {*total.old_system.zones, *deliveries.zones(), *zones, "UTC"}
        self._zones = sorted(known)[:_MOST_CLOCKS]
        connection.register("deliveries", deliveries.delivered())
        self._by = ["subject", *dimension_columns(total)]
        beside = [*_beside(root, meter, total, deliveries)]
        columns = ", ".join(f'"{name}"' for name in self._by)
        shared = f'"timestamp", quantity, source_file, import_batch, {columns}'
        lake = f"SELECT {literal(LAKE)} AS record, '' AS detail, 1 AS sign, {shared} FROM events"
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW around AS {' UNION ALL BY NAME '.join([lake, *beside])}"
        )

    def of(
        self,
        cells: pl.DataFrame,
        *,
        daily: bool = False,
        hourly: bool = False,
        rounded: tuple[Decimal, str] | None = None,
    ) -> Surroundings:
        """The atoms of some numbers.

        Args:
            cells: The numbers.
            daily: Whether the days of each candidate's clock are told apart.
            hourly: Whether hours are told apart.
            rounded: To what each event is rounded, and how.
        """
        wide, clocks = self._candidates(cells)
        self._connection.register("broken", wide)
        quantity = "quantity" if rounded is None else self._rounded(*rounded)
        adds = "sum(sign)" if self._meter.aggregation == "count" else "sum(sign * quantity)"
        same = " AND ".join(f'around."{name}" = broken."{name}"' for name in self._by)
        time = 'around."timestamp"'
        inside = " + ".join(
            f"CASE WHEN {time} >= start_{i} AND {time} < end_{i} THEN {1 << i} ELSE 0 END"
            for i in range(len(clocks))
        )
        hour = f"epoch({time})::BIGINT // 3600" if hourly else "NULL::BIGINT"
        days = [clock.day_of(time, i) for i, clock in enumerate(clocks[: None if daily else 1])]
        low, high = wide["low"].min(), wide["high"].max()
        found = self._connection.execute(
            f"""
            SELECT cell, record, detail, inside, days, hour, file, late, negative, forgotten,
                count(*) AS rows, {adds} AS quantity
            FROM (
                SELECT cell, record, detail, sign, {quantity} AS quantity, {inside} AS inside,
                    [{", ".join(days)}] AS days, {hour} AS hour, source_file AS file,
                    date_diff('day', broken.ends, delivered) AS late, quantity <= 0 AS negative,
                    coalesce({time} < broken.cutoff, false) AS forgotten
                FROM around JOIN broken ON {same} AND {time} >= low AND {time} < high
                LEFT JOIN deliveries USING (import_batch)
                WHERE {time} >= $low AND {time} < $high)
            WHERE inside > 0 GROUP BY ALL ORDER BY ALL""",
            {"low": low, "high": high},
        ).fetchall()
        digits = 0 if self._meter.aggregation == "count" else self._meter.decimals
        lift = 10 ** (self._meter.decimals - digits)
        atoms: dict[int, list[Atom]] = defaultdict(list)
        for cell, record, detail, inside, days, *parts, quantity in found:
            whole = int(Decimal(quantity).scaleb(digits, EXACT)) * lift
            values = [record, detail, inside, tuple(days), *parts, whole]
            atoms[cell].append(Atom(*values))
        return Surroundings(dict(atoms), [clock.name for clock in clocks])

    def _rounded(self, unit: Decimal, how: str) -> str:
        """SQL: a quantity, rounded; one below zero as well, which `%` would cut towards zero."""
        step = f"{unit}::{self._meter.quantity_type}"
        rest = f"((quantity % {step} + {step}) % {step})"
        lifted = {HOWS[0]: f"{rest} + {rest} >= {step}", HOWS[1]: f"{rest} > 0", HOWS[2]: "false"}
        return f"quantity - {rest} + CASE WHEN {lifted[how]} THEN {step} ELSE 0 END"

    def _candidates(self, cells: pl.DataFrame) -> tuple[pl.DataFrame, list[Clock]]:
        """Cells with the bounds of each candidate period, and these."""
        ends = (pl.col("first").cast(pl.Date) + pl.duration(days=pl.col("days"))).alias("ends")
        wide = cells.select(
            "cell", *self._by, "zone", pl.col("first").alias("begins"), ends, "start", "end"
        )
        clocks = candidates(wide, self._total.period, self._zones)
        starts = [clock.bounds["start"].alias(f"start_{i}") for i, clock in enumerate(clocks)]
        stops = [clock.bounds["end"].alias(f"end_{i}") for i, clock in enumerate(clocks)]
        low = pl.min_horizontal([f"start_{i}" for i in range(len(clocks))]).alias("low")
        high = pl.max_horizontal([f"end_{i}" for i in range(len(clocks))]).alias("high")
        return wide.with_columns(starts + stops).with_columns(low, high, self._cutoff(wide)), clocks

    def _cutoff(self, wide: pl.DataFrame) -> pl.Series:
        """The instant before which the old system had forgotten everything; null if never."""
        retention = self._total.old_system.retention
        if retention is None:
            return pl.Series("cutoff", [None] * wide.height, dtype=wide.schema["start"])
        day = retention.exported - timedelta(days=retention.days)
        instants = {
            zone: pl.select(first_instant(pl.lit(day), zone)).item()
            for zone in wide["zone"].unique()
        }
        return pl.Series("cutoff", [instants[z] for z in wide["zone"]], dtype=wide.schema["start"])


def _beside(
    root: DataRoot, meter: Meter, total: BillingTotal, deliveries: Deliveries
) -> Iterable[str]:
    """SQL for the rows that are not in the lake, or not as they were delivered."""
    kinds: tuple[tuple[str, Kind, str], ...] = (
        (REJECTED, "rejected", "reason_code"),
        (LEFT_OUT, "left_out", "why"),
        (REPEATED, "repeated", "''"),
    )
    for cause, kind, detail in kinds:
        for files, dtype in _alike(
            quarantine_files(root, deliveries.imports, kind), "quantity", meter, total
        ):
            yield _side(files, dtype, meter, total, cause, detail, "", 1)
    conflicts = quarantine_files(root, deliveries.imports, "conflicts")
    for files, dtype in _alike(conflicts, "kept_quantity", meter, total, "kept_"):
        yield _side(files, dtype, meter, total, CONFLICTS, "''", "refused_", 1)
        # It is taken out when the refused row comes, so it has the delivery of that.
        yield _side(files, dtype, meter, total, CONFLICTS, "''", "kept_", -1, "refused_")


def _alike(
    files: list[Path], quantity: str, meter: Meter, total: BillingTotal, prefix: str = ""
) -> Iterable[tuple[list[Path], pl.Decimal]]:
    """Files by the type of their quantity, of which DuckDB would cut all to the first's.

    Files of before their meter got a dimension that is asked for say nothing of it.
    """
    asked = {f"{prefix}dim_{name}" for name in (*total.dimensions, *total.only)}
    by_type: dict[pl.Decimal, list[Path]] = defaultdict(list)
    for file in files:
        schema = pl.read_parquet_schema(file)
        dtype = schema.get(quantity)
        if isinstance(dtype, pl.Decimal) and asked <= set(schema):
            by_type[dtype].append(file)
    for dtype, alike in by_type.items():
        yield alike, dtype


def _side(
    files: list[Path],
    dtype: pl.Decimal,
    meter: Meter,
    total: BillingTotal,
    cause: str,
    detail: str,
    prefix: str,
    sign: int,
    delivered: str | None = None,
) -> str:
    """SQL for rows of quarantine files, in the shape of events; exact, or not at all."""
    listing = ", ".join(literal(file) for file in files)
    names = [f"dim_{name}" for name in dict.fromkeys([*total.dimensions, *total.only])]
    columns = [f"{prefix}{name.strip(chr(34))} AS {name}" for name in _SIDE_COLUMNS]
    columns.append(f"{prefix if delivered is None else delivered}import_batch AS import_batch")
    columns += [f'"{prefix}{name}" AS "{name}"' for name in names]
    held = f"DECIMAL({MAX_PRECISION}, {dtype.scale})"
    limit = 10 ** (MAX_PRECISION - max(meter.decimals, dtype.scale) - _DIGITS_FOR_SUMS)
    quantity = f"{prefix}quantity"
    cast = f"TRY_CAST({quantity} AS {meter.quantity_type})"
    fits = f"abs({quantity}) < {limit} AND TRY_CAST({cast} AS {held}) = {quantity}"
    rows = f"""SELECT {", ".join(columns)}, {detail} AS detail,
        {cast} AS quantity
        FROM read_parquet([{listing}], union_by_name = true) WHERE {fits}"""
    where = [
        f"{group_sql(meter, name)} IN ({', '.join(map(literal, values))})"
        for name, values in total.only.items()
    ]
    subject = "subject" if total.subject is not None else "'' AS subject"
    by = "".join(f', {group_sql(meter, name)} AS "dim_{name}"' for name in total.dimensions)
    return f"""SELECT {literal(cause)} AS record, detail, {sign} AS sign, "timestamp", quantity,
        source_file, import_batch, {subject}{by} FROM ({rows})
        WHERE {" AND ".join(where) or "true"}"""
