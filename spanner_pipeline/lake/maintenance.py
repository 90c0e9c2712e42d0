"""Maintenance: few large files for many small ones, and nothing kept that nobody needs.

No event changes. What a revert still needs is kept, however old: the events that corrections
replaced and snapshots removed, what snapshots stated, and the ledger.
"""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from spanner_pipeline.day_files import ROWS_PER_FILE
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.lake.change import changing, until_committed
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.replaced import REPLACED
from spanner_pipeline.lake.scopes import SCOPES
from spanner_pipeline.lake.table import EventTable, LakeFile, by_day
from spanner_pipeline.lake.writing import DAY
from spanner_pipeline.meters import Meter
from spanner_pipeline.presence import alone, at_work
from spanner_pipeline.root import Catalog, DataRoot

KEEP = timedelta(days=7)
"""How long files that no version needs any more are kept, unless told otherwise."""

_SMALL = ROWS_PER_FILE // 2
_WORK_FILE = re.compile(r"\.[0-9a-f]{32}\.tmp$")
_WORK_FILE_OF_DELTA = re.compile(r"#\d+$|^_commit_.*\.tmp$")


@dataclass(frozen=True)
class Maintained:
    """What maintenance did.

    Attributes:
        files: Data files before and after, by meter.
        deleted: How many files and work folders were deleted.
        freed: Their bytes.
        alone: Whether nobody else was at work; nothing is deleted else.
    """

    files: dict[str, tuple[int, int]]
    deleted: int
    freed: int
    alone: bool


def maintain(root: DataRoot, catalog: Catalog, keep: timedelta = KEEP) -> Maintained:
    """Compact the tables, then delete what is left over.

    Args:
        root: The data root.
        catalog: Its meters.
        keep: How old must be what is deleted: files of versions that were left so long ago, and
            what processes that died left behind. Older versions cannot be read any more.

    Raises:
        LakeBusyError: When other processes won every commit.
    """
    files: dict[str, tuple[int, int]] = {}
    with at_work(root):
        for meter in catalog.meters.values():
            before = EventTable(root, meter).files()
            for month in sorted(_small_files(before)):
                until_committed(root, meter, partial(_compact, month=month))
            files[meter.name] = len(before), len(EventTable(root, meter).files())
    deleted, freed = 0, 0
    with alone(root) as quiet:
        for path in list(_leftovers(root, catalog, keep)) if quiet else ():
            deleted, freed = deleted + 1, freed + _delete(path)
    return Maintained(files, deleted, freed, quiet)


def _small_files(files: list[LakeFile]) -> dict[date, list[LakeFile]]:
    """By month, the files that are worth putting together: several small ones of a day."""
    of_month: dict[date, list[LakeFile]] = defaultdict(list)
    for day, small in by_day(file for file in files if (file.rows or 0) < _SMALL).items():
        if len(small) > 1:
            of_month[day.replace(day=1)] += small
    return of_month


def _compact(table: EventTable, month: date) -> None:
    small = _small_files(table.files()).get(month)
    if not small:
        return
    with open_duckdb() as connection:
        nothing = table.select(files=[], named=True)
        connection.execute(f"CREATE TEMP TABLE leaving AS {nothing}")
        with changing(
            connection, table, lambda day: table.empty(), {}, "leaving", merged=small
        ) as change:
            change.commit({"compacted_month": f"{month:%Y-%m}"}, changed=False)


def _leftovers(root: DataRoot, catalog: Catalog, keep: timedelta) -> Iterator[Path]:
    """What nothing names and no revert needs, of that age."""
    ledger = Ledger(root)
    for meter in catalog.meters.values():
        yield from (path for path in _left_by(root, meter, ledger, keep) if _aged(path, keep))
    for folder in (root.lake, root.quarantine, root.reports):
        for path in folder.rglob("*"):
            name = path.name
            if (_WORK_FILE.search(name) or _WORK_FILE_OF_DELTA.search(name)) and _aged(path, keep):
                yield path
    if root.staging.is_dir():
        yield from (path for path in root.staging.iterdir() if _aged(path, keep))


def _left_by(root: DataRoot, meter: Meter, ledger: Ledger, keep: timedelta) -> Iterator[Path]:
    table = EventTable(root, meter)
    if table.version is None:
        return
    ledger.catch_up(table)
    yield from table.unneeded(keep)
    records = [record for record in ledger.imports() if record.meter == meter.name]
    needed = {name for record in records for name in (record.replaced, record.scopes)}
    for folder in (REPLACED, SCOPES):
        for path in (table.path / folder).glob("*"):
            if f"{folder}/{path.name}" not in needed:
                yield path
    table.shorten_log()


def _aged(path: Path, keep: timedelta) -> bool:
    """Whether it was last written that long ago."""
    try:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return False
    return datetime.now(UTC) - written >= keep


def _delete(path: Path) -> int:
    """Delete a file or folder; gives its bytes."""
    if path.is_dir():
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        shutil.rmtree(path)
        return size
    size = path.stat().st_size
    path.unlink()
    if path.parent.name.startswith(f"{DAY}=") and not any(path.parent.iterdir()):
        path.parent.rmdir()
    return size
