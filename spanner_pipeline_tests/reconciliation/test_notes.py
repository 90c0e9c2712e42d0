"""What a person says of a break is there in the next run, whatever happens in between."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner
from xlsxwriter.utility import xl_cell_to_rowcol, xl_col_to_name

from spanner_pipeline.cli import app
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.workbook.filled_in import read_filled_in, tidy
from spanner_pipeline.reconciliation.workbook.follow_up import (
    FollowUp,
    carry_notes,
    place_workbook,
    take_notes,
)
from spanner_pipeline.reconciliation.workbook.notes import Note, NotesError, read_notes
from spanner_pipeline_tests.reconciliation.building import Books
from spanner_pipeline_tests.reconciliation.spreadsheet import (
    MAIN,
    converted,
    edit,
    fill_in,
    needs_libreoffice,
    rewrite,
    table,
)
from spanner_pipeline_tests.usage.events import Event

MONDAY, TUESDAY, WEDNESDAY = date(2026, 11, 23), date(2026, 11, 24), date(2026, 11, 25)


class Desk:
    """Where reports of one comparison arrive."""

    def __init__(self, path: Path) -> None:
        self.books = Books(path)
        self.folder = self.books.root.reports / "bill"
        self.report = self.folder / "report.xlsx"

    def fill(self) -> Desk:
        """Put usage of three customers into the lake."""
        events = [("acme", 100), ("globex", 200), ("hooli", 300)]
        self.books.lake(*(Event("2024-01-05T00:00:00Z", q, who) for who, q in events))
        return self

    def compare(self, **old: int) -> Comparison:
        """Compare with what the old bill says of each customer; three have breaks."""
        billed = {"acme": 90, "globex": 250, "hooli": 303} | old
        self.books.bill(*((who, "UTC", "2024-01", n, n) for who, n in billed.items()))
        return self.books.compare()

    def run(self, today: date, **old: int) -> FollowUp:
        """What `reconcile` does."""
        return self.finish(self.compare(**old), today)

    def finish(self, comparison: Comparison, today: date) -> FollowUp:
        """What it does with a comparison."""
        found = carry_notes(self.folder, comparison, today)
        place_workbook(self.folder, self.books.root, comparison, found, today)
        return found

    def row(self, subject: str, path: Path | None = None) -> dict[str, str]:
        """A row of the breaks."""
        rows = [r for r in table(path or self.report, "Breaks") if r["subject"] == subject]
        return rows[0]


def note_of(found: FollowUp, subject: str) -> Note:
    (note,) = [note for note in found.notes.kept.values() if note.subject == subject]
    return note


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path).fill()


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a note was taken from the workbook of the day before; tests copy it."""
    desk = Desk(tmp_path_factory.mktemp("noted")).fill()
    desk.run(MONDAY)
    fill_in(desk.report, "acme", note="kept before")
    desk.run(TUESDAY)
    return desk.books.path


def test_what_is_filled_in_is_there_after_the_next_run(desk: Desk) -> None:
    desk.run(MONDAY)
    fill_in(desk.report, "acme", owner="Ann", follow_up="In progress", note="asked\nthe vendor")
    note = note_of(desk.run(TUESDAY), "acme")
    assert (note.owner, note.status, note.note) == ("Ann", "in progress", "asked\nthe vendor")
    assert note.difference == "10"
    shown = desk.row("acme")
    assert (shown["owner"], shown["follow-up"], shown["note"]) == (
        "Ann",
        "in progress",
        "asked\nthe vendor",
    )
    assert desk.row("globex")["follow-up"] == "open"


def test_every_row_of_the_comparison_finds_its_note(desk: Desk) -> None:
    comparison = desk.compare(wayne=0)
    found = desk.finish(comparison, MONDAY)
    notes = {row["subject"]: found.notes.of(row) for row in comparison.cells.iter_rows(named=True)}
    assert {subject for subject, note in notes.items() if note is not None} == {
        "acme",
        "globex",
        "hooli",
    }
    assert notes["acme"] == note_of(found, "acme")


def test_first_seen_is_the_first_run_that_saw_the_break_and_stays(desk: Desk) -> None:
    desk.run(MONDAY, globex=200)
    note = note_of(desk.run(TUESDAY), "acme")
    assert (note.first_seen, note.last_seen) == (MONDAY, TUESDAY)
    assert desk.row("acme")["first seen"].startswith("2026-11-23")
    assert desk.row("globex")["first seen"].startswith("2026-11-24")


