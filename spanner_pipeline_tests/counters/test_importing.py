"""Partitions of readings meet: in any order, twice, late, or missing, usage counts once."""

from __future__ import annotations

import shutil
from decimal import Decimal
from itertools import permutations
from typing import Any

import polars as pl
import pytest

from spanner_pipeline.errors import ConfigurationError, ReadingsChangedError
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.conftest import MakeRoot, Run
from spanner_pipeline_tests.lake_reading import events, everything_written, quarantined
from spanner_pipeline_tests.lake_reading import run as import_

METER = {"name": "kwh", "unit": "kWh", "decimals": 3}
HEADER = "device,account,at,reading\n"
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
FILES = {
    # b is silent on the second day; c is new on it, and its reading of midnight is in both files.
    "2024-01-01.csv": "a,x,00:00,10\na,x,18:00,12.5\nb,y,06:00,100\nb,y,12:00,101\n",
    "2024-01-02.csv": "c,y,12:00,7\na,x,12:00,20\nc,y,24:00,9\n",
    "2024-01-03.csv": "b,y,12:00,150\na,x,12:00,20\nc,y,00:00,9\nc,y,06:00,11\n",
}
USAGE = Decimal("10") + Decimal(50) + Decimal(4)
"""What a, b and c grew; of b, 1 on the first day and 49 over the other two."""


def source(**declared: Any) -> dict[str, Any]:
    quantity = {"column": "reading", "cumulative": {"by": "device", **declared}}
    return {
        "source": "old",
        "format": {"family": "delimited"},
        "files": "legacy/{year}-{month}-{day}*.csv",
        "partitions": {"grain": "day", "from": "2024-01-01", "to": "2024-02-01"},
        "zone": "UTC",
        "identity": {"composite": ["device", {"column": "at", "type": "time"}]},
        "usage": [{"meter": "kwh", "subject": "account", "quantity": quantity, "timestamp": "at"}],
    }


def file(name: str, rows: str) -> str:
    """The rows of a day with their date; 24:00 is midnight of the next."""
    day = name[:10]
    after = f"{day[:8]}{int(day[8:]) + 1:02}"
    lines = []
    for line in rows.splitlines():
        device, account, at, reading = line.split(",")
        moment = f"{after}T00:00" if at == "24:00" else f"{day}T{at}"
        lines.append(f"{device},{account},{moment},{reading}\n")
    return HEADER + "".join(lines)


def made(make_root: MakeRoot, *days: str, **declared: Any) -> DataRoot:
    """A root with the files of some days."""
    files = {n: file(n, rows) for n, rows in FILES.items() if n[:10] in (days or DAYS)}
    return make_root({"kwh": METER}, {"old": source(**declared)}, files)


def add(make_root: MakeRoot, name: str, rows: str, **declared: Any) -> DataRoot:
    return make_root({"kwh": METER}, {"old": source(**declared)}, {name: file(name, rows)})


def lake(root: DataRoot) -> list[tuple[Any, ...]]:
    columns = ("idempotency_key", "timestamp", "quantity")
    return events(root, "kwh").select(columns).sort(columns).rows()


def total(root: DataRoot) -> Decimal:
    return Decimal(str(events(root, "kwh")["quantity"].sum()))


def test_every_order_of_partitions_gives_the_same_events(make_root: MakeRoot) -> None:
    expected = None
    for number, order in enumerate(list(permutations(DAYS))[::2]):
        files = {name: file(name, rows) for name, rows in FILES.items()}
        root = make_root({"kwh": METER}, {"old": source()}, files, name=f"root{number}")
        for day in order:
            assert import_(root, "old", day)[0].record.rejected == {}
        assert total(root) == USAGE
        expected = expected or lake(root)
        assert lake(root) == expected


def test_what_is_imported_twice_changes_nothing_even_without_its_notes(make_root: MakeRoot) -> None:
    root = made(make_root)
    for day in DAYS:
        import_(root, "old", day)
    written = everything_written(root)
    assert all(import_(root, "old", day)[0].unchanged for day in DAYS)
    assert everything_written(root) == written
    shutil.rmtree(root.lake / "readings")
    assert all(import_(root, "old", day)[0].unchanged for day in reversed(DAYS))
    assert {n: t.rows for n, t in import_(root, "old", DAYS[2])[0].record.readings.items()} == {
        "measured": 2,
        "no usage since the reading before": 1,
        "repeated reading": 1,
    }


def test_readings_behind_a_missing_partition_are_held_by_name_until_it_comes(
    make_root: MakeRoot,
) -> None:
    root = made(make_root, DAYS[0], DAYS[2])
    import_(root, "old", DAYS[0])
    done = import_(root, "old", DAYS[2])[0]
    assert done.record.rejected == {"reading_before_missing": 3}
    shown = quarantined(root).select("reason_code", "value", "hint").unique()
    assert shown.rows()[0][:2] == ("reading_before_missing", DAYS[1])
    add(make_root, "2024-01-02.csv", FILES["2024-01-02.csv"])
    import_(root, "old", DAYS[1])
    again = import_(root, "old", DAYS[2])[0]
    assert (again.record.rejected, again.totals.conflicting.rows) == ({}, 0)
    assert total(root) == USAGE


