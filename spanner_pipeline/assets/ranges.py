"""One run over a range of partitions, as Dagster's tags spell it."""

from collections.abc import Sequence

import dagster as dg

_START, _END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def range_tags(keys: Sequence[str]) -> dict[str, str]:
    """The tags of a run over partitions that follow each other."""
    return {_START: keys[0], _END: keys[-1]}


def ranged_run(keys: Sequence[str], run_key: str) -> dg.RunRequest:
    """Ask for one run over partitions that follow each other.

    Args:
        keys: The partitions, oldest first.
        run_key: What tells this request from others; Dagster runs it once.
    """
    if len(keys) == 1:  # the UI shows the partition of such a run by name
        return dg.RunRequest(run_key=run_key, partition_key=keys[0])
    return dg.RunRequest(run_key=run_key, tags=range_tags(keys))
