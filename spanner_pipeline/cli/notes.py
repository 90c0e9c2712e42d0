"""What people say of breaks: their notes, and workbooks that were filled in elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from spanner_pipeline.cli.terminal import Data, misuse, out, show
from spanner_pipeline.root import DataRoot, load_catalog

app = typer.Typer()


@app.command()
def notes(
    comparison: Annotated[str, typer.Argument(help="The comparison.")],
    file: Annotated[
        Path | None, typer.Argument(help="A filled-in report.xlsx; without it notes are listed.")
    ] = None,
    data: Data = None,
) -> None:
    """Take the notes of a workbook that was filled in elsewhere, or list the notes."""
    from spanner_pipeline.reconciliation.spelling import counted
    from spanner_pipeline.reconciliation.workbook.follow_up import NOTES, take_notes
    from spanner_pipeline.reconciliation.workbook.notes import read_notes

    root = DataRoot.locate(data)
    names = [total.name for _, total in load_catalog(root).comparisons]
    if comparison not in names:
        misuse(f"there is no comparison `{comparison}` (known: {', '.join(names)}).")
    folder = root.reports / comparison
    if file is None:
        kept = read_notes(folder / NOTES, comparison)
        table = Table("break", "owner", "follow-up", "note", "first seen", "closed", title="Notes")
        for note in kept.in_order:
            closed = note.closed.isoformat() if note.closed else ""
            seen = note.first_seen.isoformat()
            table.add_row(note.place, note.owner, note.status, note.note, seen, closed)
        show(table)
        return
    if not file.is_file():
        misuse(f"there is no file {file}.")
    taken = take_notes(folder, file, comparison, datetime.now(UTC).date())
    out.print(
        f"{counted(taken.changed, 'note')} changed; `reconcile {comparison}` shows what is kept.",
        markup=False,
    )
    for edit in taken.strange:
        said = ", ".join(filter(None, (edit.note.owner, edit.note.status, edit.note.note)))
        line = f"No known break, kept as closed: {edit.note.place}: {said}"
        out.print(line, markup=False, highlight=False, soft_wrap=True)
