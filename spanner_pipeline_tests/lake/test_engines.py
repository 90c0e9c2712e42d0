"""The tables are plain Delta: other engines read the same rows and sums from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.flight as flight
import pytest
from deltalake import DeltaTable, QueryBuilder

from spanner_pipeline.lake.maintenance import maintain
from spanner_pipeline.lake.revert import revert
from spanner_pipeline_tests.lake.building import REGION, Row, TinyRoot, exact_total
from spanner_pipeline_tests.sail import ask, running_sail

PLAN = {"name": "plan", "type": "string", "required": False}
HUGE = f"1{'0' * 28}.123456789"
"""All 38 digits; the sum of nine has no more."""

FIRST = [
    Row(str(n), f"org_{n % 3}", f"{n + 1}.000000001", f"2024-01-{1 + n % 4:02}T05:00:00Z")
    for n in range(200)
]
CORRECTED = [row.but(quantity="7.5", rev="2") for row in FIRST[::10]]
MOVED = [row.but(time="2024-02-29T23:59:59.999999Z", rev="3") for row in FIRST[5::20]]
LATE = [Row(f"late_{n}", quantity=HUGE, region="eu") for n in range(9)]
STATE = {row.id: row.payload for row in (*FIRST, *CORRECTED, *MOVED, *LATE)}

SUMS = "SELECT event_date, subject, count(*) AS events, sum(quantity) AS quantity FROM {table}"
SUMS += " WHERE {where} GROUP BY event_date, subject"
EVENTS = "SELECT idempotency_key, event_date, quantity, dim_plan FROM {table} WHERE {where}"

Rows = set[tuple[Any, ...]]
Engine = Callable[[Path, flight.FlightClient, str, str], pa.Table]
"""Asks SQL of a table for the events of a condition."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TinyRoot:
    """A table that has seen everything: corrections, a move, a replay, a revert, a new column."""
    lake = TinyRoot(tmp_path_factory.mktemp("engines"), corrections=True)
    lake.deliver(FIRST)
    lake.deliver(CORRECTED)
    lake.deliver(MOVED)
    batch = lake.deliver([row.but(quantity="1", rev="4") for row in FIRST[::3]]).record.batch
    revert(lake.root, lake.catalog, batch)
    lake.dimensions = [REGION, PLAN]
    lake.usage = {"dimensions": {"region": "region", "plan": "subject"}}
    lake.declare()
    lake.deliver(LATE)
    lake.deliver(FIRST)
    assert lake.payloads() == STATE
    return lake


def sums() -> Rows:
    """What the deliveries say."""
    found: dict[tuple[date, str], list[Decimal]] = defaultdict(list)
    for subject, moment, quantity, _ in STATE.values():
        found[moment.date(), subject].append(quantity)
    return {(*group, len(each), exact_total(each)) for group, each in found.items()}


def own(lake: TinyRoot, sql: str, where: str = "true") -> Rows:
    """The package's own reading."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        select = f"({lake.table.select()})"
        return as_rows(connection.sql(sql.format(table=select, where=where)).to_arrow_table())


def as_rows(table: pa.Table) -> Rows:
    """Rows in no order; their quantities must have come as exact decimals."""
    assert pa.types.is_decimal(table.schema.field("quantity").type)
    rows = [tuple(row.values()) for row in table.to_pylist()]
    assert len(set(rows)) == len(rows)
    return set(rows)


def by_polars(folder: Path, sail: flight.FlightClient, sql: str, where: str) -> pa.Table:
    with pl.SQLContext(events=pl.scan_delta(str(folder))) as context:
        return context.execute(sql.format(table="events", where=where)).collect().to_arrow()


def by_duckdb(folder: Path, sail: flight.FlightClient, sql: str, where: str) -> pa.Table:
    files = DeltaTable(folder).file_uris()
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        listing = ", ".join("'" + name.replace("'", "''") + "'" for name in files)
        read = f"read_parquet([{listing}], hive_partitioning = true, union_by_name = true)"
        return connection.sql(sql.format(table=read, where=where)).to_arrow_table()


def by_delta_rs(folder: Path, sail: flight.FlightClient, sql: str, where: str) -> pa.Table:
    query = QueryBuilder().register("events", DeltaTable(folder))
    return pa.table(query.execute(sql.format(table="events", where=where)).read_all())


def by_pyarrow(folder: Path, sail: flight.FlightClient, sql: str, where: str) -> pa.Table:
    """Delta-rs' dataset for PyArrow, which takes conditions itself; DuckDB sums."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("events", DeltaTable(folder).to_pyarrow_dataset())
        return connection.sql(sql.format(table="events", where=where)).to_arrow_table()


def by_spark_sql(folder: Path, sail: flight.FlightClient, sql: str, where: str) -> pa.Table:
    return ask(sail, sql.format(table=f"delta.`{folder}`", where=where))


@pytest.fixture(scope="module")
def sail() -> Iterator[flight.FlightClient]:
    with running_sail() as client:
        yield client


engines = pytest.mark.parametrize(
    "engine", [by_polars, by_duckdb, by_delta_rs, by_pyarrow, by_spark_sql]
)


@engines
def test_every_engine_reads_the_same_sums(
    lake: TinyRoot, sail: flight.FlightClient, engine: Engine
) -> None:
    expected = sums()
    assert len(expected) == 15
    assert max(total for *_, total in expected) > Decimal(f"9{'0' * 28}")
    assert own(lake, SUMS) == expected
    assert as_rows(engine(lake.table.path, sail, SUMS, "true")) == expected


@engines
@pytest.mark.parametrize(
    ("where", "events"),
    [
        ("true", 209),
        ("subject = 'org_1'", 76),
        ("timestamp >= '2024-02-29T23:59:59.999999Z'", 10),
        ("dim_plan IS NULL", 200),
        ("dim_plan = 'org_1'", 9),
        ("quantity > 1000", 9),
    ],
)
def test_every_engine_finds_the_events_of_a_condition_as_they_are_now(
    lake: TinyRoot, sail: flight.FlightClient, engine: Engine, where: str, events: int
) -> None:
    expected = own(lake, EVENTS, where)
    assert len(expected) == events
    assert as_rows(engine(lake.table.path, sail, EVENTS, where)) == expected


@engines
def test_after_maintenance_too(lake: TinyRoot, sail: flight.FlightClient, engine: Engine) -> None:
    maintain(lake.root, lake.catalog, timedelta(0))
    assert as_rows(engine(lake.table.path, sail, SUMS, "true")) == sums()
