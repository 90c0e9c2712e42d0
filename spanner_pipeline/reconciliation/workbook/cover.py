"""The sheets of a workbook around its tables: summary, control totals, definitions."""

from __future__ import annotations

from decimal import Context, Decimal

import polars as pl
from xlsxwriter.utility import xl_col_to_name  # type: ignore[import-untyped]

from spanner_pipeline.control import EXACT, ControlTotals, Total
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
from spanner_pipeline.reconciliation.workbook.filled_in import BREAKS_SHEET
from spanner_pipeline.reconciliation.workbook.notes import FOLLOW_UPS
from spanner_pipeline.reconciliation.workbook.sheet_rows import SIGNIFICANT
from spanner_pipeline.reconciliation.workbook.sheets import (
    BAD,
    DOUBTFUL,
    GOOD,
    Column,
    Sheet,
)

_VERDICTS = {"PASS": GOOD, "WARN": DOUBTFUL, "FAIL": BAD}
_SIGNED = {"num_format": "+#,##0;-#,##0;0"}
_PERCENT = {"num_format": "+0.000%;-0.000%;0.000%"}
_LAST = 3

_STATUS_WORDS = {
    MATCH: "both sides say exactly the same",
    WITHIN_TOLERANCE: "they differ by no more than the declared tolerance",
    DIFFERS: "they differ by more; this is a break",
    ONLY_OLD: "the old bill has it, the lake has no event for it; this is a break",
    ONLY_NEW: "the lake has events for it, the old bill has no number; this is a break",
    NOT_COMPARABLE: "the row of the old bill cannot be read or is ambiguous",
}
_FOLLOW_UP_WORDS = {
    "open": "nobody has taken it up yet; every new break begins here",
    "in progress": "its owner is at it",
    "accepted": "the difference is right, and the old bill was wrong or is corrected",
    "resolved": "its reason was removed; the next run should no longer have it",
    "waived": "nobody will do anything about it",
}


def write_summary(
    sheet: Sheet, comparison: Comparison, broken: pl.DataFrame, follow_ups: int
) -> None:
    """Write the first sheet.

    Args:
        sheet: The sheet.
        comparison: The comparison.
        broken: The rows of the sheet of breaks.
        follow_ups: The place of the column of that sheet in which follow-ups are filled in.
    """
    total = comparison.total
    sheet.widths(44, 24, 14, 60)
    sheet.title(total.name)
    if total.description:
        sheet.paragraph(total.description, first=0, last=_LAST)
    sheet.skip()
    sheet.line("verdict", comparison.verdict, bold=True)
    sheet.colour(_VERDICTS, sheet.row - 1, 1, sheet.row - 1, 1)
    for why in comparison.failings:
        sheet.line("", why)
    sheet.skip()
    _write_totals(sheet, comparison)
    _write_counts(sheet, comparison, broken, follow_ups)
    _write_limits(sheet, comparison)
    _write_files(sheet, comparison)


def _write_totals(sheet: Sheet, comparison: Comparison) -> None:
    sums: dict[str, Decimal] = {}
    numbers: dict[str, set[int]] = {}
    for found in comparison.causes:
        sums[found.cause] = EXACT.add(sums.get(found.cause, Decimal(0)), found.quantity)
        numbers.setdefault(found.cause, set()).add(found.cell)
    sheet.heading("from old to new", f">{comparison.unit}", ">numbers", across=_LAST + 1)
    sheet.line("old total", comparison.old_total, comparison.compared.height, bold=True)
    for cause in CAUSES:
        if cause in sums:
            sheet.line(f"   {cause}", sums[cause], len(numbers[cause]))
    sheet.line(f"   {UNEXPLAINED}", comparison.unexplained, comparison.residuals.height)
    sheet.line("new total", comparison.new_total, comparison.compared.height, bold=True, top=1)
    sheet.skip()
    sheet.line("difference (new minus old)", comparison.difference, bold=True)
    if comparison.old_total:
        share = Context(prec=SIGNIFICANT).divide(
            comparison.difference, comparison.old_total.copy_abs()
        )
        sheet.line("share of the old total", share, **_PERCENT)
    if comparison.outside.rows:
        events = f"{comparison.outside.rows:,} events"
        sheet.line(f"usage that no number covers ({events})", comparison.outside.quantity)
    if comparison.not_searched:
        sheet.line("differences not searched in depth", "", comparison.not_searched)
    sheet.skip()


