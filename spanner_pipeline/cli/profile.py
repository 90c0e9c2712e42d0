"""An unknown legacy file: what it holds, what identifies its rows, and a source to begin with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from spanner_pipeline.cli.terminal import Data, misuse, out, short, show
from spanner_pipeline.root import DataRoot

if TYPE_CHECKING:
    from spanner_pipeline.profiling.columns import Column
    from spanner_pipeline.profiling.examine import Profile

app = typer.Typer()


@app.command("profile")
def profile_file(
    file: Annotated[Path, typer.Argument(help="A legacy file, compressed or not.")],
    second: Annotated[
        Path | None, typer.Argument(help="Another export of the same period: are ids stable?")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option("--out", help="Write the proposed YAML there; overwrites nothing."),
    ] = None,
    data: Data = None,
) -> None:
    """Look into an unknown file, prove what identifies its rows, and propose its source."""
    from spanner_pipeline.profiling.examine import examine
    from spanner_pipeline.profiling.proposal import propose, source_name
    from spanner_pipeline.whole import written_whole

    if write is not None and write.exists():
        misuse(f"{write} is there already, and nothing is overwritten. Name another --out.")
    found = examine(file, second)
    files = DataRoot.locate(data).relative(file.absolute())
    text = propose(found, source_name(Path(write.stem) if write else file), files)
    _show_file(found)
    _show_columns(found.columns)
    _show_identity(found)
    _show_exports(found)
    if write is None:
        _say(text.rstrip("\n"))
        return
    with written_whole(write, replace=False) as work:
        work.write_text(text, encoding="utf-8")
    _say(f"wrote {short(write.absolute())}")


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _show_file(found: Profile) -> None:
    stored = found.stored
    table = Table("file", "format", "rows", "columns", "not laid out so")
    layout = stored.layout.model_dump(exclude_defaults=True)
    dialect = ", ".join(f"{key} {value!r}" for key, value in layout.items() if key != "family")
    wrong = f"{stored.malformed:,}, first in line {stored.first_malformed}"
    table.add_row(
        escape(stored.file.path.name),
        escape(f"{stored.layout.family}{f' ({dialect})' if dialect else ''}"),
        f"{stored.rows:,}",
        str(len(stored.names)),
        wrong if stored.malformed else "none",
    )
    show(table)
    if found.seems_headless:
        _say("Line 1 looks like a row, not like names: add a line of names first.")
    if stored.unreachable:
        _say(f"Keys that no path can name: {', '.join(stored.unreachable[:3])} …")


def _show_columns(columns: Iterable[Column]) -> None:
    table = Table("column", "holds")
    for heading in ("nulls", "distinct"):
        table.add_column(heading, justify="right")
    for heading in ("least", "most", "examples"):
        table.add_column(heading)
    for column in columns:
        table.add_row(
            escape(column.name),
            escape("\n".join(_kind(column))),
            f"{column.nulls:,}",
            f"{column.distinct:,}",
            column.shown(column.least),
            column.shown(column.most),
            escape(" | ".join(column.examples)),
        )
    show(table)


def _kind(column: Column) -> list[str]:
    if not column.distinct:
        return ["nothing"]
    lines = [column.kind.label + (", constant" if column.constant else "")]
    lines += [f"or {other.label}" for other in column.others]
    if column.words:
        lines.append(f"nothing is spelled {', '.join(column.words)}")
    if column.exponents:
        lines.append(f"{column.exponents:,} in E notation")
    if column.not_positive:
        lines.append(f"{column.not_positive:,} at or below zero")
    if column.strays:
        lines.append(f"{column.strays:,} of another kind, such as {column.stray}")
    return lines


def _show_identity(found: Profile) -> None:
    repeats = found.proof.repeats
    table = Table("identity", "different values", "rows that repeat it", "proof")
    for key in found.proof.keys:
        chosen = "proposed" if key == found.choice.key else ""
        table.add_row(escape("\n".join(key.names)), f"{key.distinct:,}", "0", chosen)
    if (nearest := found.proof.nearest) is not None:
        voids = f"{', '.join(nearest.cancelling)} cancel out" if nearest.cancelling else ""
        names = escape("\n".join(nearest.names))
        table.add_row(names, f"{nearest.distinct:,}", f"{nearest.repeats:,}", escape(voids))
    chosen = "proposed: multiset" if found.choice.key is None else ""
    table.add_row("the whole row", f"{repeats.distinct:,}", f"{repeats.extra:,}", chosen)
    show(table)
    for reason in found.choice.reasons:
        _say(reason)


def _show_exports(found: Profile) -> None:
    if found.overlap is None:
        return
    heading = ("two exports", "unchanged", "corrected", "other ids", "only first", "only second")
    table = Table(*heading, "verdict")
    for key in found.stability:
        corrected = "\n".join(f"{n:,} {escape(name)}" for name, n in key.changes.items())
        renamed = "\n".join(f"{n:,} {escape(name)}" for name, n in key.renamed.items())
        table.add_row(
            escape("\n".join(key.key.names)),
            f"{key.same:,}",
            f"{key.corrected:,}" + (f"\n{corrected}" if corrected else ""),
            renamed or "0",
            f"{key.only_first:,}",
            f"{key.only_second:,}",
            "holds" if key.holds else "changes between exports" if key.unstable else "repeats",
        )
    whole = found.overlap
    alike = (f"{whole.both:,}", "", "", f"{whole.only_first:,}", f"{whole.only_second:,}", "")
    table.add_row("the whole row", *alike)
    show(table)
    for columns, which in ((found.only_first, "first"), (found.only_second, "second")):
        if columns:
            _say(f"Columns only in the {which} export: {', '.join(columns)}")
