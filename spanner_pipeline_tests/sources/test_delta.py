"""A Delta table as a source: its partitions are imported, once, at the version that was seen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.flight as flight
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from spanner_pipeline.arrivals import Memory, look
from spanner_pipeline.cli import app
from spanner_pipeline.errors import ConfigurationError, SourceFileError
from spanner_pipeline.importing import UsageImport, import_partition
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.sources.files import find_files
from spanner_pipeline.sources.rows import read_rows
from spanner_pipeline_tests.sail import ask, running_sail
from spanner_pipeline_tests.small_root import METERS, SOURCES
from spanner_pipeline_tests.sources.bucket import new_bucket, s3_server

DAYS = ("2024-01-01", "2024-01-02")
CALLS = """\
source: old_calls
format: {family: delta, where: {day: "{year}-{month}-{day}"}}
files: legacy/calls
partitions: {grain: day, from: 2024-01-01, to: 2024-01-03}
identity: {native: id}
usage:
  - meter: calls
    subject: account
    quantity: amount
    timestamp: at
    dimensions: {region: region}
"""


def calls(day: str, *numbers: int, **more: Any) -> pl.DataFrame:
    """Calls of a day, of 1.001, 2.001, ..."""
    rows = [
        {
            "id": f"{day}/{number}",
            "account": "acme",
            "amount": Decimal(number) + Decimal("0.001"),
            "at": datetime.fromisoformat(f"{day}T0{number}:30:00Z"),
            "region": "eu",
            "day": date.fromisoformat(day),
            **more,
        }
        for number in numbers
    ]
    return pl.DataFrame(rows).with_columns(pl.col("amount").cast(pl.Decimal(38, 9)))


class Table:
    """A data root with a Delta table."""

    def __init__(self, path: Path) -> None:
        self.root = DataRoot(path)
        self.place = str(path / "legacy/calls")
        for folder in ("meters", "sources", "legacy"):
            (path / folder).mkdir(parents=True)
        (path / "meters/calls.yaml").write_text(METERS["calls"])
        self.declare()

    def declare(self, **changes: str) -> None:
        text = CALLS
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (self.root.path / "sources/old_calls.yaml").write_text(text)

    def write(self, rows: pl.DataFrame, by: list[str] | None = None, **options: Any) -> None:
        write_deltalake(
            self.place, rows.to_arrow(), mode="append", partition_by=by or ["day"], **options
        )

    def take(self, day: str) -> UsageImport:
        catalog = load_catalog(self.root)
        [done] = import_partition(self.root, catalog, catalog.sources["old_calls"], day)
        return done

    def read(self, day: str = DAYS[0]) -> pl.DataFrame:
        source = load_catalog(self.root).sources["old_calls"]
        return pl.concat(list(read_rows(source, find_files(self.root, source, day))))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    made = Table(tmp_path / "root")
    for day in DAYS:
        made.write(calls(day, 1, 2, 3))
    return made


def test_a_backfill_imports_each_day_and_reconciles_with_the_bill(table: Table) -> None:
    (table.root.path / "sources/bill.yaml").write_text(SOURCES["bill"])
    (table.root.path / "legacy/bill.csv").write_text("account,month,calls\nacme,2024-01,12.006\n")
    data = ["--data", str(table.root.path)]
    assert CliRunner().invoke(app, ["sources", "check", *data]).exit_code == 0
    done = CliRunner().invoke(app, ["backfill", *data])
    assert done.exit_code == 0, done.output
    assert re.search(r"billed_calls\W+PASS", done.output), done.output
    assert [table.take(day).unchanged for day in DAYS] == [True, True]
    pack = str(table.root.path / "pack.zip")
    assert (
        CliRunner().invoke(app, ["evidence", "billed_calls", "--out", pack, *data]).exit_code == 0
    )
    assert CliRunner().invoke(app, ["verify", pack, *data]).exit_code == 0
    table.write(calls(DAYS[1], 4))
    told = CliRunner().invoke(app, ["verify", pack, *data])
    assert told.exit_code == 1
    assert "legacy/calls#old_calls/2024-01-02" in told.output.replace("\n", "")


def test_only_a_day_that_changed_is_read_again(table: Table) -> None:
    first = table.take(DAYS[0])
    assert (first.totals.new.rows, first.totals.new.quantity) == (3, Decimal("6.003"))
    assert [file.name for file in first.record.files] == ["legacy/calls#old_calls/2024-01-01"]
    assert table.take(DAYS[1]).totals.new.rows == 3
    table.write(calls(DAYS[1], 4))
    assert table.take(DAYS[0]).unchanged
    again = table.take(DAYS[1])
    assert (again.totals.new.rows, again.totals.present.rows) == (1, 3)
    assert DeltaTable(table.place).optimize.compact()["numFilesAdded"] == 1
    assert table.take(DAYS[0]).unchanged
    compacted = table.take(DAYS[1])
    assert (compacted.unchanged, compacted.totals.present.rows) == (False, 4)


def test_only_the_data_of_the_day_is_read_and_a_lost_data_file_is_named(table: Table) -> None:
    [lost] = (table.root.path / "legacy/calls/day=2024-01-02").glob("*.parquet")
    content = lost.read_bytes()
    lost.unlink()
    assert table.take(DAYS[0]).totals.new.rows == 3
    with pytest.raises(SourceFileError, match=f"data file day=2024-01-02/{lost.name} is missing"):
        table.take(DAYS[1])
    lost.write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceFileError, match="cut off"):
        table.take(DAYS[1])


def test_a_version_is_read_as_it_was_seen(table: Table) -> None:
    source = load_catalog(table.root).sources["old_calls"]
    files = find_files(table.root, source, DAYS[0])
    table.write(calls(DAYS[0], 4))
    DeltaTable(table.place).delete("id = '2024-01-01/1'")
    assert pl.concat(list(read_rows(source, files))).height == 3
    assert table.read().height == 3
    assert "2024-01-01/4" in table.read()["raw.id"].to_list()


def test_partition_columns_of_other_types_and_several_of_them(tmp_path: Path) -> None:
    made = Table(tmp_path / "root")
    made.declare(**{'{day: "{year}-{month}-{day}"}': '{y: "{year}", m: "{month}", d: "{day}"}'})
    rows = calls(DAYS[0], 1, y=2024, m=1, d="01").drop("day")
    other = calls(DAYS[1], 2, 3, y=2024, m=1, d="02").drop("day")
    made.write(pl.concat([rows, other]), by=["y", "m", "d"])
    assert [made.read(day).height for day in DAYS] == [1, 2]
    made.declare(**{'{day: "{year}-{month}-{day}"}': '{y: "{year}-{month}-{day}"}'})
    with pytest.raises(SourceFileError, match="`2024-01-01` is no value of the partition column y"):
        made.read()
    made.declare(**{'{day: "{year}-{month}-{day}"}': '{at: "{year}-{month}-{day}"}'})
    with pytest.raises(SourceFileError, match=r"not partitioned by at \(.* y, m, d\)"):
        made.read()


def test_a_table_without_partitions_is_read_whole_with_the_columns_that_came_later(
    tmp_path: Path,
) -> None:
    made = Table(tmp_path / "root")
    made.declare(
        **{
            ', where: {day: "{year}-{month}-{day}"}': ", optional: [promo]",
            "{grain: day, from: 2024-01-01, to: 2024-01-03}": "{grain: whole}",
            "region: region": "region: region, tier: tier, promo: promo",
        }
    )
    meter = METERS["calls"] + "".join(
        f"  - {{name: {name}, type: string, required: false}}\n" for name in ("tier", "promo")
    )
    (made.root.path / "meters/calls.yaml").write_text(meter)
    write_deltalake(made.place, calls(DAYS[0], 1).to_arrow())
    later = calls(DAYS[1], 2, tier="gold").to_arrow()
    write_deltalake(made.place, later, mode="append", schema_mode="merge")
    found = made.read("whole").sort("raw.id")
    assert found["raw.tier"].to_list() == [None, "gold"]
    assert found["raw.promo"].to_list() == [None, None]
    assert found["raw.amount"].to_list() == ["1.001", "2.001"]
    assert made.take("whole").totals.new.quantity == Decimal("3.002")
    declared = made.root.path / "sources/old_calls.yaml"
    declared.write_text(declared.read_text().replace("tier: tier", "tier: teir"))
    with pytest.raises(SourceFileError, match="it misses teir"):
        made.read("whole")


def test_spark_s_times_without_a_zone_are_of_utc(tmp_path: Path) -> None:
    made = Table(tmp_path / "root")
    made.write(calls(DAYS[0], 1))
    [data] = Path(made.place).rglob("*.parquet")
    assert made.read()["raw.at"].to_list() == ["2024-01-01T01:30:00.000000000Z"]
    rows = calls(DAYS[0], 2).drop("day").to_arrow()
    pq.write_table(rows, data, use_deprecated_int96_timestamps=True)
    assert pq.read_schema(data).field("at").type.tz is None
    assert made.read()["raw.at"].to_list() == ["2024-01-01T02:30:00.000000000Z"]


@pytest.fixture(scope="module")
def sail() -> Iterator[flight.FlightClient]:
    with running_sail() as client:
        yield client


def test_rows_that_a_deletion_vector_takes_out_are_not_read(
    tmp_path: Path, sail: flight.FlightClient
) -> None:
    made = Table(tmp_path / "root")
    ask(
        sail,
        f"CREATE TABLE calls USING DELTA PARTITIONED BY (day) LOCATION '{made.place}' "
        "TBLPROPERTIES ('delta.enableDeletionVectors' = 'true') AS SELECT * FROM VALUES "
        + ", ".join(
            f"('{day}/{n}', 'acme', CAST({n}.25 AS DECIMAL(20, 9)), '{day}T01:00:00Z', 'eu', "
            f"DATE '{day}')"
            for day in DAYS
            for n in range(1, 5)
        )
        + " AS t(id, account, amount, at, region, day)",
    )
    assert [made.take(day).totals.new.rows for day in DAYS] == [4, 4]
    ask(sail, "DELETE FROM calls WHERE id IN ('2024-01-01/2', '2024-01-01/4')")
    assert sum(1 for _ in DeltaTable(made.place).deletion_vectors()) == 1  # no file was rewritten
    assert sorted(made.read()["raw.id"]) == ["2024-01-01/1", "2024-01-01/3"]
    assert made.take(DAYS[0]).totals.read.rows == 2  # known by its deletions too
    assert made.take(DAYS[0]).unchanged
    assert made.take(DAYS[1]).unchanged


@pytest.mark.parametrize(
    ("action", "change", "said"),
    [
        ("metaData", {"configuration": {"delta.columnMapping.mode": "name"}}, "columnMapping"),
        ("add", {"path": "s3://elsewhere/a.parquet"}, "it is a shallow clone"),
        (
            "protocol",
            {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["unheardOf"]},
            "unheardOf|cannot be read",
        ),
    ],
)
def test_what_would_be_read_wrongly_is_refused(
    table: Table, action: str, change: dict[str, Any], said: str
) -> None:
    log = Path(table.place) / "_delta_log/00000000000000000000.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if action in line:
            line[action] |= change
            if action == "protocol":
                line[action]["writerFeatures"] = change["readerFeatures"]
    log.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    with pytest.raises(SourceFileError, match=said):
        table.take(DAYS[0])


def test_what_is_not_there_is_told(table: Table) -> None:
    with pytest.raises(SourceFileError, match="holds nothing for partition 2024-01-03"):
        table.take("2024-01-03")
    table.declare(**{"legacy/calls": "legacy"})
    with pytest.raises(SourceFileError, match="is no Delta table"):
        table.take(DAYS[0])
    table.declare(**{"legacy/calls": "legacy/nothing"})
    told = CliRunner().invoke(app, ["sources", "check", "--data", str(table.root.path)])
    assert told.exit_code == 1
    assert DAYS[0] in told.output


def test_a_sensor_sees_the_days_that_changed(table: Table) -> None:
    source = load_catalog(table.root).sources["old_calls"]
    later = datetime.now(UTC) + timedelta(minutes=5)
    assert list(look(table.root, source, DAYS, Memory(), later).arrived) == list(DAYS)
    for day in DAYS:
        table.take(day)
    assert look(table.root, source, DAYS, Memory(), later).arrived == {}
    table.write(calls(DAYS[1], 4))
    assert list(look(table.root, source, DAYS, Memory(), later).arrived) == [DAYS[1]]


def test_a_table_in_a_bucket(tmp_path: Path) -> None:
    with s3_server():
        bucket = new_bucket("tables")
        made = Table(tmp_path / "root")
        made.place = f"s3://{bucket.name}/old/calls"
        made.declare(**{"legacy/calls": made.place})
        unsafe = {"aws_allow_http": "true", "aws_s3_allow_unsafe_rename": "true"}
        for day in DAYS:
            made.write(calls(day, 1, 2, 3), storage_options=unsafe)
        assert made.take(DAYS[0]).totals.new.quantity == Decimal("6.003")
        assert made.take(DAYS[0]).unchanged
        assert made.take(DAYS[1]).totals.new.rows == 3


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ('{day: "{year}-{month}-{day}"}', '{day: "{year}"}', "files", "(or in `where` of"),
        ("legacy/calls", "legacy/*", "files", "takes no wildcards"),
        ("legacy/calls", "postgresql://h/db", "files", "must be where a delta source lies"),
    ],
)
def test_a_mistake_is_told_on_load(tmp_path: Path, old: str, new: str, key: str, said: str) -> None:
    made = Table(tmp_path / "root")
    made.declare(**{old: new})
    with pytest.raises(ConfigurationError) as told:
        load_catalog(made.root)
    assert any(p.key == key and said in p.message for p in told.value.problems), told.value
