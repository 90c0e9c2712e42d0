"""kill -9 at any moment leaves the old lake or the new one; the next run ends at the new one."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from spanner_pipeline_tests.faults.scenes import (
    APPENDING,
    CHECKPOINTING,
    CORRECTING,
    EVOLVING,
    FIRST,
    Scene,
    leftovers,
    maintenance_tidies,
)
from spanner_pipeline_tests.faults.victim import HALF_WRITTEN, kill, victim

pytestmark = pytest.mark.slow

UNCOMMITTED = [
    (CORRECTING, "inside stage"),
    (CORRECTING, "after stage"),
    (CORRECTING, "inside write_rejected"),
    (CORRECTING, "after write_rejected"),
    (CORRECTING, "after write_left_out"),
    (CORRECTING, "before EventTable.prepare"),
    (CORRECTING, "before write_day"),
    (CORRECTING, "inside write_day"),
    (CORRECTING, "after write_day"),
    (CORRECTING, "inside write_without"),
    (CORRECTING, "after write_without"),
    (CORRECTING, "inside Replaced.take"),
    (CORRECTING, "after Replaced.take"),
    (CORRECTING, "after Replaced.close"),
    (CORRECTING, "inside write_conflicts"),
    (CORRECTING, "after write_conflicts"),
    (CORRECTING, "after write_repeated"),
    (CORRECTING, "before EventTable.commit"),
    (CORRECTING, "before create_write_transaction"),
    (CORRECTING, "inside create_write_transaction"),
    (CORRECTING, "inside create_write_transaction 3000"),
    (APPENDING, "inside write_day"),
    (APPENDING, "before create_write_transaction"),
    (APPENDING, "inside create_write_transaction"),
    (EVOLVING, "before add_columns"),
    (EVOLVING, "inside add_columns"),
    (EVOLVING, "after add_columns"),
    (EVOLVING, "inside write_day"),
    (EVOLVING, "before create_write_transaction"),
    (FIRST, "before DeltaTable.create"),
    (FIRST, "inside DeltaTable.create"),
    (FIRST, "after DeltaTable.create"),
    (FIRST, "after EventTable.prepare"),
    (FIRST, "before take_over"),
    (FIRST, "after take_over"),
    (FIRST, "inside create_write_transaction"),
]
COMMITTED = [
    (CORRECTING, "after create_write_transaction"),
    (CORRECTING, "after EventTable.commit"),
    (CORRECTING, "before Ledger.add"),
    (CORRECTING, "inside Ledger.add"),
    (CORRECTING, "after Ledger.add"),
    (APPENDING, "after create_write_transaction"),
    (APPENDING, "inside Ledger.add"),
    (CHECKPOINTING, "inside create_write_transaction 12000"),
    (EVOLVING, "after create_write_transaction"),
    (FIRST, "after create_write_transaction"),
    (FIRST, "before Ledger.add"),
]
MOMENTS = [
    pytest.param(scene, moment, committed, id=f"{scene.name}, {moment}")
    for moments, committed in ((UNCOMMITTED, False), (COMMITTED, True))
    for scene, moment in moments
]


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("templates")


@pytest.mark.parametrize(("scene", "moment", "committed"), MOMENTS)
def test_death_at_a_step_loses_and_doubles_nothing(
    tmp_path: Path, templates: Path, scene: Scene, moment: str, committed: bool
) -> None:
    lake = scene.build(tmp_path, templates)
    kill(tmp_path, moment)
    if moment.startswith("inside"):
        _died_writing(tmp_path, moment)
    assert lake.payloads() == (scene.new if committed else scene.old)
    assert leftovers(lake), "it died with nothing to clean up"
    scene.converges(lake, committed=committed)
    maintenance_tidies(lake)


@pytest.mark.parametrize("moment", ["after stage", "inside create_write_transaction"])
def test_maintenance_before_the_next_run_tidies_too(
    tmp_path: Path, templates: Path, moment: str
) -> None:
    lake = CORRECTING.build(tmp_path, templates)
    kill(tmp_path, moment)
    maintenance_tidies(lake)
    CORRECTING.converges(lake, committed=False)


@pytest.mark.parametrize("part", range(12))
def test_death_at_a_random_moment_loses_and_doubles_nothing(
    tmp_path: Path, templates: Path, part: int, duration: float
) -> None:
    lake = CORRECTING.build(tmp_path, templates)
    moment = duration * (part + random.random()) / 12  # noqa: S311
    with victim(tmp_path) as (process, end):
        assert end.recv() == "ready"
        time.sleep(moment)
    assert process.exitcode == -signal.SIGKILL
    found = lake.payloads()
    assert found in (CORRECTING.old, CORRECTING.new), f"killed after {moment:.3f} s"
    CORRECTING.converges(lake, committed=found == CORRECTING.new)
    maintenance_tidies(lake)


@pytest.fixture(scope="module")
def duration(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> float:
    """How long the import takes when nobody kills it."""
    path = tmp_path_factory.mktemp("unharmed")
    lake = CORRECTING.build(path, templates)
    with victim(path) as (_, end):
        assert end.recv() == "ready"
        start = time.monotonic()
        assert end.recv() == "done"
        seconds = time.monotonic() - start
    assert lake.payloads() == CORRECTING.new
    return seconds


def _died_writing(root: Path, moment: str) -> None:
    """A file must stand there that ends where the kernel stopped it."""
    size = moment.split(" ")[2:]
    limit = int(size[0]) if size else HALF_WRITTEN
    assert limit in {path.stat().st_size for path in root.rglob("*") if path.is_file()}
