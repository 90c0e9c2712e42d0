"""Compaction beside an import or a revert: whoever loses begins again, and no event changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from spanner_pipeline.lake.revert import RevertRefusedError, UnknownBatchError
from spanner_pipeline_tests.faults.pairs import Compact, Import, Pair, Revert
from spanner_pipeline_tests.faults.racing import (
    DAYS,
    both_are_known,
    place,
    repeated,
    rows,
    stale_or_free,
)
from spanner_pipeline_tests.faults.scenes import expected
from spanner_pipeline_tests.lake.building import TinyRoot, balance, csv_bytes

pytestmark = pytest.mark.slow

HELD, LATE = rows(range(1, 20)), rows(range(30, 40))
NEXT = "2024-01-03"


@pytest.fixture
def lake(tmp_path: Path) -> TinyRoot:
    """Holds a day in two files."""
    lake = TinyRoot(tmp_path, daily=True, corrections=True)
    place(lake, HELD, LATE)
    for day in DAYS:
        lake.run(day)
    assert len(lake.table.files()) == 2
    return lake


@repeated(2)
@stale_or_free
def test_compaction_and_a_correction_of_what_is_compacted(
    lake: TinyRoot, pair: Pair, number: int, stale: bool
) -> None:
    corrected = rows(range(15, 35), quantity="0.5", rev="2")
    (lake.path / "legacy" / f"{NEXT}.csv").write_bytes(csv_bytes(corrected))
    job = Import(lake.root, NEXT)
    compacted, done = pair.at_once(Compact(lake.root), job, stale=stale)
    balance(done)
    assert (done.totals.corrected.rows, done.totals.new.rows) == (10, 10)
    assert compacted.files["calls"][0] in (2, 3)
    days = [Import(lake.root, day) for day in DAYS]
    both_are_known(lake, expected(HELD, LATE, corrected), *days, job)


@repeated(2)
@stale_or_free
def test_compaction_and_a_revert_of_what_is_compacted(
    lake: TinyRoot, pair: Pair, number: int, stale: bool
) -> None:
    (batch,) = (record.batch for record in lake.records() if record.partition == DAYS[1])
    _, done = pair.at_once(Compact(lake.root), Revert(lake.root, batch), stale=stale)
    assert not isinstance(done, UnknownBatchError | RevertRefusedError)
    assert (done.removed.rows, done.restored.rows) == (len(LATE), 0)
    both_are_known(lake, expected(HELD), Import(lake.root, DAYS[0]))
