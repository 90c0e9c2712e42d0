"""Meters that get an optional dimension while two processes import: no row and no column is lost.

The column enters the table by a commit of its own, before that of the rows: each can be lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.root import DataRoot
from spanner_pipeline_tests.faults.pairs import Import, Pair
from spanner_pipeline_tests.faults.racing import (
    DAYS,
    both_are_known,
    both_balance,
    one_after_the_other,
    place,
    repeated,
    rows,
    stale_or_free,
)
from spanner_pipeline_tests.faults.scenes import expected
from spanner_pipeline_tests.lake.building import REGION, Row, TinyRoot, csv_bytes

pytestmark = pytest.mark.slow

HELD = rows(range(1, 20))
PAYER: dict[str, Any] = {"name": "payer.subject", "type": "string", "required": False}
"""Mapped from the column `subject`."""


@pytest.fixture
def lake(tmp_path: Path) -> TinyRoot:
    """Holds rows of a meter without dimensions."""
    lake = TinyRoot(tmp_path / "lake", daily=True, dimensions=[])
    place(lake, HELD, [])
    lake.run(DAYS[0])
    return lake


def _import_elsewhere(
    lake: TinyRoot, day: str, delivered: list[Row], dimensions: list[dict[str, Any]]
) -> Import:
    """An import into this lake from a data root that declares other dimensions of the meter."""
    path = lake.path.parent / day
    elsewhere = TinyRoot(path, daily=True, dimensions=dimensions)
    elsewhere.place({f"{day}.csv": csv_bytes(delivered)})
    return Import(DataRoot(path, state=lake.path), day)


@repeated(2)
@stale_or_free
def test_a_new_dimension_that_both_bring(
    lake: TinyRoot, pair: Pair, number: int, stale: bool
) -> None:
    lake.dimensions = [REGION]
    lake.declare()
    first, second = rows(range(20, 40), region="eu"), rows(range(30, 60), region="eu")
    place(lake, first, second)
    version = lake.version
    done = pair.import_at_once(lake.path, DAYS, stale=stale)
    one_after_the_other(version, stale, *(one.record for one in done))
    both_balance(done, new=40)
    jobs = [Import(lake.root, day) for day in DAYS]
    both_are_known(lake, expected(HELD, first, second), *jobs)


@repeated(2)
@stale_or_free
def test_a_new_dimension_that_one_brings(
    lake: TinyRoot, pair: Pair, number: int, stale: bool
) -> None:
    old = rows(range(30, 50))
    new = [*rows(range(20, 40), region="eu"), *rows(range(40, 45))]
    jobs = (
        _import_elsewhere(lake, DAYS[0], new, [REGION]),
        _import_elsewhere(lake, DAYS[1], old, []),
    )
    version = lake.version
    done = pair.at_once(*jobs, stale=stale)
    last = one_after_the_other(version, stale, *(one.record for one in done))[1]
    both_balance(done, new=30)
    # Who knows of no region finds the other's rows present; who does, finds them in conflict.
    overtaken = last == done[0].record
    assert len(lake.conflicts()) == done[0].totals.conflicting.rows == (10 if overtaken else 0)
    state = expected(new, HELD, old) if overtaken else expected(old, HELD, new)
    both_are_known(lake, state, *jobs)


@repeated(2)
@stale_or_free
def test_two_new_dimensions_of_which_each_brings_one(
    lake: TinyRoot, pair: Pair, number: int, stale: bool
) -> None:
    first, second = rows(range(20, 40), region="eu"), rows(range(50, 60))
    jobs = (
        _import_elsewhere(lake, DAYS[0], first, [REGION]),
        _import_elsewhere(lake, DAYS[1], second, [PAYER]),
    )
    version = lake.version
    done = pair.at_once(*jobs, stale=stale)
    one_after_the_other(version, stale, *(one.record for one in done))
    both_balance(done, new=30)
    events = lake.events()
    payers = dict(events.select("idempotency_key", "dim_payer.subject").iter_rows())
    assert {key.rsplit(":", 1)[1] for key, payer in payers.items() if payer == "org_1"} == {
        row.id for row in second
    }
    assert events["dim_payer.subject"].null_count() == len(HELD) + len(first)
    both_are_known(lake, expected(HELD, first, second), *jobs)


@repeated(2)
@stale_or_free
def test_two_create_the_table_and_only_one_knows_the_dimension(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path / "lake")
    first, second = rows(range(1, 30), region="eu"), rows(range(30, 60), DAYS[1])
    jobs = (
        _import_elsewhere(lake, DAYS[0], first, [REGION]),
        _import_elsewhere(lake, DAYS[1], second, []),
    )
    done = pair.at_once(*jobs, stale=stale)
    one_after_the_other(None, stale, *(one.record for one in done))
    both_balance(done, new=59)
    both_are_known(lake, expected(first, second), *jobs)
