"""A revert beside an import or another revert: the lake ends as if one had come after the other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.importing import UsageImport
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.records import RevertRecord
from spanner_pipeline.lake.revert import RevertRefusedError, UnknownBatchError
from spanner_pipeline.root import DataRoot
from spanner_pipeline_tests.faults.pairs import Import, Pair, Revert
from spanner_pipeline_tests.faults.racing import (
    DAYS,
    both_are_known,
    one_after_the_other,
    place,
    repeated,
    rows,
    stale_or_free,
)
from spanner_pipeline_tests.faults.scenes import expected
from spanner_pipeline_tests.lake.building import REGION, Row, TinyRoot, balance, csv_bytes

pytestmark = pytest.mark.slow

HELD = rows(range(1, 20))
CORRECTED = rows(range(5, 10), "2024-02-01", quantity="0.5", rev="2")
BROUGHT = rows(range(30, 40))
NEXT = "2024-01-03"


def _make(path: Path, dimensions: list[dict[str, Any]]) -> TinyRoot:
    lake = TinyRoot(path, daily=True, corrections=True, dimensions=dimensions)
    place(lake, HELD, [*CORRECTED, *BROUGHT])
    for day in DAYS:
        lake.run(day)
    return lake


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make(tmp_path_factory.mktemp("template"), [REGION]).path


@pytest.fixture
def lake(tmp_path: Path, template: Path) -> TinyRoot:
    """Holds rows, and a batch that corrected and moved some of them and brought others."""
    shutil.copytree(template, tmp_path / "lake")
    return TinyRoot(tmp_path / "lake", daily=True, corrections=True)


@pytest.fixture
def batch(lake: TinyRoot) -> str:
    """The batch that corrected."""
    return _batch_of(lake, DAYS[1])


def _batch_of(lake: TinyRoot, partition: str) -> str:
    (batch,) = (record.batch for record in lake.records() if record.partition == partition)
    return batch


def _next(lake: TinyRoot, delivered: list[Row]) -> Import:
    """The import of another day's delivery."""
    (lake.path / "legacy" / f"{NEXT}.csv").write_bytes(csv_bytes(delivered))
    return Import(lake.root, NEXT)


def _all_taken_out(done: RevertRecord) -> None:
    assert done.removed.rows == len(CORRECTED) + len(BROUGHT)
    assert done.restored.rows == len(CORRECTED)
    assert not done.forced


def _standing(lake: TinyRoot) -> list[str]:
    return sorted(record.partition for record in Ledger(lake.root).standing())


@repeated(2)
@stale_or_free
def test_a_revert_and_an_import_of_another_day(
    lake: TinyRoot, batch: str, pair: Pair, number: int, stale: bool
) -> None:
    other = rows(range(50, 80), NEXT)
    job = _next(lake, other)
    version = lake.version
    reverted, done = pair.at_once(Revert(lake.root, batch), job, stale=stale)
    assert isinstance(reverted, RevertRecord)
    one_after_the_other(version, stale, reverted, done.record)
    _all_taken_out(reverted)
    balance(done)
    assert done.totals.new.rows == len(other)
    both_are_known(lake, expected(HELD, other), Import(lake.root, DAYS[0]), job)
    assert _standing(lake) == [DAYS[0], NEXT]


@repeated(2)
@stale_or_free
def test_a_revert_and_an_import_that_builds_on_it_and_brings_more(
    lake: TinyRoot, batch: str, pair: Pair, number: int, stale: bool
) -> None:
    higher = rows(range(7, 9), "2024-03-01", quantity="0.25", rev="3")
    built = [*higher, *CORRECTED[:1], *BROUGHT[:3], *rows(range(50, 60), NEXT)]
    job = _next(lake, built)
    version = lake.version
    reverted, done = pair.at_once(Revert(lake.root, batch), job, stale=stale)
    balance(done)
    totals = done.totals
    if isinstance(reverted, RevertRecord):
        one_after_the_other(version, stale, reverted, done.record)
        _all_taken_out(reverted)
        assert (totals.new.rows, totals.corrected.rows, totals.present.rows) == (13, 3, 0)
        state = expected(HELD, built)
    else:
        assert isinstance(reverted, RevertRefusedError)
        assert (totals.new.rows, totals.corrected.rows, totals.present.rows) == (10, 2, 4)
        state = expected(HELD, CORRECTED, BROUGHT, built)
    both_are_known(lake, state, Import(lake.root, DAYS[0]), job)


