"""Customers that legacy ids had before: no row counts under two of them (law 3).

A key holds the customer. Where a lookup file gives an id another one, rows that were imported would
enter again under other keys. So the pairs of every lookup file that was used are kept in the lake,
and the keys that rows would have had by them are looked for there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote

import polars as pl

from spanner_pipeline.configuration.source import Source, Usage
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import ConfigurationError, Problem
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.customers import Customers
from spanner_pipeline.staging import FORMER, Staged
from spanner_pipeline.whole import written_whole

_SHOWN = 10
"""How many ids are named."""


def former_customers(
    root: DataRoot, source: Source, usage: Usage, customers: Customers
) -> pl.DataFrame | None:
    """Find the ids that had another customer in an earlier import; remember those of this one.

    Args:
        root: The data root.
        source: The source.
        usage: Which of its usages.
        customers: Who is who now.

    Returns:
        `looked_up` (the id) and `former` (the other customer, as keys spell it); None where there
        are none, no key holds a customer, or a snapshot takes its old rows out, whoever's they are.
    """
    if source.across_subjects or source.snapshot is not None:
        return None
    folder = root.lake / "customers" / file_name(source.source) / file_name(usage.name)
    _remember(folder, customers)
    said = pl.scan_parquet(sorted(folder.glob("*.parquet"))).unique()
    other = said.join(customers.pairs.lazy(), on="looked_up").filter(
        pl.col("former") != pl.col("customer")
    )
    found = other.select("looked_up", "former").collect()
    if found.is_empty():
        return None
    spelled = [quote(customer, safe="") for customer in found["former"]]
    return found.with_columns(pl.Series("former", spelled, dtype=pl.String))


def _remember(folder: Path, customers: Customers) -> None:
    read = (customers.lookup.key, customers.lookup.value, customers.digest)
    name = hashlib.sha256("\0".join(read).encode()).hexdigest()
    file = folder / f"{name}.parquet"
    if not file.exists():
        pairs = customers.pairs.select("looked_up", pl.col("customer").alias("former"))
        with written_whole(file) as work:
            pairs.write_parquet(work)


def refuse_other_customers(root: DataRoot, staged: Staged) -> None:
    """Stop an import of rows that the lake has under the customer that their id had before.

    Raises:
        ConfigurationError: When there are such rows; it names ids and lines of the lookup file.
    """
    parts = ", ".join(literal(part) for part in staged.parts(FORMER))
    if not parts or staged.customers is None:
        return
    table = EventTable(root, staged.meter)
    with open_duckdb(staged.folder / "spill") as connection:
        found = connection.execute(f"""
            SELECT row.id, row.subject, held.subject, count(*), min(import_batch)
            FROM read_parquet([{parts}], hive_partitioning = false) AS row
            JOIN ({table.select()}) AS held USING (idempotency_key)
            GROUP BY ALL ORDER BY count(*) DESC, row.id""").fetchall()
    if found:
        raise ConfigurationError([_doubled(staged.customers, *row) for row in found[:_SHOWN]])


def _doubled(customers: Customers, who: str, now: str, then: str, rows: int, batch: str) -> Problem:
    [line] = customers.pairs.filter(looked_up=who)["row"]
    counted = "1 row that was" if rows == 1 else f"{rows} rows that were"
    message = (
        f"`{who}` is {now} here, and was {then} for {counted} imported, with {batch} first; they "
        "would count under both. Nothing was merged. Take the change back, or run "
        f"`spanner-pipeline revert {batch}` and import again."
    )
    return Problem(customers.lookup.file, line, customers.lookup.value, message)
