"""A comparison as a page that a finance person reads: what is on it, and how much of it.

Belongs here: which rows and pictures the template gets. Not here: how it looks (`report.html.j2`,
`report.css.j2`), what a picture shows, how a number is spelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import jinja2
import polars as pl

from spanner_pipeline.control import ControlTotals
from spanner_pipeline.reconciliation.causes import CAUSES, UNEXPLAINED
from spanner_pipeline.reconciliation.compare import (
    DIFFERS,
    MATCH,
    NOT_COMPARABLE,
    ONLY_NEW,
    ONLY_OLD,
    STATUSES,
    WITHIN_TOLERANCE,
    Comparison,
)
from spanner_pipeline.reconciliation.report.completeness import (
    MISSING,
    PARTIAL,
    PRESENT,
    ZERO,
    Completeness,
    completeness,
)
from spanner_pipeline.reconciliation.report.heatmap import SHADES, gap_rows, heat_map, legend
from spanner_pipeline.reconciliation.report.not_counted import by_usage, first_rows
from spanner_pipeline.reconciliation.report.trend import trend, trend_picture
from spanner_pipeline.reconciliation.report.waterfall import steps, waterfall
from spanner_pipeline.reconciliation.spelling import (
    counted,
    grouped,
    instant,
    is_long,
    money,
    padding,
    percent,
    places,
    signed,
    worth,
)
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import ADDITIVE

RUN_BLOCK = r"(?s)<!-- run information -->.*?<!-- end of run information -->"
"""A pattern for the one block that may differ between two runs over the same inputs."""

SHOWN_NUMBERS = 200
SHOWN_FILES = 2_000
_SHOWN_GAPS = 40
_SHOWN_KEYS = 60
_SHOWN_ROWS = 25

_STATUS_WORDS = {
    MATCH: "Both sides say the same, to the last digit.",
    WITHIN_TOLERANCE: "They differ by no more than the declared tolerance; explained all the same.",
    DIFFERS: "They differ by more than the tolerance. A break.",
    ONLY_OLD: "The old bill has a number for which the lake has no event. A break.",
    ONLY_NEW: "The lake has events for which the old bill has no number. A break.",
    NOT_COMPARABLE: "The old bill's rows for it are incomplete or ambiguous; it says why. It "
    "counts in no total here, and the comparison does not pass.",
}


_FILTERS = (grouped, signed, money, counted, places, padding, instant)


def render_html(
    root: DataRoot,
    comparison: Comparison,
    run: Mapping[str, str],
    signoffs: Sequence[str] = (),
    fingerprint: str = "",
) -> str:
    """The page, self-contained.

    Args:
        root: The data root.
        comparison: The comparison.
        run: What to say of this run; it stands in one block that `RUN_BLOCK` matches.
        signoffs: Who signed it, a line each; lines that begin with VOID are shown as such.
        fingerprint: The digest of all that it rests on.
    """
    way = steps(comparison)
    over_time = trend(comparison)
    unit = comparison.unit
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            c=comparison,
            unit=unit,
            has_subject=comparison.total.subject is not None,
            has_amount=comparison.cells["amount"].null_count() < comparison.cells.height,
            additive=comparison.meter.aggregation in ADDITIVE,
            signoffs=signoffs,
            fingerprint=fingerprint,
            run=run,
            statuses=_statuses(comparison),
            share=percent(comparison.difference, comparison.old_total),
            steps=way,
            waterfall=waterfall(comparison.old_total, comparison.new_total, way, unit),
            trend=over_time,
            trend_picture=trend_picture(over_time, unit),
            tables={
                "breaks": _numbers(comparison, comparison.breaks),
                "not comparable": _numbers(comparison, comparison.not_comparable),
                "within": _numbers(comparison, comparison.cells.filter(status=WITHIN_TOLERANCE)),
            },
            shown=SHOWN_NUMBERS,
            map=_map(root, comparison),
            sources=by_usage(root, comparison),
            parts=[name for name in ControlTotals.__dataclass_fields__ if name != "read"],
            shown_files=SHOWN_FILES,
            rows={
                kind: first_rows(root, comparison, kind, _SHOWN_ROWS)
                for kind in ("rejected", "left_out", "conflicts", "repeated")
            },
            unreadable=comparison.old.unreadable.head(SHOWN_NUMBERS).rows(named=True),
            contradictions=comparison.old.contradictions.head(SHOWN_NUMBERS).rows(named=True),
            not_imported=_not_imported(comparison),
            status_words=_STATUS_WORDS,
            causes=list(CAUSES),
            cause_words={
                step.cause: CAUSES[step.cause] for step in way if step.cause != UNEXPLAINED
            },
            unexplained=UNEXPLAINED,
        )
    )


def environment(*packages: str) -> jinja2.Environment:
    """What makes pages, with all spellings of numbers.

    Args:
        packages: Which packages have templates of their own, beside those here.
    """
    places = ("spanner_pipeline.reconciliation.report", *packages)
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(place, "") for place in places]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {f.__name__: f for f in _FILTERS}
    environment.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    environment.tests["long"] = is_long
    return environment


def _statuses(comparison: Comparison) -> dict[str, int]:
    counts = dict(comparison.cells["status"].value_counts().iter_rows())
    return {status: counts.get(status, 0) for status in STATUSES}


def _numbers(comparison: Comparison, cells: pl.DataFrame) -> dict[str, Any]:
    """The first rows of some numbers as a table shows them, and how many more there are."""
    shown = cells.head(SHOWN_NUMBERS)
    rows = [_shown(comparison, row) for row in shown.iter_rows(named=True)]
    numbers = (row[name] for row in rows for name in ("old", "new", "difference"))
    return {"rows": rows, "more": cells.height - shown.height, "places": places(numbers)}


def _shown(comparison: Comparison, row: Mapping[str, Any]) -> dict[str, Any]:
    gap = row["difference"]
    base = row["old"] if row["old"] else row["new"] or Decimal(0)
    dimensions = [f"{name.removeprefix('dim_')}: {row[name]}" for name in comparison.dimensions]
    return {
        **row,
        "dimensions": ", ".join(dimensions),
        "causes": comparison.causes_of(row["cell"]),
        "share": percent(gap, base) if gap is not None else "",
        "worth": worth(row),
    }


def _map(root: DataRoot, comparison: Comparison) -> dict[str, Any] | None:
    found = completeness(root, comparison)
    if found is None:
        return None
    unit = comparison.meter.unit if comparison.meter.aggregation == "sum" else "events"
    return {
        "found": found,
        "picture": heat_map(found, unit),
        "legend": [
            (legend(state), state, says)
            for state, says in (
                (MISSING, "nothing was imported"),
                (PARTIAL, "imported in part, or rows rejected or in conflict"),
                (ZERO, "imported, no usage"),
            )
        ],
        "shades": [legend(PRESENT, shade) for shade in range(1, SHADES + 1)],
        "counts": _counts(found),
        "gaps": gap_rows(found, _SHOWN_GAPS),
        "more_gaps": max(0, found.gaps.height - _SHOWN_GAPS),
    }


def _counts(found: Completeness) -> dict[str, int]:
    counts = dict(found.cells["state"].value_counts().iter_rows())
    return {state: counts.get(state, 0) for state in (MISSING, PARTIAL, ZERO, PRESENT)}


def _not_imported(comparison: Comparison) -> Iterable[dict[str, Any]]:
    return [
        {
            "source": source,
            "keys": ", ".join(keys[:_SHOWN_KEYS]),
            "count": len(keys),
            "more": max(0, len(keys) - _SHOWN_KEYS),
        }
        for source, keys in sorted(comparison.not_imported.items())
    ]
