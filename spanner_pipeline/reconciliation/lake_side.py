"""What the lake says for every number of the old bill, and for those that the bill lacks.

Calendar periods whose borders are quarter hours, on one clock for each customer, are found by
arithmetic in one pass over the events; any others by comparing times.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import duckdb
import polars as pl

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.control import EXACT, Total, exact_sum
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.totals import (
    OFFSETS,
    ONE_MICROSECOND,
    OldTotals,
    dimension_columns,
    with_bounds,
)
from spanner_pipeline.usage.aggregations import ADDITIVE, aggregate_sql, aggregated
from spanner_pipeline.usage.filters import group_sql

_QUARTER = 900_000_000
"""Microseconds of a quarter hour, of which every clock's offset has been a multiple since 1972."""

_BOUNDS = ["period", "zone", "first", "days", "start", "end"]


@dataclass(frozen=True)
class LakeSide:
    """The new side of one comparison.

    Attributes:
        cells: A row for each number that either side has: those of the old side, `new` and
            `events`.
        outside: Events that no number covers, and what they add up to if the meter adds.
    """

    cells: pl.DataFrame
    outside: Total


def create_events_view(
    connection: duckdb.DuckDBPyConnection, table: EventTable, total: BillingTotal
) -> None:
    """Make the view `events`: those that the comparison means, with its dimensions as texts."""
    meter = table.meter
    subject = "subject" if total.subject is not None else "'' AS subject"
    by = [f'{group_sql(meter, name)} AS "dim_{name}"' for name in total.dimensions]
    columns = ['"timestamp"', "quantity", "source_file", "source_line", "import_batch"]
    columns += ["idempotency_key", subject, *by]
    where = [
        f"{group_sql(meter, name)} IN ({', '.join(map(literal, values))})"
        for name, values in total.only.items()
    ]
    connection.execute(f"""CREATE OR REPLACE TEMP VIEW events AS
        SELECT {", ".join(columns)} FROM ({table.select(" AND ".join(where) or "true")})""")


def read_lake_side(
    connection: duckdb.DuckDBPyConnection, old: OldTotals, total: BillingTotal, meter: Meter
) -> LakeSide:
    """Aggregate the view `events` for every number of the old side.

    A customer that the old side does not know has a number in every period that others have; a
    customer that it does not know in some period, or under some dimension, is on the clock that it
    had last.
    """
    by = ["subject", *dimension_columns(total)]
    clocks = _last_clocks(old, by)
    default = total.period.zone.constant or "UTC"
    slots = _slots(old, total, [*clocks["zone"].unique().sort(), default])
    if slots is not None and old.cells.select(*by, "zone").unique().height == clocks.height:
        found = _by_arithmetic(connection, slots, old, default, total, meter)
    else:
        found = _by_comparison(connection, old, default, total, meter)
    inside = found.filter(pl.col("period").is_not_null())
    outside = found.filter(pl.col("period").is_null())
    quantity = exact_sum(outside["quantity"]) if meter.aggregation in ADDITIVE else Decimal(0)
    new = inside.with_columns(aggregated(meter, inside, meter.decimals).alias("new"))
    key = [*by, "period", "zone"]
    cells = old.cells.join(
        new.select(*by, *_BOUNDS, "new", "events"), on=key, how="full", nulls_equal=True
    )
    there = [pl.coalesce(name, f"{name}_right").alias(name) for name in [*by, *_BOUNDS]]
    kept = [name for name in cells.columns if not name.endswith("_right")]
    cells = cells.with_columns(there).select(kept)
    return LakeSide(cells.sort("start", *by), Total(int(outside["events"].sum()), quantity))


def _slots(old: OldTotals, total: BillingTotal, zones: list[str]) -> pl.DataFrame | None:
    """The periods of the old side on each clock; None where they are not a calendar's."""
    if total.period.grain is None:
        return None
    firsts = old.cells.select(pl.col("first").alias("begins")).unique().sort("begins")
    ends = pl.col("begins").dt.offset_by(OFFSETS[total.period.grain])
    names = pl.DataFrame({"zone": sorted(set(zones))})
    slots = with_bounds(
        firsts.with_columns(ends.alias("ends")).join(names, how="cross"), total.period
    )
    slots = slots.filter(pl.col("start") < pl.col("end")).select(_BOUNDS).sort("zone", "start")
    shift = timedelta(microseconds=1) if total.period.bounds == "(start, end]" else timedelta()
    borders = pl.concat([slots["start"], slots["end"]]).dt.epoch("us") - shift.microseconds
    overlapping = (slots["end"].shift(1) > slots["start"]) & (
        slots["zone"].shift(1) == slots["zone"]
    )
    return None if (borders % _QUARTER != 0).any() or overlapping.any() else slots


def _last_clocks(old: OldTotals, by: list[str]) -> pl.DataFrame:
    return old.cells.sort("start", "zone").group_by(by).last().select(*by, "zone")


