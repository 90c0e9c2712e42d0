"""A dry run: what an import or a revert would do, before it does it.

It is rehearsed, all of it, on a lake that is a copy: the log and the ledger are copied, the
data files linked. What the copy holds then is compared with the lake. Nothing in the data root is
written.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import duckdb

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.control import Total
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.importing import PARTITION_DONE, UsageImport, import_partition
from spanner_pipeline.lake.quarantine import quarantine_file
from spanner_pipeline.lake.records import RevertRecord
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.lake.sums import literal, totals_by
from spanner_pipeline.lake.table import EventTable, LakeFile
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.staging import ACCEPTED, Staged

Place = tuple[str, str | None, str | None]
"""Meter, month (`2026-01`, UTC) and subject; None where a rejected row does not say."""


_NOTHING = Total()

log = logging.getLogger(__name__)


@dataclass
class Effect:
    """What an import would do to one subject's month of one meter, in rows and quantity.

    Attributes:
        before: What the lake holds.
        after: What it would hold.
        new: Events that would enter.
        corrected: Events that would take the place of what the lake holds under their keys.
        removed: Events that a snapshot does not have any more.
        duplicate: Rows whose event is there already.
        conflicting: Rows that say something else than what is kept under their key.
        rejected: Rows that are no valid events.
    """

    before: Total = _NOTHING
    after: Total = _NOTHING
    new: Total = _NOTHING
    corrected: Total = _NOTHING
    removed: Total = _NOTHING
    duplicate: Total = _NOTHING
    conflicting: Total = _NOTHING
    rejected: Total = _NOTHING

    def __add__(self, other: Effect) -> Effect:
        """Add each part."""
        return Effect(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def delta(self) -> Total:
        """What would change."""
        return self.after - self.before


@dataclass
class Plan:
    """What an import would do.

    Attributes:
        effects: By meter, month and subject; only where rows are delivered or change.
        known: Rows of deliveries that were imported before and would not be read again, by source,
            partition and usage.
        failures: Why partitions would fail, by source and partition.
    """

    effects: dict[Place, Effect] = field(default_factory=lambda: defaultdict(Effect))
    known: dict[tuple[str, str, str], int] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def changes(self) -> int:
        """Events that would enter the lake, or leave it."""
        return sum(e.new.rows + e.corrected.rows + e.removed.rows for e in self.effects.values())

    def by_meter(self) -> dict[str, tuple[Effect, dict[Place, Effect]]]:
        """The effects on each meter: all together, and one by one."""
        effects: dict[str, dict[Place, Effect]] = defaultdict(dict)
        for place, effect in self.effects.items():
            effects[place[0]][place] = effect
        return {m: (sum(effects[m].values(), Effect()), effects[m]) for m in sorted(effects)}


def plan(
    root: DataRoot,
    catalog: Catalog,
    chosen: Sequence[tuple[Source, Sequence[str]]],
    on_source: Callable[[str, int], None] = lambda source, partitions: None,
) -> Plan:
    """Rehearse the import of partitions.

    Args:
        root: The data root; nothing is written there.
        catalog: Its meters and sources.
        chosen: Sources with the partitions to import, in that order.
        on_source: Told of each source before it begins, with its number of partitions.
    """
    made = Plan()
    with rehearsal(root) as stage:
        for source, partitions in chosen:
            on_source(source.source, len(partitions))
            for partition in partitions:
                observer = _Observer(stage, catalog, made)
                try:
                    done = import_partition(stage, catalog, source, partition, observer)
                except (PipelineError, OSError) as error:
                    made.failures[source.source, partition] = str(error)
                else:
                    observer.settle(done)
                log.debug(
                    "%s %s: rehearsed", source.source, partition, extra={PARTITION_DONE: True}
                )
        _compare(root, stage, catalog, made)
    return made


def plan_revert(
    root: DataRoot, catalog: Catalog, batch: str, *, force: bool = False
) -> list[RevertRecord]:
    """Rehearse a revert; nothing is written in the data root.

    Returns:
        What it would do, for each meter.

    Raises:
        UnknownBatchError: When there is no such import, or it was reverted before.
        RevertRefusedError: When later imports build on it, and it is not forced.
    """
    with rehearsal(root) as stage:
        return revert(stage, catalog, batch, force=force)


@contextmanager
def rehearsal(root: DataRoot) -> Iterator[DataRoot]:
    """The same root with a lake that may be changed; it shares the data files, and is deleted."""
    with tempfile.TemporaryDirectory(prefix="spanner-plan-") as folder:
        stage = replace(root, state=Path(folder))
        for table in (root.lake / "events").glob("*"):
            for path in sorted(table.rglob("*")):
                inside = path.relative_to(table)
                copied = stage.lake / "events" / table.name / inside
                if path.is_dir():
                    continue
                copied.parent.mkdir(parents=True, exist_ok=True)
                if inside.parts[0] == "_delta_log":
                    shutil.copyfile(path, copied)
                else:
                    copied.symlink_to(path)
        for name in ("imports", "reverts", "readings", "customers"):
            if (root.lake / name).is_dir():
                shutil.copytree(root.lake / name, stage.lake / name)
        yield stage


class _Observer:
    """Sees one partition through its rehearsal, and adds what it does to a plan."""

    def __init__(self, stage: DataRoot, catalog: Catalog, made: Plan) -> None:
        self._stage, self._catalog, self._made = stage, catalog, made
        self._files: dict[str, dict[str, LakeFile]] = {}
        self._delivered: dict[Place, Total] = defaultdict(Total)

    def __call__(
        self, stage: str, done: list[UsageImport | Staged], files: list[SourceFile]
    ) -> None:
        if stage != "validated":
            return
        with open_duckdb() as connection:
            for staged in done:
                if isinstance(staged, Staged):
                    table = EventTable(self._stage, staged.meter)
                    self._files[staged.meter.name] = {file.name: file for file in table.files()}
                    parts = staged.parts(ACCEPTED)
                    _add(connection, staged.meter, _read(parts), self._delivered)

    def settle(self, done: list[UsageImport]) -> None:
        """Add the outcomes of the partition's rows."""
        effects = self._made.effects
        outcomes: dict[str, dict[Place, Total]] = defaultdict(lambda: defaultdict(Total))
        with open_duckdb() as connection:
            for name, before in self._files.items():
                meter = self._catalog.meters[name]
                entering, correcting, removed = _entering(EventTable(self._stage, meter), before)
                _add(connection, meter, entering, outcomes["entering"])
                _add(connection, meter, correcting, outcomes["corrected"])
                _add(connection, meter, removed, outcomes["removed"])
            for usage in done:
                record = usage.record
                if usage.unchanged:
                    known = (record.source, record.partition, record.usage)
                    self._made.known[known] = record.totals.read.rows
                    continue
                meter = self._catalog.meters[record.meter]
                batch, name = record.batch, record.usage
                conflicts = quarantine_file(self._stage, batch, name, "conflicts")
                rejected = quarantine_file(self._stage, batch, name, "rejected")
                _add(connection, meter, _read([conflicts], "refused_"), outcomes["conflicting"])
                _add(connection, meter, _read([rejected]), outcomes["rejected"])
        for place in {*self._delivered, *outcomes["rejected"], *outcomes["removed"]}:
            effect, entered = effects[place], outcomes["entering"][place]
            effect.new += entered - outcomes["corrected"][place]
            effect.corrected += outcomes["corrected"][place]
            effect.removed += outcomes["removed"][place]
            effect.conflicting += outcomes["conflicting"][place]
            effect.rejected += outcomes["rejected"][place]
            effect.duplicate += self._delivered[place] - entered - outcomes["conflicting"][place]


