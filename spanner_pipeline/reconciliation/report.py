"""A comparison as a page that a finance person reads, a CSV of all rows, and a verdict in JSON.

Belongs here: what is shown and how numbers are spelled. Not here: comparing. The same comparison
gives the same bytes, so a report tells when nothing changed.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from spanner_pipeline.configuration.source import Grain, partition_key
from spanner_pipeline.control import EXACT, ControlTotals, Total
from spanner_pipeline.lake.quarantine import quarantine_file
from spanner_pipeline.reconciliation.chart import MOST_PERIODS, period_chart
from spanner_pipeline.reconciliation.compare import (
    MATCH,
    STATUSES,
    WITHIN_TOLERANCE,
    Comparison,
)
from spanner_pipeline.reconciliation.explain import rejected_files
from spanner_pipeline.reconciliation.totals import CELL
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import ADDITIVE, ROUNDING
from spanner_pipeline.whole import written_whole

UNEXPLAINED = "unexplained"
SHOWN_ROWS = 200
SHOWN_REJECTED = 25

CSV_COLUMNS = (
    "subject",
    "period",
    "zone",
    "status",
    "old",
    "new",
    "difference",
    "tolerance",
    "unexplained",
    "causes",
    "events",
    "amount",
    "old_lines",
)


@dataclass(frozen=True)
class Report:
    """Where the files of one report are."""

    html: Path
    csv: Path
    verdict: Path


def write_report(root: DataRoot, comparison: Comparison) -> Report:
    """Write the report of a comparison below `reports/<name>/`."""
    folder = root.reports / comparison.total.name
    report = Report(folder / "report.html", folder / "report.csv", folder / "verdict.json")
    _replace(report.html, render_html(root, comparison))
    _replace(report.csv, render_csv(comparison))
    _replace(report.verdict, json.dumps(verdict(comparison), indent=1) + "\n")
    return report


def _replace(path: Path, text: str) -> None:
    with written_whole(path) as work:
        work.write_text(text, encoding="utf-8")


def verdict(comparison: Comparison) -> dict[str, Any]:
    """What a machine needs to know of a comparison; numbers are exact texts."""
    return {
        "comparison": comparison.total.name,
        "meter": comparison.meter.name,
        "verdict": comparison.verdict,
        "old": plain(comparison.old_total),
        "new": plain(comparison.new_total),
        "difference": plain(comparison.difference),
        "unexplained": plain(comparison.unexplained),
        "unexplained_numbers": comparison.residuals.height,
        "statuses": {s: comparison.cells.filter(status=s).height for s in STATUSES},
        "unreadable_rows": comparison.old.unreadable.height,
        "lake_version": comparison.lake_version,
        "inputs": {file.name: file.digest for file in comparison.old.files},
    }


def render_csv(comparison: Comparison) -> str:
    """All cells, one a line; texts that a spreadsheet could run as formulas are disarmed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in comparison.cells.iter_rows(named=True):
        causes = comparison.causes_of(tuple(row[name] for name in CELL))
        writer.writerow(
            [
                disarmed(row["subject"]),
                row["period"],
                row["zone"],
                row["status"],
                *(plain(row[name]) for name in CSV_COLUMNS[4:9]),
                "; ".join(f"{c.detail}: {plain(c.quantity)}" for c in causes),
                row["events"] or 0,
                plain(row["amount"]),
                disarmed(row["lines"] or ""),
            ]
        )
    return out.getvalue()


