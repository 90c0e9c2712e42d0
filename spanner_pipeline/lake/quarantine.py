"""Where rejected rows and conflicts of an import are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from spanner_pipeline.lake.names import file_name
from spanner_pipeline.root import DataRoot


def quarantine_file(
    root: DataRoot, batch: str, usage: str, kind: Literal["rejected", "conflicts"]
) -> Path:
    """The Parquet file with the rejected rows or conflicts of an import, if it has any."""
    source, partition, digest = batch.split("/")
    return root.quarantine / source / partition / f"{file_name(usage)}.{digest}.{kind}.parquet"