def test_what_cannot_be_compared_is_followed_as_well(desk: Desk) -> None:
    desk.books.bill(("acme", "UTC", "2024-01", "x17", "1"), ("globex", "UTC", "2024-01", 200, 1))
    comparison = desk.books.compare()
    desk.finish(comparison, MONDAY)
    assert "not comparable" in desk.row("acme")["explanation"]
    fill_in(desk.report, "acme", note="a typing error")
    found = desk.run(TUESDAY)
    assert note_of(found, "acme").note == "a typing error"
    assert "it was not comparable" in desk.row("acme")["remark"]


def test_a_break_that_went_keeps_its_note_and_is_open_again_when_it_is_back(desk: Desk) -> None:
    desk.run(MONDAY)
    fill_in(desk.report, "acme", owner="Ann", follow_up="resolved", note="credit sent")
    gone = note_of(desk.run(TUESDAY, acme=100), "acme")
    assert (gone.closed, gone.status, gone.note) == (TUESDAY, "resolved", "credit sent")
    (closed,) = table(desk.report, "Closed breaks")
    assert (closed["subject"], closed["note"]) == ("acme", "credit sent")
    back = note_of(desk.run(WEDNESDAY), "acme")
    assert (back.closed, back.status, back.owner, back.note) == (None, "open", "Ann", "credit sent")
    assert (back.first_seen, back.last_seen) == (MONDAY, WEDNESDAY)
    assert [(c.what, c.on, c.status) for c in back.history] == [
        ("edited", MONDAY.replace(day=24), "open"),
        ("gone", TUESDAY, "resolved"),
        ("back", WEDNESDAY, "resolved"),
    ]
    assert "came back on 2026-11-25 (it was resolved)" in desk.row("acme")["remark"]


def test_a_closed_break_can_still_be_written_about(desk: Desk) -> None:
    desk.run(MONDAY)
    desk.run(TUESDAY, acme=100)
    fill_in(desk.report, "acme", "Closed breaks", note="why it went")
    assert note_of(desk.run(WEDNESDAY, acme=100), "acme").note == "why it went"


def test_a_note_says_when_its_difference_changed_since(desk: Desk) -> None:
    desk.run(MONDAY)
    fill_in(desk.report, "acme", note="ten too few")
    desk.run(TUESDAY)
    assert desk.row("acme")["remark"] == ""
    desk.run(WEDNESDAY, acme=80, globex=251)
    assert desk.row("acme")["remark"] == "difference changed since this note (it was 10)"
    assert desk.row("globex")["remark"] == "", "nobody said anything of it"
    fill_in(desk.report, "acme", note="twenty too few")
    desk.run(WEDNESDAY, acme=80)
    assert desk.row("acme")["remark"] == ""


def test_a_note_written_on_an_old_difference_is_of_that_one(desk: Desk) -> None:
    desk.run(MONDAY)
    fill_in(desk.report, "acme", note="ten too few")
    desk.run(TUESDAY, acme=80)
    assert desk.row("acme")["remark"] == "difference changed since this note (it was 10)"


def test_replaced_words_stay_in_the_history(desk: Desk) -> None:
    desk.run(MONDAY)
    fill_in(desk.report, "acme", note="first")
    desk.run(TUESDAY)
    fill_in(desk.report, "acme", note="")
    note = note_of(desk.run(WEDNESDAY), "acme")
    assert note.note == ""
    assert [change.note for change in note.history] == ["", "first"]


def test_rows_may_be_sorted_and_deleted_and_columns_added(desk: Desk) -> None:
    desk.run(MONDAY)
    fill_in(desk.report, "acme", note="of acme")
    fill_in(desk.report, "hooli", note="of hooli")

    def rearrange(root: ElementTree.Element) -> None:
        (data,) = root.findall(f".//{MAIN}sheetData")
        header, _, acme, hooli = data
        # globex is deleted; the others change places, and everything moves down and right.
        for child in list(data):
            data.remove(child)
        for number, row in enumerate((header, hooli, acme), 4):
            row.set("r", str(number))
            for cell in row:
                _, column = xl_cell_to_rowcol(cell.get("r", ""))
                cell.set("r", f"{xl_col_to_name(column + 1)}{number}")
            data.append(row)

    edit(desk.report, rearrange)
    found = desk.run(TUESDAY)
    assert found.problem is None
    notes = {note.subject: note.note for note in found.notes.kept.values()}
    assert notes == {"acme": "of acme", "hooli": "of hooli", "globex": ""}


