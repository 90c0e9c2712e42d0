"""The ZIP and XML around a sheet of a workbook, looked at before the sheet is read.

Whoever reads a sheet holds all of it in memory, and its empty cells too. So what it unpacks to and
how far its cells reach is measured first, in a stream. Cells that hold an error are kept here:
readers take them for empty.
"""

from __future__ import annotations

import copy
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from xml.parsers import expat

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.files import SourceFile

UNPACKED_BYTES = 512 << 20
"""What all parts of a workbook may unpack to."""
MOST_CELLS = 20_000_000
"""Cells between the first and the last row and column, empty ones among them."""

_BLOCK = 1 << 20
_WORKBOOK, _RELATIONS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_DAMAGE = (OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error, expat.ExpatError)


@dataclass
class Sheet:
    """One sheet, unread.

    Attributes:
        name: What it is called.
        errors: The texts of cells that hold an error, such as `#N/A`, by row and column from 1.
    """

    name: str
    errors: dict[int, dict[int, str]] = field(default_factory=dict)


def find_sheet(file: SourceFile, name: str | None) -> Sheet:
    """Measure a workbook, and find the sheet of this name, or its first.

    Raises:
        SourceFileError: When it is no whole XLSX workbook, is too large, or has no such sheet.
    """
    with _damage_told(file), zipfile.ZipFile(file.path) as archive:
        _refuse_too_large(file, archive)
        parts = _sheet_parts(archive)
        found = next(iter(parts), None) if name is None else name
        if found not in parts:
            raise SourceFileError(
                file.name,
                f"has no sheet {found!r}." if found is not None else "has no sheet of cells.",
                "correct `sheet` under `format`, or fetch the right file "
                f"(sheets found: {', '.join(parts) or 'none'}).",
            )
        sheet = Sheet(found)
        _scan(file, archive, parts[found], sheet)
        return sheet


@contextmanager
def _damage_told(file: SourceFile) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGE, KeyError, RuntimeError) as error:  # a part is missing, or is encrypted
        raise SourceFileError(
            file.name,
            f"is no readable XLSX workbook, or is cut off: {error}.",
            "fetch it again; save XLS, XLSB, ODS or a workbook with a password as plain XLSX.",
        ) from error


def _refuse_too_large(file: SourceFile, archive: zipfile.ZipFile) -> None:
    """Unpack everything once: what a ZIP says about its sizes need not be true."""
    total = 0
    for member in archive.infolist():
        told = copy.copy(member)
        told.file_size = UNPACKED_BYTES + 1
        with archive.open(told) as part:
            while block := part.read(_BLOCK):
                total += len(block)
                if total > UNPACKED_BYTES:
                    raise _too_large(file, f"unpacks to more than {UNPACKED_BYTES >> 20:,} MiB")


def _too_large(file: SourceFile, what: str) -> SourceFileError:
    return SourceFileError(
        file.name,
        f"{what}, which is the limit.",
        "if it is what the old system wrote, save the sheet as CSV, or split it.",
    )


def _sheet_parts(archive: zipfile.ZipFile) -> dict[str, str]:
    """The parts that hold the cells of sheets, by the names of the sheets, in their order."""
    targets: dict[str, str] = {}
    parts: dict[str, str] = {}

    def relation(tag: str, given: dict[str, str]) -> None:
        if tag == "Relationship" and given.get("Type", "").endswith("/worksheet"):
            targets[given["Id"]] = posixpath.join("/xl", given["Target"]).lstrip("/")

    def sheet(tag: str, given: dict[str, str]) -> None:
        place = next((v for k, v in given.items() if k.endswith(":id")), "")
        if tag == "sheet" and place in targets:
            parts[given["name"]] = targets[place]

    _parse(archive, _RELATIONS, _parser(relation))
    _parse(archive, _WORKBOOK, _parser(sheet))
    return parts


def _scan(file: SourceFile, archive: zipfile.ZipFile, part: str, sheet: Sheet) -> None:
    """Measure how far the cells of a sheet reach, and keep its errors."""
    lowest, highest = [1 << 30, 1 << 30], [0, 0]
    place: list[int] = []  # of the cell that is open, where it holds an error
    text: list[str] = []

    def start(tag: str, given: dict[str, str]) -> None:
        if tag == "v" and place:
            parser.CharacterDataHandler = text.append
        if tag != "c" or (reference := _REFERENCE.fullmatch(given.get("r", ""))) is None:
            return
        row, column = int(reference[2]), _number(reference[1])
        lowest[:] = min(lowest[0], row), min(lowest[1], column)
        highest[:] = max(highest[0], row), max(highest[1], column)
        rows, columns = (high - low + 1 for low, high in zip(lowest, highest, strict=True))
        if rows * columns > MOST_CELLS:
            raise _too_large(file, f"spans more than {MOST_CELLS:,} cells")
        place[:] = [row, column] if given.get("t") == "e" else []

    def end(tag: str) -> None:
        if place and tag.rpartition(":")[2] == "v":
            parser.CharacterDataHandler = None
            sheet.errors.setdefault(place[0], {})[place[1]] = "".join(text)
            text.clear()
            place.clear()

    parser = _parser(start)
    parser.EndElementHandler = end
    _parse(archive, part, parser)


def _number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _parser(start: Callable[[str, dict[str, str]], None]) -> expat.XMLParserType:
    def refuse(*_: object) -> None:
        raise zipfile.BadZipFile("its XML declares entities, which no workbook does")

    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, given: start(tag.rpartition(":")[2], given)
    parser.StartDoctypeDeclHandler = refuse
    return parser


def _parse(archive: zipfile.ZipFile, part: str, parser: expat.XMLParserType) -> None:
    with archive.open(part) as stream:
        while block := stream.read(_BLOCK):
            parser.Parse(block, False)
    parser.Parse(b"", True)
