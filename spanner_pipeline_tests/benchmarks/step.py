"""One measured step in a process of its own: `python -m spanner_pipeline_tests.benchmarks.step`.

Prints JSON: CPU seconds (user and system, all threads) and wall seconds of the step alone, without
the start of the interpreter and the imports; the peak memory of the whole process in GB; and the
CPU seconds of the parts of an import or a merge.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from spanner_pipeline_tests.benchmarks.profile import OF_IMPORT, OF_MERGE, watch

STEPS = {
    "scan": ("peers", "scan"),
    "copy": ("peers", "copy"),
    "ours": ("ours", "merging"),
    "digest": ("ours", "by_digest"),
    "delta": ("peers", "delta"),
    "polars": ("peers", "polars"),
    "lake_scan": ("reconciling", "scanning"),
    "reconcile": ("reconciling", "reconciling"),
    "polars_reconcile": ("reconciling", "with_polars"),
    "csv_copy": ("importing", "copying"),
    "import": ("importing", "by_partition"),
    "backfill": ("importing", "backfilling"),
}
"""By name: the module, and what in it prepares a step on a delivery and returns it.

Only that module is imported: a bare scan neither waits for Dagster nor holds it in memory.
"""


def main() -> None:
    """Run one step: its name, the work folder, the delivery."""
    name, folder, delivery = sys.argv[1:]
    parts = watch(OF_IMPORT if name in ("import", "backfill") else OF_MERGE)
    module, prepare = STEPS[name]
    prepared = getattr(import_module(f"{__package__}.{module}"), prepare)
    step: Callable[[], None] = prepared(Path(folder), delivery)
    before, started = os.times(), time.perf_counter()
    step()
    after, wall = os.times(), time.perf_counter() - started
    cpu = after.user + after.system - before.user - before.system
    print(json.dumps({"cpu": cpu, "wall": wall, "peak": _peak(), "parts": parts}))


def _peak() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e6


if __name__ == "__main__":
    main()