def test_a_row_that_a_person_added_counts_for_the_break_that_it_names(desk: Desk) -> None:
    desk.run(MONDAY)
    titles = [t for t in table(desk.report, "Breaks")[0]]
    texts = {"subject": "acme", "period": "2024-01", "zone": "UTC", "note": "by hand"}

    def add(root: ElementTree.Element) -> None:
        (data,) = root.findall(f".//{MAIN}sheetData")
        for said in (texts, {"old": "a total of mine"}):
            row = ElementTree.SubElement(data, f"{MAIN}row")
            for title in titles:
                cell = ElementTree.SubElement(row, f"{MAIN}c", t="inlineStr")
                holder = ElementTree.SubElement(cell, f"{MAIN}is")
                ElementTree.SubElement(holder, f"{MAIN}t").text = said.get(title, "")

    edit(desk.report, add)
    found = desk.run(TUESDAY)
    assert note_of(found, "acme").note == "by hand"
    assert len(found.notes.kept) == 3


def test_an_older_copy_undoes_nothing_that_was_written_since(desk: Desk, tmp_path: Path) -> None:
    desk.run(MONDAY)
    copy = tmp_path / "copy.xlsx"
    copy.write_bytes(desk.report.read_bytes())
    fill_in(desk.report, "acme", owner="Ann", note="newer")
    desk.run(TUESDAY)
    fill_in(copy, "globex", note="from the copy")
    fill_in(copy, "acme", owner="Bob")
    taken = take_notes(desk.folder, copy, "bill", TUESDAY)
    assert (taken.changed, taken.strange) == (2, [])
    found = desk.run(WEDNESDAY)
    acme = note_of(found, "acme")
    assert (acme.owner, acme.note) == ("Bob", "newer")
    assert acme.history[-1].owner == "Ann"
    assert note_of(found, "globex").note == "from the copy"
    assert desk.row("globex")["note"] == "from the copy"


def test_the_command_reads_a_copy_and_lists_what_belongs_to_no_break(
    desk: Desk, tmp_path: Path
) -> None:
    desk.run(MONDAY)
    copy = tmp_path / "copy.xlsx"
    copy.write_bytes(desk.report.read_bytes())
    (desk.folder / "notes.json").unlink()
    desk.report.unlink()
    desk.run(TUESDAY, hooli=300)
    fill_in(copy, "acme", owner="Ann")
    fill_in(copy, "hooli", note="gone since")
    where = ["--data", str(tmp_path)]
    done = CliRunner().invoke(app, ["notes", "bill", str(copy), *where])
    assert done.exit_code == 0, done.output
    assert "1 note changed" in done.output
    assert "hooli, 2024-01: open, gone since" in done.output
    kept = read_notes(desk.folder / "notes.json", "bill")
    (hooli,) = [note for note in kept.kept.values() if note.subject == "hooli"]
    assert (hooli.note, hooli.closed is not None) == ("gone since", True)
    listed = CliRunner().invoke(app, ["notes", "bill", *where])
    assert "gone since" in listed.output
    assert "Ann" in listed.output
    assert CliRunner().invoke(app, ["notes", "bil", str(copy), *where]).exit_code == 2


def test_notes_that_were_lost_come_back_from_the_workbook(desk: Desk) -> None:
    desk.run(MONDAY)
    fill_in(desk.report, "acme", owner="Ann", follow_up="waived")
    (desk.folder / "notes.json").unlink()
    note = note_of(desk.run(WEDNESDAY), "acme")
    assert (note.owner, note.status, note.first_seen) == ("Ann", "waived", MONDAY)
    assert note.history == ()


def _truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _without_sheet(path: Path) -> None:
    rewrite(path, {"xl/workbook.xml": lambda t: t.replace(b'name="Breaks"', b'name="Mine"')})


def _without_note_column(path: Path) -> None:
    def change(root: ElementTree.Element) -> None:
        for cell in root.findall(f".//{MAIN}row")[0]:
            for text in cell.iter(f"{MAIN}t"):
                text.text = "remarks" if text.text == "note" else text.text

    edit(path, change)


