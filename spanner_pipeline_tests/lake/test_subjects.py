"""Ids that are unique across subjects: a row under another subject is the same event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance

ROWS = [Row(str(n), f"org_{n % 3}", time=f"2024-01-0{1 + n}T00:00:00Z") for n in range(6)]
MOVED = [row.but(subject="org_9", rev="2") for row in ROWS[:2]]


@pytest.fixture(params=["id", ["id", "region"]], ids=["native", "composite"])
def identity(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_correction_moves_a_row_to_another_subject(tmp_path: Path, identity: Any) -> None:
    rows = [row.but(region="eu") for row in ROWS]
    moved = [row.but(region="eu") for row in MOVED]
    lake = TinyRoot(tmp_path, identity=identity, across_subjects=True, corrections=True)
    lake.deliver(rows)
    done = lake.deliver(moved)
    balance(done)
    assert (done.totals.corrected.rows, done.totals.new.rows) == (2, 0)
    expected = sorted(row.payload for row in [*moved, *rows[2:]])
    assert sorted(lake.payloads().values()) == expected
    before = lake.lake_files()
    lake.deliver(rows[::-1], "old again.csv")
    assert lake.lake_files() == before


def test_without_corrections_another_subject_is_a_conflict(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, across_subjects=True)
    lake.deliver(ROWS)
    done = lake.deliver(MOVED)
    balance(done)
    assert done.totals.conflicting.rows == 2
    assert [c["fields_that_differ"] for c in lake.conflicts()] == [["subject"]] * 2
    assert lake.payloads() == {row.id: row.payload for row in ROWS}


def test_ids_that_subjects_share_stay_apart_unless_declared(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver(ROWS)
    assert lake.deliver(MOVED).totals.new.rows == 2


def test_a_row_without_subject_is_rejected_and_known_again_when_repaired(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, across_subjects=True)
    done = lake.deliver([Row("1", subject=""), Row("", subject="org_1"), Row("2")])
    balance(done)
    assert done.record.rejected == {"subject_missing": 1, "identity_missing": 1}
    assert done.without_key == 1
    keys = {row["reason_code"]: row["idempotency_key"] for row in lake.rejected()}
    assert keys == {"subject_missing": "legacy::calls:1", "identity_missing": None}
    assert lake.deliver([Row("1")]).totals.new.rows == 1
    assert set(lake.events()["idempotency_key"]) == {"legacy::calls:1", "legacy::calls:2"}
