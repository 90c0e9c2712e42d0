"""kill -9 in a revert, or while a meter's new dimension enters its table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spanner_pipeline.lake.revert import UnknownBatchError, revert
from spanner_pipeline_tests.faults.scenes import (
    CONFLICTING,
    CORRECTED,
    LATE,
    MOVED,
    OLD,
    expected,
    leftovers,
    maintenance_tidies,
)
from spanner_pipeline_tests.faults.victim import kill
from spanner_pipeline_tests.lake.building import REGION, TinyRoot, balance, csv_bytes

pytestmark = pytest.mark.slow

BEFORE, AFTER = expected(OLD, CORRECTED, MOVED, LATE), expected(OLD)
PLAN = {"name": "plan", "type": "string", "required": False}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A lake with an import that corrected, moved, added and was refused rows; and its batch."""
    lake = TinyRoot(tmp_path_factory.mktemp("template"), corrections=True)
    lake.deliver(OLD)
    done = lake.deliver([*CORRECTED, *MOVED, *LATE, *CONFLICTING])
    return lake.path, done.record.batch


@pytest.mark.parametrize(
    ("moment", "committed"),
    [
        ("before write_day", False),
        ("inside write_day", False),
        ("after write_day", False),
        ("inside write_without", False),
        ("before create_write_transaction", False),
        ("inside create_write_transaction", False),
        ("after create_write_transaction", True),
        ("before Ledger.add_revert", True),
        ("inside Ledger.add_revert", True),
        ("before quarantine_file", True),
    ],
)
def test_a_revert_that_dies_is_done_or_not_begun(
    tmp_path: Path, template: tuple[Path, str], moment: str, committed: bool
) -> None:
    folder, batch = template
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    lake = TinyRoot(tmp_path, corrections=True)
    kill(tmp_path, moment, batch=batch)
    assert lake.payloads() == (AFTER if committed else BEFORE)
    if committed:
        with pytest.raises(UnknownBatchError):
            revert(lake.root, lake.catalog, batch)
    else:
        assert leftovers(lake) or moment.startswith("before write_day")
        revert(lake.root, lake.catalog, batch)
    assert lake.payloads() == AFTER
    assert lake.conflicts() == []
    maintenance_tidies(lake)
    again = lake.run()
    balance(again)
    assert again.totals.new.rows == len(LATE)
    assert lake.payloads() == BEFORE


@pytest.mark.parametrize(
    "moment", ["before add_columns", "inside add_columns", "after add_columns", "inside write_day"]
)
def test_a_new_dimension_harms_nothing_when_its_import_dies(tmp_path: Path, moment: str) -> None:
    lake = TinyRoot(tmp_path)
    lake.deliver(OLD)
    lake.dimensions = [REGION, PLAN]
    lake.usage = {"dimensions": {"region": "region", "plan": "subject"}}
    lake.declare()
    lake.place({"late.csv": csv_bytes(LATE)})
    kill(tmp_path, moment)
    assert lake.payloads() == expected(OLD)
    done = lake.run()
    balance(done)
    assert done.totals.new.rows == len(LATE)
    assert lake.payloads() == expected(OLD, LATE)
    plans = lake.events()["dim_plan"]
    assert (plans.null_count(), set(plans.drop_nulls())) == (len(OLD), {"org_1"})
    maintenance_tidies(lake)
