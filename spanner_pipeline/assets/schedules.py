"""What happens every night: imports of what is due and missing, and comparisons.

A schedule asks what is missing, not what the night is about. So a tick that was missed, because
nothing ran at that time, is made good by the next one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import AssetPartitionStatus

from spanner_pipeline.assets.imports import PARTITIONS_PER_RUN, import_key
from spanner_pipeline.assets.jobs import Job, Jobs
from spanner_pipeline.assets.partitions import existing_keys, partitions_of, periods_of
from spanner_pipeline.assets.ranges import range_tags, ranged_run
from spanner_pipeline.assets.retries import FAILURE, MAY_PASS
from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.selection import contiguous
from spanner_pipeline.sources.files import ListedFile, list_files

CHECK_AT, RECONCILE_AT = "30 3 * * *", "0 4 * * *"
"""When, in UTC; a source says in its YAML when its imports start."""

RUNS_PER_TICK = 25
"""More would queue for hours; the next night goes on."""


def build_schedules(root: DataRoot, catalog: Catalog, jobs: Jobs) -> list[dg.ScheduleDefinition]:
    """The schedules of a data root; they are off until somebody turns them on."""
    imports = [
        _nightly(root, catalog.sources[name], job)
        for name, job in jobs.backfills.items()
        if catalog.sources[name].partitions.from_ is not None
    ]
    compared = [_compared(catalog, total, jobs.comparisons) for _, total in catalog.comparisons]
    return [*imports, *([_overdue(jobs.overdue)] if jobs.overdue else []), *compared]


def _overdue(job: Job) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name="check_overdue_nightly",
        job=job,
        cron_schedule=CHECK_AT,
        execution_timezone="UTC",
        description="Every night, after the imports: what should have come by now, and has not.",
    )


def _compared(
    catalog: Catalog, total: BillingTotal, jobs: Mapping[str, Job]
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"reconcile_{total.name}_nightly",
        job=jobs[total.name],
        cron_schedule=RECONCILE_AT,
        execution_timezone="UTC",
        description=f"Every night, after the imports: compares {total.name}, and all its periods.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        periods = periods_of(catalog, total)
        moment = context.scheduled_execution_time
        keys = [] if periods is None else list(periods.get_partition_keys(current_time=moment))
        return dg.RunRequest(run_key=f"{moment:%F}", tags=range_tags(keys) if keys else {})

    return nightly


def _nightly(root: DataRoot, source: Source, job: Job) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"import_{source.source}_nightly",
        job=job,
        cron_schedule=source.schedule,
        execution_timezone="UTC",
        description=f"At {source.schedule} (UTC): imports the partitions of {source.source} that "
        "are over, have files, and are missing or failed for a reason that may have passed.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        keys = existing_keys(source, context.scheduled_execution_time)
        due = find_due(root, source, context.instance, keys)
        ranges = contiguous(keys, due.open, PARTITIONS_PER_RUN)
        if not ranges:
            return dg.SkipReason(f"Nothing is due. {due}")
        if len(ranges) > RUNS_PER_TICK:
            context.log.warning(
                f"{len(ranges)} ranges of partitions are due; the first {RUNS_PER_TICK} run now, "
                "the others after the next tick."
            )
        return [ranged_run(part, f"{part[0]}..{part[-1]}") for part in ranges[:RUNS_PER_TICK]]

    return nightly


@dataclass(frozen=True)
class Due:
    """What is due of a source.

    Attributes:
        open: Partitions to import.
        done: How many are imported.
        running: How many a run has at the moment.
        bad: Those whose data somebody must mend first.
        without_files: How many have no file.
    """

    open: list[str]
    done: int
    running: int
    bad: list[str]
    without_files: int

    def __str__(self) -> str:
        bad = f" ({', '.join(self.bad[:3])}{' …' if self.bad[3:] else ''})" if self.bad else ""
        return (
            f"Partitions: {self.done} imported, {self.running} running, {len(self.bad)} failed for "
            f"bad data{bad}, {self.without_files} without a file."
        )


def find_due(
    root: DataRoot, source: Source, instance: dg.DagsterInstance, keys: Sequence[str]
) -> Due:
    """Find the partitions that have files and that another run may bring into the lake.

    Args:
        root: The data root.
        source: The source.
        instance: Knows what became of partitions.
        keys: The partitions that are over.
    """
    listed = list_files(root, source, set(keys))
    key = import_key(source.source, "merged")
    found = instance.get_status_by_partition(key, keys, partitions_of(source)) or {}
    due, bad = [], []
    for partition in listed:
        status = found.get(partition)
        if status is AssetPartitionStatus.FAILED and _stays_bad(instance, key, partition, listed):
            bad.append(partition)
        elif status in (None, AssetPartitionStatus.FAILED):
            due.append(partition)
    held = [found.get(partition) for partition in keys]
    return Due(
        open=sorted(due),
        done=held.count(AssetPartitionStatus.MATERIALIZED),
        running=held.count(AssetPartitionStatus.IN_PROGRESS),
        bad=sorted(bad),
        without_files=sum(
            found.get(partition) is None for partition in keys if partition not in listed
        ),
    )


def _stays_bad(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partition: str,
    listed: dict[str, list[ListedFile]],
) -> bool:
    """Whether a failed partition failed for its data, and its files are as they were then."""
    records = instance.fetch_observations(
        dg.AssetRecordsFilter(key, asset_partitions=[partition]), limit=10
    ).records
    for record in records:
        observation = record.asset_observation
        if observation is None or FAILURE not in observation.metadata:
            continue
        failed_at = int(record.timestamp * 10**9)
        mended = any(file.changed >= failed_at for file in listed[partition])
        return not observation.metadata[MAY_PASS].value and not mended
    return False  # the run was killed before it could say anything
