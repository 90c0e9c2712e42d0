"""A real Dagster daemon over a root, with all the processes that it starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import dagster as dg

from spanner_pipeline.root import DataRoot
from spanner_pipeline_tests.eager import eager

REPO = Path(__file__).parent.parent.parent
Found = TypeVar("Found")


def environment(root: DataRoot) -> dict[str, str]:
    """What Dagster's processes need to find a root."""
    return {**eager(), "SPANNER_DATA": str(root.path), "DAGSTER_HOME": str(root.dagster_home)}


def dagster(root: DataRoot, *arguments: str) -> None:
    """Run a command of Dagster's own command line."""
    subprocess.run(
        [sys.executable, "-m", "dagster", *arguments, "-w", "workspace.yaml"],
        cwd=REPO,
        env=environment(root),
        check=True,
        capture_output=True,
    )


class Daemon:
    """`dagster-daemon run`, in a process group of its own."""

    def __init__(self, root: DataRoot) -> None:
        self._log = (root.path / "daemon.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
            cwd=REPO,
            env=environment(root),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Kill -9, this one process alone."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """End it, and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


@contextmanager
def daemons(root: DataRoot) -> Iterator[Callable[[], Daemon]]:
    """Start daemons; all are gone after the block."""
    started: list[Daemon] = []

    def start() -> Daemon:
        started.append(Daemon(root))
        return started[-1]

    try:
        yield start
    finally:
        for daemon in started:
            daemon.end()


def until(what: str, found: Callable[[], Found | None], seconds: int = 180) -> Found:
    """Wait for something to be there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {seconds} s")


def worker_of(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The process that executes a run, once it says so."""
    told = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    for record in told:
        message = record.event_log_entry.get_dagster_event().message or ""
        if found := re.search(r"Started process for run \(pid: (\d+)\)", message):
            return int(found[1])
    return None