def _write_counts(
    sheet: Sheet, comparison: Comparison, broken: pl.DataFrame, follow_ups: int
) -> None:
    sheet.heading("status", ">numbers", across=_LAST + 1)
    for status in STATUSES:
        sheet.line(status, comparison.cells.filter(status=status).height)
    sheet.skip()
    sheet.heading("follow-up of the breaks", ">breaks", across=_LAST + 1)
    letter = xl_col_to_name(follow_ups, True)
    for name in FOLLOW_UPS:
        formula = f'=COUNTIF({BREAKS_SHEET}!{letter}:{letter},"{name}")'
        sheet.formula(name, formula, broken.filter(pl.col("follow-up") == name).height)
    sheet.skip()


def _write_limits(sheet: Sheet, comparison: Comparison) -> None:
    limits = comparison.total.thresholds
    cells = comparison.cells
    sheet.heading("what is compared, and how", across=_LAST + 1)
    sheet.line("old bill", comparison.source.source)
    sheet.line("meter", comparison.meter.name)
    sheet.line("counted in", comparison.unit)
    if not cells.is_empty():
        span = cells.select(
            pl.col("start").min().dt.strftime(_MINUTE), pl.col("end").max().dt.strftime(_MINUTE)
        )
        sheet.line("from", span.item(0, "start"))
        sheet.line("to (exclusive)", span.item(0, "end"))
    if comparison.period is not None:
        sheet.line("only periods that begin in", comparison.period)
    sheet.line("tolerance of a number", comparison.tolerance_text)
    sheet.line("breaks allowed", "any number" if limits.breaks == "any" else str(limits.breaks))
    unexplained = limits.unexplained
    sheet.line(
        "unexplained allowed",
        "any" if unexplained is None else f"{(unexplained * 100).normalize():f} % of the old total",
    )
    sheet.line("when it does not pass", _SEVERITIES[comparison.total.severity])
    version = comparison.lake_version
    sheet.line("version of the meter's table", "none" if version is None else str(version))
    sheet.skip()


_MINUTE = "%Y-%m-%d %H:%M UTC"
_SEVERITIES = {"error": "FAIL", "warn": "WARN"}


def _write_files(sheet: Sheet, comparison: Comparison) -> None:
    sheet.heading("files of the old bill", ">bytes", "", "SHA-256")
    for file in comparison.old.files:
        sheet.line(file.name, file.size, None, file.digest)
    sheet.line(f"and {len(_usage_files(comparison)):,} files of usage: sheet Files", italic=True)


def _usage_files(comparison: Comparison) -> list[tuple[str, str, int, str]]:
    imports = comparison.imports
    return sorted({(i.source, f.name, f.size, f.digest) for i in imports for f in i.files})


def write_files(sheet: Sheet, comparison: Comparison) -> None:
    """Write every file that was read, with its digest."""
    old = [(comparison.source.source, f.name, f.size, f.digest) for f in comparison.old.files]
    schema = {"source": pl.String, "file": pl.String, "bytes": pl.Int64, "SHA-256": pl.String}
    frame = pl.DataFrame([*old, *_usage_files(comparison)], schema=schema, orient="row")
    columns = [Column("source"), Column("file", width=60), Column("bytes", "number")]
    sheet.table(frame, [*columns, Column("SHA-256", width=68)])


