"""Reading what a run left behind, with plain Polars: no code of the product but its paths."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from spanner_pipeline.importing import UsageImport, import_partition
from spanner_pipeline.root import DataRoot, load_catalog


def run(root: DataRoot, source: str, partition: str = "whole") -> list[UsageImport]:
    """Import one partition, as a command would."""
    catalog = load_catalog(root)
    return import_partition(root, catalog, catalog.sources[source], partition)


def events(root: DataRoot, meter: str) -> pl.DataFrame:
    """The lake's events of a meter."""
    return pl.scan_delta(str(root.lake / "events" / meter)).collect()


def version(root: DataRoot, meter: str) -> int:
    """The Delta version of a meter's table."""
    return DeltaTable(root.lake / "events" / meter).version()


def quarantined(root: DataRoot) -> pl.DataFrame:
    """All rejected rows, whatever source and meter, in file and line order."""
    files = sorted(root.quarantine.glob("**/*.rejected.parquet"))
    frames = [pl.read_parquet(file) for file in files]
    if not frames:
        return pl.DataFrame()
    return pl.concat(frames, how="diagonal_relaxed").sort("meter", "source_file", "source_line")


def everything_written(root: DataRoot) -> dict[str, bytes]:
    """Every file that runs wrote below a root, with its bytes; staging must be empty to match."""
    written = (p for top in (root.lake, root.staging, root.quarantine) for p in top.glob("**/*"))
    return {str(Path(p).relative_to(root.path)): p.read_bytes() for p in written if p.is_file()}
