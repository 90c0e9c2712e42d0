"""kill -9 at any moment leaves the old lake or the new one; the next run ends at the new one."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from spanner_pipeline_tests.faults import victim
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes, exact_total

pytestmark = pytest.mark.slow

OLD = [
    Row(str(n), quantity=f"{n}.000000001", time=f"2024-01-{1 + n % 9:02}T05:00:00Z")
    for n in range(1, 800)
]
CORRECTED = [row.but(quantity="7", rev="2") for row in OLD[::10]]
MOVED = [row.but(time="2024-03-01T00:00:00Z", rev="2") for row in OLD[5::10]]
LATE = [Row(f"late-{n}", time=f"2024-01-{1 + n % 9:02}T06:00:00Z") for n in range(100)]
CONFLICTING = [row.but(quantity="1000000") for row in OLD[7::50]]
BAD = [Row("bad", quantity="many")]


def _expected(*deliveries: list[Row]) -> dict[str, object]:
    return {row.id: row.payload for rows in deliveries for row in rows}


@dataclass(frozen=True)
class Scene:
    """What is in the lake, what is delivered then, and what is in the lake after."""

    corrections: bool
    held: list[Row]
    delivered: list[Row]
    new: dict[str, object]

    def build(self, path: Path) -> TinyRoot:
        """Make a data root where the delivery is in place, not yet imported."""
        lake = TinyRoot(path, corrections=self.corrections)
        if self.held:
            lake.deliver(self.held)
        lake.place({"delivery.csv": csv_bytes(self.delivered)})
        return lake


CORRECTING = Scene(
    corrections=True,
    held=OLD,
    delivered=[*CORRECTED, *MOVED, *LATE, *CONFLICTING, *BAD],
    new=_expected(OLD, CORRECTED, MOVED, LATE),
)
APPENDING = Scene(
    corrections=False,
    held=OLD,
    delivered=[*LATE, *CONFLICTING, *BAD],
    new=_expected(OLD, LATE),
)
FIRST = Scene(corrections=False, held=[], delivered=[*OLD, *CONFLICTING, *BAD], new=_expected(OLD))


MOMENTS = [
    (CORRECTING, "after stage"),
    (CORRECTING, "after write_rejected"),
    (CORRECTING, "after write_conflicts"),
    (CORRECTING, "before EventTable.replace_days"),
    (CORRECTING, "before write_deltalake"),
    (CORRECTING, "after write_deltalake"),
    (CORRECTING, "after Ledger.add"),
    (APPENDING, "before EventTable.append"),
    (APPENDING, "after EventTable.append"),
    (APPENDING, "before Ledger.add"),
    (FIRST, "after DeltaTable.create"),
    (FIRST, "after write_deltalake"),
]


@pytest.mark.parametrize(("scene", "moment"), MOMENTS)
def test_death_at_a_step_loses_and_doubles_nothing(
    tmp_path: Path, scene: Scene, moment: str
) -> None:
    lake = scene.build(tmp_path)
    with _victim(tmp_path, moment) as (process, _):
        process.join(60)
    assert process.exitcode == -signal.SIGKILL
    when, step = moment.split(" ")
    committed = step == "Ledger.add" or (
        when == "after" and step in {"EventTable.append", "write_deltalake"}
    )
    assert lake.payloads() == (scene.new if committed else _expected(scene.held))
    _converges(lake, scene.new)


@pytest.mark.parametrize("tenth", range(10))
def test_death_at_a_random_moment_loses_and_doubles_nothing(
    tmp_path: Path, tenth: int, duration: float
) -> None:
    lake = CORRECTING.build(tmp_path)
    moment = duration * (tenth + random.random()) / 10  # noqa: S311
    with _victim(tmp_path) as (process, end):
        assert end.recv() == "ready"
        time.sleep(moment)
    assert process.exitcode == -signal.SIGKILL
    old_or_new = _expected(OLD), CORRECTING.new
    assert lake.payloads() in old_or_new, f"killed after {moment:.3f} s"
    _converges(lake, CORRECTING.new)


@pytest.fixture(scope="module")
def duration(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long the import takes when nobody kills it."""
    path = tmp_path_factory.mktemp("unharmed")
    lake = CORRECTING.build(path)
    with _victim(path) as (_, end):
        assert end.recv() == "ready"
        start = time.monotonic()
        assert end.recv() == "done"
        seconds = time.monotonic() - start
    assert lake.payloads() == CORRECTING.new
    return seconds


@contextmanager
def _victim(path: Path, moment: str | None = None) -> Iterator[tuple[BaseProcess, Connection]]:
    """Start an importing process; it is dead when the block ends."""
    # Forked from a server that has only imported modules: starting takes no second, and no thread
    # of an engine is lost in the fork.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([victim.__name__])
    ours, theirs = context.Pipe()
    process = context.Process(target=victim.import_and_die, args=(path, moment, theirs))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def _converges(lake: TinyRoot, new: dict[str, object]) -> None:
    done = lake.run()
    balance(done)
    assert lake.payloads() == new
    assert exact_total(lake.quantities().values()) == exact_total(row[2] for row in new.values())
    assert len(lake.conflicts()) == done.totals.conflicting.rows == len(CONFLICTING)
    assert len(lake.rejected()) == done.totals.rejected.rows == 1
    (record,) = lake.records()
    assert record.batch == done.record.batch
    version = lake.version
    assert lake.run().unchanged
    assert lake.version == version
