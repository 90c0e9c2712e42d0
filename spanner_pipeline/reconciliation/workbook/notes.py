"""What people say of breaks and when each was first seen, kept from run to run.

Belongs here: a note, what it belongs to, how notes follow the breaks, and the file `notes.json`.
Not here: where people write (`filled_in` reads it, `workbook` shows it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from spanner_pipeline.configuration.values import complete_date
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.spelling import plain
from spanner_pipeline.whole import written_whole

OPEN = "open"
FOLLOW_UPS = (OPEN, "in progress", "accepted", "resolved", "waived")
"""Where the work on a break stands; a person's own word is kept as well."""

FIELDS = ("owner", "status", "note")
"""What a person says of a break."""

Key = tuple[str, tuple[tuple[str, str | None], ...], str, str]
"""What a note belongs to: subject, dimensions, period, zone."""


class NotesError(PipelineError):
    """The notes that were kept cannot be read; nothing was written over them."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Change(_Kept):
    """What a note said before something happened to it.

    Attributes:
        on: When.
        what: A person edited it, or its break went away or came back.
        owner: The owner until then.
        status: The status until then.
        note: The note until then.
    """

    on: date
    what: Literal["edited", "gone", "back"]
    owner: str
    status: str
    note: str


class Note(_Kept):
    """What is known of one break, beyond its numbers.

    Attributes:
        subject: Whose number it is.
        dimensions: For which dimensions.
        period: For which period.
        zone: On which clock.
        owner: Who looks after it.
        status: Where the work on it stands: one of `FOLLOW_UPS`, or a person's own word.
        note: What a person says of it.
        difference: The difference that this was said of, exactly; empty where the number could not
            be compared, None where nobody said anything.
        first_seen: The date of the first run that saw the break.
        last_seen: The date of the last one that did.
        closed: The date of the first run that saw it no more; None while it is there.
        history: What was said before, oldest first.
    """

    subject: str
    dimensions: dict[str, str | None] = {}
    period: str
    zone: str = ""
    owner: str = ""
    status: str = OPEN
    note: str = ""
    difference: str | None = None
    first_seen: date
    last_seen: date
    closed: date | None = None
    history: tuple[Change, ...] = ()

    @property
    def key(self) -> Key:
        """What it belongs to."""
        return (self.subject, tuple(sorted(self.dimensions.items())), self.period, self.zone)

    @property
    def place(self) -> str:
        """What it belongs to, for a person."""
        named = [f"{name} {value or '(none)'}" for name, value in self.dimensions.items()]
        return ", ".join([self.subject or "all subjects", *named, self.period])

    @property
    def says_something(self) -> bool:
        """Whether a person said anything."""
        return bool(self.owner or self.note or self.status != OPEN)

    def changed_since(self, difference: Decimal | None) -> bool:
        """Whether the difference is another than what this was said of."""
        return self.difference not in (None, plain(difference))

    def after(self, what: Literal["edited", "gone", "back"], on: date, **said: Any) -> Note:
        """The note after something happened to it, which remembers what it said."""
        before = {name: getattr(self, name) for name in FIELDS}
        history = (*self.history, Change(on=on, what=what, **before))
        return self.model_copy(update={**said, "history": history})


@dataclass(frozen=True)
class Edit:
    """What a person left in one row of a workbook.

    Attributes:
        note: What the row says now; `difference` is the one that it shows.
        touched: The fields that a person changed; the others say what the workbook was given.
    """

    note: Note
    touched: frozenset[str]


@dataclass(frozen=True)
class Notes:
    """The notes of one comparison.

    Attributes:
        comparison: Its name.
        kept: Each note by what it belongs to, of breaks that are there and of those that are gone.
    """

    comparison: str
    kept: Mapping[Key, Note] = field(default_factory=dict)

    def of(self, row: Mapping[str, Any]) -> Note | None:
        """The note of a row of the comparison's `cells`; None of a number that never broke."""
        return self.kept.get(key_of(row))

    @property
    def closed(self) -> list[Note]:
        """The notes of breaks that are gone, the last closed first."""
        gone = [note for note in self.kept.values() if note.closed is not None]
        return sorted(gone, key=lambda note: (-(note.closed or date.min).toordinal(), _rank(note)))

    @property
    def in_order(self) -> list[Note]:
        """All notes, in the order of what they belong to."""
        return sorted(self.kept.values(), key=_rank)

    def edited(self, edits: Iterable[Edit], today: date) -> tuple[Notes, list[Edit]]:
        """The notes with what people wrote, and the edits that belong to no known break.

        Those are kept as well. What was only shown, and is kept otherwise since, stays as it is.
        """
        kept, strange = dict(self.kept), []
        for edit in edits:
            known = kept.get(edit.note.key)
            if known is None:
                if edit.note.says_something:
                    strange.append(edit)
                    kept[edit.note.key] = edit.note
                else:
                    kept[edit.note.key] = edit.note.model_copy(update={"difference": None})
                continue
            said = {name: getattr(edit.note, name) for name in edit.touched}
            said = {name: text for name, text in said.items() if text != getattr(known, name)}
            if said:
                said["difference"] = edit.note.difference
                kept[known.key] = known.after("edited", today, **said)
        return replace(self, kept=kept), strange

    def followed(self, comparison: Comparison, today: date) -> Notes:
        """The notes after a run: new breaks have one, and those that are gone are closed."""
        kept = dict(self.kept)
        broken = pl.concat([comparison.breaks, comparison.not_comparable])
        columns = ["subject", *comparison.dimensions, "period", "zone"]
        seen = set()
        for row in broken.select(columns).iter_rows(named=True):
            key = key_of(row)
            seen.add(key)
            known = kept.get(key)
            if known is None:
                subject, dimensions, period, zone = key
                kept[key] = Note(
                    subject=subject,
                    dimensions=dict(dimensions),
                    period=period,
                    zone=zone,
                    first_seen=today,
                    last_seen=today,
                )
            elif known.closed is not None:
                back = {"status": OPEN, "closed": None, "last_seen": today}
                kept[key] = known.after("back", today, **back)
            elif known.last_seen != today:
                kept[key] = known.model_copy(update={"last_seen": today})
        for key, note in self.kept.items():
            if key not in seen and note.closed is None and _looked_at(note, comparison):
                kept[key] = note.after("gone", today, closed=today)
        return replace(self, kept=kept)

    def close(self, keys: Iterable[Key], today: date) -> Notes:
        """The notes with some of them closed."""
        gone = {key: self.kept[key].after("gone", today, closed=today) for key in keys}
        return replace(self, kept={**self.kept, **gone})


