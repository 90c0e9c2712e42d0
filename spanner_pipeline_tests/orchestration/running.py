"""Runs of assets on the real instance of a small root, and what Dagster believes after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.partitions import partitions_of
from spanner_pipeline.root import DataRoot, load_catalog

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def import_days(
    root: DataRoot, instance: dg.DagsterInstance, days: Sequence[str], source: str = "switch"
) -> dg.ExecuteInProcessResult:
    """One ranged run of the import of a source."""
    definitions = build_definitions(root)
    return dg.materialize(
        [definitions.get_assets_def(import_key(source, "merged"))],
        resources=definitions.resources,
        instance=instance,
        tags=dict(zip(RANGE, (days[0], days[-1]), strict=True)),
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
