"""The import of one partition of one source, through all stages. Knows no orchestrator."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path

import polars as pl

from spanner_pipeline.configuration.source import Source, Usage
from spanner_pipeline.control import ControlTotals, Replacement, Total
from spanner_pipeline.counters.measuring import RESTARTED, ROLLED_OVER
from spanner_pipeline.counters.readings import Readings
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import TooManyRejectedError
from spanner_pipeline.former_customers import former_customers, refuse_other_customers
from spanner_pipeline.lake.counters import Counters, refuse_changed_usage
from spanner_pipeline.lake.ledger import (
    Ledger,
    batch_name,
    caught_up,
    configuration_digest,
    whoever,
)
from spanner_pipeline.lake.merge import MergeResult, merge
from spanner_pipeline.lake.quarantine import quarantine_file
from spanner_pipeline.lake.records import FileTotals, ImportRecord
from spanner_pipeline.lake.snapshot import refuse_unfit
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.presence import at_work, one_at_a_time
from spanner_pipeline.repairs.write import write_repair_files
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.sources.copies import Copies
from spanner_pipeline.sources.customers import read_customers
from spanner_pipeline.sources.files import SourceFile, find_files
from spanner_pipeline.staging import LEFT_OUT, REJECTED, Staged, WorkFolder, stage
from spanner_pipeline.unmapped import tell_unmapped
from spanner_pipeline.whole import written_whole

PARTITION_DONE = "partition_done"
"""Set in the log record that says that a partition is through, for progress bars."""

STAGES = ("extracted", "keyed", "validated", "merged")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UsageImport:
    """What one import did for one usage; `unchanged` when the delivery was known already."""

    record: ImportRecord
    totals: ControlTotals
    unchanged: bool
    without_key: int = 0

    @property
    def replacement(self) -> Replacement | None:
        """What a snapshot did to its scopes; None for other imports."""
        did = self.record.replacement
        return did.replayed() if did is not None and self.unchanged else did


OnStage = Callable[[str, list[UsageImport | Staged], list[SourceFile]], None]
"""Called when a stage is done for all usages: its name, what is known by then, and the files."""


def _ignore(stage: str, done: list[UsageImport | Staged], files: list[SourceFile]) -> None:
    """The default listener."""


def import_partition(
    root: DataRoot, catalog: Catalog, source: Source, partition: str, on_stage: OnStage = _ignore
) -> list[UsageImport]:
    """Import one partition of a source into the lake, for every meter that it feeds.

    A delivery that was imported before under the same configuration is not read again. Stages are
    done for all usages before the merge begins, so a file that cannot be read changes nothing.

    Args:
        root: The data root.
        catalog: Its meters and sources.
        source: The source.
        partition: One of its partition keys.
        on_stage: Told of each stage that is done.

    Returns:
        What happened, for each usage of the source in the order declared.

    Raises:
        SourceFileError: When a file cannot be read as declared; the lake is as it was.
        ConfigurationError: When a lookup file is wrong; the lake is as it was. When it gives rows
            that were imported another customer; the lake is as it was.
        SnapshotRefusedError: When a snapshot shrinks more than declared, or nothing says which of
            two deliveries of a scope is later; the lake is as it was.
        ReadingsChangedError: When readings of counters change usage that the lake has measured;
            nothing of this usage was merged.
        TooManyRejectedError: When more rows are rejected than `max_rejected`; the lake is as it
            was, the rejected rows are in quarantine.
    """
    files = find_files(root, source, partition)
    done: list[UsageImport | Staged] = []
    with at_work(root), WorkFolder(root) as work, Copies(root, files) as copies:
        batch = _batch(root, catalog, source, partition, files)
        for index, usage in enumerate(source.usage):
            folder = work / str(index)
            meter = catalog.meters[usage.meter]
            delivery = _Delivery(root, source, usage, meter, partition, batch, files, copies)
            done.append(_known_or_staged(delivery, folder))
        on_stage("extracted", done, files)
        on_stage("keyed", done, files)
        for staged in done:
            if isinstance(staged, Staged):
                write_rejected(root, staged)
                tell_unmapped(source, partition, staged)
        if any(isinstance(staged, Staged) for staged in done):
            write_repair_files(root, source, files, batch)
        for staged in done:
            if isinstance(staged, Staged):
                _refuse_too_many_rejected(source, partition, staged)
                refuse_other_customers(root, staged)
                if source.snapshot is not None and len(done) > 1:
                    refuse_unfit(root, staged)
        on_stage("validated", done, files)
        imports = [
            usage if isinstance(usage, UsageImport) else _merge(root, partition, files, usage)
            for usage in done
        ]
        on_stage("merged", list(imports), files)
    for done_import in imports:
        log.info("%s", _summary(done_import))
    return imports


def _batch(
    root: DataRoot, catalog: Catalog, source: Source, partition: str, files: list[SourceFile]
) -> str:
    """The import batch of a delivery.

    A snapshot whose bytes come back after another one took their place in the partition is a
    delivery of its own: what stands there now is what counts, unless its revision is older.
    """
    batch = batch_name(source, partition, files)
    if source.snapshot is None:
        return batch
    ledger = caught_up(root, [catalog.meters[usage.meter] for usage in source.usage])
    for again in count(1):
        if not ledger.overtaken(source.source, partition, batch):
            break
        batch = batch_name(source, partition, files, again)
    return batch


@dataclass(frozen=True)
class _Delivery:
    """The files of one partition, for one usage."""

    root: DataRoot
    source: Source
    usage: Usage
    meter: Meter
    partition: str
    batch: str
    files: list[SourceFile]
    copies: Copies


def _known_or_staged(of: _Delivery, folder: Path) -> UsageImport | Staged:
    """The import of a delivery that is known, else its rows, read into a folder."""
    folder.mkdir()
    table, ledger = EventTable(of.root, of.meter), Ledger(of.root)
    ledger.catch_up(table)
    lookup = of.usage.subject.lookup
    customers = read_customers(of.root, lookup) if lookup is not None else None
    counters = readings = None
    if of.usage.quantity.cumulative is not None:
        counters = Counters(of.root, of.source, of.usage, of.meter, of.partition, folder / "spill")
        readings = Readings(counters.opening)
    opening = counters.opening.digest if counters is not None else None
    mapped_by = configuration_digest(of.source, of.usage, of.meter, customers, opening)
    known = ledger.find(of.batch, of.usage.name, mapped_by, table)
    # Of a snapshot, what was stated last counts, whatever was stated so before.
    if known is not None and not (of.source.snapshot is not None and ledger.restated(known)):
        return UsageImport(known, known.totals.replayed(), unchanged=True)
    of.copies.fetch()
    former = None
    if customers is not None:
        former = former_customers(of.root, of.source, of.usage, customers)
    staged = stage(
        of.source, of.usage, of.meter, of.files, of.batch, folder, customers, former, readings
    )
    if counters is not None and readings is not None:
        counters.close(ledger, readings.after())
    return staged


def _summary(done: UsageImport) -> str:
    totals, record = done.totals, done.record
    what = f"{record.source} {record.partition} into {record.usage}"
    if done.unchanged:
        return f"{what}: unchanged, {totals.present.rows} events already present"
    did = done.replacement
    more = [f", {did.removed.rows} removed"] if did is not None else []
    more += sorted(
        f", {total.rows} counters {kind}"
        for kind, total in record.readings.items()
        if kind in (RESTARTED, ROLLED_OVER)
    )
    return (
        f"{what}: {totals.read.rows} rows read, {totals.new.rows} new, {totals.present.rows} "
        f"already present, {totals.corrected.rows} corrected, {totals.conflicting.rows} "
        f"conflicting, {totals.rejected.rows} rejected, {totals.out_of_scope.rows} out of scope"
        f"{''.join(more)}"
    )


def write_rejected(root: DataRoot, staged: Staged) -> None:
    """Keep the rejected rows of an import, whole and at once."""
    parts = staged.parts(REJECTED)
    file = quarantine_file(root, staged.batch, staged.usage.name, REJECTED)
    if not parts:  # what an earlier configuration rejected of the same files is accepted now
        file.unlink(missing_ok=True)
        return
    with written_whole(file) as work:
        pl.scan_parquet(parts).sort("source_file", "source_line").sink_parquet(work)


def write_left_out(root: DataRoot, staged: Staged) -> None:
    """Keep the rows that an import leaves out by declaration, whole and at once.

    They may be most of the files: DuckDB sorts them, which goes to disk with what memory cannot
    hold.
    """
    parts = ", ".join(literal(part) for part in staged.parts(LEFT_OUT))
    file = quarantine_file(root, staged.batch, staged.usage.name, LEFT_OUT)
    if not parts:  # an earlier configuration may have left out some of the same files
        file.unlink(missing_ok=True)
        return
    with written_whole(file) as work, open_duckdb(staged.folder / "spill") as connection:
        rows = connection.sql(f"""
            FROM read_parquet([{parts}], hive_partitioning = false)
            ORDER BY source_file, source_line""")
        rows.write_parquet(str(work), compression="zstd")


def _refuse_too_many_rejected(source: Source, partition: str, staged: Staged) -> None:
    if source.max_rejected is None:
        return
    read = sum(total.rows for total in staged.read.values())
    rejected = sum(total.rows for total in staged.rejected.values())
    if rejected > source.max_rejected * read:
        counts = sorted(staged.reasons.items(), key=lambda item: -item[1])
        reasons = ", ".join(f"{count} {code}" for code, count in counts)
        raise TooManyRejectedError(
            f"{source.source} {partition}: {rejected} of {read} rows were rejected for meter "
            f"{staged.meter.name}, more than max_rejected {_percent(source.max_rejected)} "
            f"({reasons}). Nothing was merged. Remedy: look at quarantine/{source.source}/"
            f"{partition}/, repair the file or the mapping, and import again."
        )


def _percent(share: Decimal) -> str:
    return f"{(share * 100).normalize():f}%"


def _merge(root: DataRoot, partition: str, files: list[SourceFile], staged: Staged) -> UsageImport:
    source, usage, meter = staged.source, staged.usage, staged.meter
    write_left_out(root, staged)
    what = f"{source.source} {partition} into {meter.name}"

    out_of_scope: dict[str, Total] = {}
    for (_, why), total in staged.out_of_scope.items():
        out_of_scope[why] = out_of_scope.get(why, Total()) + total
    records: list[ImportRecord] = []
    readings = staged.readings
    opening = readings.before.digest if readings is not None else None

    def describe(result: MergeResult) -> dict[str, str]:
        totals = {file.name: _totals(file, staged, result) for file in files}
        for name, total in totals.items():
            total.check(f"{name} ({what})")
        refuse_other_customers(root, staged)  # again: others may have imported meanwhile
        if readings is not None:
            refuse_changed_usage(what, staged.batch, result)
        record = ImportRecord(
            source=source.source,
            usage=usage.name,
            meter=meter.name,
            partition=partition,
            batch=staged.batch,
            configuration=configuration_digest(source, usage, meter, staged.customers, opening),
            files=tuple(FileTotals(f.name, f.digest, f.size, totals[f.name]) for f in files),
            out_of_scope=out_of_scope,
            rejected=dict(staged.reasons),
            ambiguous_times=staged.ambiguous_times,
            builds_on=tuple(sorted(result.builds_on)),
            replaced=result.replaced,
            replacement=result.replacement,
            scopes=result.scopes,
            opening=opening,
            closing=readings.after().digest if readings is not None else None,
            readings=dict(readings.kinds) if readings is not None else {},
            table=result.table,
            version_before=result.version_before,
            version_after=result.version_after,
            imported_at=datetime.now(UTC).isoformat(timespec="microseconds"),
            imported_by=whoever(),
            lookup=staged.customers.digest if staged.customers is not None else "",
        )
        records.append(record)
        return record.said_in_commit()

    ledger = Ledger(root)
    while True:
        result = merge(root, staged, describe)
        record = records[-1]
        with one_at_a_time(root):
            committed = record.version_after != record.version_before
            if not committed:  # else nobody changed the table between
                ledger.catch_up(EventTable(root, meter))
            known = ledger.seen(source.source, meter.name)
            overtaken = not committed and result.seen not in (None, known)
            # Else rows that it found present were taken out, or its scopes were stated anew.
            if not ledger.met_gone(record) and not overtaken:
                ledger.add(record)
                break
    return UsageImport(record, record.totals, unchanged=False, without_key=staged.without_key)


def _totals(file: SourceFile, staged: Staged, result: MergeResult) -> ControlTotals:
    outside = Total()
    for (name, _), total in staged.out_of_scope.items():
        outside += total if name == file.name else Total()
    merged = {
        outcome: result.outcomes.get((file.name, outcome), Total())
        for outcome in ("new", "present", "corrected", "conflicting")
    }
    return ControlTotals(
        read=staged.read.get(file.name, Total()),
        **merged,
        rejected=staged.rejected.get(file.name, Total()),
        out_of_scope=outside,
    )
