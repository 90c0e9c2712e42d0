"""What all partitioned checks share: how severe they are, and of what they speak."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

_PAGE = 1000


def severity_of(declared: str) -> dg.AssetCheckSeverity:
    """The severity that a declaration names, `error` or `warn`."""
    return dg.AssetCheckSeverity.ERROR if declared == "error" else dg.AssetCheckSeverity.WARN


def newest_materializations(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Sequence[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """The newest materialization of each partition that has one.

    Dagster shows a check as that of a partition only where it names this.
    """
    asked = dg.AssetRecordsFilter(asset_key=key, asset_partitions=list(partitions))
    found: dict[str, AssetCheckEvaluationTargetMaterializationData] = {}
    cursor, more = None, True
    while more and len(found) < len(partitions):
        page = instance.fetch_materializations(asked, limit=_PAGE, cursor=cursor)
        for record in page.records:  # newest first
            if record.partition_key is not None and record.partition_key not in found:
                found[record.partition_key] = AssetCheckEvaluationTargetMaterializationData(
                    storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
                )
        cursor, more = page.cursor, page.has_more
    return found