def disarmed(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else text


def plain(number: Decimal | None) -> str:
    """A number without exponent and needless zeros."""
    if number is None:
        return ""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def grouped(number: Decimal | int | None) -> str:
    """A number for people: thousands separators, no needless zeros, a true minus sign."""
    if number is None:
        return "–"
    whole, _, fraction = plain(Decimal(number)).partition(".")
    sign, digits = ("−", whole[1:]) if whole.startswith("-") else ("", whole)
    text = f"{sign}{int(digits):,}"
    return f"{text}.{fraction}" if fraction else text


def money(number: Decimal | None) -> str:
    """A difference in money for people, with its sign and both its decimals."""
    if number is None:
        return "–"
    sign = "+" if number > 0 else "−" if number < 0 else ""
    return f"{sign}{number.copy_abs():,.2f}"


def counted(number: int, noun: str) -> str:
    """So many of a thing, for people."""
    return f"{grouped(number)} {noun}{'' if number == 1 else 's'}"


def signed(number: Decimal) -> str:
    """A difference for people, with its sign."""
    return grouped(number) if number <= 0 else f"+{grouped(number)}"


def percent(part: Decimal, whole: Decimal) -> str:
    """A share for people, at two decimals or, if small, two digits; empty without a whole."""
    if whole == 0:
        return ""
    share = ROUNDING.divide(ROUNDING.multiply(part, Decimal(100)), whole.copy_abs())
    step = Decimal(1).scaleb(min(-2, share.adjusted() - 1) if share else 0)
    return f"{signed(share.quantize(step, ROUND_HALF_EVEN, ROUNDING))} %"


def worth(row: dict[str, Any]) -> Decimal | None:
    """What a difference is worth at the old bill's own price, in cents; None without one."""
    if row["amount"] is None or not row["old"]:
        return None
    price = ROUNDING.divide(row["amount"], row["old"])
    value = ROUNDING.multiply(price, row["difference"])
    return value.quantize(Decimal("0.01"), ROUND_HALF_EVEN, ROUNDING)


def render_html(root: DataRoot, comparison: Comparison) -> str:
    """The page, self-contained."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spanner_pipeline.reconciliation", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {f.__name__: f for f in (grouped, signed, money, counted)}
    broken = comparison.breaks
    breaks = [_shown(comparison, row) for row in broken.head(SHOWN_ROWS).iter_rows(named=True)]
    label = partial(period_label, comparison.total.period.grain)
    within = comparison.cells.filter(status=WITHIN_TOLERANCE)
    return environment.get_template("report.html.j2").render(
        c=comparison,
        share=percent(comparison.difference, comparison.old_total),
        bridge=_bridge(comparison),
        chart=period_chart(comparison.cells, comparison.meter.unit, label),
        periods_left_out=max(0, comparison.cells["period"].n_unique() - MOST_PERIODS),
        breaks=breaks,
        breaks_left_out=max(0, broken.height - SHOWN_ROWS),
        has_amount=comparison.cells["amount"].null_count() < comparison.cells.height,
        within=[_shown(comparison, row) for row in within.head(SHOWN_ROWS).iter_rows(named=True)],
        within_left_out=max(0, within.height - SHOWN_ROWS),
        unreadable=comparison.old.unreadable.head(SHOWN_ROWS).rows(named=True),
        unreadable_left_out=max(0, comparison.old.unreadable.height - SHOWN_ROWS),
        matches=comparison.cells.filter(status=MATCH).height,
        statuses={s: comparison.cells.filter(status=s).height for s in STATUSES},
        sources=_by_source(comparison),
        file_count=len({file.name for record in comparison.imports for file in record.files}),
        rejected=_rejected_rows(root, comparison),
        conflicts=_conflict_rows(root, comparison),
        additive=comparison.meter.aggregation in ADDITIVE,
        parts=[name for name in ControlTotals.__dataclass_fields__ if name != "read"],
    )


def period_label(grain: Grain, period: date) -> str:
    """What a person calls a period; its first day where that is not the calendar's."""
    key = partition_key(grain, period)
    return key if period.isoformat() in (f"{key}-01", f"{key}-01-01") else period.isoformat()


def _shown(comparison: Comparison, row: dict[str, Any]) -> dict[str, Any]:
    causes = comparison.causes_of(tuple(row[name] for name in CELL))
    base = row["old"] if row["old"] else row["new"] or Decimal(0)
    return {
        **row,
        "label": period_label(comparison.total.period.grain, row["period"]),
        "causes": causes,
        "share": percent(row["difference"], base),
        "worth": worth(row),
    }


def _bridge(comparison: Comparison) -> list[dict[str, Any]]:
    """The steps from the old total to the new: each cause, and what is unexplained."""
    sums: dict[str, Decimal] = {}
    counts: dict[str, int] = {}
    for cause in comparison.causes:
        sums[cause.cause] = EXACT.add(sums.get(cause.cause, Decimal(0)), cause.quantity)
        counts[cause.cause] = counts.get(cause.cause, 0) + 1
    ranked = sorted(sums.items(), key=lambda item: item[1].copy_abs(), reverse=True)
    steps = [(name, quantity, counts[name]) for name, quantity in ranked]
    steps.append((UNEXPLAINED, comparison.unexplained, comparison.residuals.height))
    largest = max(quantity.copy_abs() for _, quantity, _ in steps) or Decimal(1)
    return [
        {
            "cause": name,
            "quantity": quantity,
            "cells": cells,
            "width": int(ROUNDING.divide(abs(quantity) * 100, largest)),
        }
        for name, quantity, cells in steps
    ]


def _by_source(comparison: Comparison) -> list[dict[str, Any]]:
    """Control totals and files of every source that feeds the meter."""
    sources: dict[str, dict[str, Any]] = {}
    for record in comparison.imports:
        entry = sources.setdefault(
            f"{record.source} → {record.usage}",
            {"totals": ControlTotals(), "files": [], "rejected": {}, "out": {}, "ambiguous": 0},
        )
        entry["totals"] += record.totals
        entry["files"] += record.files
        entry["ambiguous"] += record.ambiguous_times
        for code, count in record.rejected.items():
            entry["rejected"][code] = entry["rejected"].get(code, 0) + count
        for why, total in record.out_of_scope.items():
            entry["out"][why] = entry["out"].get(why, Total()) + total
    return [{"name": name, **entry} for name, entry in sorted(sources.items())]


def _rejected_rows(root: DataRoot, comparison: Comparison) -> list[dict[str, Any]]:
    files = rejected_files(root, comparison.imports)
    if not files:
        return []
    columns = ("reason_code", "field", "value", "hint", "source_file", "source_line", "original")
    # File by file: those of an earlier configuration may have other types.
    first = pl.concat(pl.scan_parquet(f).select(columns).head(SHOWN_REJECTED) for f in files)
    rows = first.sort("source_file", "source_line", "reason_code", "value")
    return list(rows.head(SHOWN_REJECTED).collect().iter_rows(named=True))


def _conflict_rows(root: DataRoot, comparison: Comparison) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i in comparison.imports:
        path = quarantine_file(root, i.batch, i.usage, "conflicts")
        if path.is_file() and len(rows) < SHOWN_REJECTED:
            rows += (
                pl.scan_parquet(path).head(SHOWN_REJECTED - len(rows)).collect().rows(named=True)
            )
    return rows
