"""A workbook that a person filled in, read back.

Each row carries, in its last and hidden column, what it belongs to and what it was given, so that
rows may be sorted, filtered and deleted, and only what a person changed counts as an edit: what
another copy says in the meantime stays. Belongs here: that column, its reading and its checks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import fastexcel
from pydantic import BaseModel, ConfigDict, ValidationError

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.reconciliation.workbook.notes import FIELDS, OPEN, Edit, Note

BREAKS_SHEET, CLOSED_SHEET = "Breaks", "Closed breaks"

COLUMNS = {"owner": "owner", "status": "follow-up", "note": "note"}
"""The title of the column in which each field is filled in."""

SUBJECT, PERIOD, ZONE, REFERENCE = "subject", "period", "zone", "reference"

LONGEST = 32_767
"""Characters that a cell can hold."""

_OWN_TITLES = {*COLUMNS.values(), SUBJECT, PERIOD, ZONE, REFERENCE}
_HEADER_WITHIN = 20
_UNKNOWN = dict.fromkeys((0xFFFE, 0xFFFF), "\ufffd")
_LOCKS = ("~${}", ".~lock.{}#")


class WorkbookError(PipelineError):
    """A workbook cannot be read back; it and what it says were left as they are."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        """Compose the message from its parts.

        Args:
            path: The workbook.
            problem: What is wrong with it.
            remedy: What the user can do.
        """
        super().__init__(f"{path}: {problem} Its notes were not taken. Remedy: {remedy}")


class _Reference(BaseModel):
    """The hidden cell of a row."""

    model_config = ConfigDict(extra="forbid")

    comparison: str
    note: Note
    given: dict[str, str]


def reference(comparison: str, note: Note, difference: str) -> str:
    """What the hidden column says of a row.

    Args:
        comparison: The comparison's name.
        note: What is known of the break, as the row shows it.
        difference: The difference that the row shows.
    """
    given = {name: _digest(shown(getattr(note, name))) for name in FIELDS}
    unsaid = {"owner": "", "status": OPEN, "note": "", "history": (), "last_seen": note.first_seen}
    bare = note.model_copy(update={**unsaid, "difference": difference})
    text = _Reference(comparison=comparison, note=bare, given=given).model_dump_json(
        exclude_defaults=True
    )
    return text if len(text) * 2 <= LONGEST else ""  # then its visible cells say what it is


def shown(text: str, rest: str = "notes.json") -> str:
    """A text as a cell can hold it; a longer one is cut and says where the rest is."""
    if len(text) * 2 <= LONGEST:
        return text
    end = f"… (cut: all of it is in {rest})"
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * LONGEST:
        return text
    return units[: 2 * (LONGEST - len(end))].decode("utf-16-le", "ignore") + end


def title_of(dimension: str) -> str:
    """The title of a dimension's column, which no other column has."""
    return f"{dimension} (dimension)" if dimension in _OWN_TITLES else dimension


def read_filled_in(
    path: Path, comparison: str, dimensions: Sequence[str], today: date
) -> list[Edit]:
    """Read what people left in a workbook.

    Args:
        path: The workbook, as written by us or saved by a spreadsheet program.
        comparison: The comparison that it must be of.
        dimensions: The names of its dimensions, for rows that people added by hand.
        today: When those are seen first.

    Raises:
        WorkbookError: When it is open elsewhere, cannot be read, is of another comparison, or its
            rows were mixed up.
    """
    for pattern in _LOCKS:
        if (lock := path.with_name(pattern.format(path.name))).exists():
            remedy = f"save and close it, then run this again (if nobody has, delete {lock.name})."
            raise WorkbookError(path, "it is open in a spreadsheet program.", remedy)
    try:
        book = fastexcel.read_excel(path)
        sheets = [name for name in book.sheet_names if name in (BREAKS_SHEET, CLOSED_SHEET)]
        tables = {
            name: book.load_sheet(name, header_row=None, dtypes="string").to_polars().rows()
            for name in sheets
        }
    except fastexcel.FastExcelError as error:
        remedy = "open it, save it as .xlsx without a password, and run this again."
        problem = f"it is no workbook that can be read ({str(error).splitlines()[0]})."
        raise WorkbookError(path, problem, remedy) from None
    if BREAKS_SHEET not in tables:
        remedy = "give it that name again, or take the report of a run and fill that in."
        raise WorkbookError(path, f"it has no sheet {BREAKS_SHEET}.", remedy)
    return [
        edit
        for sheet, rows in tables.items()
        for edit in _Reader(path, sheet, comparison, dimensions, today).edits(rows)
    ]


