"""`plan` says what an import would do, exactly, and writes nothing."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path

import pytest

from spanner_pipeline.configuration.source import WHOLE
from spanner_pipeline.control import Total
from spanner_pipeline.plan import Effect, Plan, plan
from spanner_pipeline_tests.lake.building import Row, TinyRoot, csv_bytes


@pytest.fixture
def lake(tmp_path: Path) -> TinyRoot:
    return TinyRoot(tmp_path, corrections=True)


def planned(lake: TinyRoot, *partitions: str) -> Plan:
    catalog = lake.catalog
    return plan(lake.root, catalog, [(catalog.sources["legacy"], partitions or (WHOLE,))])


def of(rows: int, quantity: str | int | None = None) -> Total:
    return Total(rows, Decimal(rows if quantity is None else quantity))


def every_file(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_each_outcome_stands_at_its_subject_and_month(lake: TinyRoot) -> None:
    lake.deliver([Row("1"), Row("2"), Row("3", time="2024-02-01T00:00:00Z"), Row("other", "org_2")])
    lake.place(
        {
            "next.csv": csv_bytes(
                [
                    Row("1"),  # there already
                    Row("2", quantity="5", rev="2"),  # corrected
                    Row("3", time="2024-02-01T00:00:00Z", quantity="7"),  # in conflict
                    Row("4", quantity="0.000000001"),  # new
                    Row("4", quantity="0.000000001"),  # twice
                    Row("5", quantity="many"),  # not a number
                    Row("6", time="yesterday"),  # not a time
                ]
            )
        }
    )
    assert planned(lake).effects == {
        ("calls", "2024-01", "org_1"): Effect(
            before=of(2),
            after=of(3, "6.000000001"),
            new=of(1, "0.000000001"),
            corrected=of(1, 5),
            duplicate=of(2, "1.000000001"),
            rejected=of(1, 0),
        ),
        ("calls", "2024-02", "org_1"): Effect(of(1), of(1), conflicting=of(1, 7)),
        ("calls", None, "org_1"): Effect(rejected=of(1)),
    }


def test_the_month_that_an_event_leaves_is_shown(lake: TinyRoot) -> None:
    lake.deliver([Row("1"), Row("2")])
    lake.place({"moved.csv": csv_bytes([Row("1", time="2024-03-01T00:00:00Z", rev="2")])})
    effects = planned(lake).effects
    assert effects["calls", "2024-01", "org_1"] == Effect(of(2), of(1))
    assert effects["calls", "2024-01", "org_1"].delta == of(-1)
    assert effects["calls", "2024-03", "org_1"] == Effect(Total(), of(1), corrected=of(1))


def test_it_comes_true(lake: TinyRoot) -> None:
    lake.deliver([Row(str(n), quantity=f"{n}.5") for n in range(20)])
    rows = [Row(str(n), quantity=f"{n}", rev="2") for n in range(10, 30)]
    lake.place({"next.csv": csv_bytes([*rows, rows[-1].but(quantity="0"), Row("x", quantity="-")])})
    made = planned(lake)
    done = lake.run().totals
    (total, _) = made.by_meter()["calls"]
    assert (total.new, total.corrected, total.rejected) == (done.new, done.corrected, done.rejected)
    assert (total.duplicate, total.conflicting) == (done.present, done.conflicting)
    assert total.after == of(lake.events().height, sum(lake.quantities().values()))
    again = planned(lake)
    assert (again.changes, again.effects) == (0, {})
    assert again.known == {("legacy", WHOLE, "calls"): done.read.rows}


def test_nothing_in_the_data_root_is_written(lake: TinyRoot) -> None:
    lake.deliver([Row("1"), Row("2")])
    lake.place({"next.csv": csv_bytes([Row("1", quantity="2", rev="2"), Row("9", quantity="x")])})
    before = every_file(lake.path)
    assert planned(lake).changes == 1
    assert every_file(lake.path) == before


def test_a_root_without_a_lake_stays_without_one(lake: TinyRoot) -> None:
    lake.place({"first.csv": csv_bytes([Row()])})
    before = every_file(lake.path)
    assert planned(lake).changes == 1
    assert every_file(lake.path) == before
    assert not (lake.path / "lake").exists()


def test_a_later_partition_sees_what_an_earlier_one_would_bring(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    lake.place({"2024-01-01.csv": csv_bytes([Row()]), "2024-01-02.csv": csv_bytes([Row()])})
    effect = planned(lake, "2024-01-01", "2024-01-02").effects["calls", "2024-01", "org_1"]
    assert effect == Effect(Total(), of(1), new=of(1), duplicate=of(1))


def test_a_partition_that_would_fail_is_named_and_the_others_are_planned(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    lake.place({"2024-01-01.csv": b"", "2024-01-02.csv": csv_bytes([Row()])})
    made = planned(lake, "2024-01-01", "2024-01-02")
    assert list(made.failures) == [("legacy", "2024-01-01")]
    assert "2024-01-01.csv" in made.failures["legacy", "2024-01-01"]
    assert made.changes == 1


def test_the_same_files_under_another_mapping_count_what_changes(lake: TinyRoot) -> None:
    lake.deliver([Row("1"), Row("2", rev="2")])
    lake.usage = {"quantity": "rev"}
    lake.declare()
    effect = planned(lake).effects["calls", "2024-01", "org_1"]
    assert effect == Effect(of(2), of(2), duplicate=of(1), conflicting=of(1, 2))


def test_sums_beyond_a_decimal_column_are_exact(lake: TinyRoot) -> None:
    huge = "9" * 28 + ".999999999"
    lake.deliver([Row(str(n), quantity=huge) for n in range(99)])
    lake.place({"next.csv": csv_bytes([Row(str(n), quantity=huge) for n in range(50, 150)])})
    effect = planned(lake).effects["calls", "2024-01", "org_1"]
    assert effect.after.quantity == Decimal("1499999999999999999999999999999.999999850")
    assert effect.duplicate == Total(49, Decimal("489999999999999999999999999999.999999951"))
