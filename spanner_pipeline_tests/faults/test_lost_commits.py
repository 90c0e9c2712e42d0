"""An attempt that loses its commit looks again at what the winner wrote and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.errors import LakeBusyError
from spanner_pipeline.lake import change
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes

LOSES, WINS = "2024-01-01", "2024-01-02"


@pytest.fixture
def lake(tmp_path: Path) -> TinyRoot:
    lake = TinyRoot(tmp_path, daily=True, corrections=True)
    lake.place({f"{LOSES}.csv": csv_bytes([Row("1", rev="2")])})
    lake.run(LOSES)
    return lake


def _lose_to(
    monkeypatch: pytest.MonkeyPatch, lake: TinyRoot, loser: list[Row], winner: list[Row]
) -> Any:
    """Import `loser`; right before it commits, `winner` is imported from start to end."""
    files = {f"{LOSES}.csv": csv_bytes(loser), f"{WINS}.csv": csv_bytes(winner)}
    commit: Callable[..., Any] = EventTable.commit

    def overtaken(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(EventTable, "commit", commit)
        balance(lake.run(WINS))
        return commit(*arguments, **named)

    lake.place(files)
    monkeypatch.setattr(EventTable, "commit", overtaken)
    return lake.run(LOSES)


def test_a_conflict_that_only_the_lost_attempt_saw_is_not_kept(
    lake: TinyRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = [Row("1", rev="2", quantity="2"), Row("9")]
    done = _lose_to(monkeypatch, lake, stale, [Row("1", rev="4", quantity="4")])
    balance(done)
    assert (done.totals.present.rows, done.totals.conflicting.rows) == (1, 0)
    assert lake.quantities() == {"1": 4, "9": 1}
    assert lake.conflicts() == []


def test_a_conflict_that_only_the_second_attempt_sees_is_kept(
    lake: TinyRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Row("1", rev="3", quantity="3"), Row("9")]
    done = _lose_to(monkeypatch, lake, rows, [Row("1", rev="3", quantity="4")])
    balance(done)
    assert (done.totals.new.rows, done.totals.conflicting.rows) == (1, 1)
    assert lake.quantities() == {"1": 4, "9": 1}
    (conflict,) = lake.conflicts()
    assert (conflict["kept_quantity"], conflict["refused_quantity"]) == (4, 3)


def test_rows_that_the_winner_brought_are_present_and_not_new(
    lake: TinyRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Row("1", rev="2"), Row("8"), Row("9")]
    version = lake.version
    done = _lose_to(monkeypatch, lake, rows, rows[::-1])
    assert (done.totals.present.rows, done.totals.new.rows) == (3, 0)
    assert version is not None
    assert (done.record.version_before, done.record.version_after) == (version + 1, version + 1)
    assert lake.version == version + 1


def test_whoever_loses_every_commit_is_told_and_changes_nothing(
    lake: TinyRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit: Callable[..., Any] = EventTable.commit
    won = iter(range(100, 200))

    def overtaken(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(EventTable, "commit", commit)
        lake.place({f"{WINS}.csv": csv_bytes([Row(str(next(won)))])})
        lake.run(WINS)
        monkeypatch.setattr(EventTable, "commit", overtaken)
        return commit(*arguments, **named)

    monkeypatch.setattr(change, "ATTEMPTS", 3)
    monkeypatch.setattr(EventTable, "commit", overtaken)
    lake.place({f"{LOSES}.csv": csv_bytes([Row("9")])})
    with pytest.raises(LakeBusyError, match="run this again"):
        lake.run(LOSES)
    monkeypatch.undo()
    assert set(lake.payloads()) == {"1", "100", "101", "102"}
    lake.place({f"{LOSES}.csv": csv_bytes([Row("9")])})
    assert lake.run(LOSES).totals.new.rows == 1