class _Reader:
    """Reads one sheet; knows what messages name."""

    def __init__(
        self, path: Path, sheet: str, comparison: str, dimensions: Sequence[str], today: date
    ) -> None:
        self._path, self._sheet, self._today = path, sheet, today
        self._comparison, self._dimensions = comparison, dimensions

    def edits(self, rows: Sequence[Sequence[str | None]]) -> list[Edit]:
        """What its rows say, but for those that say nothing."""
        header, titles = self._titles(rows)
        found = []
        for number, row in enumerate(rows[header + 1 :], header + 2):
            texts = {title: row[column] or "" for title, column in titles.items()}
            said = {name: tidy(texts[title]) for name, title in COLUMNS.items()}
            said["status"] = said["status"].lower() if said["status"] else OPEN
            if texts[REFERENCE]:
                found.append(self._given(number, texts, said))
            elif said["owner"] or said["note"]:
                found.append(self._added(texts, said))
        return found

    def _titles(self, rows: Sequence[Sequence[str | None]]) -> tuple[int, dict[str, int]]:
        """Where the header is, and each column; a person may have moved both."""
        missing = sorted(_OWN_TITLES)
        for place, row in enumerate(rows[:_HEADER_WITHIN]):
            titles = {title.strip(): column for column, title in enumerate(row) if title}
            lacking = sorted(_OWN_TITLES - titles.keys())
            if not lacking:
                return place, titles
            missing = min(missing, lacking, key=len)
        remedy = (
            "put the columns back (undo, or an earlier copy), or move your notes into the workbook "
            "of a run."
        )
        named = ", ".join(f"`{title}`" for title in missing)
        raise WorkbookError(
            self._path, f"sheet {self._sheet} has no column {named} with that title.", remedy
        )

    def _given(self, number: int, texts: Mapping[str, str], said: dict[str, str]) -> Edit:
        """A row that was ours."""
        where = f"sheet {self._sheet}, row {number}"
        try:
            ours = _Reference.model_validate_json(texts[REFERENCE])
        except ValidationError:
            remedy = "undo the change to that column, or delete the row."
            problem = f"{where}: its hidden column `{REFERENCE}` was changed."
            raise WorkbookError(self._path, problem, remedy) from None
        if ours.comparison != self._comparison:
            remedy = f"name that comparison, or take a workbook of {self._comparison}."
            problem = f"it is the workbook of comparison {ours.comparison}."
            raise WorkbookError(self._path, problem, remedy)
        row = tidy(texts[SUBJECT]), tidy(texts[PERIOD])
        own = tidy(shown(ours.note.subject)), tidy(ours.note.period)
        if row != own:
            problem = (
                f"{where} says {', '.join(row)}, but its hidden column `{REFERENCE}` belongs to "
                f"{', '.join(own)}: columns were sorted or moved without it."
            )
            raise WorkbookError(self._path, problem, "undo that, and sort whole rows.")
        touched = [name for name in FIELDS if _digest(said[name]) != ours.given.get(name)]
        # An emptied status is none of a person's words.
        if not texts[COLUMNS["status"]].strip():
            touched = [name for name in touched if name != "status"]
        return Edit(ours.note.model_copy(update=said), frozenset(touched))

    def _added(self, texts: Mapping[str, str], said: dict[str, str]) -> Edit:
        """A row that a person added: it belongs to what its visible cells name."""
        named = {name: tidy(texts.get(title_of(name), "")) or None for name in self._dimensions}
        note = Note(
            subject=tidy(texts[SUBJECT]),
            dimensions=named,
            period=tidy(texts[PERIOD]),
            zone=tidy(texts[ZONE]),
            first_seen=self._today,
            last_seen=self._today,
            owner=said["owner"],
            status=said["status"],
            note=said["note"],
        )
        return Edit(note, frozenset(FIELDS))


def tidy(text: str) -> str:
    """A cell's text without what spreadsheet programs make of it: line ends, midnights, blanks.

    Two signs that no XML can hold are taken for unknown ones.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").translate(_UNKNOWN).strip()
    return re.sub(r"\A(\d{4}-\d\d-\d\d) 00:00:00\Z", r"\1", lines)


def _digest(text: str) -> str:
    return hashlib.sha256(tidy(text).encode("utf-8", "surrogatepass")).hexdigest()[:16]
