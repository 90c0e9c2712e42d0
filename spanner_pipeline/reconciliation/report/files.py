"""A comparison's report: a page for people, all numbers as CSV and Parquet, the verdict as JSON.

Belongs here: which files there are, and when they are written. The same comparison gives the same
bytes but for one block of run information; files of which only that would change stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spanner_pipeline.reconciliation.compare import STATUSES, Comparison
from spanner_pipeline.reconciliation.report.page import RUN_BLOCK, render_html
from spanner_pipeline.reconciliation.report.rows import rows_csv, rows_parquet
from spanner_pipeline.reconciliation.report.run_information import run_information
from spanner_pipeline.reconciliation.spelling import plain
from spanner_pipeline.root import DataRoot
from spanner_pipeline.whole import written_whole

_RUN = "run"


@dataclass(frozen=True)
class Report:
    """Where the files of one report are."""

    html: Path
    csv: Path
    parquet: Path
    verdict: Path


def report_folder(root: DataRoot, comparison: Comparison) -> Path:
    """Where the report of a comparison belongs: of one period below that of all."""
    folder = root.reports / comparison.total.name
    return folder if comparison.period is None else folder / comparison.period


def write_report(
    root: DataRoot, comparison: Comparison, signoffs: Sequence[str] = (), fingerprint: str = ""
) -> Report:
    """Write the report of a comparison; what says the same already is not written again.

    Args:
        root: The data root.
        comparison: The comparison.
        signoffs: Who signed it, a line each; lines that begin with VOID are shown as such.
        fingerprint: The digest of all that it rests on.
    """
    folder = report_folder(root, comparison)
    run = run_information(root, comparison.lake_version)
    report = Report(
        folder / "report.html",
        folder / "report.csv",
        folder / "report.parquet",
        folder / "verdict.json",
    )
    page = render_html(root, comparison, run, signoffs, fingerprint)
    said = json.dumps({**verdict(comparison), _RUN: run}, indent=1, ensure_ascii=False) + "\n"
    write_new(report.html, page.encode(), page_without_run)
    write_new(report.csv, rows_csv(comparison))
    write_new(report.parquet, rows_parquet(comparison))
    write_new(report.verdict, said.encode(), _verdict_without_run)
    return report


def verdict(comparison: Comparison) -> dict[str, Any]:
    """What a machine needs to know of a comparison; numbers are exact texts."""
    counts = comparison.cells["status"].value_counts()
    statuses = dict(counts.iter_rows())
    return {
        "comparison": comparison.total.name,
        "meter": comparison.meter.name,
        "period": comparison.period,
        "unit": comparison.unit,
        "verdict": comparison.verdict,
        "why": comparison.failings,
        "old": plain(comparison.old_total),
        "new": plain(comparison.new_total),
        "difference": plain(comparison.difference),
        "unexplained": plain(comparison.unexplained),
        "unexplained_numbers": comparison.residuals.height,
        "statuses": {status: statuses.get(status, 0) for status in STATUSES},
        "unreadable_rows": comparison.old.unreadable.height,
        "contradicting_subtotals": comparison.old.contradictions.height,
        "not_imported": comparison.not_imported,
        "not_searched": comparison.not_searched,
        "inputs": {file.name: file.digest for file in comparison.old.files},
    }


def write_new(path: Path, said: bytes, substance: Callable[[bytes], object] = bytes) -> None:
    """Write a file, unless the one that is there has the same substance."""
    if path.is_file() and substance(path.read_bytes()) == substance(said):
        return
    with written_whole(path) as work:
        work.write_bytes(said)


def page_without_run(page: bytes) -> bytes:
    """What a page says beside its run information."""
    return re.sub(RUN_BLOCK.encode(), b"", page)


def _verdict_without_run(text: bytes) -> object:
    """A verdict without its run information; as it is where somebody broke it."""
    try:
        said = json.loads(text)
    except ValueError:
        return text
    return {**said, _RUN: None} if isinstance(said, dict) else said
