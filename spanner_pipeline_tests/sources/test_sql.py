"""An old billing system that still lives in a database: read only, exactly, once."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from spanner_pipeline.arrivals import Memory, look
from spanner_pipeline.cli import app
from spanner_pipeline.errors import ConfigurationError, SourceFileError
from spanner_pipeline.importing import UsageImport, import_partition
from spanner_pipeline.lake.expected import arrived, completeness
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.passing import may_pass
from spanner_pipeline.repairs.take import take_repairs
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.sources import database, mysql, postgresql
from spanner_pipeline.sources.files import find_files
from spanner_pipeline.sources.rows import read_rows
from spanner_pipeline.sources.tables import listed
from spanner_pipeline_tests.small_root import METERS
from spanner_pipeline_tests.sources.mariadb import MariaDB, mariadb
from spanner_pipeline_tests.sources.postgres import PASSWORD, USER, Postgres, postgres

DAYS = ("2024-01-01", "2024-01-02")
VARIABLE = "OLD_BILLING_PASSWORD"

QUERY = "SELECT id, account, amount, at, region FROM calls WHERE at >= {start} AND at < {end}"
CALLS = """\
source: old_calls
format:
  family: sql
  query: QUERY
PASSWORD_ENV
files: LOCATION
partitions: {grain: day, from: 2024-01-01, to: 2024-01-03}
identity: {native: id}
zone: UTC
usage:
  - meter: calls
    subject: account
    quantity: amount
    timestamp: at
    dimensions: {region: region}
"""
BILL = """\
source: old_bill
format:
  family: sql
  table: bill
PASSWORD_ENV
files: LOCATION
partitions: {grain: whole}
billing_totals:
  - name: billed_calls
    meter: calls
    subject: account
    quantity: calls
    period: {column: month, grain: month, zone: UTC}
"""
TABLES = (
    "DROP TABLE IF EXISTS calls",
    "DROP TABLE IF EXISTS bill",
    "CREATE TABLE calls (id text, account text, amount NUMBER, at TIME, region text)",
    "CREATE TABLE bill (account text, month text, calls NUMBER)",
    "INSERT INTO bill VALUES ('acme', '2024-01', '12.006')",
)


KINDS = {
    Postgres: ("numeric", "timestamptz"),
    MariaDB: ("decimal(38, 9)", "datetime(6)"),
    type(None): ("text", "text"),
}
"""What each kind of database calls an exact number, and a time."""


@dataclass
class Database:
    """A real database with the old calls, and the root that imports them."""

    root: DataRoot
    server: Postgres | MariaDB | None

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return self.root.path / "legacy/old.db"

    def run(self, *statements: str) -> None:
        """Change what it holds."""
        number, time = KINDS[type(self.server)]
        told = [s.replace("NUMBER", number).replace("TIME", time) for s in statements]
        if self.server is not None:
            self.server.run(*told)
            return
        with closing(sqlite3.connect(self.file)) as connection, connection:
            for statement in told:
                connection.execute(statement)

    def call(self, day: str, number: int, amount: str = "", region: str = "eu") -> None:
        """One call of a day."""
        offset = "" if isinstance(self.server, MariaDB) else "Z"
        self.run(
            f"INSERT INTO calls VALUES ('{day}/{number}', 'acme', '{amount or f'{number}.001'}', "
            f"'{day} 0{number}:30:00{offset}', '{region}')"
        )

    def declare(self, query: str = QUERY, **changes: str) -> None:
        """Write the YAML of the root."""
        location = self.server.url if self.server else "legacy/old.db"
        variable = f"  password_env: {VARIABLE}" if self.server else ""
        for name, text in (("old_calls", CALLS), ("old_bill", BILL)):
            text = text.replace("QUERY", json.dumps(query)).replace("LOCATION", location)
            text = text.replace("PASSWORD_ENV", variable)
            for old, new in changes.items():
                text = text.replace(old, new)
            path = self.root.path / "sources" / f"{name}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def take(self, day: str) -> UsageImport:
        """Import a day."""
        catalog = load_catalog(self.root)
        [done] = import_partition(self.root, catalog, catalog.sources["old_calls"], day)
        return done

    def rows(self, query: str) -> pl.DataFrame:
        """What an import reads of a query."""
        self.declare(query)
        source = load_catalog(self.root).sources["old_calls"]
        return pl.concat(list(read_rows(source, find_files(self.root, source, DAYS[0]))))


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running, pytest.MonkeyPatch.context() as patched:
        patched.setenv(VARIABLE, PASSWORD)
        yield running


only_mysql = pytest.mark.parametrize("old", ["mysql"], indirect=True)
only_sqlite = pytest.mark.parametrize("old", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaDB]:
    with mariadb() as running, pytest.MonkeyPatch.context() as patched:
        patched.setenv(VARIABLE, PASSWORD)
        yield running


SERVERS = {"postgresql": "server", "mysql": "maria"}


@pytest.fixture(params=["sqlite", *SERVERS])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Two days of three calls each, and a bill of theirs."""
    name = SERVERS.get(request.param)
    started = request.getfixturevalue(name) if name else None
    made = Database(DataRoot(tmp_path / "root"), started)
    for folder in ("meters", "legacy"):
        (made.root.path / folder).mkdir(parents=True)
    (made.root.path / "meters/calls.yaml").write_text(METERS["calls"])
    made.run(*TABLES)
    for day in DAYS:
        for number in (1, 2, 3):
            made.call(day, number)
    made.declare()
    return made


