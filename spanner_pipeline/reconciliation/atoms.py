"""The usage that may stand behind a difference, in the smallest parts that causes tell apart.

An atom is the sum of rows that no cause tells apart: the same number, the same record (in the lake,
rejected, ...), the same day, file and delivery, inside the same candidate periods.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
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
from spanner_pipeline.reconciliation.deliveries import Deliveries
from spanner_pipeline.reconciliation.totals import (
    ONE_MICROSECOND,
    dimension_columns,
    with_bounds,
)
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import ADDITIVE
from spanner_pipeline.usage.calendar import first_instant
from spanner_pipeline.usage.filters import group_sql

LAKE = "lake"

_MOST_CLOCKS = 12
_SIDE_COLUMNS = ("subject", '"timestamp"', "source_file", "import_batch")
_DIGITS_FOR_SUMS = 7


@dataclass(frozen=True)
class Atom:
    """One part of the usage around a number.

    Attributes:
        record: `LAKE`, or the cause whose rows these are.
        detail: Which of them, such as the reason of their rejection.
        inside: The candidate periods that it is inside of; the first is the number's own.
        day: Its day on the number's clock.
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
    day: date
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

    def of(self, cells: pl.DataFrame, *, hourly: bool = False) -> Surroundings:
        """The atoms of some numbers.

        Args:
            cells: The numbers.
            hourly: Whether hours are told apart.
        """
        wide, clocks = self._candidates(cells)
        self._connection.register("broken", wide)
        adds = "sum(sign)" if self._meter.aggregation == "count" else "sum(sign * quantity)"
        same = " AND ".join(f'around."{name}" = broken."{name}"' for name in self._by)
        time = 'around."timestamp"'
        inside = " + ".join(
            f"CASE WHEN {time} >= start_{i} AND {time} < end_{i} THEN {1 << i} ELSE 0 END"
            for i in range(len(clocks))
        )
        hour = f"epoch({time})::BIGINT // 3600" if hourly else "NULL::BIGINT"
        low, high = wide["low"].min(), wide["high"].max()
        found = self._connection.execute(
            f"""
            SELECT cell, record, detail, {inside} AS inside,
                timezone(broken.zone, {time})::DATE AS day, {hour} AS hour, source_file AS file,
                date_diff('day', broken.ends, delivered) AS late, quantity <= 0 AS negative,
                coalesce({time} < broken.cutoff, false) AS forgotten, count(*) AS rows,
                {adds} AS quantity
            FROM around JOIN broken ON {same} AND {time} >= low AND {time} < high
            LEFT JOIN deliveries USING (import_batch)
            WHERE {time} >= $low AND {time} < $high
            GROUP BY ALL HAVING inside > 0 ORDER BY ALL""",
            {"low": low, "high": high},
        ).fetchall()
        digits = 0 if self._meter.aggregation == "count" else self._meter.decimals
        lift = 10 ** (self._meter.decimals - digits)
        atoms: dict[int, list[Atom]] = defaultdict(list)
        for cell, *parts, quantity in found:
            whole = int(Decimal(quantity).scaleb(digits, EXACT)) * lift
            atoms[cell].append(Atom(*[*parts, whole]))
        return Surroundings(dict(atoms), clocks)

    def rounded(self, cells: pl.DataFrame, units: Sequence[Decimal]) -> dict[int, list[list[int]]]:
        """What numbers would be if every event were rounded: for each unit nearest, up, down."""
        self._connection.register("broken", cells)
        same = " AND ".join(f'events."{name}" = broken."{name}"' for name in self._by)
        sums = []
        for unit in units:
            rest = f"(quantity % {unit}::{self._meter.quantity_type})"
            step = f"{unit}::{self._meter.quantity_type}"
            for lifted in (f"{rest} + {rest} >= {step}", f"{rest} > 0", "false"):
                added = f"CASE WHEN {lifted} THEN {step} ELSE 0::{self._meter.quantity_type} END"
                sums.append(f"sum(quantity - {rest} + {added})")
        try:
            rows = self._connection.execute(f"""
                SELECT cell, {", ".join(sums)} FROM events JOIN broken
                ON {same} AND "timestamp" >= "start" AND "timestamp" < "end" GROUP BY cell""")
        except duckdb.OutOfRangeException:  # so large that nobody rounds them
            return {}
        found = {}
        for cell, *values in rows.fetchall():
            whole = [int(Decimal(v).scaleb(self._meter.decimals, EXACT)) for v in values]
            found[cell] = [whole[i : i + 3] for i in range(0, len(whole), 3)]
        return found

    def _candidates(self, cells: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """Cells with the bounds of each candidate period, and what those are called."""
        period = self._total.period
        ends = (pl.col("first").cast(pl.Date) + pl.duration(days=pl.col("days"))).alias("ends")
        wide = cells.select(
            "cell", *self._by, "zone", pl.col("first").alias("begins"), ends, "start", "end"
        )
        bounds = [("", wide.select("start", "end"))]
        other = ONE_MICROSECOND if period.bounds == "[start, end)" else -ONE_MICROSECOND
        moved = wide.select(pl.col("start") + other, pl.col("end") + other)
        takes = "its end, not its start" if period.bounds == "[start, end)" else "its start only"
        bounds.append((f"takes into each period {takes}", moved))
        if period.bounds == "[start, end)":
            both = wide.select("start", pl.col("end") + ONE_MICROSECOND)
            bounds.append(("takes into each period both its start and its end", both))
        if not period.in_times:
            for zone in self._zones:
                dates = wide.select("begins", "ends", pl.lit(zone).alias("zone"))
                cut = with_bounds(dates, period).select("start", "end")
                bounds.append((f"cuts this period in {zone}, not in {{zone}}", cut))
            bounds.append(("cuts this period in {zone} without summer time", self._standard(wide)))
        own = bounds[0][1]
        kept = [bounds[0]]
        for name, cut in bounds[1:]:
            differs = (cut["start"] != own["start"]) | (cut["end"] != own["end"])
            if differs.any():
                # Where a candidate is the number's own period, or none, it must not change a thing.
                kept.append((name, cut.select(cut[n].fill_null(own[n]) for n in own.columns)))
        starts = [cut["start"].alias(f"start_{i}") for i, (_, cut) in enumerate(kept)]
        stops = [cut["end"].alias(f"end_{i}") for i, (_, cut) in enumerate(kept)]
        low = pl.min_horizontal([f"start_{i}" for i in range(len(kept))]).alias("low")
        high = pl.max_horizontal([f"end_{i}" for i in range(len(kept))]).alias("high")
        wide = wide.with_columns(starts + stops).with_columns(low, high, self._cutoff(wide))
        return wide, [name for name, _ in kept]

    def _standard(self, wide: pl.DataFrame) -> pl.DataFrame:
        """The period at the clock's standard time, all year."""
        parts = []
        for (zone,), part in wide.with_row_index("_row").partition_by("zone", as_dict=True).items():
            local = pl.col("begins").cast(pl.Datetime("us"))
            offset = pl.col("start").dt.convert_time_zone(str(zone)).dt.base_utc_offset()
            until = pl.col("ends").cast(pl.Datetime("us"))
            parts.append(
                part.select(
                    "_row",
                    (local - offset).dt.replace_time_zone("UTC").alias("start"),
                    (until - offset).dt.replace_time_zone("UTC").alias("end"),
                )
            )
        shift = ONE_MICROSECOND if self._total.period.bounds == "(start, end]" else pl.duration()
        found = pl.concat(parts).sort("_row").select(pl.col("start") + shift, pl.col("end") + shift)
        # A zone whose history changed its standard time is left alone.
        near = ((found["start"] - wide["start"]).abs() <= timedelta(hours=2)) & (
            (found["end"] - wide["end"]).abs() <= timedelta(hours=2)
        )
        return found.select(pl.when(near).then(n).alias(n) for n in found.columns)

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
        yield _side(files, dtype, meter, total, CONFLICTS, "''", "kept_", -1)


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
) -> str:
    """SQL for rows of quarantine files, in the shape of events; exact, or not at all."""
    listing = ", ".join(literal(file) for file in files)
    names = [f"dim_{name}" for name in dict.fromkeys([*total.dimensions, *total.only])]
    columns = [f"{prefix}{name.strip(chr(34))} AS {name}" for name in _SIDE_COLUMNS]
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
