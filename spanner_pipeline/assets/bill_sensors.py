"""What watches old bills, and asks for their comparison when they arrive or change."""

from datetime import UTC, datetime

import dagster as dg

from spanner_pipeline.assets.jobs import Job, Jobs
from spanner_pipeline.assets.partitions import periods_of
from spanner_pipeline.assets.ranges import range_tags
from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.reconciliation.bill_arrivals import SeenBill, look_at_bill
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.sources.tables import asks_a_server

EVERY_SECONDS = 60


def build_bill_sensors(root: DataRoot, catalog: Catalog, jobs: Jobs) -> list[dg.SensorDefinition]:
    """A sensor for each comparison; they are off until somebody turns them on."""
    return [
        _watch(root, catalog, source, total, jobs.comparisons[total.name])
        for source, total in catalog.comparisons
    ]


def _watch(
    root: DataRoot, catalog: Catalog, source: Source, total: BillingTotal, job: Job
) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"watch_bill_{total.name}",
        job=job,
        minimum_interval_seconds=EVERY_SECONDS,
        description=f"Watches {source.files}, and compares {total.name}, with all its periods, "
        + (
            "once: what changes in a database it does not see, but the nightly comparison does."
            if asks_a_server(source)
            else "when the old bill is new or changed, by its digest."
        ),
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        found = look_at_bill(root, source, SeenBill.read(context.cursor), now)
        if not found.changed:
            said = (
                "Just changed, and perhaps still being written" if found.settling else "Nothing new"
            )
            return dg.SensorResult(
                skip_reason=f"{said}: {found.files} files.", cursor=found.seen.spell()
            )
        periods = periods_of(catalog, total)
        keys = [] if periods is None else list(periods.get_partition_keys(current_time=now))
        # A bill that is put back as it was is compared again: the listing tells it apart.
        run_key = f"{found.seen.content} {found.seen.listing}"
        request = dg.RunRequest(run_key=run_key, tags=range_tags(keys) if keys else {})
        return dg.SensorResult(run_requests=[request], cursor=found.seen.spell())

    return watch
