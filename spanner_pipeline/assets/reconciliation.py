"""Comparisons as assets: the old bill against the lake, with a check for the verdict."""

import dagster as dg

from spanner_pipeline.assets.failures import readable_failures
from spanner_pipeline.assets.naming import owners_of
from spanner_pipeline.assets.usage import feeding
from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.reconciliation.compare import STATUSES
from spanner_pipeline.reconciliation.publish import reconcile_and_publish
from spanner_pipeline.reconciliation.report.waterfall import steps
from spanner_pipeline.reconciliation.spelling import grouped, percent, signed
from spanner_pipeline.root import Catalog, DataRoot

VERDICT, REPORT = "verdict", "report"
CHECK = "totals_agree"


def report_key(total: BillingTotal) -> dg.AssetKey:
    """The asset of a comparison's report."""
    return dg.AssetKey(["reports", total.name])


def old_bill_spec(source: Source) -> dg.AssetSpec:
    """The old system's export, which this pipeline reads and does not make."""
    return dg.AssetSpec(
        dg.AssetKey([source.source, "billing_totals"]),
        description=source.description,
        group_name=source.source,
        kinds={"file"},
        owners=owners_of(source),
        metadata={"files": source.files},
    )


def build_report_asset(
    root: DataRoot, catalog: Catalog, source: Source, total: BillingTotal
) -> dg.AssetsDefinition:
    """One comparison: it always materializes; its check says whether the totals agree."""
    key = report_key(total)

    @dg.asset(
        key=key,
        deps=[old_bill_spec(source).key, *feeding(catalog, catalog.meters[total.meter])],
        group_name="reports",
        kinds={"duckdb", "html"},
        owners=owners_of(source),
        description=total.description,
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=key,
                description="Old and new totals agree within the declared tolerance.",
            )
        ],
    )
    def report() -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster wants it bare
        with readable_failures():
            done = reconcile_and_publish(root, catalog, source, total)
        comparison, files = done.comparison, done.report
        share = percent(comparison.difference, comparison.old_total) or "no old total"
        counts = {status: comparison.cells.filter(status=status).height for status in STATUSES}
        breaks = [
            dg.TableRecord(
                {
                    "subject": row["subject"],
                    "period": row["period"],
                    "old": grouped(row["old"]),
                    "new": grouped(row["new"]),
                    "difference": signed(row["difference"]),
                    "unexplained": signed(row["unexplained"]),
                }
            )
            for row in comparison.breaks.head(20).iter_rows(named=True)
        ]
        causes = [
            dg.TableRecord({"cause": s.cause, "quantity": signed(s.quantity), "numbers": s.numbers})
            for s in steps(comparison)
        ]
        severe = total.severity == "error"
        return dg.MaterializeResult(
            metadata={
                VERDICT: comparison.verdict,
                REPORT: dg.MetadataValue.path(str(files.html)),
                "report.csv": dg.MetadataValue.path(str(files.csv)),
                "old total": grouped(comparison.old_total),
                "new total": grouped(comparison.new_total),
                "difference": f"{signed(comparison.difference)} ({share})",
                "unexplained": signed(comparison.unexplained),
                "report.xlsx": dg.MetadataValue.path(str(done.workbook)),
                "numbers compared": comparison.cells.height,
                "numbers beyond tolerance": comparison.breaks.height,
                "numbers by status": dg.MetadataValue.json(counts),
                **({"why": "; ".join(comparison.failings)} if comparison.broke else {}),
                **({"from old to new": dg.MetadataValue.table(causes)} if causes[1:] else {}),
                **({"biggest breaks": dg.MetadataValue.table(breaks)} if breaks else {}),
            },
            check_results=[
                dg.AssetCheckResult(
                    passed=not comparison.broke,
                    check_name=CHECK,
                    severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
                    description="; ".join(comparison.failings) or "Everything agrees.",
                    metadata={"beyond tolerance": comparison.breaks.height},
                )
            ],
        )

    return report