def _of_another_comparison(path: Path) -> None:
    def change(root: ElementTree.Element) -> None:
        for text in root.iter(f"{MAIN}t"):
            text.text = (text.text or "").replace('{"comparison":"bill"', '{"comparison":"rent"')

    edit(path, change)


def _mixed_up(path: Path) -> None:
    def change(root: ElementTree.Element) -> None:
        references = [t for t in root.iter(f"{MAIN}t") if (t.text or "").startswith("{")]
        first, second, *_ = references
        first.text, second.text = second.text, first.text

    edit(path, change)


def _scribbled(path: Path) -> None:
    def change(root: ElementTree.Element) -> None:
        for text in root.iter(f"{MAIN}t"):
            text.text = (text.text or "").replace('{"comparison"', '{"comp')

    edit(path, change)


def _open_in(lock: str) -> Callable[[Path], None]:
    return lambda path: path.with_name(lock).write_bytes(b"Ann")  # type: ignore[return-value]


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "no workbook that can be read"),
    "not a workbook": (lambda path: path.write_bytes(b"a,b\n1,2\n" * 99), "no workbook"),
    "truncated": (_truncated, "no workbook that can be read"),
    "no sheet": (_without_sheet, "no sheet Breaks"),
    "other columns": (_without_note_column, "no column `note`"),
    "another comparison's": (_of_another_comparison, "the workbook of comparison rent"),
    "rows mixed up": (_mixed_up, "sorted or moved without it"),
    "hidden column changed": (_scribbled, "hidden column `reference` was changed"),
    "open in Excel": (_open_in("~$report.xlsx"), "open in a spreadsheet program"),
    "open in LibreOffice": (_open_in(".~lock.report.xlsx#"), "open in a spreadsheet program"),
}


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_workbook_that_cannot_be_read_stays_and_the_new_one_goes_beside_it(
    noted: Path, tmp_path: Path, how: str
) -> None:
    desk = Desk(shutil.copytree(noted, tmp_path, dirs_exist_ok=True))
    spoil, words = UNREADABLE[how]
    spoil(desk.report)
    spoiled = desk.report.read_bytes()
    found = desk.run(WEDNESDAY, globex=260)
    assert words in str(found.problem)
    assert str(desk.report) in str(found.problem)
    assert "Remedy: " in str(found.problem)
    assert desk.report.read_bytes() == spoiled
    assert note_of(found, "acme").note == "kept before"
    beside = desk.folder / "report.new.xlsx"
    assert desk.row("acme", beside)["note"] == "kept before"
    assert desk.row("globex", beside)["difference"] == "-60"
    # What is filled in there counts, and once the other is away all is as ever.
    fill_in(beside, "acme", note="beside")
    again = desk.run(WEDNESDAY)
    assert again.problem is not None
    assert note_of(again, "acme").note == "beside"
    desk.report.unlink()
    for lock in desk.folder.glob(".~lock*"):
        lock.unlink()
    for lock in desk.folder.glob("~$*"):
        lock.unlink()
    assert desk.run(WEDNESDAY).problem is None
    assert desk.row("acme")["note"] == "beside"
    assert not beside.exists()


@pytest.mark.parametrize(
    "content", ["", "{", '{"comparison": "rent", "notes": []}', '{"comparison": "bill", "x": 1}']
)
def test_notes_that_cannot_be_read_are_never_overwritten(desk: Desk, content: str) -> None:
    desk.run(MONDAY)
    before = desk.report.read_bytes()
    (desk.folder / "notes.json").write_text(content)
    with pytest.raises(NotesError, match=r"notes.json: .*Nothing was overwritten"):
        desk.run(TUESDAY)
    assert (desk.folder / "notes.json").read_text() == content
    assert desk.report.read_bytes() == before


def test_what_a_person_saved_is_kept_as_it_was(desk: Desk) -> None:
    desk.run(MONDAY)
    desk.run(MONDAY, acme=89)
    assert not (desk.folder / "filled_in").exists(), "nobody saved anything"
    fill_in(desk.report, "acme", note="see my sheet of extras")
    saved = desk.report.read_bytes()
    desk.run(TUESDAY)
    (kept,) = (desk.folder / "filled_in").iterdir()
    assert kept.name.startswith("2026-11-24-")
    assert kept.read_bytes() == saved
    assert desk.report.read_bytes() != saved


