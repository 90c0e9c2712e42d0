"""Sources that are tables: what of them a partition is, found and digested as files are.

A part of a table has a name as a file has one: where the table is, `#`, its source and partition.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from spanner_pipeline.configuration.layout import Delta, Sql
from spanner_pipeline.configuration.locations import is_database, is_url
from spanner_pipeline.configuration.source import WHOLE, Source, next_period, with_dates
from spanner_pipeline.configuration.values import complete_date
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources import copies, snapshots, sqlite
from spanner_pipeline.sources.database import Question
from spanner_pipeline.sources.delta_log import DataFile, DeltaLog, digest_of


@dataclass(frozen=True)
class Part:
    """The part of a table that is one partition's delivery.

    Attributes:
        name: How rows and messages name it.
        path: The copy of what a database answered; else the folder of the table.
        digest: SHA-256 of what it holds, in hexadecimal.
        size: Its bytes.
        version: The table's version; empty for a database.
        copied: Whether `path` is a copy to be deleted after use.
    """

    name: str
    path: Path
    digest: str
    size: int
    version: str
    copied: bool


def asks_a_server(source: Source) -> bool:
    """Whether only a database server knows its rows, so that looking costs a query."""
    return is_database(source.files)


def name_of(root: DataRoot, source: Source, partition: str) -> str:
    """How rows and messages name a part of a table."""
    location = str(_location(root, source, partition))
    if is_database(location):
        location = location.partition("?")[0]
    elif not is_url(location):
        location = root.relative(Path(location))
    return f"{location}#{source.source}/{partition}"


def of_name(name: str, sources: Mapping[str, Source]) -> tuple[Source, str] | None:
    """The source and partition that a name is of; None where it is no table's."""
    source, _, partition = name.rpartition("#")[2].partition("/")
    found = sources.get(source) if "#" in name else None
    return (found, partition) if found is not None and found.is_table else None


def listed(
    root: DataRoot, source: Source, partitions: Collection[str]
) -> Iterator[tuple[str, str, int, int]]:
    """Each partition that is there, its name, its bytes, and when it changed; oldest first.

    Times are nanoseconds since 1970, of Delta those of the whole table. A database is asked whether
    it takes the query; what a server holds is not known, and stands as 0 bytes of 1970.

    Raises:
        SourceFileError: When a table cannot be read, or a server gives no answer or refuses.
    """
    logs: dict[str, DeltaLog] = {}
    asked: set[str] = set()
    for partition in sorted(partitions):
        location, name = _location(root, source, partition), name_of(root, source, partition)
        if _is_absent(location):
            continue
        if isinstance(source.format, Delta):
            if (log := logs.get(str(location))) is None:
                log = logs[str(location)] = DeltaLog(name, str(location))
            if files := delta_files(log, source.format, name):
                yield partition, name, sum(file.size for file in files), log.changed
            continue
        if str(location) not in asked:
            with closing(_answer(_question(root, source, partition))) as frames:
                next(frames)
            asked.add(str(location))
        if isinstance(location, Path):
            yield partition, name, location.stat().st_size, sqlite.newest_change(location)
        else:
            yield partition, name, 0, 0


def find(root: DataRoot, source: Source, partition: str) -> Part | None:
    """Read a partition's part of a table as far as its digest needs; None where nothing is there.

    Raises:
        SourceFileError: When a table cannot be read, or a database gives no answer or refuses.
    """
    location, name = _location(root, source, partition), name_of(root, source, partition)
    if _is_absent(location):
        return None
    if isinstance(source.format, Delta):
        log = DeltaLog(name, str(location))
        if not (files := delta_files(log, source.format, name)):
            return None
        size, path = sum(file.size for file in files), Path(location)
        return Part(name, path, digest_of(files), size, str(log.version), copied=False)
    identity = source.identity.parts if source.identity is not None else ()
    first = [column for part in identity for column in part.columns]
    place = root.staging / "objects"
    copies.trim(place)
    with closing(_answer(_question(root, source, partition))) as frames:
        taken = snapshots.take(frames, first, place)
    return Part(name, taken.path, taken.digest, taken.size, "", copied=True)


def delta_files(log: DeltaLog, layout: Delta, name: str) -> list[DataFile]:
    """The data files of the partition that a part's name says."""
    partition = name.rpartition("/")[2]
    return log.files({column: with_dates(t, partition) for column, t in layout.where.items()})


def _location(root: DataRoot, source: Source, partition: str) -> str | Path:
    location = with_dates(source.files, partition)
    return location if is_url(location) else root.path / location


def _is_absent(location: str | Path) -> bool:
    return isinstance(location, Path) and not location.exists()


def _question(root: DataRoot, source: Source, partition: str) -> Question:
    assert isinstance(source.format, Sql)
    bounds = {}
    if partition != WHOLE:
        start = date.fromisoformat(complete_date(partition))
        end = next_period(source.partitions.grain, start)
        bounds = {"start": start.isoformat(), "end": end.isoformat()}
    return Question(
        name=name_of(root, source, partition),
        location=_location(root, source, partition),
        statement=source.format.statement,
        bounds=bounds,
        zone=source.zone or "UTC",
        password_env=source.format.password_env,
    )


def _answer(question: Question) -> Generator[pl.DataFrame, None, None]:
    if isinstance(question.location, Path):
        return sqlite.answer(question)
    # Drivers load slowly: only where asked.
    if question.location.startswith("mysql:"):
        from spanner_pipeline.sources import mysql

        return mysql.answer(question)
    from spanner_pipeline.sources import postgresql

    return postgresql.answer(question)
