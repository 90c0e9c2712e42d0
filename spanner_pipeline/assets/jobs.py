"""The jobs of a data root: what a person, a schedule or a sensor can start by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (  # not exported
    UnresolvedAssetJobDefinition,
)

from spanner_pipeline.assets.delivery import build_deliver_job
from spanner_pipeline.assets.expectations import NOTHING_OVERDUE
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.lake_jobs import build_maintain_job, build_revert_job
from spanner_pipeline.assets.naming import owners_of
from spanner_pipeline.assets.partitions import periods_of
from spanner_pipeline.assets.reconciliation import periods_key, report_key
from spanner_pipeline.assets.usage import usage_key
from spanner_pipeline.assets.verification import build_verify_job
from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.importing import STAGES
from spanner_pipeline.root import Catalog

Job = dg.JobDefinition | UnresolvedAssetJobDefinition


@dataclass(frozen=True)
class Jobs:
    """The jobs of a data root.

    Attributes:
        backfills: The import of each source that has usage.
        reconcile: Usage and all comparisons; None where there are no meters.
        comparisons: One comparison with its periods, by its name.
        overdue: The check of all sources for what has not come; None where nothing is imported.
        care: Care of the lake, delivery out of it, and verification of that.
    """

    backfills: dict[str, Job]
    reconcile: Job | None
    comparisons: dict[str, Job]
    overdue: Job | None
    care: list[Job]

    @property
    def all(self) -> list[Job]:
        """Every job."""
        several = [job for job in (self.overdue, self.reconcile) if job]
        return [*self.backfills.values(), *several, *self.comparisons.values(), *self.care]


def build_jobs(catalog: Catalog, pools: Mapping[str, str]) -> Jobs:
    """The jobs of a data root.

    Args:
        catalog: Its meters and sources.
        pools: The pool of each source's imports.
    """
    importable = [source for source in catalog.sources.values() if source.usage]
    lake = [build_maintain_job(catalog, pools), build_revert_job(catalog, pools)]
    lake += [build_deliver_job(catalog), build_verify_job(catalog)]
    return Jobs(
        backfills={source.source: _backfill(source) for source in importable},
        reconcile=_reconcile(catalog) if catalog.meters else None,
        comparisons={total.name: _comparison(catalog, total) for _, total in catalog.comparisons},
        overdue=_overdue(importable) if importable else None,
        care=list(lake) if catalog.meters else [],
    )


def _backfill(source: Source) -> Job:
    return dg.define_asset_job(
        f"backfill_{source.source}",
        selection=[import_key(source.source, stage) for stage in STAGES],
        description=f"Imports partitions of {source.source}, through all stages. Known files are "
        "not read again, and every event counts once, however often it runs. To watch partitions "
        f"one by one, and to run failed ones again, start it on the page of group {source.source} "
        "(Lineage): a backfill from here counts a run as a whole.",
        owners=owners_of(source),
    )


def _reconcile(catalog: Catalog) -> Job:
    reports = [report_key(total) for _, total in catalog.comparisons]
    return dg.define_asset_job(
        "reconcile",
        selection=[*map(usage_key, catalog.meters.values()), *reports],
        description="Brings daily usage up to date, and compares every old bill with the lake.",
    )


def _overdue(sources: Sequence[Source]) -> Job:
    merged = [import_key(source.source, STAGES[-1]) for source in sources]
    checks = [dg.AssetCheckKey(key, NOTHING_OVERDUE) for key in merged]
    return dg.define_asset_job(
        "check_overdue",
        selection=dg.AssetSelection.checks(*checks),
        description="Looks in every source for partitions that should have data by now.",
    )


def _comparison(catalog: Catalog, total: BillingTotal) -> Job:
    periods = [] if periods_of(catalog, total) is None else [periods_key(total)]
    return dg.define_asset_job(
        f"reconcile_{total.name}",
        selection=[usage_key(catalog.meters[total.meter]), report_key(total), *periods],
        description=f"Compares {total.name} with the lake, as a whole and by period.",
    )