def test_a_run_that_changes_nothing_writes_nothing(desk: Desk) -> None:
    desk.run(MONDAY)
    fill_in(desk.report, "acme", note="x")
    desk.run(TUESDAY)
    files = [desk.report, desk.folder / "notes.json"]
    before = [(f.stat().st_ino, f.stat().st_mtime_ns) for f in files]
    desk.run(TUESDAY)
    assert [(f.stat().st_ino, f.stat().st_mtime_ns) for f in files] == before
    desk.run(WEDNESDAY)
    assert desk.report.stat().st_ino == before[0][0], "only when it was last seen has changed"


def test_notes_are_kept_in_the_order_of_what_they_belong_to(desk: Desk) -> None:
    desk.run(MONDAY)
    kept = json.loads((desk.folder / "notes.json").read_text())
    assert [note["subject"] for note in kept["notes"]] == ["acme", "globex", "hooli"]
    assert set(kept["notes"][0]) >= {"owner", "status", "note", "first_seen", "last_seen"}


def test_a_run_of_one_period_closes_nothing_of_the_others(desk: Desk) -> None:
    desk.books.bill(
        ("acme", "UTC", "2024-01", 90, 1),
        ("acme", "UTC", "2024-02", 7, 1),
        ("globex", "UTC", "2024-01", 200, 1),
    )
    whole = desk.books.compare()
    desk.finish(whole, MONDAY)
    fill_in(desk.report, "hooli", note="of January")
    part = whole.cells.filter(period="2024-02")
    narrowed = replace(whole, period="2024-02", cells=part)
    inside = desk.folder / "2024-02"
    found = carry_notes(inside, narrowed, TUESDAY)
    place_workbook(inside, desk.books.root, narrowed, found, TUESDAY)
    assert [note.closed for note in found.notes.kept.values()] == [None] * 3
    assert not (inside / "notes.json").exists()
    fill_in(inside / "report.xlsx", "acme", note="of February")
    carry_notes(inside, narrowed, TUESDAY)
    notes = desk.finish(whole, WEDNESDAY).notes.kept.values()
    said = {(note.subject, note.period): note.note for note in notes}
    assert said == {
        ("acme", "2024-01"): "",
        ("acme", "2024-02"): "of February",
        ("hooli", "2024-01"): "of January",
    }


TEXTS = st.text(max_size=40)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Comparison]:
    """A comparison with three breaks."""
    desk = Desk(tmp_path_factory.mktemp("compared")).fill()
    return desk, desk.compare()


@given(note=TEXTS, owner=TEXTS)
@example(note="=1+1", owner="+x")
@example(note="@a", owner="-b")
@example(note="<r><t>x</t></r>", owner="a & b < c > d \" '")
@example(note="_x0041_x0042_", owner="_x005F_")
@example(note="a\r\nb\rc\td", owner="\x01\x1f￾")
@example(note="2026-01-05 00:00:00", owner="00012")
@example(note="1e5", owner="TRUE")
@example(note="🙂" * 16_390, owner="x" * 40_000)
@settings(max_examples=25, deadline=None)
def test_every_text_comes_back_as_it_was_written(
    compared: tuple[Desk, Comparison],
    tmp_path_factory: pytest.TempPathFactory,
    note: str,
    owner: str,
) -> None:
    desk, comparison = compared
    folder = tmp_path_factory.mktemp("reports")
    notes = carry_notes(folder, comparison, MONDAY).notes
    kept = {
        key: each.model_copy(update={"note": tidy(note), "owner": tidy(owner)})
        for key, each in notes.kept.items()
    }
    found = FollowUp(replace(notes, kept=kept))
    path = place_workbook(folder, desk.books.root, comparison, found, MONDAY)
    edits = read_filled_in(path, "bill", [], MONDAY)
    assert len(edits) == 3
    assert [edit.touched for edit in edits] == [frozenset()] * 3
    if len(note.encode("utf-16-le")) < 65_000:
        assert {edit.note.note for edit in edits} == {tidy(note)}
        fill_in(path, "acme", note=note)
        again = read_filled_in(path, "bill", [], MONDAY)
        assert {edit.note.note for edit in again} == {tidy(note)}


