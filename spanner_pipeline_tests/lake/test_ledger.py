"""The ledger: a delivery is known by its content, and the last import of a partition is current."""

from __future__ import annotations

import dataclasses
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanner_pipeline.control import ControlTotals, Total
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.lake.records import FileTotals, ImportRecord
from spanner_pipeline.root import DataRoot
from spanner_pipeline_tests.lake.building import Row, TinyRoot

RECORD = ImportRecord(
    source="legacy",
    usage="calls",
    meter="calls",
    partition="2024-01",
    batch="legacy/2024-01/0123456789abcdef",
    configuration="c" * 64,
    files=(
        FileTotals(
            "legacy/a b's.csv",
            "d" * 64,
            12,
            ControlTotals(
                read=Total(3, Decimal("99999999999999999999999999999.000000001")),
                new=Total(2, Decimal("99999999999999999999999999998.000000001")),
                rejected=Total(1, Decimal("1E+0")),
            ),
        ),
    ),
    out_of_scope={"filtered by `where`": Total(2, Decimal("-0.5"))},
    rejected={"quantity_missing": 1},
    ambiguous_times=4,
    table="0a1b",
    version_before=None,
    version_after=1,
    imported_at="2024-05-06T07:08:09.000001+00:00",
    imported_by="someone@somewhere",
    builds_on=("legacy/2023-12/0123456789abcdef",),
    replaced="_replaced/1.parquet",
)


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    lake.deliver([Row("1")])
    ledger, table = Ledger(lake.root), lake.table
    record = dataclasses.replace(RECORD, table=table.identity)
    ledger.add(record)
    assert ledger.find(RECORD.batch, "calls", RECORD.configuration, table) == record
    assert record in ledger.current()
    assert ledger.find(RECORD.batch, "calls", "e" * 64, table) is None
    assert ledger.find(RECORD.batch, "calls.part", RECORD.configuration, table) is None


def test_the_import_that_changed_the_lake_is_the_one_that_is_remembered(tmp_path: Path) -> None:
    ledger = Ledger(DataRoot(tmp_path))
    late = dataclasses.replace(RECORD, version_before=1, imported_at="2024-05-06T07:08:10+00:00")
    ledger.add(late)
    ledger.add(RECORD)
    assert list(ledger.current()) == [RECORD]
    ledger.add(late)
    assert list(ledger.current()) == [RECORD]
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


def test_the_last_import_of_a_partition_is_current(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    deliveries = [[Row("1")], [Row("1"), Row("2")], [Row("1", quantity="3")]]
    for rows in deliveries:
        done = lake.deliver(rows)
        assert lake.records() == [done.record]
    lake.deliver(deliveries[0])  # known: nothing was imported
    assert lake.records() == [done.record]


def test_other_mapping_imports_the_same_files_again(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    first = lake.deliver([Row("1", region="eu")])
    lake.usage = {"quantity": {"column": "quantity", "nonpositive": "keep"}}
    lake.declare()
    again = lake.run()
    assert not again.unchanged
    assert again.totals.present.rows == 1
    assert again.record.batch == first.record.batch
    assert lake.records() == [again.record]


def test_a_known_delivery_is_imported_again_where_its_table_is_gone(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    lake.deliver([Row("1"), Row("2")])
    shutil.rmtree(lake.root.lake / "events")
    again = lake.run()
    assert not again.unchanged
    assert again.totals.new.rows == lake.events().height == 2


def test_a_table_made_anew_does_not_pass_for_the_one_that_was(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    first, second = [Row("1"), Row("2")], [Row("3")]
    lake.deliver(first)
    shutil.rmtree(lake.root.lake / "events")
    lake.deliver(second)
    again = lake.deliver(first)
    assert again.totals.new.rows == 2
    assert lake.events().height == 3


def test_the_batch_of_a_delivery_depends_on_its_bytes_alone(tmp_path: Path) -> None:
    batches = set()
    for name in ("a.csv", "b.csv"):
        lake = TinyRoot(tmp_path / name)
        batches.add(lake.deliver([Row("1")], name).record.batch)
    assert len(batches) == 1
    assert lake.deliver([Row("1"), Row("2")]).record.batch not in batches


NAMES = st.text(min_size=1, max_size=300)
NEAR = st.lists(
    st.sampled_from(["/", ".", "+", "+2F", "%2F", "%", "2F", "a", "~", "A"]), max_size=4
)


@given(st.one_of(NAMES, NEAR.map("".join)))
def test_a_file_name_stays_in_its_folder_and_is_short(text: str) -> None:
    name = file_name(text)
    assert "/" not in name
    assert "." not in name
    assert name.isascii()
    assert len(name) < 160


@given(st.sets(st.one_of(NAMES, NEAR.map("".join)), min_size=2))
def test_two_texts_have_two_file_names(texts: set[str]) -> None:
    assert len({file_name(text) for text in texts}) == len(texts)


def test_long_names_that_differ_at_the_end_have_two_file_names() -> None:
    assert file_name("m" * 200 + "1") != file_name("m" * 200 + "2")


@pytest.mark.parametrize("name", ["api_requests", "ai-tokens", "Calls2"])
def test_plain_names_stay_readable(name: str) -> None:
    assert file_name(name) == name
