"""The tables are plain Delta: other engines read the same sums from them."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.flight as flight
import pytest
from deltalake import DeltaTable, QueryBuilder

from spanner_pipeline.lake.maintenance import maintain
from spanner_pipeline.lake.revert import revert
from spanner_pipeline_tests.lake.building import REGION, Row, TinyRoot

PLAN = {"name": "plan", "type": "string", "required": False}
HUGE = "9" * 27 + ".999999999"

Sums = dict[tuple[date, str], tuple[int, Decimal]]
"""Rows and quantity by day and subject."""

SUMS = """SELECT event_date, subject, count(*) AS n, CAST(sum(quantity) AS STRING) AS total
    FROM {table} GROUP BY event_date, subject"""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TinyRoot:
    """A table that has seen everything: corrections, a move, a replay, a revert, a new column."""
    lake = TinyRoot(tmp_path_factory.mktemp("engines"), corrections=True)
    first = [
        Row(str(n), f"org_{n % 3}", f"{n}.000000001", f"2024-01-{1 + n % 4:02}T05:00:00Z")
        for n in range(200)
    ]
    lake.deliver(first)
    lake.deliver([row.but(quantity="7.5", rev="2") for row in first[::10]])
    lake.deliver([row.but(time="2024-02-29T23:59:59.999999Z", rev="3") for row in first[5::20]])
    batch = lake.deliver([row.but(quantity="1", rev="4") for row in first[::3]]).record.batch
    revert(lake.root, lake.catalog, batch)
    lake.dimensions = [REGION, PLAN]
    lake.usage = {"dimensions": {"region": "region", "plan": "subject"}}
    lake.declare()
    lake.deliver([Row(f"late {n}", quantity=HUGE, region="eu") for n in range(9)])
    lake.deliver(first)
    return lake


def own(lake: TinyRoot) -> Sums:
    events = lake.events().group_by("event_date", "subject")
    rows = events.agg(pl.len(), pl.col("quantity").sum()).iter_rows()
    return {(day, subject): (count, total) for day, subject, count, total in rows}


def as_sums(table: pa.Table) -> Sums:
    found = (tuple(row.values()) for row in table.to_pylist())
    return {(day, subject): (count, Decimal(total)) for day, subject, count, total in found}


def by_polars(folder: Path, sail: flight.FlightClient) -> Sums:
    events = pl.scan_delta(str(folder)).group_by("event_date", "subject")
    rows = events.agg(pl.len(), pl.col("quantity").sum()).collect().iter_rows()
    return {(day, subject): (count, total) for day, subject, count, total in rows}


def by_duckdb(folder: Path, sail: flight.FlightClient) -> Sums:
    files = DeltaTable(folder).file_uris()
    with duckdb.connect() as connection:
        listing = ", ".join("'" + name.replace("'", "''") + "'" for name in files)
        read = f"read_parquet([{listing}], hive_partitioning = true, union_by_name = true)"
        return as_sums(connection.sql(SUMS.format(table=read)).to_arrow_table())


def by_delta_rs(folder: Path, sail: flight.FlightClient) -> Sums:
    query = QueryBuilder().register("events", DeltaTable(folder))
    return as_sums(pa.table(query.execute(SUMS.format(table="events")).read_all()))


def by_spark_sql(folder: Path, sail: flight.FlightClient) -> Sums:
    return as_sums(ask(sail, SUMS.format(table=f"delta.`{folder}`")))


@pytest.fixture(scope="module")
def sail() -> Iterator[flight.FlightClient]:
    """Sail, an engine that speaks Spark SQL, asked through Arrow Flight SQL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("sail")
    command = [program, "flight", "server", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            with flight.FlightClient(f"grpc://127.0.0.1:{port}") as client:
                client.wait_for_available(30)
                yield client
        finally:
            server.terminate()


def ask(client: flight.FlightClient, sql: str) -> pa.Table:
    """Ask a Flight SQL server: `CommandStatementQuery` of Arrow's FlightSql.proto, in an `Any`."""

    def field(number: int, value: bytes) -> bytes:
        size, length = len(value), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + value

    kind = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    command = field(1, kind) + field(2, field(1, sql.encode()))
    info = client.get_flight_info(flight.FlightDescriptor.for_command(command))
    return client.do_get(info.endpoints[0].ticket).read_all()


engines = pytest.mark.parametrize("engine", [by_polars, by_duckdb, by_delta_rs, by_spark_sql])
Engine = Callable[[Path, flight.FlightClient], Sums]


@engines
def test_every_engine_reads_the_same_sums(
    lake: TinyRoot, sail: flight.FlightClient, engine: Engine
) -> None:
    expected = own(lake)
    assert len({day for day, _ in expected}) == 5
    assert sum(rows for rows, _ in expected.values()) == 209
    assert max(quantity for _, quantity in expected.values()) > 8 * Decimal(HUGE)
    assert engine(lake.table.path, sail) == expected


@engines
def test_after_maintenance_too(lake: TinyRoot, sail: flight.FlightClient, engine: Engine) -> None:
    expected = own(lake)
    maintain(lake.root, lake.catalog, timedelta(0))
    assert engine(lake.table.path, sail) == expected
