"""Comparisons as assets: the old bill against the lake, with a check for the verdict.

The report is of the whole. Where a comparison has the calendar's periods, they are partitions of a
second asset. Both come from one step, so that a run that makes both compares once.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from spanner_pipeline.assets.by_period import CHECK, period_events
from spanner_pipeline.assets.checks import severity_of
from spanner_pipeline.assets.columns import (
    LINEAGE,
    SCHEMA,
    bill_schema,
    report_lineage,
    report_schema,
)
from spanner_pipeline.assets.downloads import keep_for_download
from spanner_pipeline.assets.failures import readable_failures
from spanner_pipeline.assets.naming import owners_of
from spanner_pipeline.assets.partitions import periods_of
from spanner_pipeline.assets.report_metadata import report_metadata
from spanner_pipeline.assets.resources import Lake, Reports
from spanner_pipeline.assets.usage import feeding
from spanner_pipeline.assets.versions import report_version
from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.reconciliation.publish import Published, reconcile_and_publish
from spanner_pipeline.root import Catalog, DataRoot


def report_key(total: BillingTotal) -> dg.AssetKey:
    """The asset of a comparison's report."""
    return dg.AssetKey(["reports", total.name])


def periods_key(total: BillingTotal) -> dg.AssetKey:
    """The asset of a comparison's periods."""
    return dg.AssetKey(["reports", total.name, "by_period"])


def old_bill_spec(source: Source) -> dg.AssetSpec:
    """The old system's export, which this pipeline reads and does not make."""
    return dg.AssetSpec(
        dg.AssetKey([source.source, "billing_totals"]),
        description=source.description,
        group_name=source.source,
        kinds={"file"},
        owners=owners_of(source),
        tags={"stage": "billed"},
        metadata={"files": source.files, SCHEMA: bill_schema(source)},
    )


def build_report_asset(
    catalog: Catalog, source: Source, total: BillingTotal
) -> dg.AssetsDefinition:
    """One comparison: it always materializes; its checks say whether the totals agree."""
    report, by_period = report_key(total), periods_key(total)
    periods = periods_of(catalog, total)
    meter = catalog.meters[total.meter]
    bill, imports = old_bill_spec(source).key, feeding(catalog, meter)
    about = total.description or f"The old bill {source.source} against meter {total.meter}."
    common: dict[str, Any] = {
        "group_name": "reports",
        "owners": owners_of(source),
        "skippable": True,
        "tags": {"stage": "reconciled"},
        "code_version": report_version(source, total, meter),
    }
    specs = [
        dg.AssetSpec(
            report,
            deps=[bill, *imports],
            description=about,
            kinds={"duckdb", "html"},
            metadata={SCHEMA: report_schema(total, meter)},
            **common,
        )
    ]
    checks = [
        dg.AssetCheckSpec(
            CHECK,
            asset=report,
            description="Old and new totals agree within the declared tolerance.",
        )
    ]
    if periods is not None:
        specs.append(
            dg.AssetSpec(
                by_period,
                deps=[report],
                description=f"{about} By {total.period.grain}, each with its own verdict.",
                kinds={"duckdb"},
                partitions_def=periods,
                **common,
            )
        )
        checks.append(
            dg.AssetCheckSpec(
                CHECK,
                asset=by_period,
                description=f"Old and new totals of a {total.period.grain} agree within the "
                "declared tolerance.",
                partitions_def=periods,
            )
        )

    @dg.multi_asset(
        name=f"report_{total.name}",
        specs=specs,
        check_specs=checks,
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def reconciled(
        context: dg.AssetExecutionContext, lake: Lake, reports: Reports
    ) -> Iterator[Any]:
        root, selected = lake.root, context.selected_asset_keys
        checked = {check.asset_key for check in context.selected_asset_check_keys}
        with readable_failures():
            if report in selected:
                done = reconcile_and_publish(root, catalog, source, total)
                comparison = done.comparison
                shown = report_metadata(done, _kept(context, root, reports, done))
            else:
                comparison = reconcile(root, catalog, source, total)
        if report in selected:
            lineage = {LINEAGE: report_lineage(total, bill, imports)}
            yield dg.MaterializeResult(
                asset_key=report,
                metadata={**shown, **lineage},
                data_version=dg.DataVersion(done.fingerprint),
            )
        if report in checked:
            yield _verdict(report, comparison)
        if by_period in selected | checked:
            yield from period_events(context, by_period, comparison)

    return reconciled


def _kept(
    context: dg.AssetExecutionContext, root: DataRoot, reports: Reports, done: Published
) -> dict[str, str]:
    """Keep this run's report, and say where it can be downloaded."""
    files = {
        "html": done.report.html,
        "xlsx": done.workbook,
        "csv": done.report.csv,
        "json": done.report.verdict,
    }
    return keep_for_download(
        context.instance,
        context.run_id,
        done.comparison.total.name,
        files,
        root.reports,
        reports.base_url,
    )


def _verdict(key: dg.AssetKey, comparison: Comparison) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        passed=not comparison.broke,
        check_name=CHECK,
        severity=severity_of(comparison.total.severity),
        description="; ".join(comparison.failings) or "Everything agrees.",
        metadata={"numbers beyond tolerance": comparison.breaks.height},
    )
