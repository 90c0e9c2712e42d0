"""A real daemon over a data root, and backfills launched as the web server launches them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.partitions import partitions_of
from spanner_pipeline.importing import STAGES
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.benchmarks.year.generate import SOURCE

REPO = Path(__file__).parent.parent.parent.parent
_RUNNING = {BulkActionStatus.REQUESTED, BulkActionStatus.FAILING, BulkActionStatus.CANCELING}
_PATIENCE = 3600


@dataclass(frozen=True)
class Ran:
    """What a backfill took.

    Attributes:
        runs: How many runs.
        launched: Wall seconds from the launch to the last run's end.
        completed: Wall seconds until the daemon called it complete: it looks every 30 seconds.
        executing: Wall seconds in which runs were executing. Two at once count once: the second
            waits for the pool of the meter.
    """

    runs: int
    launched: float
    completed: float
    executing: float


@contextmanager
def daemon(root: DataRoot) -> Iterator[None]:
    """Run Dagster's daemon on a root."""
    environment = {
        **os.environ,
        "SPANNER_DATA": str(root.path),
        "DAGSTER_HOME": str(root.dagster_home),
    }
    with (root.path / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
            cwd=REPO,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def run_backfill(root: DataRoot, instance: dg.DagsterInstance, partitions: Sequence[str]) -> Ran:
    """Launch a backfill of the import over partitions, and wait until it is complete.

    Raises:
        RuntimeError: When a run failed, or it took longer than an hour.
    """
    name = f"bench{time.time_ns()}"
    began = time.time()
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=name,
            asset_graph=build_definitions(root).resolve_asset_graph(),
            partition_names=partitions,
            asset_selection=[import_key(SOURCE, stage) for stage in STAGES],
            backfill_timestamp=began,
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
    )
    status = BulkActionStatus.REQUESTED
    while status in _RUNNING:
        time.sleep(1)
        found = instance.get_backfill(name)
        assert found is not None
        status = found.status
        if time.time() - began > _PATIENCE:
            raise RuntimeError(
                f"the backfill takes longer than an hour; see {root.path}/daemon.log"
            )
    completed = time.time() - began
    records = instance.get_run_records(dg.RunsFilter(tags={"dagster/backfill": name}))
    if status is not BulkActionStatus.COMPLETED_SUCCESS:
        raise RuntimeError(f"the backfill is {status.value}; see {root.path}/daemon.log")
    times = [(r.start_time, r.end_time) for r in records if r.start_time and r.end_time]
    return Ran(
        runs=len(records),
        launched=max(end for _, end in times) - began,
        completed=completed,
        executing=_covered(times),
    )


def _covered(times: list[tuple[float, float]]) -> float:
    """The length of what intervals cover."""
    length, until = 0.0, 0.0
    for start, end in sorted(times):
        length += max(0.0, end - max(start, until))
        until = max(until, end)
    return length


def green(root: DataRoot, instance: dg.DagsterInstance) -> int:
    """How many partitions Dagster shows as imported."""
    source = load_catalog(root).sources[SOURCE]
    partitions = partitions_of(source)
    found = instance.get_status_by_partition(
        import_key(SOURCE, STAGES[-1]), partitions.get_partition_keys(), partitions
    )
    states = (found or {}).values()
    return sum(state is dg.AssetPartitionStatus.MATERIALIZED for state in states)