def key_of(row: Mapping[str, Any]) -> Key:
    """What a note of this row of `cells` belongs to."""
    dimensions = ((n.removeprefix("dim_"), v) for n, v in row.items() if n.startswith("dim_"))
    return (row["subject"], tuple(sorted(dimensions)), row["period"], row["zone"] or "")


def read_notes(path: Path, comparison: str) -> Notes:
    """The notes kept in a file; none where it is not there.

    Raises:
        NotesError: When it cannot be read, or is of another comparison.
    """
    if not path.exists():
        return Notes(comparison)
    remedy = "Repair it or take it out of the folder, then run this again. Nothing was overwritten."
    try:
        found = _File.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise NotesError(
            f"{path}: these are not the notes of a comparison ({where or 'JSON'}: {first['msg']}). "
            f"{remedy}"
        ) from None
    if found.comparison != comparison:
        raise NotesError(f"{path}: these are the notes of {found.comparison}. {remedy}")
    return Notes(comparison, {note.key: note for note in found.notes})


def write_notes(path: Path, notes: Notes) -> None:
    """Keep notes, one a line, in the order of what they belong to."""
    lines = [note.model_dump_json() for note in notes.in_order]
    listed = ",\n".join(lines)
    name = _File(comparison=notes.comparison).model_dump_json(include={"comparison"})
    text = f'{name[:-1]},"notes":[\n{listed}\n]}}\n'
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    with written_whole(path) as work:
        work.write_text(text, encoding="utf-8")


class _File(_Kept):
    comparison: str
    notes: tuple[Note, ...] = ()


def _rank(note: Note) -> tuple[str, ...]:
    dimensions = (f"{name} {'' if v is None else '='}{v}" for name, v in note.key[1])
    return (note.subject, note.period, note.zone, *dimensions)


def _looked_at(note: Note, comparison: Comparison) -> bool:
    """Whether a comparison that was narrowed to a period looked at this number at all."""
    first = complete_date(note.period[:10])
    return comparison.period is None or first.startswith(comparison.period)
