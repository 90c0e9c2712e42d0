"""What a person sees of a comparison in the Dagster UI: the verdict, and what it rests on."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from spanner_pipeline.assets.metadata import Metadata
from spanner_pipeline.assets.plots import plots
from spanner_pipeline.reconciliation.compare import STATUSES, Comparison
from spanner_pipeline.reconciliation.publish import Published
from spanner_pipeline.reconciliation.report.waterfall import steps
from spanner_pipeline.reconciliation.spelling import grouped, percent, signed

VERDICT, REPORT = "verdict", "report"
_MOST_BREAKS = 20


def report_metadata(done: Published, links: Mapping[str, str]) -> Metadata:
    """All there is to say of a comparison and its report.

    Args:
        done: The comparison and where its report is.
        links: Where this run's report can be downloaded, by extension.
    """
    comparison = done.comparison
    return {
        **_verdict(comparison),
        **({"download": links_of(links)} if links else {}),
        **_totals(comparison),
        **_inputs(comparison),
        "fingerprint": done.fingerprint,
        **({"signatures": "; ".join(done.signoffs)} if done.signoffs else {}),
        **({"notes": done.problem} if done.problem is not None else {}),
        REPORT: dg.MetadataValue.path(str(done.report.html)),
        **_plots(comparison),
    }


def period_metadata(period: Comparison) -> Metadata:
    """What to say of one period of a comparison."""
    return {**_verdict(period), **_totals(period), **_plots(period)}


def _verdict(comparison: Comparison) -> dict[str, Any]:
    why = {"why": "; ".join(comparison.failings)} if comparison.broke else {}
    return {VERDICT: comparison.verdict, **why}


def _totals(comparison: Comparison) -> dict[str, Any]:
    share = percent(comparison.difference, comparison.old_total) or "no old total"
    unit = comparison.unit
    return {
        "old total": f"{grouped(comparison.old_total)} {unit}",
        "new total": f"{grouped(comparison.new_total)} {unit}",
        "difference": f"{signed(comparison.difference)} {unit} ({share})",
        "unexplained": f"{signed(comparison.unexplained)} {unit}",
        **_from_old_to_new(comparison),
        **_breaks(comparison),
        "tolerance": comparison.tolerance_text,
        "numbers compared": comparison.compared.height,
        "numbers beyond tolerance": comparison.breaks.height,
        "numbers unexplained": comparison.residuals.height,
        **table_of("numbers by status", _statuses(comparison)),
    }


def _statuses(comparison: Comparison) -> list[dict[str, Any]]:
    counts = {status: comparison.cells.filter(status=status).height for status in STATUSES}
    return [{"status": status, "numbers": count} for status, count in counts.items() if count]


def links_of(links: Mapping[str, str]) -> dg.MetadataValue:
    """Links that download a report, by extension."""
    named = (f"[{kind.upper()}]({link})" for kind, link in links.items())
    return dg.MetadataValue.md(" · ".join(named))


def _from_old_to_new(comparison: Comparison) -> dict[str, dg.MetadataValue]:
    way = [
        ("old bill", "", comparison.old_total, comparison.compared.height),
        *((s.cause, signed(s.quantity), s.running, s.numbers) for s in steps(comparison)),
        ("lake", "", comparison.new_total, comparison.compared.height),
    ]
    rows = [
        {"step": step, "quantity": quantity, "total so far": grouped(total), "numbers": numbers}
        for step, quantity, total, numbers in way
    ]
    return table_of("from old to new", rows)


def _breaks(comparison: Comparison) -> dict[str, dg.MetadataValue]:
    rows = [
        {
            "subject": row["subject"] or "all",
            **{name.removeprefix("dim_"): row[name] or "" for name in comparison.dimensions},
            "period": row["period"],
            "old": grouped(row["old"]),
            "new": grouped(row["new"]),
            "difference": signed(row["difference"]),
            "unexplained": signed(row["unexplained"]),
            "causes": "; ".join(
                f"{found.cause}: {signed(found.quantity)}"
                for found in comparison.causes_of(row["cell"])
            ),
        }
        for row in comparison.breaks.head(_MOST_BREAKS).iter_rows(named=True)
    ]
    return table_of("biggest breaks", rows)


def _inputs(comparison: Comparison) -> dict[str, Any]:
    old, version = comparison.old, comparison.lake_version
    unreadable = f"{old.unreadable.height:,} could not be read"
    files = [{"file": file.name, "bytes": file.size, "sha256": file.digest} for file in old.files]
    return {
        **table_of("old bill files", files),
        "old bill rows": f"{old.rows:,}; {old.not_compared:,} left out as declared, {unreadable}",
        **table_of("imports", _imports(comparison)),
        "table version": "none" if version is None else str(version),
    }


def _imports(comparison: Comparison) -> list[dict[str, Any]]:
    imported = Counter(s for s, _ in {(r.source, r.partition) for r in comparison.imports})
    events: Counter[str] = Counter()
    for record in comparison.imports:
        totals = record.totals
        events[record.source] += (totals.new + totals.present + totals.corrected).rows
    lacking = comparison.not_imported
    return [
        {
            "source": source,
            "deliveries imported": imported[source],
            "events": events[source],
            "deliveries not imported": ", ".join(lacking.get(source, [])) or "none",
        }
        for source in sorted({*imported, *lacking})
    ]


def _plots(comparison: Comparison) -> dict[str, dg.MetadataValue]:
    return plots(
        {
            "old total": comparison.old_total,
            "new total": comparison.new_total,
            "difference": comparison.difference,
            "unexplained": comparison.unexplained,
        }
    )


def table_of(name: str, rows: Iterable[Mapping[str, Any]]) -> dict[str, dg.MetadataValue]:
    """An entry with a table; none where it would be empty, which Dagster does not take."""
    records = [dg.TableRecord(row) for row in rows]
    return {name: dg.MetadataValue.table(records)} if records else {}
