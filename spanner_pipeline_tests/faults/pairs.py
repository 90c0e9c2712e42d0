"""Two real processes that import at the same moment, again and again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from spanner_pipeline.importing import UsageImport, import_partition
from spanner_pipeline.lake import change
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.root import DataRoot, load_catalog

_PATIENCE = 60


@dataclass
class Pair:
    """Two waiting processes."""

    ends: list[Connection]

    def import_at_once(
        self, root: Path, partitions: tuple[str, str] = ("whole", "whole"), *, stale: bool = True
    ) -> list[UsageImport]:
        """Import two partitions at the same moment.

        Args:
            root: The data root.
            partitions: What each process imports.
            stale: Let neither go on before both have opened the same version of the table, so that
                one of them must lose; else they only start together.
        """
        for end, partition in zip(self.ends, partitions, strict=True):
            end.send((root, partition, stale))
        answers: list[Any] = []
        for end in self.ends:
            assert end.poll(_PATIENCE), "a process died or hangs"
            answers.append(end.recv())
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers


@contextmanager
def pair_of_processes() -> Iterator[Pair]:
    """Start two processes; they end with the block."""
    context = multiprocessing.get_context("spawn")
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
        yield Pair(ends)
    finally:
        for end in ends:
            end.close()
        for process in processes:
            process.join(5)
            process.kill()


def _serve(end: Connection, barrier: Barrier) -> None:
    meeting = _Meeting(barrier)
    change.EventTable = meeting.open  # type: ignore[assignment,misc]
    while True:
        try:
            path, partition, stale = end.recv()
        except EOFError:
            return
        root = DataRoot(path)
        catalog = load_catalog(root)
        meeting.awaited = stale
        barrier.wait(_PATIENCE)
        try:
            (done,) = import_partition(root, catalog, catalog.sources["legacy"], partition)
            end.send(done)
        except Exception as error:
            barrier.abort()
            end.send(RuntimeError(f"{type(error).__name__}: {error}"))


class _Meeting:
    def __init__(self, barrier: Barrier) -> None:
        self.awaited = False
        self._barrier = barrier

    def open(self, *arguments: Any) -> EventTable:
        """Open a table as ever; the first time in an import, wait until the other has, too."""
        table = EventTable(*arguments)
        if self.awaited:
            self.awaited = False
            self._barrier.wait(_PATIENCE)
        return table
