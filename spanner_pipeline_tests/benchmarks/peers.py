"""Bare engines, and peers that do the same merge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
from deltalake import DeltaTable, WriterProperties, write_deltalake

from spanner_pipeline_tests.benchmarks.deliveries import COLUMNS, Delivery

_KEY = "idempotency_key"
_ZSTD = WriterProperties(compression="ZSTD", compression_level=3)


def scan(folder: Path, name: str) -> Callable[[], None]:
    """Read every column once, with DuckDB."""
    largest = ", ".join(f'max("{column}")' for column in COLUMNS)
    return lambda: _run(f"SELECT {largest} FROM read_parquet('{Delivery(folder / name).parts}')")


def copy(folder: Path, name: str) -> Callable[[], None]:
    """Read and write the same columns once, with DuckDB."""
    target = folder / "copy.parquet"
    return lambda: _run(f"""
        COPY (FROM read_parquet('{Delivery(folder / name).parts}')) TO '{target}'
        (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)""")


def _run(sql: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(sql).fetchall()


def delta(folder: Path, name: str) -> Callable[[], None]:
    """MERGE of delta-rs, day by day; over the whole table where rows change their day."""
    path = folder / "delta"
    parts = Delivery(folder / name).parts
    day = 'CAST(make_timestamp(epoch_us("timestamp")) AS DATE)'
    # MERGE inserts what a delivery holds twice twice; an import has to take care first.
    once = f"""SELECT *, {day} AS event_date FROM read_parquet('{parts}')
        QUALIFY row_number() OVER (PARTITION BY {_KEY} ORDER BY revision DESC) = 1"""

    def first() -> None:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            rows = connection.sql(once).to_arrow_reader()
            write_deltalake(path, rows, partition_by=["event_date"], writer_properties=_ZSTD)

    def merge() -> None:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.execute(
                f"SELECT DISTINCT {day} FROM read_parquet('{parts}') ORDER BY 1"
            ).fetchall()
            for of in [None] if name == "moved" else [str(row[0]) for row in found]:
                where = f" WHERE event_date = DATE '{of}'" if of else ""
                within = f" AND t.event_date = CAST('{of}' AS DATE)" if of else ""
                rows = connection.sql(f"FROM ({once}){where}").to_arrow_table()
                (
                    DeltaTable(path)
                    .merge(
                        rows,
                        f"t.{_KEY} = s.{_KEY}{within}",
                        source_alias="s",
                        target_alias="t",
                        writer_properties=_ZSTD,
                    )
                    .when_matched_update_all("s.revision > t.revision")
                    .when_not_matched_insert_all()
                    .execute()
                )

    return first if name == "initial" else merge


def polars(folder: Path, name: str) -> Callable[[], None]:
    """Polars, day by day: join on the key, the higher revision wins, write the day anew."""
    delivered = pl.scan_parquet(Delivery(folder / name).parts)
    days = delivered.select(pl.col("timestamp").dt.date()).unique().collect().to_series()

    def step() -> None:
        for day in days.sort():
            new = (
                delivered.filter(pl.col("timestamp").dt.date() == day)
                .sort("revision", descending=True)
                .unique(_KEY, keep="first")
                .collect()
            )
            file = folder / "polars" / f"{day}.parquet"
            if file.is_file():
                old = pl.read_parquet(file)
                known = old.select(_KEY, pl.col("revision").alias("known"))
                new = new.join(known, on=_KEY, how="left")
                higher = pl.col("known").is_null() | (pl.col("revision") > pl.col("known"))
                new = new.filter(higher).drop("known")
                if new.is_empty():
                    continue
                new = pl.concat([old.join(new, on=_KEY, how="anti"), new.select(old.columns)])
            file.parent.mkdir(exist_ok=True)
            new.sort("subject", "timestamp").write_parquet(
                file, compression="zstd", compression_level=3
            )

    return step
