"""Spreadsheets: exact texts out of cells, rows by their number in the sheet, no bomb unpacked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources import xlsx, xlsx_package
from spanner_pipeline_tests.sources.reading import make_source, read

SOURCE = make_source(["id", "n"], family="xlsx")


def book(
    rows: list[list[Any]],
    top: int = 0,
    left: int = 0,
    sheets: tuple[str, ...] = ("Usage",),
    **o: Any,
) -> bytes:
    """A workbook with these rows in its last sheet."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"default_date_format": "yyyy-mm-dd hh:mm", **o}) as made:
        duration = made.add_format({"num_format": "[h]:mm"})
        for name in sheets:
            sheet = made.add_worksheet(name)
        for at, row in enumerate(rows, top):
            for column, cell in enumerate(row, left):
                sheet.write(at, column, cell, *([duration] if isinstance(cell, timedelta) else []))
    return file.getvalue()


def changed(content: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """A workbook with each part changed; a part that becomes None is left out."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", 8) as new:
        for name in old.namelist():
            if (part := change(name, old.read(name))) is not None:
                new.writestr(name, part)
    return file.getvalue()


def with_cell(cell: bytes) -> bytes:
    """A workbook whose B2 is this XML."""
    place = b'<c r="B2"><v>777</v></c>'
    return changed(book([["id", "n"], ["a", 777]]), lambda _, part: part.replace(place, cell))


@pytest.mark.parametrize("epoch", [{}, {"date_1904": True}])
def test_each_kind_of_cell_has_one_text(tmp_path: Path, epoch: dict[str, bool]) -> None:
    cells = [
        (1, "1"),
        (0.1, "0.1"),
        (-2.50, "-2.5"),
        (123456789012345, "123456789012345"),
        (1e22, "1e+22"),
        ("007", "007"),
        (" x ", " x "),
        (True, "true"),
        (date(2024, 2, 29), "2024-02-29T00:00:00"),
        (datetime(2024, 2, 29), "2024-02-29T00:00:00"),
        (datetime(2024, 2, 29, 10, 1, 2, 500000), "2024-02-29T10:01:02.500000"),
        (time(10, 1), "10:01:00"),
        (timedelta(hours=30), "P1DT6H"),
        (None, None),
    ]
    rows = [["id", "n"], *([f"r{at}", cell] for at, (cell, _) in enumerate(cells))]
    found = read(tmp_path, book(rows, **epoch), SOURCE)
    assert found["raw.n"].to_list() == [text for _, text in cells]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (b'<c r="B2"><v>1.1000000000000001</v></c>', "1.1"),
        (b'<c r="B2"><v>0.30000000000000004</v></c>', "0.30000000000000004"),
        (b'<c r="B2" t="e"><v>#N/A</v></c>', "#N/A"),
        (b'<c r="B2" t="e"><f>1/0</f><v>#DIV/0!</v></c>', "#DIV/0!"),
        (b'<c r="B2" t="str"><f>A2</f><v>=1+1</v></c>', "=1+1"),
    ],
)
def test_a_cell_is_what_it_holds(tmp_path: Path, cell: bytes, text: str) -> None:
    assert read(tmp_path, with_cell(cell), SOURCE)["raw.n"].to_list() == [text]


@pytest.mark.parametrize("value", [b"NaN", b"inf", b"1e400", b"none", b"9" * 400])
def test_what_no_cell_can_hold_never_becomes_a_number(tmp_path: Path, value: bytes) -> None:
    try:
        found = read(tmp_path, with_cell(b'<c r="B2"><v>' + value + b"</v></c>"), SOURCE)
    except SourceFileError:
        return
    assert found["raw.n"].to_list()[0] in ("NaN", "inf", value.decode())


def test_rows_have_the_numbers_of_the_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xlsx, "BATCH_ROWS", 2)
    rows = [["Usage of 2024"], ["id", " n "], ["a", 1], [], ["b", 2, None, "note"], ["c", 3]]
    source = make_source(["id", "n"], family="xlsx", header_row=4, sheet="Usage")
    content = book(rows, top=2, left=1, sheets=("Cover", "Usage"))
    found = read(tmp_path, content, source)
    assert found["line"].to_list() == [5, 7, 8]
    assert found["raw.id"].to_list() == ["a", "b", "c"]
    assert found["malformed"].to_list() == [False, True, False]  # what has no name is not dropped
    assert '"unnamed column E":"note"' in found["original"][1]


@pytest.mark.parametrize(
    ("content", "layout", "said"),
    [
        (b"id,n\na,1\n", {}, "no readable XLSX workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, {}, "save XLS"),
        (changed(book([]), lambda n, p: p if "book" not in n else None), {}, "no readable XLSX"),
        (changed(book([]), lambda n, p: p[: len(p) // 2]), {}, "no readable XLSX"),
        (with_cell(b'<!DOCTYPE a [<!ENTITY b "c">]>'), {}, "no readable XLSX"),
        (book([["id", "other"]]), {}, r"file:1 \(column n\).* misses n"),
        (book([["id", "n", "n"]]), {}, "has twice n"),
        (book([["id", "n", "new"]]), {"columns": ["id", "n"]}, "also has new"),
        (book([["id", "n"]]), {"sheet": "Ussage"}, r"no sheet 'Ussage'.*sheets found: Usage"),
        (book([["id", "n"]]), {"header_row": 9}, "file:9 .*misses id, n"),
        (book([["id", "n"]]), {}, "holds no rows"),
        (book([]), {}, "misses id, n"),
    ],
)
def test_another_file_gets_a_clear_error(
    tmp_path: Path, content: bytes, layout: dict[str, Any], said: str
) -> None:
    with pytest.raises(SourceFileError, match=said):
        read(tmp_path, content, make_source_of(layout))


def make_source_of(layout: dict[str, Any]) -> Any:
    """A source of `id` and `n` with this layout."""
    given = SOURCE.model_dump(by_alias=True, exclude_unset=True)
    return type(SOURCE).model_validate({**given, "format": {"family": "xlsx", **layout}})


def test_a_workbook_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    content = book([["id", "n"], *([f"r{n}", n] for n in range(500))])
    for end in range(1, len(content), len(content) // 20):
        with pytest.raises(SourceFileError, match="no readable XLSX"):
            read(tmp_path, content[:end], SOURCE)


@pytest.mark.parametrize("lies", [False, True])
def test_a_zip_bomb_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lies: bool
) -> None:
    monkeypatch.setattr(xlsx_package, "UNPACKED_BYTES", 3 << 20)
    size = 4 << 20
    content = changed(
        book([["id", "n"], ["a", 1]]), lambda n, p: p + b" " * size if "sheet1.xml" in n else p
    )
    if lies:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            real = archive.getinfo("xl/worksheets/sheet1.xml").file_size.to_bytes(4, "little")
        content = content.replace(real, (100).to_bytes(4, "little"))
    with pytest.raises(SourceFileError, match="unpacks to more than 3 MiB, which is the limit"):
        read(tmp_path, content, SOURCE)


def test_two_cells_far_apart_do_not_fill_the_memory(tmp_path: Path) -> None:
    content = with_cell(b'<c r="XFD1048576"><v>1</v></c>')
    with pytest.raises(SourceFileError, match="spans more than 20,000,000 cells"):
        read(tmp_path, content, SOURCE)
