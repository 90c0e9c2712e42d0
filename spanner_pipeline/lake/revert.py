"""Taking one import batch out of the lake again, exactly.

The rows it added go; the rows it corrected or removed come back as they were; the lake is as if the
batch had never been imported. A later import that met its rows (it corrected them, or found its own
already present or in conflict) builds on it: the revert is refused unless forced, and what such an
import brought only by finding it there is missing until it is run again. The ledger knows, and
reads its files again then.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from spanner_pipeline.control import Total
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.lake.change import changing, until_committed
from spanner_pipeline.lake.ledger import Ledger, caught_up, whoever
from spanner_pipeline.lake.quarantine import KINDS, quarantine_file, repair_files
from spanner_pipeline.lake.records import RevertRecord
from spanner_pipeline.lake.restore import restore
from spanner_pipeline.lake.sums import literal, totals_by
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.lake.writing import DAY
from spanner_pipeline.meters import Meter
from spanner_pipeline.presence import at_work, one_at_a_time
from spanner_pipeline.root import Catalog, DataRoot


class UnknownBatchError(PipelineError):
    """The ledger has no such import, or none that still stands."""


class RevertRefusedError(PipelineError):
    """Later imports build on the batch. Nothing was changed."""


def revert(
    root: DataRoot, catalog: Catalog, batch: str, *, force: bool = False
) -> list[RevertRecord]:
    """Take an import batch out of every meter that it fed.

    Args:
        root: The data root.
        catalog: Its meters.
        batch: The import batch.
        force: Whether to do it though later imports build on it.

    Returns:
        What was done, for each meter.

    Raises:
        UnknownBatchError: When there is no such import, or it was reverted before.
        RevertRefusedError: When later imports build on it. Nothing has changed then.
        LakeBusyError: When other processes won every commit.
    """
    with at_work(root):
        return _revert_all(root, catalog, batch, force=force)


def _revert_all(root: DataRoot, catalog: Catalog, batch: str, *, force: bool) -> list[RevertRecord]:
    ledger = caught_up(root, catalog.meters.values())
    records = [record for record in ledger.standing() if record.batch == batch]
    if not records:
        _clear_quarantine(root, batch)  # one that was killed may not have come to this
        raise UnknownBatchError(
            f"no import `{batch}` stands. Remedy: `spanner-pipeline batches` lists them all."
        )
    if unknown := {record.meter for record in records} - catalog.meters.keys():
        raise PipelineError(
            f"{batch} fed meter {min(unknown)}, which is not in meters/ any more. Nothing was "
            "changed. Remedy: declare it again."
        )
    meters = [catalog.meters[name] for name in sorted({record.meter for record in records})]
    if not force:
        for meter in meters:
            _refuse_if_built_upon(ledger, meter, batch)
    done = [_revert(root, meter, batch, force=force) for meter in meters]
    _clear_quarantine(root, batch)
    return done


def _clear_quarantine(root: DataRoot, batch: str) -> None:
    """Delete what a reverted batch left there; not what an import of it wrote since."""
    ledger = Ledger(root)
    reverted = max((r.reverted_at for r in ledger.reverts() if r.batch == batch), default=None)
    files = [
        quarantine_file(root, record.batch, record.usage, kind)
        for record in ledger.imports()
        if record.batch == batch
        for kind in KINDS
    ]
    for file in [*files, *repair_files(root, batch)]:
        if reverted and file.is_file() and _written(file) < reverted:
            file.unlink(missing_ok=True)


def _written(file: Path) -> str:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="microseconds")


def _refuse_if_built_upon(ledger: Ledger, meter: Meter, batch: str) -> None:
    if later := ledger.later(meter.name, batch):
        listing = "\n".join(f"  {r.batch} into {r.usage}, {r.imported_at[:19]}Z" for r in later)
        raise RevertRefusedError(
            f"{batch} cannot be reverted by itself: later imports corrected its rows, found their "
            f"own rows present through it, or in conflict with it:\n{listing}\nMeter {meter.name} "
            "was not changed. Remedy: revert those first, the newest first; or force it, and "
            "import them again."
        )


def _revert(root: DataRoot, meter: Meter, batch: str, *, force: bool) -> RevertRecord:
    ledger = Ledger(root)

    def attempt(table: EventTable) -> RevertRecord:
        if not force:  # once more: an import may have come meanwhile
            _refuse_if_built_upon(ledger, meter, batch)
        with open_duckdb() as connection:
            of_batch = table.select(f"import_batch = {literal(batch)}", named=True)
            connection.execute(f"""
                CREATE TEMP TABLE leaving AS
                SELECT idempotency_key, {DAY}, source_file, quantity, lake_file, lake_row
                FROM ({of_batch})""")
            restore(connection, table, batch, ledger)
            by = (DAY, "source_file")
            removed = totals_by(connection, "FROM leaving", by, meter.decimals)
            restored = totals_by(connection, "FROM restored", by, meter.decimals)
            record = RevertRecord(
                batch=batch,
                meter=meter.name,
                table=table.identity or "",
                removed=sum(removed.values(), Total()),
                restored=sum(restored.values(), Total()),
                forced=bool(ledger.later(meter.name, batch)),
                version_before=table.version or 0,
                version_after=(table.version or 0) + bool(removed or restored),
                reverted_at=datetime.now(UTC).isoformat(timespec="microseconds"),
                reverted_by=whoever(),
            )
            if removed or restored:
                entering = f"FROM restored WHERE {DAY} = DATE '{{}}'".format
                with (
                    changing(connection, table, entering, restored, "leaving") as change,
                    one_at_a_time(root),
                ):
                    if not force:  # an import that found all its rows present commits nothing
                        _refuse_if_built_upon(ledger, meter, batch)
                    change.commit(record.said_in_commit())
            return record

    record = until_committed(root, meter, attempt)
    ledger.add_revert(record)
    return record