def test_a_gap_that_is_declared_is_bridged(make_root: MakeRoot) -> None:
    root = made(make_root, DAYS[0], DAYS[2], gaps="bridge")
    for day in (DAYS[0], DAYS[2]):
        assert import_(root, "old", day)[0].record.rejected == {}
    assert total(root) == USAGE - 2  # of c, the first readings are the baseline


def test_a_reading_that_comes_late_is_refused_until_its_usage_is_taken_out(
    make_root: MakeRoot,
) -> None:
    root = made(make_root)
    batches = {day: import_(root, "old", day)[0].record.batch for day in DAYS}
    before = lake(root)
    add(make_root, "2024-01-02.late.csv", "a,x,06:00,15\nb,y,20:00,130\n")
    with pytest.raises(ReadingsChangedError, match="2024-01-03 was measured from") as error:
        import_(root, "old", DAYS[1])
    assert f"revert {batches[DAYS[2]]}`" in str(error.value)
    assert lake(root) == before
    catalog = load_catalog(root)
    revert(root, catalog, batches[DAYS[2]])
    with pytest.raises(ReadingsChangedError, match="1 readings measure other usage") as error:
        import_(root, "old", DAYS[1])
    assert f"revert {batches[DAYS[1]]}`" in str(error.value)
    revert(root, catalog, batches[DAYS[1]])
    for day in (DAYS[1], DAYS[2]):
        assert import_(root, "old", day)[0].record.rejected == {}
    assert total(root) == USAGE
    quantities = events(root, "kwh").sort("idempotency_key", "timestamp")["quantity"].to_list()
    assert quantities == [Decimal(n) for n in ("2.5", "2.5", "5", "1", "29", "20", "2", "2")]


def test_two_readings_at_one_time_are_both_rejected_and_what_follows_is_measured(
    make_root: MakeRoot,
) -> None:
    root = add(
        make_root, "2024-01-01.csv", "a,x,00:00,10\na,x,06:00,11\na,x,06:00,12\na,x,07:00,15\n"
    )
    done = import_(root, "old", DAYS[0])[0]
    assert done.record.rejected == {"readings_contradict": 2}
    assert total(root) == 5


def test_a_row_that_does_not_count_is_no_reading_and_a_time_out_of_scope_is(
    make_root: MakeRoot,
) -> None:
    declared = source()
    declared["usage"][0]["condition"] = "account != 'test'"
    declared["scope"] = {"from": "2024-01-01T12:00"}
    rows = "a,x,06:00,10\na,test,08:00,9\na,x,11:00,13\na,x,13:00,20\n"
    root = make_root({"kwh": METER}, {"old": declared}, {DAYS[0] + ".csv": file(DAYS[0], rows)})
    done = import_(root, "old", DAYS[0])[0]
    assert total(root) == 7
    assert {why: (t.rows, t.quantity) for why, t in done.record.out_of_scope.items()} == {
        "outside the migrated time": (2, 13),
        "filtered by `condition`": (1, 0),
    }


def test_a_mended_reading_brings_back_what_was_rejected_behind_it(make_root: MakeRoot) -> None:
    root = add(make_root, "2024-01-01.csv", "a,x,00:00,10\na,x,06:00,1\na,x,12:00,15\n")
    add(make_root, "2024-01-02.csv", "a,x,12:00,20\n")
    for day, rows in ((DAYS[0], 2), (DAYS[1], 1)):
        assert import_(root, "old", day)[0].record.rejected == {"counter_fell": rows}
    add(make_root, "2024-01-01.csv", "a,x,00:00,10\na,x,06:00,11\na,x,12:00,15\n")
    for day in DAYS[:2]:
        assert import_(root, "old", day)[0].record.rejected == {}
    assert total(root) == 10


def test_a_plan_says_what_the_import_does_and_restarts_are_named(
    make_root: MakeRoot, run: Run
) -> None:
    root = add(make_root, "2024-01-01.csv", "a,x,00:00,10\na,x,06:00,3\n", reset="zero")
    planned = run("plan", "old", "--from", DAYS[0], "--to", DAYS[0], data=root)
    assert (planned.code, list(root.path.glob("lake"))) == (0, [])
    done = import_(root, "old", DAYS[0])[0]
    assert {k: (t.rows, t.quantity) for k, t in done.record.readings.items()} == {
        "first reading of its counter": (1, Decimal(10)),
        "restarted at 0": (1, Decimal(3)),
    }
    assert total(root) == 3
    left_out = pl.read_parquet(list(root.quarantine.glob("**/*.left_out.parquet")))
    assert left_out.select("why", "quantity").rows() == [
        ("first reading of its counter", Decimal(10))
    ]


def test_a_table_that_is_read_in_parts_has_no_readings_before(make_root: MakeRoot) -> None:
    declared = source() | {
        "format": {"family": "delta", "where": {"day": "{year}-{month}-{day}"}},
        "files": "legacy/readings",
    }
    root = make_root({"kwh": METER}, {"old": declared})
    with pytest.raises(ConfigurationError, match=r"cumulative: needs the readings before"):
        load_catalog(root)