def write_control_totals(sheet: Sheet, comparison: Comparison) -> None:
    """Write what became of every row, of the usage and of the old bill."""
    rows = []
    for name, totals, rejected, left_out in _by_usage(comparison):
        parts = ControlTotals.__dataclass_fields__
        rows += [(*name, part.replace("_", " "), getattr(totals, part)) for part in parts]
        rows += [(*name, f"   rejected: {code}", Total(n)) for code, n in sorted(rejected.items())]
        rows += [(*name, f"   out of scope: {why}", t) for why, t in sorted(left_out.items())]
    frame = pl.DataFrame(
        [
            (s, u, part, str(t.rows), None if "rejected:" in part else f"{t.quantity:f}")
            for s, u, part, t in rows
        ],
        schema=dict.fromkeys(
            ("source", "usage", "what became of rows", "rows", "quantity"), pl.String
        ),
        orient="row",
    )
    columns = [
        Column("source"),
        Column("usage"),
        Column("what became of rows", width=44),
        Column("rows", "number", width=24),
        Column("quantity", "number", width=24),
    ]
    sheet.table(frame, columns)
    sheet.skip()
    old = comparison.old
    sheet.heading("old bill", "", "", ">rows")
    sheet.line("rows in its files", "", "", old.rows)
    sheet.line("left out by the declaration", "", "", old.not_compared)
    sheet.line("subtotals, never added", "", "", old.subtotals)
    sheet.line("could not be read", "", "", old.unreadable.height)
    if old.unreadable.height:
        sheet.skip()
        sheet.heading("rows that could not be read", ">line", "why")
        for row in old.unreadable.iter_rows(named=True):
            sheet.line(row["source_file"], row["line"], row["why"])
    if old.contradictions.height:
        sheet.skip()
        sheet.heading("subtotals that contradict their rows", ">line", "of", ">says", ">sum")
        for row in old.contradictions.iter_rows(named=True):
            sheet.line(row["source_file"], row["line"], row["of"], row["says"], row["sum"])
    if comparison.not_imported:
        sheet.skip()
        sheet.heading("deliveries not imported", "partition")
        for source, keys in sorted(comparison.not_imported.items()):
            for key in keys:
                sheet.line(source, key)


def _by_usage(
    comparison: Comparison,
) -> list[tuple[tuple[str, str], ControlTotals, dict[str, int], dict[str, Total]]]:
    """What became of the rows of every source and usage, with reasons."""
    totals: dict[tuple[str, str], ControlTotals] = {}
    rejected: dict[tuple[str, str], dict[str, int]] = {}
    left_out: dict[tuple[str, str], dict[str, Total]] = {}
    for record in comparison.imports:
        name = (record.source, record.usage)
        totals[name] = totals.get(name, ControlTotals()) + record.totals
        reasons, outs = rejected.setdefault(name, {}), left_out.setdefault(name, {})
        for code, rows in record.rejected.items():
            reasons[code] = reasons.get(code, 0) + rows
        for why, total in record.out_of_scope.items():
            outs[why] = outs.get(why, Total()) + total
    return [(n, totals[n], rejected[n], left_out[n]) for n in sorted(totals)]


def write_definitions(sheet: Sheet, comparison: Comparison) -> None:
    """Write what the words mean."""
    sheet.widths(30, 34, 34, 38)
    unit = comparison.unit
    found = {cause.cause for cause in comparison.causes}
    words: list[tuple[str, dict[str, str]]] = [
        (
            "numbers",
            {
                "old, new": f"what the old bill says and what the lake says, in {unit}",
                "difference": "new minus old; a side that has no number counts as 0",
                "share of old": "the difference divided by the old number",
                "worth": "the difference at the price that the old bill itself took for the number",
                "unexplained": "what no cause explains; the causes and it add up to the difference",
                "digits": "Excel keeps 15 significant digits. A number that has more is written "
                "as a text with all of them; Excel does not add texts. report.csv and "
                "report.parquet have every number in full.",
                "texts": "Excel holds 32,767 characters in a cell. A longer text is cut and says "
                "where the rest is.",
            },
        ),
        ("status", _STATUS_WORDS),
        (
            "causes, in the order in which they are taken",
            {cause: words for cause, words in CAUSES.items() if cause in found}
            or {"none": "no difference was explained"},
        ),
        (
            "how a cause is accepted",
            {
                "amount": "it must compute its amount by counting again, and the amounts must add "
                "up to the difference; what none computes is unexplained",
                "on record": "the rows themselves are on record here, so that only their being "
                "counted by the old system is inferred",
            },
        ),
        ("follow-up", _FOLLOW_UP_WORDS),
        (
            "what is filled in",
            {
                "owner, follow-up, note": "the yellow columns of the sheet Breaks. The next run "
                "takes them from this file, where the report was written; a copy is read with "
                f"`spanner-pipeline notes {comparison.total.name} FILE.xlsx`. Rows may be sorted, "
                "filtered and deleted; a hidden column says what each belongs to.",
                "remark": "that the difference changed since the note, or that the break was gone "
                "and came back",
                "first seen": "the date of the first run that saw the break; age counts from it",
                "Closed breaks": "the sheet with the notes of breaks that are gone, once there are "
                "any",
            },
        ),
    ]
    for title, meanings in words:
        sheet.heading(title, across=_LAST + 1)
        for word, meaning in meanings.items():
            sheet.paragraph(meaning, first=1, last=_LAST, term=word)
        sheet.skip()
