"""All that a comparison leaves behind: the page, the tables, the workbook with people's notes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.reconciliation.proof.signoff import signoffs
from spanner_pipeline.reconciliation.report.files import Report, report_folder, write_report
from spanner_pipeline.reconciliation.workbook.follow_up import carry_notes, place_workbook
from spanner_pipeline.root import Catalog, DataRoot


@dataclass(frozen=True)
class Published:
    """A comparison and where its reports are.

    Attributes:
        comparison: The comparison.
        report: The page and the tables.
        workbook: The workbook.
        fingerprint: The digest of all that it rests on and says.
        signoffs: What is said of its signatures, a line each.
        problem: Why notes that people filled in could not be read, if so; they were left alone.
    """

    comparison: Comparison
    report: Report
    workbook: Path
    fingerprint: str
    signoffs: list[str]
    problem: str | None


def reconcile_and_publish(
    root: DataRoot, catalog: Catalog, source: Source, total: BillingTotal, period: str | None = None
) -> Published:
    """Compare one billing total with the lake, and write its reports.

    Args:
        root: The data root.
        catalog: Its meters and sources.
        source: The source that declares the total.
        total: The declaration.
        period: Only periods that begin in this day, month or year, such as `2026-01`.

    Raises:
        PipelineError: When the old export, or what people left in the report's folder, cannot be
            read.
    """
    comparison = reconcile(root, catalog, source, total, period)
    signed, today = signoffs(root, catalog, comparison), datetime.now(UTC).date()
    folder = report_folder(root, comparison)
    follow_up = carry_notes(folder, comparison, today)
    report = write_report(root, comparison, signed.lines(), signed.now.fingerprint)
    workbook = place_workbook(folder, root, comparison, follow_up, today)
    problem = None if follow_up.problem is None else str(follow_up.problem)
    fingerprint = signed.now.fingerprint
    return Published(comparison, report, workbook, fingerprint, signed.lines(), problem)
