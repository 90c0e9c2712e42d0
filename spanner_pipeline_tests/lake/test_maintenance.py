"""`maintain` makes few files of many and deletes what nobody needs; no event changes."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from spanner_pipeline.lake.maintenance import Maintained, maintain
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.presence import at_work
from spanner_pipeline_tests.lake.building import Row, TinyRoot, csv_bytes

NOW = timedelta(0)
WEEK = timedelta(days=7)


@pytest.fixture
def lake(tmp_path: Path) -> TinyRoot:
    return TinyRoot(tmp_path, corrections=True)


def run(lake: TinyRoot, keep: timedelta = NOW) -> Maintained:
    return maintain(lake.root, lake.catalog, keep)


def scattered(lake: TinyRoot) -> None:
    """Three files on each of two days, and a third day with one."""
    for n in range(3):
        rows = [Row(f"{n}-{day}", time=f"2024-01-{day:02}T0{n}:00:00Z") for day in (1, 2)]
        lake.deliver(rows)
    lake.deliver([Row("alone", time="2024-02-01T00:00:00Z")])


def ages(path: Path, days: int) -> None:
    """Make everything below a folder look that old."""
    then = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    for file in path.rglob("*"):
        os.utime(file, (then, then))


def test_a_day_of_many_small_files_becomes_one(lake: TinyRoot) -> None:
    scattered(lake)
    before = lake.events().sort("idempotency_key")
    done = run(lake)
    assert done.files == {"calls": (7, 3)}
    assert lake.events().sort("idempotency_key").equals(before)


def test_compaction_says_that_no_event_changed(lake: TinyRoot) -> None:
    scattered(lake)
    run(lake)
    newest = lake.delta.history(1)[0]
    assert newest["compacted_month"] == "2024-01"
    log = (lake.table.path / "_delta_log" / f"{lake.version:020}.json").read_text()
    assert '"dataChange":true' not in log


def test_maintaining_twice_does_nothing_more(lake: TinyRoot) -> None:
    scattered(lake)
    run(lake)
    version, files = lake.version, lake.lake_files()
    done = run(lake)
    assert (done.deleted, done.freed, done.files) == (0, 0, {"calls": (3, 3)})
    assert (lake.version, lake.lake_files()) == (version, files)


def test_an_import_is_known_after_compaction_and_a_replay_changes_nothing(lake: TinyRoot) -> None:
    scattered(lake)
    run(lake)
    version = lake.version
    assert lake.run().unchanged
    again = lake.deliver([Row("0-1", time="2024-01-01T00:00:00Z")], "again.csv")
    assert again.totals.present.rows == 1
    assert lake.version == version


def test_files_of_old_versions_go_only_beyond_the_age(lake: TinyRoot) -> None:
    scattered(lake)
    assert run(lake, WEEK).deleted == 0
    old = DeltaTable(lake.table.path, version=1)
    assert old.to_pyarrow_table().num_rows == 2
    assert run(lake, NOW).deleted == 6
    assert {path.name for path in lake.table.path.rglob("event_date=*/*")} == {
        file.location.name for file in lake.table.files()
    }


def test_leftovers_of_the_dead_go_only_beyond_the_age(lake: TinyRoot) -> None:
    lake.deliver([Row()])
    left = [
        lake.table.path / "event_date=2024-01-01" / "stray.parquet",
        lake.table.path / "event_date=2030-01-01" / "stray.parquet",
        lake.table.path / "_replaced" / f"{'0' * 32}.parquet",
        lake.table.path / "_delta_log" / "_commit_1.json.tmp",
        lake.path / "lake" / "imports" / "legacy" / f"a.{'0' * 32}.tmp",
        lake.path / "staging" / "dead" / "accepted-0.parquet",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left")
    assert run(lake, WEEK).deleted == 0
    ages(lake.path, days=8)
    done = run(lake, WEEK)
    assert (done.deleted, done.freed) == (len(left), 4 * len(left))
    assert not [path for path in left if path.exists()]
    assert not (lake.table.path / "event_date=2030-01-01").exists()
    assert set(lake.payloads()) == {"1"}


def test_nothing_is_deleted_while_an_import_runs(lake: TinyRoot) -> None:
    scattered(lake)
    with at_work(lake.root):
        done = run(lake)
    assert (done.alone, done.deleted) == (False, 0)
    assert done.files == {"calls": (7, 3)}
    assert run(lake).deleted == 6


def test_a_revert_still_finds_what_it_needs(lake: TinyRoot) -> None:
    lake.deliver([Row("1"), Row("2")])
    batch = lake.deliver([Row("1", quantity="5", rev="2")]).record.batch
    ages(lake.path, days=1000)
    run(lake)
    revert(lake.root, lake.catalog, batch)
    assert lake.quantities() == {"1": 1, "2": 1}


def test_what_an_import_left_unwritten_in_the_ledger_is_needed_too(lake: TinyRoot) -> None:
    lake.deliver([Row("1")])
    done = lake.deliver([Row("1", quantity="5", rev="2")])
    for path in (lake.path / "lake" / "imports").rglob("*.json"):
        path.unlink()  # as if the process had died between its commit and this file
    run(lake)
    revert(lake.root, lake.catalog, done.record.batch)
    assert lake.quantities() == {"1": 1}


def test_full_files_are_left_as_they_are(lake: TinyRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    from spanner_pipeline.lake import maintenance

    monkeypatch.setattr(maintenance, "_SMALL", 3)
    lake.deliver([Row(str(n)) for n in range(3)])
    lake.deliver([Row("late")])
    assert run(lake).files == {"calls": (2, 2)}


def test_an_import_that_comes_between_is_not_lost(
    lake: TinyRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spanner_pipeline.lake.table import EventTable

    scattered(lake)
    lake.place({"meanwhile.csv": csv_bytes([Row("0-1", quantity="9", rev="2"), Row("more")])})
    commit = EventTable.commit

    def overtaken(*arguments: object, **named: object) -> object:
        monkeypatch.setattr(EventTable, "commit", commit)
        lake.run()
        return commit(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(EventTable, "commit", overtaken)
    run(lake)
    assert len(lake.payloads()) == 8
    assert lake.quantities()["0-1"] == 9
    assert len(lake.table.files()) == 3
