"""Grains as Dagster partitions: a source's deliveries, and the periods of a comparison.

The keys of a source are those of `Source.partition_keys`.
"""

from datetime import date, datetime, time

import dagster as dg

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import WHOLE, Grain, Source, next_period
from spanner_pipeline.root import Catalog


def partitions_of(source: Source) -> dg.PartitionsDefinition:
    """The partitions definition of a source."""
    declared = source.partitions
    if declared.from_ is None:
        return dg.StaticPartitionsDefinition([WHOLE])
    # The running month or year counts; a day must end.
    running = declared.grain != "day"
    return _calendar(declared.grain, declared.from_, declared.to, running=running)


def periods_of(catalog: Catalog, total: BillingTotal) -> dg.PartitionsDefinition | None:
    """The periods of a comparison that have ended.

    They reach as far as the comparison declares, else as the sources that feed its meter do.

    Returns:
        None where it has periods of its own, or where nothing declares when they begin.
    """
    grain = total.period.grain
    if grain is None:
        return None
    feeding = [
        source.partitions
        for source in catalog.sources.values()
        if any(usage.meter == total.meter for usage in source.usage)
    ]
    first, end = total.period.from_, total.period.to
    starts = [declared.from_ for declared in feeding]
    if first is None:
        known = [start for start in starts if start is not None]
        if not known or len(known) < len(starts):
            return None
        first = min(known)
    if end is None:
        ends = [declared.to for declared in feeding]
        bounded = [until for until in ends if until is not None]
        end = max(bounded) if bounded and len(bounded) == len(ends) else None
    opens = first.replace(day=first.day if grain == "day" else 1)
    return _calendar(grain, opens.replace(month=1) if grain == "year" else opens, end)


def _calendar(
    grain: Grain, first: date, end: date | None, *, running: bool = False
) -> dg.TimeWindowPartitionsDefinition:
    start = datetime.combine(first, time())
    until = None if end is None else datetime.combine(_whole(grain, first, end), time())
    offset = 1 if running and end is None else 0
    if grain == "day":
        return dg.DailyPartitionsDefinition(start_date=start, end_date=until)
    if grain == "month":
        return dg.MonthlyPartitionsDefinition(
            start_date=start, end_date=until, fmt="%Y-%m", end_offset=offset
        )
    return dg.TimeWindowPartitionsDefinition(
        start=start, end=until, fmt="%Y", cron_schedule="0 0 1 1 *", end_offset=offset
    )


def existing_keys(source: Source, moment: datetime) -> list[str]:
    """The partitions of a source that Dagster knows at a moment, oldest first."""
    return list(partitions_of(source).get_partition_keys(current_time=moment))


def _whole(grain: Grain, period: date, end: date) -> date:
    """The end of the period that `end` falls into: Dagster would leave out a part of one."""
    while period < end:
        period = next_period(grain, period)
    return period
