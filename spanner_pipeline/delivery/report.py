"""A verification as a page for people, and as tables: what is on it, and where it is kept.

Not here: how it looks (`verification.html.j2`, and the style of the reconciliation's page).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from spanner_pipeline.control import EXACT
from spanner_pipeline.delivery.causes import CAUSES, Difference
from spanner_pipeline.delivery.seam import spelled
from spanner_pipeline.delivery.settling import added
from spanner_pipeline.delivery.target import REHEARSAL_API_KEY, Target
from spanner_pipeline.delivery.three_way import Number, ThreeWay
from spanner_pipeline.delivery.verify import Verified
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.reconciliation.compare import NOT_COMPARABLE, Verdict
from spanner_pipeline.reconciliation.report.files import page_without_run, write_new
from spanner_pipeline.reconciliation.report.page import environment
from spanner_pipeline.reconciliation.report.run_information import run_information
from spanner_pipeline.reconciliation.report.waterfall import steps
from spanner_pipeline.reconciliation.spelling import disarmed, places, plain
from spanner_pipeline.root import DataRoot

SHOWN = 200
"""Rows of a table on the page; the CSV has all of them."""

_FOLDER = "verify-delivery"


@dataclass(frozen=True)
class VerificationReport:
    """Where the files of a verification are: a page, the differences, and the numbers if any."""

    html: Path
    differences: Path
    numbers: Path | None


def write_verification(
    root: DataRoot, target: Target, version: int | None, verified: Verified, three: ThreeWay | None
) -> VerificationReport:
    """Write the report of a verification; what says the same already is not written again.

    Args:
        root: The data root.
        target: The service; what was rehearsed has files of its own.
        version: The version of the lake's table.
        verified: What was found.
        three: The old bill, lake and service, where one was compared.
    """
    if three is None:
        folder = root.reports / _FOLDER / file_name(verified.meter)
    else:
        folder = root.reports / three.comparison.total.name
    name = "rehearsal" if target.variable == REHEARSAL_API_KEY else "delivery"
    report = VerificationReport(
        folder / f"{name}.html",
        folder / f"{name}_differences.csv",
        None if three is None else folder / f"{name}_numbers.csv",
    )
    run = {
        "service": target.base_url,
        "calls": str(verified.calls),
        **run_information(root, version),
    }
    write_new(report.html, render(name, verified, three, run).encode(), page_without_run)
    write_new(report.differences, differences_csv(verified))
    if three is not None and report.numbers is not None:
        write_new(report.numbers, numbers_csv(three))
    return report


def render(name: str, verified: Verified, three: ThreeWay | None, run: Mapping[str, str]) -> str:
    """The page, self-contained.

    Args:
        name: `delivery` or `rehearsal`, which its tables are called by, too.
        verified: What was found.
        three: The old bill, lake and service, where one was compared.
        run: What to say of this run.
    """
    verdict: Verdict = "FAIL" if verified.fails else "PASS"
    failing = [difference for difference in verified.differences if difference.fails]
    return (
        environment("spanner_pipeline.delivery")
        .get_template("verification.html.j2")
        .render(
            name=name,
            v=verified,
            three=three,
            way=_way(three) if three else [],
            numbers=_shown(three) if three else {},
            words=words_of(three) if three else {},
            causes=by_cause(verified.differences),
            meanings=CAUSES,
            failing=failing[:SHOWN],
            more_failing=max(0, len(failing) - SHOWN),
            verdict=three.verdict if three else verdict,
            failings=three.failings if three else _failings(verified),
            silences=_silences(verified),
            run=run,
        )
    )


def _failings(verified: Verified) -> list[str]:
    return list(dict.fromkeys(one.cause for one in verified.differences if one.fails))


def _silences(verified: Verified) -> list[dict[str, Any]]:
    found = verified.seam.silences if verified.seam is not None else ()
    return [{"silence": one, "usual": spelled(one.usual)} for one in found[:SHOWN]]


def by_cause(differences: Iterable[Difference]) -> list[dict[str, Any]]:
    """What each cause explains, in the order of causes: places, events, quantity, failing."""
    rows = []
    every = list(differences)
    for cause, meaning in CAUSES.items():
        of_it = [one for one in every if one.cause == cause]
        if of_it:
            rows.append(
                {
                    "cause": cause,
                    "meaning": meaning,
                    "places": len(of_it),
                    "events": sum(one.events for one in of_it),
                    "quantity": added(one.quantity for one in of_it),
                    "fails": of_it[0].fails,
                }
            )
    return rows


def _way(three: ThreeWay) -> list[dict[str, Any]]:
    """The steps from the old bill by the lake to the service, each with the total so far."""
    c = three.comparison
    rows: list[dict[str, Any]] = [_step("Old bill", None, c.old_total, c.compared.height)]
    rows += [_step(s.cause, s.quantity, s.running, s.numbers, s.cause) for s in steps(c)]
    running = three.lake_total
    left = EXACT.subtract(running, c.new_total)
    rows.append(_step("Lake", None, c.new_total, c.compared.height))
    if left:
        numbers = c.compared.height - len(three.compared)
        rows.append(
            _step("numbers that the service could not be asked for", left, running, numbers)
        )
    for part, numbers in three.parts:
        running = EXACT.add(running, part.quantity)
        rows.append(_step(part.cause, part.quantity, running, numbers, fails=part.fails))
    rows.append(_step("Service", None, three.service_total, len(three.compared)))
    return rows


def _step(
    name: str,
    quantity: Decimal | None,
    total: Decimal,
    numbers: int,
    cause: str = "",
    *,
    fails: bool = False,
) -> dict[str, Any]:
    fails = fails or (cause == "unexplained" and bool(quantity))
    return {
        "name": name,
        "quantity": quantity,
        "total": total,
        "numbers": numbers,
        "is_sum": quantity is None,
        "fails": fails,
    }


def _shown(three: ThreeWay) -> dict[str, Any]:
    found = three.differing
    rows = [_row(three, number) for number in found[:SHOWN]]
    numbers = (row[name] for row in rows for name in ("old", "new", "service"))
    return {"rows": rows, "more": max(0, len(found) - SHOWN), "places": places(numbers)}


def _row(three: ThreeWay, number: Number) -> dict[str, Any]:
    row = number.row
    dimensions = [f"{n.removeprefix('dim_')}: {row[n]}" for n in three.comparison.dimensions]
    return {
        **row,
        "dimensions": ", ".join(dimensions),
        "service": number.service,
        "more": number.more,
        "parts": number.parts,
        "causes": three.comparison.causes_of(row["cell"]),
        "unasked": "" if row["status"] == NOT_COMPARABLE else number.why,
        "verdict": number.verdict,
    }


def numbers_csv(three: ThreeWay) -> bytes:
    """A line for each number of the old bill: old, lake, service, and why they differ."""
    dimensions = three.comparison.dimensions
    rows = [_spelled(three, number, dimensions) for number in three.numbers]
    names = ["subject", *dimensions, "period", "zone", "start", "end", "verdict", "old", "lake"]
    names += ["service", "lake_less_old", "service_less_lake", "from_old_to_lake"]
    names += ["from_lake_to_service", "why_not_compared"]
    free = ["subject", *dimensions, "from_old_to_lake", "from_lake_to_service", "why_not_compared"]
    return _csv(rows, names, free)


def _spelled(three: ThreeWay, number: Number, dimensions: Sequence[str]) -> dict[str, str]:
    row = number.row
    old = [f"{c.cause}: {c.detail}: {plain(c.quantity)}" for c in _causes(three, row)]
    if row["unexplained"]:
        old.append(f"unexplained: {plain(row['unexplained'])}")
    parts = [f"{p.cause}: {plain(p.quantity)} ({p.events} events)" for p in number.parts]
    return {
        **{name: str(row[name] or "") for name in ("subject", *dimensions, "period", "zone")},
        **{name: "" if row[name] is None else row[name].isoformat() for name in ("start", "end")},
        "verdict": number.verdict,
        "old": plain(row["old"]),
        "lake": plain(row["new"]),
        "service": plain(number.service),
        "lake_less_old": plain(row["difference"]),
        "service_less_lake": plain(number.more),
        "from_old_to_lake": "; ".join(old),
        "from_lake_to_service": "; ".join(parts),
        "why_not_compared": row["why"] or number.why,
    }


def _causes(three: ThreeWay, row: Mapping[str, Any]) -> Sequence[Any]:
    return three.comparison.causes_of(row["cell"])


def differences_csv(verified: Verified) -> bytes:
    """A line for each difference between ledger and service."""
    rows = [
        {
            "meter": verified.meter,
            "subject": one.subject,
            "from": one.start.isoformat(),
            "to": one.end.isoformat(),
            "verdict": "FAIL" if one.fails else "explained",
            "cause": one.cause,
            "events": str(one.events),
            "theirs_less_ours": plain(one.quantity),
            "example_key": one.example,
        }
        for one in verified.differences
    ]
    names = ["meter", "subject", "from", "to", "verdict", "cause", "events"]
    names += ["theirs_less_ours", "example_key"]
    return _csv(rows, names, ["meter", "subject", "example_key"])


def _csv(rows: Sequence[Mapping[str, str]], names: Sequence[str], free: Sequence[str]) -> bytes:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))
    return frame.with_columns(disarmed(pl.col(n)).alias(n) for n in free).write_csv().encode()


def words_of(three: ThreeWay) -> dict[str, str]:
    """The causes between ledger and service that occur, each with what it means."""
    return {part.cause: CAUSES[part.cause] for part, _ in three.parts if part.cause in CAUSES}