def _by_arithmetic(
    connection: duckdb.DuckDBPyConnection,
    slots: pl.DataFrame,
    old: OldTotals,
    default: str,
    total: BillingTotal,
    meter: Meter,
) -> pl.DataFrame:
    by = ["subject", *dimension_columns(total)]
    slots = slots.with_row_index("slot")
    shift = 1 if total.period.bounds == "(start, end]" else 0
    quarters = slots.select(
        "slot",
        "zone",
        pl.int_ranges(
            pl.col("start").dt.epoch("us") // _QUARTER, pl.col("end").dt.epoch("us") // _QUARTER
        ).alias("quarter"),
    ).explode("quarter")
    connection.register("quarters", quarters)
    on_its_clock = ""
    if slots["zone"].n_unique() > 1:
        connection.register("clocks", _last_clocks(old, by))
        connection.register("customers", _last_clocks(old, ["subject"]))
        same = " AND ".join(f'clocks."{name}" IS NOT DISTINCT FROM events."{name}"' for name in by)
        on_its_clock = f"""LEFT JOIN clocks ON {same}
            LEFT JOIN customers ON customers.subject IS NOT DISTINCT FROM events.subject"""
        zone = f"AND quarters.zone = coalesce(clocks.zone, customers.zone, {literal(default)})"
    else:
        zone = ""
    names = ", ".join(f'events."{name}"' for name in by)
    found = connection.sql(f"""
        SELECT {names}, slot, {aggregate_sql(meter)} AS quantity, count(*) AS events
        FROM events {on_its_clock} LEFT JOIN quarters
        ON quarters.quarter = (epoch_us("timestamp") - {shift}) // {_QUARTER} {zone}
        GROUP BY {names}, slot""")
    totals = pl.DataFrame(found.to_arrow_table())
    return totals.join(slots, on="slot", how="left").drop("slot")


def _by_comparison(
    connection: duckdb.DuckDBPyConnection,
    old: OldTotals,
    default: str,
    total: BillingTotal,
    meter: Meter,
) -> pl.DataFrame:
    by = ["subject", *dimension_columns(total)]
    listing = ", ".join(f'"{name}"' for name in by)
    known = pl.DataFrame(connection.sql(f"SELECT DISTINCT {listing} FROM events").to_arrow_table())
    known = known.cast(dict.fromkeys(by, pl.String))
    clocks, customers = _last_clocks(old, by), _last_clocks(old, ["subject"])
    every = known.join(clocks, on=by, how="full", coalesce=True, nulls_equal=True)
    every = every.join(customers, on="subject", how="left", nulls_equal=True, suffix="_of_customer")
    every = every.with_columns(pl.coalesce("zone", "zone_of_customer", pl.lit(default)))
    placed = old.cells.select(*by, *_BOUNDS)
    if total.period.grain is not None:
        firsts = old.cells.select(pl.col("first").alias("begins")).unique()
        ends = pl.col("begins").dt.offset_by(OFFSETS[total.period.grain]).alias("ends")
        absent = with_bounds(every.join(firsts, how="cross").with_columns(ends), total.period)
        absent = absent.join(placed, on=[*by, "period"], how="anti", nulls_equal=True)
    else:  # invoices have periods of their own: who has none gets the whole time of all
        unbilled = every.join(placed, on=by, how="anti", nulls_equal=True)
        absent = unbilled.join(_whole_time(placed, total), how="cross")
    grid = pl.concat([placed, absent.select(*by, *_BOUNDS)]).with_row_index("slot")
    grid = grid.filter(pl.col("start") < pl.col("end"))
    connection.register("grid", grid)
    same = " AND ".join(f'grid."{name}" IS NOT DISTINCT FROM events."{name}"' for name in by)
    during = '"timestamp" >= grid."start" AND "timestamp" < grid."end"'
    found = connection.sql(f"""
        SELECT grid.slot, {aggregate_sql(meter)} AS quantity, count(*) AS events
        FROM events JOIN grid ON {same} AND {during} GROUP BY grid.slot""")
    inside = pl.DataFrame(found.to_arrow_table()).join(grid, on="slot", how="left").drop("slot")
    [[rows, quantity]] = connection.execute(f"""
        SELECT count(*), coalesce({aggregate_sql(meter)}, 0)::{meter.quantity_type} FROM events
        ANTI JOIN grid ON {same} AND {during}""").fetchall()
    outside = {"quantity": [EXACT.plus(quantity)], "events": [rows]}
    dtypes = {"quantity": inside.schema["quantity"], "events": inside.schema["events"]}
    return pl.concat([inside, pl.DataFrame(outside, schema=dtypes)], how="diagonal")


def _whole_time(cells: pl.DataFrame, total: BillingTotal) -> pl.DataFrame:
    shift = ONE_MICROSECOND if total.period.bounds == "(start, end]" else pl.duration()
    start, end = pl.col("start").min(), pl.col("end").max()
    label = pl.concat_str(
        [(time - shift).dt.strftime("%Y-%m-%d") for time in (start, end)], separator="/"
    )
    days = (end - start).dt.total_days()
    return cells.select(
        label.alias("period"),
        pl.col("first").min(),
        days.alias("days"),
        start.alias("start"),
        end.alias("end"),
    )
