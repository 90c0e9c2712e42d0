"""Legacy ids that a lookup file lacks: which they are, and which imports another file would mend.

A partition is worth importing again where rows of it were rejected for want of a customer, and the
file is no longer the one that it was imported with.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import polars as pl

from spanner_pipeline import reasons
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.quarantine import quarantine_file
from spanner_pipeline.lake.records import ImportRecord
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import ListedFile, digest_now, listed_file
from spanner_pipeline.staging import REJECTED, Staged

COLUMNS = {
    "source": pl.String,
    "meter": pl.String,
    "lookup": pl.String,
    "id": pl.String,
    "rows": pl.UInt32,
    "first_partition": pl.String,
    "last_partition": pl.String,
}
"""What is told of each id."""

_SHOWN = 10
"""How many ids are named in the log."""

log = logging.getLogger(__name__)


def tell_unmapped(source: Source, partition: str, staged: Staged) -> None:
    """Say in the log which ids the lookup file lacks, those of most rows first."""
    if staged.customers is None or not (parts := staged.parts(REJECTED)):
        return
    found = _most_first(_ids(pl.scan_parquet(parts)).group_by("id").agg(pl.len().alias("rows")))
    if found.is_empty():
        return
    shown = ", ".join(f"{who} ({rows} rows)" for who, rows in found.head(_SHOWN).iter_rows())
    more = f" and {found.height - _SHOWN} more" if found.height > _SHOWN else ""
    log.warning(
        "%s",
        f"{source.source} {partition} into {staged.usage.name}: {found.height} ids are not in "
        f"{staged.customers.lookup.file}: {shown}{more}. Add them there, and import again.",
    )


def unmapped_ids(root: DataRoot, source: Source) -> pl.DataFrame:
    """The ids that the latest imports of a source found no customer for, those of most rows first.

    Args:
        root: The data root.
        source: The source.

    Returns:
        `COLUMNS`, one row a usage and id.
    """
    found = []
    for record, lookup in _lacking(Ledger(root), source):
        file = quarantine_file(root, record.batch, record.usage, REJECTED)
        if file.is_file():
            ids = _ids(pl.scan_parquet(file))
            found.append(
                ids.with_columns(
                    source=pl.lit(source.source),
                    meter=pl.lit(record.usage),
                    lookup=pl.lit(lookup),
                    partition=pl.lit(record.partition),
                )
            )
    if not found:
        return pl.DataFrame(schema=COLUMNS)
    grouped = pl.concat(found).group_by("source", "meter", "lookup", "id")
    counted = grouped.agg(
        pl.len().alias("rows"),
        pl.col("partition").min().alias("first_partition"),
        pl.col("partition").max().alias("last_partition"),
    )
    return _most_first(counted).select(*COLUMNS)


def mendable(root: DataRoot, source: Source) -> list[str]:
    """Partitions with rows that had no customer, whose lookup file is another one by now."""
    digests: dict[str, str | None] = {}
    partitions = set()
    for record, lookup in _lacking(Ledger(root), source):
        if lookup not in digests:
            digests[lookup] = digest_now(root, lookup, {})
        if digests[lookup] not in (None, record.lookup):
            partitions.add(record.partition)
    return sorted(partitions)


def lookup_files(root: DataRoot, source: Source) -> list[ListedFile]:
    """The lookup files of a source that are there, unread."""
    names = {usage.subject.lookup.file for usage in source.usage if usage.subject.lookup}
    listed = (listed_file(root, name) for name in sorted(names))
    return [file for file in listed if file is not None]


def _lacking(ledger: Ledger, source: Source) -> Iterator[tuple[ImportRecord, str]]:
    """The latest imports that found ids without a customer, and their lookup files."""
    lookups = {u.name: u.subject.lookup.file for u in source.usage if u.subject.lookup is not None}
    for record in ledger.current(source.source) if lookups else ():
        if record.usage in lookups and reasons.SUBJECT_UNMAPPED.code in record.rejected:
            yield record, lookups[record.usage]


def _ids(rejected: pl.LazyFrame) -> pl.LazyFrame:
    unmapped = rejected.filter(pl.col("reason_code") == reasons.SUBJECT_UNMAPPED.code)
    return unmapped.select(pl.col("value").alias("id"))


def _most_first(counted: pl.LazyFrame) -> pl.DataFrame:
    return counted.sort("rows", "id", descending=[True, False]).collect()