@repeated(2)
@stale_or_free
def test_a_revert_and_an_import_that_finds_all_its_rows_present_through_it(
    lake: TinyRoot, batch: str, pair: Pair, number: int, stale: bool
) -> None:
    same = BROUGHT[:5]
    job = _next(lake, same)
    reverted, done = pair.at_once(Revert(lake.root, batch), job, stale=stale)
    balance(done)
    if isinstance(reverted, RevertRecord):
        assert done.totals.new.rows == len(same), "they are gone, and it said that they are present"
        state = expected(HELD, same)
    else:
        assert isinstance(reverted, RevertRefusedError)
        assert done.totals.present.rows == len(same)
        state = expected(HELD, CORRECTED, BROUGHT)
    both_are_known(lake, state, Import(lake.root, DAYS[0]), job)


@repeated(2)
@stale_or_free
def test_one_batch_reverted_twice_at_once_is_taken_out_once(
    lake: TinyRoot, batch: str, pair: Pair, number: int, stale: bool
) -> None:
    job = Revert(lake.root, batch)
    answers = pair.at_once(job, job, stale=stale)
    (took,) = [one for one in answers if isinstance(one, RevertRecord) and one.removed.rows]
    assert not any(isinstance(one, RevertRefusedError) for one in answers)
    _all_taken_out(took)
    assert took in Ledger(lake.root).reverts(), "the ledger forgot what was taken out"
    assert _standing(lake) == [DAYS[0]]
    both_are_known(lake, expected(HELD), Import(lake.root, DAYS[0]))
    assert isinstance(job.do(), UnknownBatchError)
    _comes_again_as_new(lake)


@repeated(2)
@stale_or_free
def test_two_batches_reverted_at_once(
    lake: TinyRoot, batch: str, pair: Pair, number: int, stale: bool
) -> None:
    other = rows(range(50, 80), NEXT)
    _next(lake, other).do()
    version = lake.version
    jobs = Revert(lake.root, batch), Revert(lake.root, _batch_of(lake, NEXT))
    first, second = pair.at_once(*jobs, stale=stale)
    assert isinstance(first, RevertRecord)
    assert isinstance(second, RevertRecord)
    one_after_the_other(version, stale, first, second)
    _all_taken_out(first)
    assert (second.removed.rows, second.restored.rows) == (len(other), 0)
    both_are_known(lake, expected(HELD), Import(lake.root, DAYS[0]))
    assert _standing(lake) == [DAYS[0]]
    _comes_again_as_new(lake)


@repeated(3)
def test_a_batch_and_the_one_that_builds_on_it_reverted_at_once(
    lake: TinyRoot, batch: str, pair: Pair, number: int
) -> None:
    base = _batch_of(lake, DAYS[0])
    below, above = pair.at_once(Revert(lake.root, base), Revert(lake.root, batch), stale=False)
    assert isinstance(above, RevertRecord)
    _all_taken_out(above)
    if isinstance(below, RevertRecord):
        assert below.version_before == above.version_after
        both_are_known(lake, {})
    else:
        assert isinstance(below, RevertRefusedError)
        both_are_known(lake, expected(HELD), Import(lake.root, DAYS[0]))


@repeated(2)
@stale_or_free
def test_a_revert_and_an_import_that_brings_a_dimension(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    old = _make(tmp_path / "old", [])
    evolved = TinyRoot(tmp_path / "new", daily=True, corrections=True, dimensions=[REGION])
    other = rows(range(50, 80), NEXT, region="eu")
    evolved.place({f"{NEXT}.csv": csv_bytes(other)})
    job = Import(DataRoot(evolved.path, state=old.path), NEXT)
    version = old.version
    revert = Revert(old.root, _batch_of(old, DAYS[1]))
    reverted, done = pair.at_once(revert, job, stale=stale)
    assert isinstance(reverted, RevertRecord)
    one_after_the_other(version, stale, reverted, done.record)
    _all_taken_out(reverted)
    balance(done)
    assert done.totals.new.rows == len(other)
    both_are_known(old, expected(HELD, other), Import(old.root, DAYS[0]), job)


def _comes_again_as_new(lake: TinyRoot) -> None:
    done: UsageImport = lake.run(DAYS[1])
    balance(done)
    assert (done.totals.new.rows, done.totals.corrected.rows) == (len(BROUGHT), len(CORRECTED))
    both_are_known(
        lake, expected(HELD, CORRECTED, BROUGHT), *(Import(lake.root, day) for day in DAYS)
    )
