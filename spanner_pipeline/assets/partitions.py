"""A source's grain as Dagster partitions; the keys are those of `Source.partition_keys`."""

from datetime import datetime, time

import dagster as dg

from spanner_pipeline.configuration.source import WHOLE, Source


def partitions_of(source: Source) -> dg.PartitionsDefinition:
    """The partitions definition of a source."""
    declared = source.partitions
    if declared.from_ is None:
        return dg.StaticPartitionsDefinition([WHOLE])
    start = datetime.combine(declared.from_, time())
    end = None if declared.to is None else datetime.combine(declared.to, time())
    if declared.grain == "day":
        return dg.DailyPartitionsDefinition(start_date=start, end_date=end)
    if declared.grain == "month":
        return dg.MonthlyPartitionsDefinition(start_date=start, end_date=end, fmt="%Y-%m")
    return dg.TimeWindowPartitionsDefinition(
        start=start, end=end, fmt="%Y", cron_schedule="0 0 1 1 *"
    )
