"""Two imports at once, without Dagster's pools: every key once, no row lost, both balance."""

from __future__ import annotations

from pathlib import Path

import pytest

from spanner_pipeline.importing import UsageImport
from spanner_pipeline_tests.faults.pairs import Create, Import, Pair
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
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes

pytestmark = pytest.mark.slow


def _race(
    lake: TinyRoot, pair: Pair, stale: bool, held: list[Row], first: list[Row], second: list[Row]
) -> list[UsageImport]:
    """Import a delivery of each day at once, after rows that the lake holds before."""
    if held:
        place(lake, held, [])
        lake.run(DAYS[0])
    version = lake.version
    place(lake, first, second)
    done = pair.import_at_once(lake.path, DAYS, stale=stale)
    one_after_the_other(version, stale, *(one.record for one in done))
    return done


def _both_known(lake: TinyRoot, *deliveries: list[Row]) -> None:
    both_are_known(lake, expected(*deliveries), *(Import(lake.root, day) for day in DAYS))


@repeated(3)
@stale_or_free
def test_one_delivery_twice_at_once_from_nothing(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path)
    lake.place({"delivery.csv": csv_bytes(rows(range(1, 50)))})
    done = pair.import_at_once(tmp_path, stale=stale)
    if stale:
        one_after_the_other(None, stale, *(one.record for one in done))
    both_balance([one for one in done if not one.unchanged], new=49)
    (record,) = lake.records()
    assert record.totals.new.rows == 49, "the ledger forgot what was new"
    both_are_known(lake, expected(rows(range(1, 50))), Import(lake.root))


def test_of_two_that_create_the_table_at_once_one_does(tmp_path: Path, pair: Pair) -> None:
    """Else the identity under which one wrote its import down is another's, or nobody's."""
    lost = 0
    for number in range(40):
        lake = TinyRoot(tmp_path / str(number))
        lake.declare()
        made = pair.at_once(Create(lake.root), Create(lake.root), stale=False)
        assert lake.version == 0
        assert {*made} - {None} == {lake.table.identity}
        lost += made.count(None)
    assert lost > 0, "they never met"


@repeated(3)
@stale_or_free
def test_two_deliveries_with_common_keys_create_the_table_at_once(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    done = _race(lake, pair, stale, [], rows(range(1, 40)), rows(range(20, 60)))
    both_balance(done, new=59)
    _both_known(lake, rows(range(1, 60)))


@repeated(3)
@stale_or_free
def test_two_deliveries_with_common_keys_enter_one_day_at_once(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    done = _race(lake, pair, stale, rows(range(1, 20)), rows(range(10, 40)), rows(range(20, 60)))
    both_balance(done, new=40)
    _both_known(lake, rows(range(1, 60)))


@repeated(3)
@stale_or_free
def test_two_days_of_one_meter_at_once(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    first, second = rows(range(1, 30)), rows(range(100, 130), DAYS[1])
    done = _race(lake, pair, stale, [], first, second)
    both_balance(done, new=59)
    _both_known(lake, first, second)


@repeated(3)
@stale_or_free
def test_the_same_keys_moved_to_two_days_at_once_end_where_the_higher_revision_says(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=True, corrections=True)
    first = rows(range(1, 10), "2024-02-01", rev="2")
    second = [*rows(range(5, 15), "2024-03-01", rev="3"), *rows(range(50, 60))]
    done = _race(lake, pair, stale, rows(range(1, 20)), first, second)
    for one in done:
        balance(one)
    assert done[1].totals.corrected.rows == 10
    assert done[0].totals.corrected.rows in (4, 9)
    _both_known(lake, rows(range(1, 20)), first, second)


@repeated(2)
@stale_or_free
def test_a_correction_and_a_late_delivery_enter_one_day_at_once(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=True, corrections=True)
    corrected = rows(range(1, 10), quantity="0.000000007", rev="2")
    late = rows(range(50, 70))
    done = _race(lake, pair, stale, rows(range(1, 20)), corrected, late)
    both_balance(done, new=20, corrected=9)
    assert done[0].totals.corrected.rows == 9
    _both_known(lake, rows(range(1, 20)), corrected, late)


@repeated(2)
@stale_or_free
def test_of_two_corrections_of_equal_revision_at_once_one_stands_and_the_other_is_kept(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=True, corrections=True)
    both = rows(range(1, 10), quantity="5", rev="2"), rows(range(1, 10), quantity="6", rev="2")
    done = _race(lake, pair, stale, rows(range(1, 20)), *both)
    both_balance(done, new=0, corrected=9)
    assert sum(one.totals.conflicting.rows for one in done) == 9
    stands = 0 if done[0].totals.corrected.rows else 1
    refused = {str(c["refused_quantity"].normalize()) for c in lake.conflicts()}
    assert (len(lake.conflicts()), refused) == (9, {"65"[stands]})
    _both_known(lake, rows(range(1, 20)), both[stands])
