"""Daily usage of each meter, by subject and dimensions, as a file beside the lake's tables."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from spanner_pipeline.lake.names import file_name
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.query import query_usage
from spanner_pipeline.whole import written_whole


def daily_usage(root: DataRoot, meter: Meter) -> tuple[Path, pl.DataFrame]:
    """Write the daily usage of a meter, by subject and all its dimensions, below `lake/daily/`.

    Returns:
        The Parquet file, and what it holds: `bucket_start` (UTC), `subject`, the dimensions,
        `quantity`, `events`.
    """
    ends = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    names = ["subject", *(dimension.name for dimension in meter.dimensions)]
    daily = query_usage(root, meter, *ends, bucket="day", group_by=names)
    path = root.lake / "daily" / f"{file_name(meter.name)}.parquet"
    with written_whole(path) as work:
        daily.write_parquet(work)
    return path, daily
