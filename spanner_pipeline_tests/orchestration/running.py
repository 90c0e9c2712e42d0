"""Runs of assets on the real instance of a small root, and what Dagster believes after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.partitions import partitions_of
from spanner_pipeline.assets.ranges import range_tags
from spanner_pipeline.root import DataRoot, load_catalog


def import_days(
    root: DataRoot, instance: dg.DagsterInstance, days: Sequence[str], source: str = "switch"
) -> dg.ExecuteInProcessResult:
    """One ranged run of the import of a source."""
    definitions = build_definitions(root)
    return dg.materialize(
        [definitions.get_assets_def(import_key(source, "merged"))],
        resources=definitions.resources,
        instance=instance,
        tags=range_tags(days),
        raise_on_error=False,
    )


def statuses(
    root: DataRoot, instance: dg.DagsterInstance, source: str = "switch", stage: str = "merged"
) -> dict[str, Any]:
    """The status of every partition of a source, by its key."""
    partitions = partitions_of(load_catalog(root).sources[source])
    keys = partitions.get_partition_keys()
    found = instance.get_status_by_partition(import_key(source, stage), keys, partitions)
    assert found is not None
    return dict(found)


def forget(instance: dg.DagsterInstance) -> None:
    """Make an instance as new. Its pools stay: `wipe` would lose them, and runs wait for ever."""
    for run in instance.get_runs():
        instance.delete_run(run.run_id)
    instance.wipe_assets(instance.all_asset_keys())


def carry_out(
    root: DataRoot, instance: dg.DagsterInstance, job: str, request: dg.RunRequest
) -> dg.ExecuteInProcessResult:
    """Run what a schedule or sensor asked for."""
    return (
        build_definitions(root)
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            tags=dict(request.tags),
            partition_key=request.partition_key,
            raise_on_error=False,
        )
    )


def asked_range(request: dg.RunRequest) -> tuple[str, str]:
    """The first and last partition of a run request."""
    if request.partition_key:
        return request.partition_key, request.partition_key
    found = request.partition_key_range
    assert found is not None
    return found.start, found.end