@needs_libreoffice
def test_nothing_is_lost_when_libreoffice_saves_the_workbook(desk: Desk, tmp_path: Path) -> None:
    desk.run(MONDAY)
    said = {"owner": "Ann", "follow_up": "accepted", "note": "=1+1\n2026-01-05 _x0041_ é🙂"}
    fill_in(desk.report, "acme", **said)
    fill_in(desk.report, "globex", owner="00012", note="2026-01-05")
    saved = converted(desk.report, "xlsx", tmp_path)
    assert saved.read_bytes() != desk.report.read_bytes()
    saved.replace(desk.report)
    found = desk.run(TUESDAY)
    assert found.problem is None
    acme, globex = note_of(found, "acme"), note_of(found, "globex")
    assert (acme.owner, acme.status, acme.note) == tuple(said.values())
    assert (globex.owner, globex.note) == ("00012", "2026-01-05")
    assert note_of(found, "hooli").history == (), "nobody touched it"


@needs_libreoffice
def test_a_workbook_that_nobody_filled_in_has_no_edits_after_libreoffice_saved_it(
    desk: Desk, tmp_path: Path
) -> None:
    first = desk.run(MONDAY)
    converted(desk.report, "xlsx", tmp_path).replace(desk.report)
    assert desk.run(MONDAY).notes == first.notes


def test_names_of_numbers_may_be_anything(tmp_path: Path) -> None:
    strange = ["=cmd|x", "<r>a</r>", "a_x0041_b", " blank ", "é🙂", "x" * 300, "1e5"]
    books = Books(tmp_path)
    books.lake(*(Event("2024-01-05T00:00:00Z", 5, who) for who in strange))
    books.bill(("acme", "UTC", "2024-01", 1, 1))
    comparison = books.compare()
    folder = books.root.reports / "bill"
    found = carry_notes(folder, comparison, MONDAY)
    path = place_workbook(folder, books.root, comparison, found, MONDAY)
    edits = read_filled_in(path, "bill", [], MONDAY)
    assert sorted(edit.note.subject for edit in edits) == sorted([*strange, "acme"])
    assert found.notes.edited(edits, MONDAY)[0] == found.notes
    shown = {row["subject"] for row in table(path, "Breaks")}
    assert shown == {*strange, "acme"}
    with zipfile.ZipFile(path) as archive:
        sheets = [archive.read(name) for name in archive.namelist() if "sheets/sheet" in name]
    assert not any(b"<f>cmd" in sheet or b"hyperlink" in sheet for sheet in sheets)


def test_an_exact_difference_is_remembered_to_the_last_digit(tmp_path: Path) -> None:
    books = Books(tmp_path, meter={"decimals": 9})
    quantity = Decimal("123456789012345678.123456789")
    books.lake(Event("2024-01-05T00:00:00Z", quantity)).bill(("acme", "UTC", "2024-01", 1, 1))
    folder = books.root.reports / "bill"
    comparison = books.compare()
    place_workbook(folder, books.root, comparison, carry_notes(folder, comparison, MONDAY), MONDAY)
    fill_in(folder / "report.xlsx", "acme", note="large")
    (note,) = carry_notes(folder, comparison, TUESDAY).notes.kept.values()
    assert note.difference == "123456789012345677.123456789"


def test_dimensions_are_part_of_what_a_note_belongs_to(tmp_path: Path) -> None:
    total = {"dimensions": {"owner": "region"}}
    books = Books(
        tmp_path,
        total,
        {"dimensions": [{"name": "owner", "type": "string", "required": False}]},
        columns=("customer", "zone", "month", "units", "region"),
    )
    books.lake(
        Event("2024-01-05T00:00:00Z", 1, dimensions={"owner": "eu"}),
        Event("2024-01-05T00:00:00Z", 2, dimensions={"owner": None}),
    )
    books.bill(("acme", "UTC", "2024-01", 7, "eu"))
    comparison = books.compare()
    folder = books.root.reports / "bill"
    found = carry_notes(folder, comparison, MONDAY)
    path = place_workbook(folder, books.root, comparison, found, MONDAY)
    column = "owner (dimension)"
    assert [row[column] for row in table(path, "Breaks")] == ["eu", "<nil>"]
    fill_in(path, "eu", by=column, note="of Europe")
    fill_in(path, "<nil>", by=column, note="of nowhere")
    notes = carry_notes(folder, comparison, TUESDAY).notes
    assert {n.dimensions["owner"]: n.note for n in notes.kept.values()} == {
        "eu": "of Europe",
        "<nil>": "of nowhere",
    }
