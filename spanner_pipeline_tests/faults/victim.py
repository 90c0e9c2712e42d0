"""A process that changes a tiny data root and dies on the way."""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from deltalake.table import TableAlterer

from spanner_pipeline import importing
from spanner_pipeline.lake import change, ledger, merge, replaced, revert, table
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.faults.processes import forked

STEPS: dict[str, tuple[Any, str]] = {
    "stage": (importing, "stage"),
    "write_rejected": (importing, "write_rejected"),
    "write_left_out": (importing, "write_left_out"),
    "EventTable.prepare": (table.EventTable, "prepare"),
    "DeltaTable.create": (DeltaTable, "create"),
    "add_columns": (TableAlterer, "add_columns"),
    "take_over": (change, "take_over"),
    "write_day": (change, "write_day"),
    "write_without": (change, "write_without"),
    "Replaced.take": (replaced.Replaced, "take"),
    "Replaced.close": (replaced.Replaced, "__exit__"),
    "write_scopes": (merge, "write_scopes"),
    "write_conflicts": (merge, "write_conflicts"),
    "write_repeated": (merge, "write_repeated"),
    "EventTable.commit": (table.EventTable, "commit"),
    "create_write_transaction": (DeltaTable, "create_write_transaction"),
    "Ledger.add": (ledger.Ledger, "add"),
    "Ledger.add_revert": (ledger.Ledger, "add_revert"),
    "quarantine_file": (revert, "quarantine_file"),
}

HALF_WRITTEN = 64
"""Bytes that reach a file before `inside` kills; no file that is written is that small."""


def die_at(moment: str) -> None:
    """Die at a moment: `before STEP`, `after STEP`, or `inside STEP`.

    Before and after it this process kills itself, as a power cut or the OOM killer would; `after
    STEP 2` when it is done for the second time. Inside, the kernel kills it, in whatever thread,
    when a file that the step writes grows beyond a number of bytes, perhaps `inside STEP 4000`:
    what was written until then stays, nothing more is written.
    """
    when, name, *number = moment.split(" ")
    owner, attribute = STEPS[name]
    step: Callable[..., Any] = getattr(owner, attribute)
    times = itertools.count(1)

    @functools.wraps(step)
    def deadly(*arguments: Any, **named: Any) -> Any:
        fatal = when == "inside" or next(times) == int(number[0] if number else 1)
        if when == "before" and fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        if when == "inside":
            _limit_files(int(number[0]) if number else HALF_WRITTEN)
        done = step(*arguments, **named)
        if inspect.isgenerator(done):
            done = list(done)
        if when == "inside":
            _limit_files(resource.RLIM_INFINITY)  # or it would die in a later step
        if when == "after" and fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(owner, attribute, deadly)


def _limit_files(size: int) -> None:
    # Python ignores the signal; then the write would only fail.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))


def change_and_die(
    path: Path, moment: str | None, end: Connection, partition: str, batch: str | None
) -> None:
    """Import, or revert a batch; die at a moment, or say `done` and wait to be killed."""
    root = DataRoot(path)
    catalog = load_catalog(root)
    if moment is not None:
        die_at(moment)
    end.send("ready")
    if batch is None:
        importing.import_partition(root, catalog, catalog.sources["legacy"], partition)
    else:
        revert.revert(root, catalog, batch)
    end.send("done")
    end.recv()


@contextmanager
def victim(
    path: Path, moment: str | None = None, *, partition: str = "whole", batch: str | None = None
) -> Iterator[tuple[BaseProcess, Connection]]:
    """Start a process that imports a partition, or reverts a batch; it is dead after the block."""
    context = forked()
    ours, theirs = context.Pipe()
    process = context.Process(target=change_and_die, args=(path, moment, theirs, partition, batch))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def kill(path: Path, moment: str, *, partition: str = "whole", batch: str | None = None) -> None:
    """Let a process import a partition, or revert a batch, and die at a moment."""
    with victim(path, moment, partition=partition, batch=batch) as (process, end):
        assert end.recv() == "ready"
        end.poll(60)  # until it says that it is done, or its end closes
    expected = signal.SIGXFSZ if moment.startswith("inside") else signal.SIGKILL
    assert process.exitcode == -expected, f"it did not die {moment}"
