"""What a person does with a workbook, and what is in the file."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import fastexcel
import pytest
from xlsxwriter.utility import xl_cell_to_rowcol

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
SOFFICE = shutil.which("soffice")
needs_libreoffice = pytest.mark.skipif(SOFFICE is None, reason="LibreOffice is not installed")


def table(path: Path, sheet: str) -> list[dict[str, str]]:
    """The rows of a sheet with a header, as texts."""
    loaded = fastexcel.read_excel(path).load_sheet(sheet, header_row=None, dtypes="string")
    header, *rows = loaded.to_polars().rows()
    return [{t: v or "" for t, v in zip(header, row, strict=True) if t} for row in rows]


def part(path: Path, sheet: str) -> str:
    """The name of the file inside that has a sheet."""
    number = fastexcel.read_excel(path).sheet_names.index(sheet) + 1
    return f"xl/worksheets/sheet{number}.xml"


def xml_of(path: Path, sheet: str) -> str:
    """The XML of a sheet."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(part(path, sheet)).decode()


def rewrite(path: Path, changes: dict[str, Callable[[bytes], bytes]]) -> None:
    """Save a workbook with other content and today's date in it, as a program does."""
    changes = {"docProps/core.xml": lambda text: text.replace(b"2000-", b"2026-")} | changes
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, changes.get(name, lambda same: same)(content))


def fill_in(
    path: Path, value: str, sheet: str = "Breaks", by: str = "subject", **texts: str
) -> None:
    """Write texts into the row that has a value; `follow_up` is the column follow-up."""

    def change(root: ElementTree.Element) -> None:
        rows = root.findall(f".//{MAIN}row")
        titles = {_text(cell): _column(cell) for cell in rows[0]}
        (row,) = [r for r in rows[1:] if _text(_cell(r, titles[by])) == value]
        for name, text in texts.items():
            _write(_cell(row, titles[name.replace("_", "-")]), text)

    edit(path, change, sheet)


def edit(path: Path, change: Callable[[ElementTree.Element], None], sheet: str = "Breaks") -> None:
    """Change the XML of a sheet and save the workbook."""

    def apply(content: bytes) -> bytes:
        ElementTree.register_namespace("", MAIN[1:-1])
        root = ElementTree.fromstring(content)  # noqa: S314 - written by us
        change(root)
        return ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)

    rewrite(path, {part(path, sheet): apply})


def converted(path: Path, to: str, folder: Path) -> Path:
    """Open a file in LibreOffice and save it as another."""
    assert SOFFICE is not None
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    out = folder / "saved"
    command = [SOFFICE, profile, "--headless", "--convert-to", to, "--outdir", str(out), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    (found,) = out.glob(f"{path.stem}.{to}")
    return found


_FROZEN = """
import json, sys, time, uno
from com.sun.star.beans import PropertyValue
context = uno.getComponentContext()
resolver = context.ServiceManager.createInstance("com.sun.star.bridge.UnoUrlResolver")
for attempt in range(120):
    try:
        there = resolver.resolve(f"uno:pipe,name={sys.argv[1]};urp;StarOffice.ComponentContext")
        break
    except Exception:
        time.sleep(0.5)
desktop = there.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", there)
hidden = (PropertyValue("Hidden", 0, True, 0),)
book = desktop.loadComponentFromURL(sys.argv[2], "_blank", 0, hidden)
found = {}
for sheet in book.Sheets:
    book.CurrentController.setActiveSheet(sheet)
    if book.CurrentController.hasFrozenPanes():
        found[sheet.Name] = book.CurrentController.SplitRow
print(json.dumps(found))
book.close(True)
"""
PYTHON = shutil.which("python3", path="/usr/bin")
"""The system's Python, to which Debian gives LibreOffice's bridge."""


def frozen_in_libreoffice(path: Path, folder: Path) -> dict[str, int]:
    """How many rows stay in place on each sheet when LibreOffice shows a workbook.

    A conversion shows nothing, and so drops what belongs to a window.
    """
    if PYTHON is None or subprocess.run([PYTHON, "-c", "import uno"], check=False).returncode:
        pytest.skip("LibreOffice's bridge to Python (python3-uno) is not installed")
    assert SOFFICE is not None
    profile, pipe = (folder / "shown").as_uri(), f"spanner_{uuid.uuid4().hex}"
    command = [SOFFICE, f"-env:UserInstallation={profile}", "--headless", "--norestore"]
    office = subprocess.Popen(
        [*command, f"--accept=pipe,name={pipe};urp;"],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        script = [PYTHON, "-c", _FROZEN, pipe, path.as_uri()]
        done = subprocess.run(script, check=True, timeout=180, capture_output=True, text=True)
    finally:
        os.killpg(office.pid, signal.SIGKILL)
        office.wait()
    return dict(json.loads(done.stdout))


def _column(cell: ElementTree.Element) -> int:
    _, column = xl_cell_to_rowcol(cell.get("r", ""))
    return int(column)


def _cell(row: ElementTree.Element, column: int) -> ElementTree.Element:
    return next(cell for cell in row if _column(cell) == column)


def _text(cell: ElementTree.Element) -> str:
    return "".join(cell.itertext())


def _write(cell: ElementTree.Element, text: str) -> None:
    for child in list(cell):
        cell.remove(child)
    cell.set("t", "inlineStr")
    holder = ElementTree.SubElement(ElementTree.SubElement(cell, f"{MAIN}is"), f"{MAIN}t")
    # As Excel escapes what XML cannot hold, and what would look like an escape.
    escaped = re.sub(r"_(x[0-9A-Fa-f]{4})", r"_x005F_\1", text)
    escaped = escaped.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
    holder.text = re.sub(r"[\x00-\x08\x0b-\x1f]", lambda c: f"_x{ord(c[0]):04X}_", escaped)
    holder.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
