"""The ledger: which delivery was imported and what became of its rows, and which were taken out.

One JSON file an import below `lake/imports/`, one a revert below `lake/reverts/`. A known delivery
is found by the digests of its files and of the configuration, which are in the name. The commit
that changed a table says the same, so what a process that died could not write down is written by
the next one (`catch_up`).
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from spanner_pipeline.configuration.source import Source, Usage
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.lake.records import (
    IMPORT,
    REVERT,
    ImportRecord,
    RevertRecord,
    read_import,
    read_revert,
    spell,
)
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.customers import Customers
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.whole import written_whole

MAPPING_VERSION = 2
"""Raise it when the code maps the same rows to other events, so that known files are read again."""


def whoever() -> str:
    """Who runs this process, and where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def batch_name(source: Source, partition: str, files: Sequence[SourceFile], again: int = 0) -> str:
    """Name a delivery by its content: the same files give the same import batch, anywhere.

    Where the names of files mean something, they are part of the content; so is how often the
    delivery came back after another one had replaced it.
    """
    known = (f"{f.content} {f.name}" if source.reads_file_names else f.content for f in files)
    text = "".join(sorted(known)) + (f" again {again}" if again else "")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{source.source}/{partition}/{digest[:16]}"


def configuration_digest(
    source: Source,
    usage: Usage,
    meter: Meter,
    customers: Customers | None = None,
    opening: str | None = None,
) -> str:
    """Digest all that decides how rows become events.

    Args:
        source: The source.
        usage: Which of its usages.
        meter: The usage's meter.
        customers: Who is who, where the usage declares a lookup.
        opening: Digest of the readings before, where the quantity is cumulative.
    """
    others = {"description", "owner", "expect", "schedule", "usage", "files"}
    declared = source.model_dump(mode="json", exclude=others)
    if source.identity is not None:
        identity = {"snapshot": {"shrink"}} if source.snapshot is not None else {"snapshot"}
        declared["identity"] = source.identity.model_dump(mode="json", exclude=identity)
    described = [
        MAPPING_VERSION,
        declared,
        usage.model_dump(mode="json"),
        meter.model_dump(mode="json", include={"name", "dimensions", "decimals"}),
    ]
    if customers is not None:
        described.append(customers.digest)
    if opening is not None:
        described.append(opening)
    text = json.dumps(described, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Ledger:
    """The imports and reverts of a data root."""

    def __init__(self, root: DataRoot) -> None:
        """Nothing is read before it is asked for."""
        self._imports = root.lake / "imports"
        self._reverts = root.lake / "reverts"

    def find(
        self, name: str, usage: str, configuration: str, table: EventTable
    ) -> ImportRecord | None:
        """The import of this delivery under this configuration, if the table still holds it.

        The table may have been deleted since, or put back to an older state; the import may have
        been reverted, or one whose rows it met: then its own rows are not there any more.
        """
        folder, stem = self._place(name, usage, configuration)
        found = [read_import(path.read_text("utf-8")) for path in folder.glob(f"{stem}.*.json")]
        if not found:
            return None
        record = max(found, key=lambda record: record.imported_at)
        if record.table is None or record.version_after is None:
            return record
        held = table.identity == record.table and (table.version or 0) >= record.version_after
        return record if held and not self._gone(record) else None

    def delivered(self, source: Source, partition: str) -> set[str]:
        """Digests of the deliveries of a partition that every usage of its source imported.

        Also of those that were reverted since, and under any configuration. Reads no record.
        """
        folder = self._imports / source.source / partition
        by_usage: dict[str, set[str]] = {file_name(usage.name): set() for usage in source.usage}
        for path in folder.glob("*.json"):
            usage, digest, *_ = path.name.split(".")
            by_usage.get(usage, set()).add(digest)
        return set.intersection(*by_usage.values()) if by_usage else set()

    def next_standing(self, source: Source, usage: str, partition: str) -> ImportRecord | None:
        """The latest standing import of the first partition after one that has any."""
        later = [name for name in self._partitions(source) if name > partition]
        return next(self._latest(source, usage, later), None)

    def standing_before(self, source: Source, usage: str, partition: str) -> list[ImportRecord]:
        """The latest standing imports of a partition and of the nearest one before it that has one.

        Nothing stands for what has none.
        """
        found: list[ImportRecord] = []
        until = [name for name in self._partitions(source) if name <= partition]
        for record in self._latest(source, usage, reversed(until)):
            found.append(record)
            if record.partition < partition:
                break
        return found

    def _partitions(self, source: Source) -> list[str]:
        return sorted(folder.name for folder in (self._imports / source.source).glob("*/"))

    def _latest(
        self, source: Source, usage: str, partitions: Iterable[str]
    ) -> Iterator[ImportRecord]:
        """The latest standing import of each partition that has any; records are read as needed."""
        for partition in partitions:
            folder = self._imports / source.source / partition
            if any(folder.glob(f"{file_name(usage)}.*.json")):
                standing = self.standing(source.source, partition)
                yield from [record for record in standing if record.usage == usage][-1:]

    def builds_on(self, record: ImportRecord, batch: str) -> bool:
        """Whether an import met rows of a batch that was not reverted since."""
        return batch in record.builds_on and not self._reverted(batch, record)

    def seen(self, source: str, meter: str) -> frozenset[tuple[str, int]]:
        """What tells that no import of a source, and no revert of a meter, was written down since.

        Reads no record.
        """
        paths = [*self._imports.glob(f"{source}/*/*.json")]
        paths += self._reverts.glob(f"{file_name(meter)}/*.json")
        return frozenset((str(path), path.stat().st_mtime_ns) for path in paths)

    def later(self, meter: str, batch: str) -> list[ImportRecord]:
        """The standing imports into a meter that build on a batch."""
        return [r for r in self.standing() if r.meter == meter and self.builds_on(r, batch)]

    def overtaken(self, source: str, partition: str, batch: str) -> bool:
        """Whether a standing import of the same partition builds on a batch."""
        standing = (r for r in self.standing(source) if r.partition == partition)
        return any(self.builds_on(record, batch) for record in standing)

    def restated(self, record: ImportRecord) -> bool:
        """Whether the same delivery was imported since under another configuration."""
        return any(
            other.batch == record.batch
            and other.usage == record.usage
            and other.configuration != record.configuration
            and other.order > record.order
            for other in self.standing(record.source, record.partition)
        )

    def _gone(self, record: ImportRecord) -> bool:
        """Whether an import was reverted since, or one whose rows it met."""
        return self._reverted(record.batch, record) or self.met_gone(record)

    def met_gone(self, record: ImportRecord) -> bool:
        """Whether an import met rows that were reverted since."""
        return any(self._reverted(batch, record) for batch in record.builds_on)

    def _reverted(self, batch: str, since: ImportRecord) -> bool:
        reverts = self.reverts(since.meter)
        return any(revert.batch == batch and revert.came_after(since) for revert in reverts)

    def add(self, record: ImportRecord) -> None:
        """Write one import down.

        Where two processes import one delivery at once, the record stays that says what was new.
        """
        folder, stem = self._place(record.batch, record.usage, record.configuration)
        path = folder / f"{stem}.{record.version_after or 0}.json"
        if record.version_after != record.version_before:
            _write(path, spell(record, 1))
            return
        try:
            _write(path, spell(record, 1), replace=False)
        except FileExistsError:
            there = read_import(path.read_text("utf-8"))
            if self._gone(there):  # what it brought, and what it replaced, is needed all the same
                brought = there.version_after != there.version_before
                _write(path.with_suffix(".again.json") if brought else path, spell(record, 1))

    def add_revert(self, record: RevertRecord) -> None:
        """Write one revert down; one that took nothing out stands beside the one that did."""
        batch = hashlib.sha256(record.batch.encode()).hexdigest()[:16]
        name = f"{record.version_after}.{batch}.{record.table}"
        if record.version_after == record.version_before:
            name += f".{re.sub('[^0-9]', '', record.reverted_at)}"
        name += ".json"
        _write(self._reverts / file_name(record.meter) / name, spell(record, 1))

    def imports(self, source: str | None = None, partition: str = "*") -> list[ImportRecord]:
        """All imports of a source, or of all, oldest first; also those that were reverted."""
        paths = self._imports.glob(f"{source or '*'}/{partition}/*.json")
        records = (read_import(path.read_text("utf-8")) for path in paths)
        return sorted(records, key=lambda record: (record.imported_at, record.usage))

    def reverts(self, meter: str | None = None) -> list[RevertRecord]:
        """All reverts of a meter, or of all, oldest first."""
        paths = self._reverts.glob(f"{file_name(meter) if meter else '*'}/*.json")
        records = (read_revert(path.read_text("utf-8")) for path in paths)
        return sorted(records, key=lambda record: (record.reverted_at, record.meter))

    def standing(self, source: str | None = None, partition: str = "*") -> list[ImportRecord]:
        """The imports that were not reverted since, oldest first."""
        reverts = self.reverts()
        return [
            record
            for record in self.imports(source, partition)
            if not any(revert.undid(record) for revert in reverts)
        ]

    def current(self, source: str | None = None) -> Iterator[ImportRecord]:
        """The latest standing import of each partition and usage, in that order."""
        latest = {(r.source, r.usage, r.partition): r for r in self.standing(source)}
        for key in sorted(latest):
            yield latest[key]

    def catch_up(self, table: EventTable) -> None:
        """Write down what the table's last commits say and nobody wrote down.

        Whoever changes a table does this first, so nothing older than a known commit is missing.
        """
        for commit in table.history():
            if IMPORT in commit:
                record = read_import(commit[IMPORT])
                folder, stem = self._place(record.batch, record.usage, record.configuration)
                if (folder / f"{stem}.{record.version_after}.json").is_file():
                    return
                self.add(record)
            elif REVERT in commit:
                revert = read_revert(commit[REVERT])
                if revert in self.reverts(revert.meter):
                    return
                self.add_revert(revert)

    def _place(self, batch: str, usage: str, configuration: str) -> tuple[Path, str]:
        source, partition, digest = batch.split("/")
        stem = f"{file_name(usage)}.{digest}.{configuration[:16]}"
        return self._imports / source / partition, stem


def caught_up(root: DataRoot, meters: Iterable[Meter]) -> Ledger:
    """The ledger of a data root, with all that the tables of these meters say."""
    ledger = Ledger(root)
    for meter in meters:
        ledger.catch_up(EventTable(root, meter))
    return ledger


def _write(path: Path, text: str, *, replace: bool = True) -> None:
    with written_whole(path, replace=replace) as work:
        work.write_text(text + "\n", encoding="utf-8")