@pytest.fixture
def served(server: Postgres, tmp_path: Path) -> Database:
    made = Database(DataRoot(tmp_path / "root"), server)
    (made.root.path / "meters").mkdir(parents=True)
    (made.root.path / "meters/calls.yaml").write_text(METERS["calls"])
    made.run(*TABLES)
    made.call(DAYS[0], 1)
    made.declare()
    return made


def invoke(old: Database, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--data", str(old.root.path)])
    return done.exit_code, done.output


def left_behind(root: DataRoot) -> list[Path]:
    return [path for path in root.staging.rglob("*") if path.is_file()]


def test_a_backfill_imports_each_day_and_reconciles_with_the_bill(old: Database) -> None:
    said = [invoke(old, "sources", "check"), invoke(old, "backfill")]
    assert [code for code, _ in said] == [0, 0], said
    assert re.search(r"billed_calls\W+PASS", said[-1][1]), said
    assert EventTable(old.root, load_catalog(old.root).meters["calls"]).count() == 6
    assert [old.take(day).unchanged for day in DAYS] == [True, True]
    number = ("--comparison", "billed_calls", "--subject", "acme", "--period", "2024-01")
    code, told = invoke(old, "explain", *number)
    assert (code, "#old_bill/whole:1" in told.replace("\n", "")) == (0, True), told
    pack = old.root.path / "pack.zip"
    assert invoke(old, "evidence", "billed_calls", "--out", str(pack))[0] == 0
    assert invoke(old, "verify", str(pack))[0] == 0
    old.run("UPDATE calls SET amount = '9' WHERE id = '2024-01-02/3'")
    code, told = invoke(old, "verify", str(pack))
    assert code == 1
    assert "#old_calls/2024-01-02" in told.replace("\n", "")
    assert left_behind(old.root) == []
    refuse_to_hold(PASSWORD, old.root, *(text for _, text in said))


def refuse_to_hold(secret: str, root: DataRoot, *said: str) -> None:
    assert secret not in "".join(said)
    for path in root.path.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_the_order_of_a_database_is_no_change_and_a_changed_row_is(old: Database) -> None:
    first = old.take(DAYS[0])
    assert (first.totals.new.rows, first.totals.new.quantity) == (3, Decimal("6.003"))
    [file] = first.record.files
    assert file.name.endswith("#old_calls/2024-01-01")
    old.run(f"DELETE FROM calls WHERE id < '{DAYS[0]}/3'")  # written anew, and so the last rows
    for number in (2, 1):
        old.call(DAYS[0], number)
    assert old.take(DAYS[0]).unchanged
    old.call(DAYS[0], 7)
    assert old.take(DAYS[1]).totals.new.rows == 3
    again = old.take(DAYS[0])
    assert (again.totals.new.rows, again.totals.present.rows) == (1, 3)
    old.run(f"UPDATE calls SET amount = '8' WHERE id = '{DAYS[0]}/7'")
    assert old.take(DAYS[0]).totals.conflicting.rows == 1


def test_a_day_asks_for_its_day_only_on_the_clock_of_its_source(old: Database) -> None:
    old.declare(UTC="America/New_York" if old.server else "UTC")
    assert old.take(DAYS[0]).totals.read.rows == 3
    if isinstance(old.server, Postgres):  # New York's day begins at 05:00 UTC
        old.call("2024-01-02", 4)
        old.call("2024-01-02", 5)
        again = old.take(DAYS[0])
        assert (again.totals.read.rows, again.totals.present.rows) == (4, 3)


def test_a_table_with_a_partition_column_is_asked_alike(old: Database) -> None:
    old.declare()
    path = old.root.path / "sources/old_calls.yaml"
    asked = f'query: "{QUERY}"'
    path.write_text(path.read_text().replace(asked, "table: calls\n  partition_column: at"))
    assert [old.take(day).totals.new.rows for day in DAYS] == [3, 3]


def test_a_rejected_row_is_named_mended_and_fed_again(old: Database) -> None:
    old.call(DAYS[0], 9, "2.0001")
    assert old.take(DAYS[0]).totals.rejected.rows == 1
    [kept] = old.root.quarantine.rglob("*.parquet")
    row = pl.read_parquet(kept).row(0, named=True)
    assert row["source_file"].endswith("#old_calls/2024-01-01")
    assert row["source_line"] == 4  # rows are numbered in the order of their ids
    [repair] = old.root.quarantine.rglob("*.repair.csv")
    repair.write_text(repair.read_text().replace("2.0001", "2.5"))
    source = load_catalog(old.root).sources["old_calls"]
    assert take_repairs(old.root, source, repair).mended == {DAYS[0]: 1}
    done = old.take(DAYS[0])
    assert (done.totals.new.rows, done.totals.new.quantity) == (1, Decimal("2.5"))
    assert left_behind(old.root) == []


def test_a_day_without_rows_is_a_delivery_of_none(old: Database) -> None:
    old.run(f"DELETE FROM calls WHERE id < '{DAYS[1]}'")
    done = old.take(DAYS[0])
    assert (done.totals.read.rows, done.unchanged) == (0, False)
    assert old.take(DAYS[0]).unchanged
    assert left_behind(old.root) == []
    source = load_catalog(old.root).sources["old_calls"]
    told = completeness(old.root, source, DAYS[0], arrived(old.root, source), datetime.now(UTC))
    assert not told.passed
    assert "no rows" in told.message
    old.call(DAYS[0], 1)
    assert old.take(DAYS[0]).totals.new.rows == 1


def test_a_wrong_query_is_told_and_not_tried_again(old: Database) -> None:
    old.declare(QUERY.replace("amount", "amuont"))
    with pytest.raises(SourceFileError, match=r"#old_calls/2024-01-01: the data.*amuont") as told:
        old.take(DAYS[0])
    assert not may_pass(told.value)
    code, said = invoke(old, "sources", "check")
    assert code == 1, said
    assert "amuont" in said
    old.declare("SELECT id, id, account, amount, at, region FROM calls WHERE {start} < {end}")
    with pytest.raises(SourceFileError, match="two columns named id"):
        old.take(DAYS[0])
    old.declare(QUERY.replace("region", "id AS other"))
    with pytest.raises(SourceFileError, match="it misses region"):
        old.take(DAYS[0])
    assert left_behind(old.root) == []


def test_a_column_may_have_any_name_but_that_of_another(old: Database) -> None:
    names = ["^x$", "*", 'a "b".c', "line", "content"]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    more = ", ".join(f"account AS {name}" for name in quoted)
    found = old.rows(QUERY.replace("region", f"region, {more}"))
    assert set(names) <= json.loads(found["original"][0]).keys()
    old.declare(QUERY.replace("region", 'region, id AS "Id"'))
    with pytest.raises(SourceFileError, match="two columns named id"):
        old.take(DAYS[0])


def test_nothing_can_be_written(old: Database) -> None:
    before = old.file.read_bytes() if old.server is None else b""
    if old.server is not None:
        forgets = {
            Postgres: "LANGUAGE sql AS $$ DELETE FROM calls; SELECT 'gone' $$",
            MariaDB: "MODIFIES SQL DATA BEGIN DELETE FROM calls; RETURN 'gone'; END",
        }
        old.run(
            "CREATE SEQUENCE IF NOT EXISTS numbers",
            f"CREATE OR REPLACE FUNCTION forget() RETURNS text {forgets[type(old.server)]}",
        )
        number = "'numbers'" if isinstance(old.server, Postgres) else "numbers"
        for call in ("forget()", f"nextval({number})"):
            old.declare(QUERY.replace("region FROM", f"{call} AS region FROM"))
            with pytest.raises(SourceFileError, match=r"(?i)read.only transaction"):
                old.take(DAYS[0])
    old.declare()
    assert old.take(DAYS[0]).totals.new.rows == 3
    assert before == (old.file.read_bytes() if old.server is None else b"")


@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(numbers=st.lists(st.decimals(places=9, min_value=-(10**20), max_value=10**20), min_size=9))
def test_numerics_are_exact(old: Database, numbers: list[Decimal]) -> None:
    old.run("DROP TABLE IF EXISTS written", "CREATE TABLE written (id text, n NUMBER)")
    listed = ", ".join(f"('{at:06}', '{number:f}')" for at, number in enumerate(numbers))
    old.run(f"INSERT INTO written VALUES {listed}")
    found = old.rows(
        "SELECT id, 'a' AS account, n AS amount, '2024-01-01T00:00Z' AS at, 'r' AS region "
        "FROM written WHERE '2024' < {start} AND '2025' > {end}"
    )
    assert [Decimal(text) for text in found["raw.amount"]] == numbers


def test_the_values_of_postgresql_are_spelled_as_in_typed_files(served: Database) -> None:
    values = {
        "1.500::numeric(20,9)": "1.5",
        "'NaN'::numeric": "NaN",
        "0.1::float8": "0.1",
        "1e300::float8": "1e+300",
        "9007199254740993::bigint": "9007199254740993",
        "true": "true",
        "NULL::numeric": None,
        "'2024-07-01 12:00+02'::timestamptz": "2024-07-01T10:00:00.000000000Z",
        "'2024-07-01 12:00:00.5'::timestamp": "2024-07-01T12:00:00.500000000",
        "'infinity'::timestamptz": "infinity",
        "'2024-07-01'::date": "2024-07-01",
        "'50%'::text": "50%",
    }
    for sql, text in values.items():
        found = served.rows(
            f"SELECT id, account, {sql} AS amount, at, region FROM calls WHERE at < {{end}} "
            "AND at >= {start} AND region NOT LIKE '%; --'"
        )
        assert found["raw.amount"].to_list() == [text], sql


@only_mysql
def test_the_values_of_mysql_are_spelled_as_in_typed_files(old: Database) -> None:
    old.run(
        "DROP TABLE IF EXISTS held",
        "CREATE TABLE held (f float, d double(10, 2), b bit(9), t timestamp(6), raw blob, "
        "big bigint unsigned, old datetime)",
        "SET sql_mode = ''",  # which takes a date of zeros
        "INSERT INTO held VALUES (16777216, 2.5, 261, '2024-07-01 12:00:00.5', x'ff61', "
        "18446744073709551615, '0000-00-00')",
    )
    values = {
        "CAST(1.5 AS DECIMAL(20, 9))": "1.5",
        "1000.00": "1000",
        "1000": "1000",
        "0.1e0": "0.1",
        "1e300": "1e300",
        "f + 0e0": "16777216",
        "d": "2.5",
        "b": "261",
        "t": "2024-07-01T03:00:00.500000000Z",  # the server's clock is Tokyo's
        "raw": "\\xffa",
        "big": "18446744073709551615",
        "NULL": None,
        "CAST('2024-07-01 12:00:00.5' AS DATETIME(6))": "2024-07-01T12:00:00.500000000",
        "old": "0000-00-00 00:00:00",
        "CAST('2024-07-01' AS DATE)": "2024-07-01",
        "'50% \\ €'": "50% \\ €",
    }
    told = ", ".join(f'{sql} AS "{at}"' for at, sql in enumerate(values))
    row = json.loads(
        old.rows(
            "SELECT id, account, amount, at, region, " + told + " FROM calls, held "
            "WHERE at < {end} AND at >= {start} AND region NOT LIKE '%; --'"
        )["original"][0]
    )
    assert {sql: row[str(at)] for at, sql in enumerate(values)} == values


@only_mysql
def test_what_mysql_would_round_or_ask_on_another_clock_is_refused(old: Database) -> None:
    old.run(
        "DROP TABLE IF EXISTS held",
        "CREATE TABLE held AS SELECT id, account, amount, at, region, CAST(1 AS FLOAT) AS f "
        "FROM calls",
    )
    old.declare("SELECT * FROM held WHERE at >= {start} AND at < {end}")
    with pytest.raises(SourceFileError, match=r"column f.*six digits.*f \+ 0e0 AS f") as told:
        old.take(DAYS[0])
    assert not may_pass(told.value)
    old.run("ALTER TABLE held DROP f, MODIFY at timestamp(6)")
    asked = 'SELECT * FROM held WHERE "at" BETWEEN {start} AND {end}'
    old.declare(asked, UTC="Europe/Berlin")
    with pytest.raises(SourceFileError, match=r"column at.*compared in UTC.*`zone: UTC`"):
        old.take(DAYS[0])
    old.declare("SELECT * FROM held WHERE at >= {start} AND at < {end}")
    assert old.take(DAYS[0]).totals.new.rows == 3  # in UTC the 3 of the next day, Tokyo's morning


@only_mysql
def test_what_may_pass_in_mysql_is_tried_again_and_no_password_said(
    old: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = []
    for value, why in ((f"{PASSWORD} that is wrong", "Access denied"), ("", f"set {VARIABLE}")):
        with monkeypatch.context() as patched, pytest.raises(SourceFileError, match=why) as told:
            patched.setenv(VARIABLE, value)
            old.take(DAYS[0])
        assert not may_pass(told.value)
        said.append(str(told.value))
    refuse_to_hold(PASSWORD, old.root, *said, caplog.text)

    # The server ends the session while its rows are read.
    monkeypatch.setattr(mysql, "BATCH_ROWS", 2)
    real = mysql._texts

    def ended(*one: Any) -> pl.Series:
        monkeypatch.setattr(mysql, "_texts", real)
        monkeypatch.setattr(mysql, "BATCH_ROWS", 50_000)  # what is on its way comes still
        old.run(f"KILL USER {USER}")
        return real(*one)

    monkeypatch.setattr(mysql, "_texts", ended)
    many = QUERY.replace("id,", "seq AS id,").replace("FROM", "FROM seq_1_to_1000000,")
    old.declare(many)
    with pytest.raises(SourceFileError, match="gives no answer") as told:
        old.take(DAYS[0])
    assert may_pass(told.value)
    assert left_behind(old.root) == []

    old.declare(**{str(old.server.port): "1"})  # nobody listens there
    with pytest.raises(SourceFileError, match="gives no answer") as told:
        old.take(DAYS[0])
    assert may_pass(told.value)


@only_mysql
def test_a_query_of_mysql_is_checked_without_reading_its_rows(old: Database) -> None:
    old.declare(QUERY.replace("id,", "seq AS id,").replace("FROM", "FROM seq_1_to_1000000000,"))
    begun = time.monotonic()
    assert list(listed(old.root, load_catalog(old.root).sources["old_calls"], DAYS[:1]))
    assert time.monotonic() - begun < 20  # all the rows would take an hour


@only_sqlite
def test_the_values_of_sqlite_are_what_is_stored(old: Database) -> None:
    old.run("DELETE FROM calls", "CREATE TABLE any (v)")
    for value in (
        "1.10",
        "'1.10'",
        "2e20",
        "9007199254740993",
        "NULL",
        "x'61ff'",
        "CAST(x'ff' AS TEXT)",
    ):
        old.run(f"INSERT INTO any VALUES ({value})")
    found = old.rows(
        "SELECT rowid AS id, 'a' AS account, v AS amount, '' AS at, '' AS region FROM any "
        "WHERE {start} < {end}"
    )
    assert found["raw.amount"].to_list() == [
        "1.1",
        "1.10",
        "2e+20",
        "9007199254740993",
        None,
        "a\\xff",
        "\\xff",
    ]


def test_no_password_is_written_or_said(
    served: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = []
    served.declare(QUERY.replace("amount", "amuont"))
    with pytest.raises(SourceFileError) as told:
        served.take(DAYS[0])
    said.append(str(told.value))
    monkeypatch.setenv(VARIABLE, f"{PASSWORD} that is wrong")
    said.append(invoke(served, "sources", "check")[1])
    assert "authentication failed" in said[-1]
    monkeypatch.delenv(VARIABLE)
    said.append(invoke(served, "sources", "check")[1])
    assert f"no password: set {VARIABLE}" in " ".join(said[-1].split())
    refuse_to_hold(PASSWORD, served.root, *said, caplog.text)


def test_what_may_pass_is_tried_again_and_what_lasts_is_not(
    served: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(SourceFileError) as told:
        patched.setenv(VARIABLE, "wrong")
        served.take(DAYS[0])
    assert not may_pass(told.value)
    monkeypatch.setattr(database, "BATCH_ROWS", 2)
    monkeypatch.setattr(postgresql, "BATCH_ROWS", 2)
    catalog = load_catalog(served.root)
    for number in range(2, 8):
        served.call(DAYS[0], number)

    # The server ends the session while its rows are read.
    real, seen = postgresql._canonical, []

    def ended(name: str, kind: int) -> pl.Expr:
        if not seen:
            served.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                "application_name = 'spanner_pipeline'"
            )
        seen.append(name)
        return real(name, kind)

    monkeypatch.setattr(postgresql, "_canonical", ended)
    with pytest.raises(SourceFileError, match="gives no answer") as told:
        served.take(DAYS[0])
    assert may_pass(told.value)
    assert left_behind(served.root) == []
    assert EventTable(served.root, catalog.meters["calls"]).count() == 0
    assert served.take(DAYS[0]).totals.new.rows == 7

    served.declare(**{str(served.server.port): "1"})  # nobody listens there
    with pytest.raises(SourceFileError, match="gives no answer") as told:
        served.take(DAYS[0])
    assert may_pass(told.value)


def test_a_row_that_the_server_cannot_compute_is_named(
    served: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "BATCH_ROWS", 2)
    for number in range(2, 8):
        served.call(DAYS[0], number)
    served.declare(QUERY.replace("amount", "1 / (6.001 - amount) AS amount"))
    said = "#old_calls/2024-01-01: the database refuses the query after 4 rows: division by zero"
    with pytest.raises(SourceFileError, match=said) as told:
        served.take(DAYS[0])
    assert not may_pass(told.value)


def test_a_sensor_asks_for_days_that_were_never_imported(served: Database) -> None:
    source = load_catalog(served.root).sources["old_calls"]
    now = datetime.now(UTC)
    first = look(served.root, source, DAYS, Memory(), now)
    assert list(first.arrived) == list(DAYS)
    assert look(served.root, source, DAYS, first.remember(DAYS), now).arrived == {}
    served.take(DAYS[0])
    assert list(look(served.root, source, DAYS, Memory(), now).arrived) == [DAYS[1]]
    assert left_behind(served.root) == []


@only_sqlite
def test_a_sensor_reads_a_sqlite_file_that_changed(old: Database) -> None:
    source = load_catalog(old.root).sources["old_calls"]
    for day in DAYS:
        old.take(day)
    later = datetime.now(UTC) + timedelta(minutes=5)
    assert look(old.root, source, DAYS, Memory(), later).arrived == {}
    old.call(DAYS[1], 8)
    later = datetime.now(UTC) + timedelta(minutes=5)
    assert list(look(old.root, source, DAYS, Memory(), later).arrived) == [DAYS[1]]


@only_sqlite
def test_a_sqlite_file_that_is_none_or_locked_is_told(old: Database) -> None:
    with closing(sqlite3.connect(old.file, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("spanner_pipeline.sources.sqlite._BUSY_SECONDS", 0)
            with pytest.raises(SourceFileError, match="locked") as told:
                old.take(DAYS[0])
        assert may_pass(told.value)
        writer.execute("ROLLBACK")
    old.file.write_bytes(b"no database " * 400)
    with pytest.raises(SourceFileError, match="is not a database") as told:
        old.take(DAYS[0])
    assert not may_pass(told.value)
    old.file.unlink()
    with pytest.raises(SourceFileError, match="holds nothing"):
        old.take(DAYS[0])


MISTAKES = {
    "a password in the URL": (
        "LOCATION",
        "postgresql://a:hunter2@h/db",
        "files",
        "holds a password",
    ),
    "a password as a setting": (
        "LOCATION",
        "postgresql://h/db?password=hunter2",
        "files",
        "holds a password",
    ),
    "a password for a variable": (
        "PASSWORD_ENV",
        "  password_env: hunter2",
        "format.password_env",
        "must be the name of",
    ),
    "no database": ("LOCATION", "postgresql://host", "files", "must name one database"),
    "an unknown setting": ("LOCATION", "postgresql://h/db?options=-c", "files", "takes no setting"),
    "another engine": ("LOCATION", "oracle://host/db", "files", "no files are read by oracle://"),
    "a password for MySQL": ("LOCATION", "mysql://a:hunter2@h/db", "files", "holds a password"),
    "a setting of another": ("LOCATION", "mysql://h/db?sslmode=require", "files", "are ssl-mode"),
    "an unknown ssl-mode": ("LOCATION", "mysql://h/db?ssl-mode=OFF", "files", "none of PREFERRED"),
    "a comment that runs": (
        "QUERY",
        "SELECT 1 /*!INTO OUTFILE 'x' */",
        "format.query",
        "would run",
    ),
    "a bucket": ("LOCATION", "s3://bucket/old.db", "files", "must be where a sql source lies"),
    "wildcards": ("LOCATION", "legacy/*.db", "files", "takes no wildcards"),
    "dates of a server": ("LOCATION", "postgresql://h/db{year}", "files", "must name one database"),
    "no bounds": ("QUERY", "SELECT * FROM calls", "format.query", "asks for all rows"),
    "one bound": ("QUERY", "SELECT 1 WHERE at > {start}", "format.query", "binds one end"),
    "bounds in quotes": ("QUERY", "SELECT '{start}', {end}", "format.query", "inside quotes"),
    "an unknown bound": ("QUERY", "SELECT {day}", "format.query", "knows no {day}"),
    "two statements": ("QUERY", "SELECT 1; SELECT 2", "format.query", "one statement"),
    "another statement": ("QUERY", "DROP TABLE calls", "format.query", "must be a query"),
    "a write inside": (
        "QUERY",
        "WITH x AS (DELETE FROM calls RETURNING *) SELECT * FROM x",
        "format.query",
        "says DELETE",
    ),
    "a file order": (
        "zone: UTC",
        "zone: UTC\ncorrections: {order: [a]}",
        "corrections.order",
        "a table has no files",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_on_load_and_no_password_repeated(tmp_path: Path, case: str) -> None:
    name, written, key, said = MISTAKES[case]
    text = CALLS.replace(name, f'"{written}"' if name == "QUERY" else written)
    sound = {"QUERY": f'"{QUERY}"', "LOCATION": "legacy/old.db", "PASSWORD_ENV": ""}
    for other, good in sound.items():
        text = text.replace(other, good)
    for folder, content in (("meters", METERS["calls"]), ("sources", text)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.yaml").write_text(content)
    with pytest.raises(ConfigurationError) as told:
        load_catalog(DataRoot(tmp_path))
    assert any(p.key == key and said in p.message for p in told.value.problems), told.value
    assert "hunter2" not in str(told.value)