def _entering(table: EventTable, before: dict[str, LakeFile]) -> tuple[str, str, str]:
    """SQL for the events that entered a table, for the corrections of these, and for what left."""
    now = {file.name: file for file in table.files()}
    added = table.select(files=[file for name, file in now.items() if name not in before])
    removed = table.select(files=[file for name, file in before.items() if name not in now])
    entering = f"({added}) EXCEPT ALL ({removed})"
    leaving = f"({removed}) EXCEPT ALL ({added})"
    corrections = f"FROM ({entering}) SEMI JOIN ({leaving}) USING (idempotency_key)"
    gone = f"FROM ({leaving}) ANTI JOIN ({entering}) USING (idempotency_key)"
    return entering, corrections, gone


def _read(files: Sequence[Path], prefix: str = "") -> str:
    """SQL that selects subject, timestamp and quantity of those files that there are."""
    names = ("subject", "timestamp", "quantity")
    listing = ", ".join(literal(file) for file in files if file.is_file())
    if not listing:
        return "SELECT '' AS subject, now() AS timestamp, 0 AS quantity WHERE false"
    columns = ", ".join(f'"{prefix}{name}" AS "{name}"' for name in names)
    return f"SELECT {columns} FROM read_parquet([{listing}])"


def _add(
    connection: duckdb.DuckDBPyConnection, meter: Meter, events: str, totals: dict[Place, Total]
) -> None:
    placed = f"""SELECT strftime(make_timestamp(epoch_us("timestamp")), '%Y-%m') AS month, subject,
        coalesce(quantity, 0) AS quantity FROM ({events})"""
    found = totals_by(connection, placed, ("month", "subject"), meter.decimals)
    for (month, subject), total in found.items():
        totals[meter.name, month, subject] += total


def _compare(root: DataRoot, stage: DataRoot, catalog: Catalog, made: Plan) -> None:
    """Add what the lake holds and would hold, where anything is delivered or changes."""
    delivered = set(made.effects)
    for meter in catalog.meters.values():
        before, after = EventTable(root, meter), EventTable(stage, meter)
        was, is_ = ({file.name: file for file in table.files()} for table in (before, after))
        changed = {f.day for f in was.values() if f.name not in is_}
        changed |= {f.day for f in is_.values() if f.name not in was}
        months = {f"{day:%Y-%m}" for day in changed}
        months |= {month for name, month, _ in delivered if name == meter.name and month}
        held: list[dict[Place, Total]] = []
        with open_duckdb() as connection:
            for table in (before, after):
                files = [file for file in table.files() if f"{file.day:%Y-%m}" in months]
                held.append(defaultdict(Total))
                _add(connection, meter, table.select(files=files), held[-1])
        for place in {*held[0], *held[1]}:
            if place in delivered or held[0][place] != held[1][place]:
                made.effects[place].before = held[0][place]
                made.effects[place].after = held[1][place]
