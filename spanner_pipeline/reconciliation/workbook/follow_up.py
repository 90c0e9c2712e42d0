"""One run's turn of the workbook: take what people filled in, then put the new one in its place.

Nothing that a person saved is overwritten: a workbook that somebody changed is moved to
`filled_in/`, and where it cannot be read (it is open, or damaged) it stays, and the run's workbook
goes beside it as `report.new.xlsx` until it can.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.workbook.book import write_workbook
from spanner_pipeline.reconciliation.workbook.filled_in import WorkbookError, read_filled_in
from spanner_pipeline.reconciliation.workbook.notes import Edit, Notes, read_notes, write_notes
from spanner_pipeline.reconciliation.workbook.sheets import MADE
from spanner_pipeline.root import DataRoot

WORKBOOK, BESIDE, NOTES, FILLED_IN = "report.xlsx", "report.new.xlsx", "notes.json", "filled_in"


@dataclass(frozen=True)
class FollowUp:
    """What a run knows from people.

    Attributes:
        notes: The notes, as they are kept now.
        problem: Why the workbook could not be read, if it could not.
    """

    notes: Notes
    problem: WorkbookError | None = None


def notes_file(folder: Path, comparison: Comparison) -> Path:
    """Where notes are kept: one file for the comparison, however it was narrowed."""
    return (folder if comparison.period is None else folder.parent) / NOTES


def carry_notes(folder: Path, comparison: Comparison, today: date) -> FollowUp:
    """Take what people filled in since the last run, follow the breaks, and keep the notes.

    Args:
        folder: The folder of the report.
        comparison: The comparison of this run.
        today: The date of this run.

    Raises:
        NotesError: When the notes that were kept cannot be read; nothing is written then.
    """
    path = notes_file(folder, comparison)
    notes = read_notes(path, comparison.total.name)
    edits: list[Edit] = []
    problem = None
    for name in (WORKBOOK, BESIDE):
        filled_in = folder / name
        if filled_in.exists():
            dimensions = list(comparison.total.dimensions)
            try:
                edits += read_filled_in(filled_in, notes.comparison, dimensions, today)
            except WorkbookError as error:
                problem = problem or error
    notes, _ = notes.edited(edits, today)
    notes = notes.followed(comparison, today)
    write_notes(path, notes)
    return FollowUp(notes, problem)


def take_notes(folder: Path, file: Path, comparison: str, today: date) -> Taken:
    """Take the notes of a workbook that was filled in elsewhere.

    Args:
        folder: The folder of the comparison's reports.
        file: The workbook.
        comparison: The comparison's name.
        today: When.

    Raises:
        WorkbookError: When the workbook cannot be read back.
        NotesError: When the notes that were kept cannot be read.
    """
    before = read_notes(folder / NOTES, comparison)
    dimensions = sorted({name for note in before.kept.values() for name in note.dimensions})
    after, strange = before.edited(read_filled_in(file, comparison, dimensions, today), today)
    after = after.close((edit.note.key for edit in strange), today)
    write_notes(folder / NOTES, after)
    changed = sum(before.kept.get(key) != note for key, note in after.kept.items())
    return Taken(after, changed - len(strange), strange)


@dataclass(frozen=True)
class Taken:
    """What a workbook from elsewhere said.

    Attributes:
        notes: The notes, as they are kept now.
        changed: How many notes of known breaks it changed.
        strange: What belongs to no known break; kept as notes of breaks that are gone.
    """

    notes: Notes
    changed: int
    strange: list[Edit]


def place_workbook(
    folder: Path, root: DataRoot, comparison: Comparison, follow_up: FollowUp, today: date
) -> Path:
    """Write the workbook of a run where people look for it.

    Returns:
        Where it is: beside the one that could not be read, if there is one.
    """
    path, beside = folder / WORKBOOK, folder / BESIDE
    if follow_up.problem is not None:
        _keep(beside, today)
        write_workbook(beside, root, comparison, follow_up.notes)
        return beside
    for filled_in in (path, beside):
        _keep(filled_in, today)
    write_workbook(path, root, comparison, follow_up.notes)
    beside.unlink(missing_ok=True)
    return path


def _keep(path: Path, today: date) -> None:
    """Keep a copy of a workbook that a person saved: it may hold more than notes."""
    if not path.exists() or _untouched(path):
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    kept = path.parent / FILLED_IN / f"{today.isoformat()}-{digest[:8]}.xlsx"
    kept.parent.mkdir(exist_ok=True)
    if not kept.exists():
        kept.hardlink_to(path)


def _untouched(path: Path) -> bool:
    """Whether it is as we wrote it: whoever saves a workbook says in it when."""
    try:
        with zipfile.ZipFile(path) as archive:
            core = archive.read("docProps/core.xml").decode("utf-8", "replace")
    except (OSError, KeyError, zipfile.BadZipFile):
        return False
    stamp = f"{MADE.isoformat()}Z"
    return core.count(stamp) == 2  # created and modified
