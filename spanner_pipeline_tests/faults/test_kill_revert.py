"""kill -9 in a revert leaves the batch in the lake or out of it; the next revert takes it out."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from spanner_pipeline.configuration.source import WHOLE
from spanner_pipeline.importing import import_partition
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.maintenance import maintain
from spanner_pipeline.lake.revert import UnknownBatchError, revert
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline_tests.faults.scenes import (
    BAD,
    CONFLICTING,
    CORRECTED,
    CORRECTING,
    LATE,
    MOVED,
    OLD,
    maintenance_tidies,
)
from spanner_pipeline_tests.faults.victim import kill, victim
from spanner_pipeline_tests.lake.building import TinyRoot, balance, csv_bytes

pytestmark = pytest.mark.slow

UNCOMMITTED = [
    "before write_day",
    "inside write_day",
    "after write_day",
    "before write_without",
    "inside write_without",
    "after write_without",
    "after write_without 3",
    "before create_write_transaction",
    "inside create_write_transaction",
]
COMMITTED = [
    "after create_write_transaction",
    "before Ledger.add_revert",
    "inside Ledger.add_revert",
    "after Ledger.add_revert",
    "before quarantine_file",
    "after quarantine_file 2",
]


@dataclass(frozen=True)
class Imported:
    """A lake with a batch that corrected, moved, added and was refused rows, compacted since.

    Attributes:
        path: Its data root.
        batch: The batch.
        without: The events before it came.
    """

    path: Path
    batch: str
    without: pl.DataFrame

    def copy(self, path: Path) -> TinyRoot:
        """The same lake elsewhere."""
        shutil.copytree(self.path, path, dirs_exist_ok=True)
        return TinyRoot(path, corrections=True)

    def is_in(self, lake: TinyRoot) -> bool:
        """Whether the batch is in a lake; that must be as it was with or without it."""
        if lake.payloads() == CORRECTING.new:
            return True
        assert _events(lake).equals(self.without)
        return False

    def goes_and_comes_again(self, lake: TinyRoot, *, committed: bool) -> None:
        """Revert again, then import again."""
        if committed:
            with pytest.raises(UnknownBatchError):
                revert(lake.root, lake.catalog, self.batch)
        else:
            (done,) = revert(lake.root, lake.catalog, self.batch)
            corrected = len(CORRECTED) + len(MOVED)
            assert (done.removed.rows, done.restored.rows) == (corrected + len(LATE), corrected)
        assert _events(lake).equals(self.without)
        assert (lake.conflicts(), lake.rejected()) == ([], [])
        ledger = Ledger(lake.root)
        assert [one.batch for one in ledger.reverts()] == [self.batch]
        assert [record.totals.new.rows for record in ledger.standing()] == [len(OLD)]
        maintenance_tidies(lake)
        again = lake.run()
        balance(again)
        totals = again.totals
        assert (totals.new.rows, totals.present.rows) == (len(LATE), 0)
        assert lake.payloads() == CORRECTING.new
        assert len(lake.conflicts()) == len(CONFLICTING)
        assert len(lake.rejected()) == len(BAD)
        assert lake.run().unchanged


def _events(lake: TinyRoot) -> pl.DataFrame:
    return lake.events().sort("idempotency_key")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    lake = TinyRoot(tmp_path_factory.mktemp("template"), corrections=True)
    lake.deliver(OLD)
    without = _events(lake)
    batch = lake.deliver(CORRECTING.delivered).record.batch
    maintain(lake.root, lake.catalog)  # files that have rows of it and of others
    return Imported(lake.path, batch, without)


@pytest.mark.parametrize(
    ("moment", "committed"),
    [(m, False) for m in UNCOMMITTED] + [(m, True) for m in COMMITTED],
)
def test_death_at_a_step_of_a_revert_leaves_the_batch_in_or_out(
    tmp_path: Path, imported: Imported, moment: str, committed: bool
) -> None:
    lake = imported.copy(tmp_path)
    kill(tmp_path, moment, batch=imported.batch)
    assert imported.is_in(lake) != committed
    imported.goes_and_comes_again(lake, committed=committed)


@pytest.mark.parametrize("part", range(4))
def test_death_at_a_random_moment_of_a_revert_leaves_the_batch_in_or_out(
    tmp_path: Path, imported: Imported, part: int, duration: float
) -> None:
    lake = imported.copy(tmp_path)
    moment = duration * (part + random.random()) / 4  # noqa: S311
    with victim(tmp_path, batch=imported.batch) as (process, end):
        assert end.recv() == "ready"
        time.sleep(moment)
    assert process.exitcode == -signal.SIGKILL
    imported.goes_and_comes_again(lake, committed=not imported.is_in(lake))


@pytest.fixture(scope="module")
def duration(tmp_path_factory: pytest.TempPathFactory, imported: Imported) -> float:
    """How long the revert takes when nobody kills it."""
    path = tmp_path_factory.mktemp("unharmed")
    lake = imported.copy(path)
    with victim(path, batch=imported.batch) as (_, end):
        assert end.recv() == "ready"
        start = time.monotonic()
        assert end.recv() == "done"
        seconds = time.monotonic() - start
    assert not imported.is_in(lake)
    return seconds


def test_an_import_that_died_after_its_commit_can_be_reverted_at_once(
    tmp_path: Path, imported: Imported
) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver(OLD)
    without = _events(lake)
    lake.place({"delivery.csv": csv_bytes(CORRECTING.delivered)})
    kill(tmp_path, "before Ledger.add")
    assert lake.payloads() == CORRECTING.new
    (done,) = revert(lake.root, lake.catalog, imported.batch)
    assert done.restored.rows == len(CORRECTED) + len(MOVED)
    assert _events(lake).equals(without)
    assert (lake.conflicts(), lake.rejected()) == ([], [])


@pytest.mark.parametrize(
    "moment", ["after create_write_transaction", "before create_write_transaction 2"]
)
def test_a_revert_that_died_between_two_meters_goes_on_with_the_second(
    tmp_path: Path, moment: str
) -> None:
    lake = TinyRoot(tmp_path)
    _feed_another_meter(lake)
    lake.place({"delivery.csv": csv_bytes([*OLD[:9], *BAD])})
    done = import_partition(lake.root, lake.catalog, lake.catalog.sources["legacy"], WHOLE)
    batch = done[0].record.batch
    assert (_counts(lake), len(lake.rejected())) == ([9, 9], 2 * len(BAD))
    kill(tmp_path, moment, batch=batch)
    assert sorted(_counts(lake)) == [0, 9]
    assert len(revert(lake.root, lake.catalog, batch)) == 1
    assert _counts(lake) == [0, 0]
    assert Ledger(lake.root).standing() == []
    assert lake.rejected() == []


def _feed_another_meter(lake: TinyRoot) -> None:
    meters, sources = lake.path / "meters", lake.path / "sources" / "one.yaml"
    meter, source = (json.loads(p.read_text("utf-8")) for p in (meters / "one.yaml", sources))
    (meters / "two.yaml").write_text(json.dumps({**meter, "name": "more"}), "utf-8")
    source["usage"].append({**source["usage"][0], "meter": "more"})
    sources.write_text(json.dumps(source), "utf-8")


def _counts(lake: TinyRoot) -> list[int]:
    return [EventTable(lake.root, meter).count() for meter in lake.catalog.meters.values()]
