"""A process that imports a tiny data root and dies on the way."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from spanner_pipeline import importing
from spanner_pipeline.lake import ledger, merge, table
from spanner_pipeline.root import DataRoot, load_catalog

STEPS: dict[str, tuple[Any, str]] = {
    "stage": (importing, "stage"),
    "write_rejected": (importing, "write_rejected"),
    "write_conflicts": (merge, "_write_conflicts"),
    "DeltaTable.create": (table.DeltaTable, "create"),
    "EventTable.append": (table.EventTable, "append"),
    "EventTable.replace_days": (table.EventTable, "replace_days"),
    "write_deltalake": (table, "write_deltalake"),
    "Ledger.add": (ledger.Ledger, "add"),
}


def die_at(moment: str) -> None:
    """Kill this process, as a power cut or the OOM killer would, before or after a step."""
    when, name = moment.split(" ")
    owner, attribute = STEPS[name]
    step: Callable[..., Any] = getattr(owner, attribute)

    @functools.wraps(step)
    def deadly(*arguments: Any, **named: Any) -> Any:
        if when == "after":
            step(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, deadly)


def import_and_die(path: Path, moment: str | None, end: Connection) -> None:
    """Import; die at a moment such as `after Ledger.add`, or say `done` and wait to be killed."""
    root = DataRoot(path)
    catalog = load_catalog(root)
    if moment is not None:
        die_at(moment)
    end.send("ready")
    importing.import_partition(root, catalog, catalog.sources["legacy"], "whole")
    end.send("done")
    end.recv()
