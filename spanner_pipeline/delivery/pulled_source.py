"""The source YAML of events that were pulled out of a live meter: made once, then a person's own.

Belongs here: what it says, and which days it covers. Not here: the events (`pull_events`).
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from spanner_pipeline.configuration.document import Document
from spanner_pipeline.configuration.folder import read_folder
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.delivery.pull_meters import scalar
from spanner_pipeline.errors import ConfigurationError
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.whole import written_whole

_DAYS = re.compile(
    r"^partitions: \{grain: day, from: (\d{4}-\d\d-\d\d), to: (\d{4}-\d\d-\d\d)\}", re.MULTILINE
)
_LONGEST_NAME = 64


def usual_name(meter: Meter) -> str:
    """What the source is called unless a person says otherwise."""
    return f"open_spanner_{re.sub(r'[^A-Za-z0-9]+', '_', meter.name)}"[:_LONGEST_NAME]


def declare(
    root: DataRoot, meter: Meter, name: str, folder: str, first: date, last: date, told: str
) -> list[str]:
    """Write the source's YAML, or have the one that is there cover these days too.

    Args:
        root: The data root.
        meter: The meter.
        name: The source's name.
        folder: Where the files are, below the data root; names the live meter.
        first: The first UTC day.
        last: The UTC day after the last one.
        told: Which live meter it is, for people.

    Returns:
        What a person has to know of it.

    Raises:
        ConfigurationError: When another source has this name, or a source is broken.
    """
    files = folder + "{year}-{month}-{day}.jsonl"
    found = _document(root, name)
    if found is None:
        path = root.path / "sources" / f"{name}.yaml"
        with written_whole(path, replace=False) as work:
            work.write_text(_text(meter, name, files, first, last, told), encoding="utf-8")
        return [f"Wrote sources/{path.name}: look at it before you import."]
    if found.data["files"] != files:
        message = f"are not those of this live meter, {files}. Name another source (--source)."
        raise ConfigurationError([found.problem(("files",), message)])
    return _cover(root.path / found.file, found, first, last)


def _document(root: DataRoot, name: str) -> Document | None:
    if not (root.path / "sources").is_dir():
        return None
    folder = read_folder(root.path, "source", Source)
    if folder.problems:
        raise ConfigurationError(folder.problems)
    return next((document for document, source in folder.declared if source.source == name), None)


def _cover(path: Path, document: Document, first: date, last: date) -> list[str]:
    text = path.read_text(encoding="utf-8")
    days = _DAYS.search(text)
    if days is None:
        where = f"{document.file}:{document.lines.get(('partitions',), 1)}"
        return [f"{where}: see that its partitions cover {first} to {last}."]
    start, end = min(days[1], str(first)), max(days[2], str(last))
    wider = f"partitions: {{grain: day, from: {start}, to: {end}}}"
    if wider == days[0]:
        return []
    with written_whole(path) as work:
        work.write_text(text.replace(days[0], wider), encoding="utf-8")
    return [f"{document.file} covers {start} to {end} now."]


def _text(meter: Meter, name: str, files: str, first: date, last: date, told: str) -> str:
    lines = f"""\
# Raw events of the live meter {meter.name!r} of {told},
# as `spanner-pipeline pull-events` writes them: an object a line, a file for each UTC day. Pull the
# same days again, and what is new in them is imported. The service tells times in whole seconds.
# Leave the files where they are: by their folder `deliver` knows which live meter has these events
# already, and never sends them there again.
source: {name}
description: {scalar(f"Events of the live meter {meter.name}.")}
format: {{family: json_lines}}
files: {files}
partitions: {{grain: day, from: {first}, to: {last}}}  # pull-events makes this wider
# An event's idempotency key, unique in its workspace; `id:` and its id there where it has none.
identity: {{native: identity, across_subjects: true}}
usage:
  - meter: {scalar(meter.name)}
    subject: subject
    quantity: quantity
    timestamp: timestamp
    # Imports count all others as out of scope: `ours` was delivered from this data root, whose lake
    # has it under its own key; `marked` was delivered from another. If its history is not in this
    # lake, write [live, marked]. `none` stands for a day without events.
    where: {{origin: [live]}}
"""
    if not meter.dimensions:
        return lines
    paths = (f"      {scalar(d.name)}: {scalar(f'metadata.{d.name}')}" for d in meter.dimensions)
    return lines + "\n".join(["    dimensions:", *paths]) + "\n"
