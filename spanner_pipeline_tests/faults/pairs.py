"""Two real processes that change one lake at the same moment, again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Protocol, TypeVar

from deltalake.exceptions import CommitFailedError

from spanner_pipeline.configuration.source import WHOLE
from spanner_pipeline.importing import UsageImport, import_partition
from spanner_pipeline.lake import change
from spanner_pipeline.lake.maintenance import Maintained, maintain
from spanner_pipeline.lake.records import RevertRecord
from spanner_pipeline.lake.revert import RevertRefusedError, UnknownBatchError, revert
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.faults.processes import forked

_PATIENCE = 60

Done = TypeVar("Done")
DoneToo = TypeVar("DoneToo")
Done_co = TypeVar("Done_co", covariant=True)


class Job(Protocol[Done_co]):
    """What one of the processes does."""

    def do(self) -> Done_co:
        """Do it, under what its own data root declares."""


@dataclass(frozen=True)
class Import:
    """Import a partition.

    Attributes:
        root: The data root. One with a `state` declares its own meters and sources for the lake of
            another.
        partition: The partition.
    """

    root: DataRoot
    partition: str = WHOLE

    def do(self) -> UsageImport:
        """Import it."""
        catalog = load_catalog(self.root)
        (done,) = import_partition(self.root, catalog, catalog.sources["legacy"], self.partition)
        return done


@dataclass(frozen=True)
class Revert:
    """Revert a batch; that it is unknown or built upon is an answer, too."""

    root: DataRoot
    batch: str

    def do(self) -> RevertRecord | UnknownBatchError | RevertRefusedError:
        """Revert it."""
        try:
            (done,) = revert(self.root, load_catalog(self.root), self.batch)
        except (UnknownBatchError, RevertRefusedError) as refusal:
            return refusal
        return done


@dataclass(frozen=True)
class Compact:
    """Compact the tables."""

    root: DataRoot

    def do(self) -> Maintained:
        """Compact them, and delete nothing younger than usual."""
        return maintain(self.root, load_catalog(self.root))


@dataclass(frozen=True)
class Create:
    """Create the meter's table."""

    root: DataRoot

    def do(self) -> str | None:
        """The identity of the table that it created; None when the other was first."""
        (meter,) = load_catalog(self.root).meters.values()
        table = EventTable(self.root, meter)
        with suppress(CommitFailedError):
            table.prepare()
        return table.identity


@dataclass
class Pair:
    """Two waiting processes, and where they meet."""

    ends: list[Connection]
    barrier: Barrier

    def at_once(
        self, first: Job[Done], second: Job[DoneToo], *, stale: bool
    ) -> tuple[Done, DoneToo]:
        """Do two jobs at the same moment.

        Args:
            first: What one process does.
            second: What the other does.
            stale: Let neither go on before both have opened the same version of the table, so that
                one of them must lose; else they only start together.
        """
        self.barrier.reset()
        for end, job in zip(self.ends, (first, second), strict=True):
            end.send((job, stale))
        answers: list[Any] = []
        for end in self.ends:
            assert end.poll(_PATIENCE), "a process died or hangs"
            answers.append(end.recv())
        for failed, answer in answers:
            if failed:
                raise RuntimeError(answer)
        return answers[0][1], answers[1][1]

    def import_at_once(
        self, root: Path, partitions: tuple[str, str] = (WHOLE, WHOLE), *, stale: bool
    ) -> list[UsageImport]:
        """Import two partitions of one data root at the same moment."""
        one, other = (Import(DataRoot(root), partition) for partition in partitions)
        return [*self.at_once(one, other, stale=stale)]


@contextmanager
def pair_of_processes() -> Iterator[Pair]:
    """Start two processes; they end with the block."""
    context = forked()
    barrier = context.Barrier(2)
    ends, processes = [], []
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, barrier), daemon=True)
        process.start()
        theirs.close()
        ends.append(ours)
        processes.append(process)
    try:
        yield Pair(ends, barrier)
    finally:
        for end in ends:
            end.close()
        for process in processes:
            process.join(5)
            process.kill()


def _serve(end: Connection, barrier: Barrier) -> None:
    meeting = _Meeting(barrier)
    vars(change)["EventTable"] = meeting.open
    while True:
        try:
            job, stale = end.recv()
        except EOFError:
            return
        meeting.awaited = stale
        try:
            barrier.wait(_PATIENCE)
            answer = False, job.do()
        except Exception as error:
            answer = True, f"{type(error).__name__}: {error}"
        if meeting.awaited:  # it will not come any more
            barrier.abort()
        end.send(answer)


class _Meeting:
    def __init__(self, barrier: Barrier) -> None:
        self.awaited = False
        self._barrier = barrier

    def open(self, *arguments: Any) -> EventTable:
        """Open a table as ever; the first time in a job, wait until the other has, too."""
        table = EventTable(*arguments)
        if self.awaited:
            self.awaited = False
            self._barrier.wait(_PATIENCE)
        return table
