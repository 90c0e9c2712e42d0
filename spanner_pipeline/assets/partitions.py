"""A source's grain as Dagster partitions; the keys are those of `Source.partition_keys`."""

from datetime import date, datetime, time

import dagster as dg

from spanner_pipeline.configuration.source import WHOLE, Source, next_period


def partitions_of(source: Source) -> dg.PartitionsDefinition:
    """The partitions definition of a source."""
    declared = source.partitions
    if declared.from_ is None:
        return dg.StaticPartitionsDefinition([WHOLE])
    start = datetime.combine(declared.from_, time())
    end = None if declared.to is None else datetime.combine(_whole(source, declared.to), time())
    running = 1 if declared.to is None else 0  # the running month or year counts; a day must end
    if declared.grain == "day":
        return dg.DailyPartitionsDefinition(start_date=start, end_date=end)
    if declared.grain == "month":
        return dg.MonthlyPartitionsDefinition(
            start_date=start, end_date=end, fmt="%Y-%m", end_offset=running
        )
    return dg.TimeWindowPartitionsDefinition(
        start=start, end=end, fmt="%Y", cron_schedule="0 0 1 1 *", end_offset=running
    )


def existing_keys(source: Source, moment: datetime) -> list[str]:
    """The partitions of a source that Dagster knows at a moment, oldest first."""
    return list(partitions_of(source).get_partition_keys(current_time=moment))


def _whole(source: Source, end: date) -> date:
    """The end of the period that `end` falls into: Dagster would leave out a part of one."""
    assert source.partitions.from_ is not None
    period = source.partitions.from_
    while period < end:
        period = next_period(source.partitions.grain, period)
    return period
