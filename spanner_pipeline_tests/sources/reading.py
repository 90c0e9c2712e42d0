"""Reading one made-up file through a source's format, as the importer does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import find_files
from spanner_pipeline.sources.rows import read_rows


def make_source(columns: list[str], /, identity: Any = None, **format_: Any) -> Source:
    """A source that reads these columns."""
    usage = {
        "meter": "m",
        "subject": columns[0],
        "quantity": "1",
        "timestamp": {"constant": "2024-01-01T00:00:00Z"},
        "dimensions": {f"d{index}": {"column": name} for index, name in enumerate(columns)},
    }
    return Source.model_validate(
        {
            "source": "s",
            "format": {"family": "delimited", **format_},
            "files": "legacy/*",
            "partitions": {"grain": "whole"},
            "identity": identity or {"native": {"column": columns[0]}},
            "usage": [usage],
        }
    )


def read(folder: Path, content: str | bytes, source: Source, name: str = "file") -> pl.DataFrame:
    """All rows of one file."""
    path = folder / "legacy" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    root = DataRoot(folder)
    return pl.concat(list(read_rows(source, find_files(root, source, "whole"))))
