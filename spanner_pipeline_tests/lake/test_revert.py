"""Reverting one import: the lake is as if it had never been imported."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.records import RevertRecord
from spanner_pipeline.lake.revert import RevertRefusedError, UnknownBatchError, revert
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance

FIRST = [Row(str(n), quantity=str(n), time=f"2024-01-{n:02}T05:00:00Z") for n in range(1, 10)]


@pytest.fixture
def lake(tmp_path: Path) -> TinyRoot:
    return TinyRoot(tmp_path, corrections=True)


def _revert(lake: TinyRoot, batch: str, *, force: bool = False) -> RevertRecord:
    (record,) = revert(lake.root, lake.catalog, batch, force=force)
    return record


def test_rows_that_an_import_added_go(lake: TinyRoot) -> None:
    lake.deliver(FIRST[:5])
    before = lake.events().drop("event_date")
    added = lake.deliver(FIRST[5:])
    record = _revert(lake, added.record.batch)
    assert (record.removed.rows, record.removed.quantity) == (4, Decimal(6 + 7 + 8 + 9))
    assert record.restored.rows == 0
    after = lake.events().drop("event_date")
    assert after.sort("idempotency_key").equals(before.sort("idempotency_key"))


@pytest.mark.parametrize(
    "time", ["2024-01-03T05:00:00Z", "2024-01-04T01:00:00Z", "2025-02-01T00:00:00Z"]
)
def test_rows_that_an_import_corrected_come_back_as_they_were(lake: TinyRoot, time: str) -> None:
    lake.deliver(FIRST)
    before = lake.events().sort("idempotency_key")
    corrected = lake.deliver([Row("3", quantity="30", time=time, region="eu", rev="2"), Row("77")])
    assert corrected.totals.corrected.rows == 1
    record = _revert(lake, corrected.record.batch)
    assert (record.removed.rows, record.restored.rows) == (2, 1)
    assert lake.events().sort("idempotency_key").equals(before)


def test_a_reverted_import_comes_again_as_new(lake: TinyRoot) -> None:
    done = lake.deliver(FIRST)
    _revert(lake, done.record.batch)
    assert lake.events().is_empty()
    assert lake.records() == []
    again = lake.run()
    balance(again)
    assert (again.unchanged, again.totals.new.rows) == (False, 9)
    assert lake.payloads() == {row.id: row.payload for row in FIRST}
    assert lake.run().unchanged


def test_a_later_import_that_builds_on_it_is_named_and_the_revert_refused(lake: TinyRoot) -> None:
    first = lake.deliver(FIRST)
    second = lake.deliver([Row("3", quantity="30", rev="2")])
    files = lake.lake_files()
    with pytest.raises(RevertRefusedError, match=second.record.batch):
        _revert(lake, first.record.batch)
    assert lake.lake_files() == files
    _revert(lake, second.record.batch)
    _revert(lake, first.record.batch)
    assert lake.events().is_empty()


def test_forced_it_leaves_what_later_imports_corrected(lake: TinyRoot) -> None:
    first = lake.deliver(FIRST)
    second = lake.deliver([Row("3", quantity="30", rev="2")])
    record = _revert(lake, first.record.batch, force=True)
    assert record.forced
    assert lake.quantities() == {"3": Decimal(30)}
    _revert(lake, second.record.batch)
    assert lake.events().is_empty(), "the row of a reverted import came back"


def test_an_import_whose_rows_were_there_already_is_read_again_after_a_revert(
    lake: TinyRoot,
) -> None:
    first = lake.deliver(FIRST)
    same = lake.deliver(FIRST[::-1], "again.csv")
    assert same.totals.present.rows == 9
    with pytest.raises(RevertRefusedError):
        _revert(lake, first.record.batch)
    _revert(lake, first.record.batch, force=True)
    assert lake.events().is_empty()
    again = lake.run()
    assert (again.unchanged, again.totals.new.rows) == (False, 9)
    assert lake.payloads() == {row.id: row.payload for row in FIRST}


def test_corrections_of_corrections_go_back_one_by_one(lake: TinyRoot) -> None:
    steps = [lake.deliver([Row("1", quantity=str(10 * rev), rev=str(rev))]) for rev in (1, 2, 3)]
    _revert(lake, steps[2].record.batch)
    assert lake.quantities() == {"1": Decimal(20)}
    _revert(lake, steps[1].record.batch)
    assert lake.quantities() == {"1": Decimal(10)}
    _revert(lake, steps[0].record.batch)
    assert lake.quantities() == {}


def test_the_middle_correction_taken_out_by_force_does_not_come_back(lake: TinyRoot) -> None:
    steps = [lake.deliver([Row("1", quantity=str(10 * rev), rev=str(rev))]) for rev in (1, 2, 3)]
    _revert(lake, steps[1].record.batch, force=True)
    assert lake.quantities() == {"1": Decimal(30)}
    _revert(lake, steps[2].record.batch)
    assert lake.quantities() == {"1": Decimal(10)}


def test_its_rejected_rows_and_conflicts_leave_the_quarantine(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    lake.deliver([Row("1")])
    done = lake.deliver([Row("1", quantity="2"), Row("2", quantity="x"), Row("3")])
    assert (len(lake.conflicts()), len(lake.rejected())) == (1, 1)
    _revert(lake, done.record.batch)
    assert (lake.conflicts(), lake.rejected()) == ([], [])


def test_an_unknown_or_reverted_batch_is_said_to_be_so(lake: TinyRoot) -> None:
    with pytest.raises(UnknownBatchError, match="no import `legacy/whole/0000` stands"):
        _revert(lake, "legacy/whole/0000")
    done = lake.deliver(FIRST)
    _revert(lake, done.record.batch)
    with pytest.raises(UnknownBatchError):
        _revert(lake, done.record.batch)


def test_a_revert_is_written_down_and_restored_from_its_commit(lake: TinyRoot) -> None:
    done = lake.deliver(FIRST)
    record = _revert(lake, done.record.batch)
    ledger = Ledger(lake.root)
    assert ledger.reverts() == [record]
    for file in (lake.path / "lake" / "reverts").rglob("*.json"):
        file.unlink()
    assert ledger.reverts() == []
    ledger.catch_up(lake.table)
    assert ledger.reverts() == [record]
    assert ledger.standing() == []


def test_an_import_that_brought_nothing_is_known_again_after_its_revert(lake: TinyRoot) -> None:
    lake.deliver([Row("1"), Row("2")], "a.csv")
    again = lake.deliver([Row("2"), Row("1")], "again.csv")
    assert again.totals.present.rows == 2
    _revert(lake, again.record.batch)
    assert not lake.run().unchanged
    assert lake.run().unchanged
    assert len(Ledger(lake.root).standing()) == 2


def test_an_import_of_copies_does_not_build_on_the_rest_of_its_day(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    batch = lake.deliver([Row("1")]).record.batch
    lake.deliver([Row("2"), Row("2")])
    revert(lake.root, lake.catalog, batch)
    assert lake.quantities() == {"2": 1}
