"""When, by whom and with what a report was made: all that may differ between two equal runs."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version

from spanner_pipeline.lake.ledger import whoever
from spanner_pipeline.root import DataRoot

_ENGINES = ("duckdb", "polars", "deltalake")


def run_information(root: DataRoot, table: int | None) -> dict[str, str]:
    """What to say of this run, by what it is called.

    Table versions are part of it: how often a lake was written or compacted changes no number.

    Args:
        root: The data root.
        table: The version of the lake's table.
    """
    return {
        "made at": datetime.now(UTC).isoformat(timespec="seconds"),
        "made by": whoever(),
        "data root": str(root.path),
        "table version": "none" if table is None else str(table),
        "spanner_pipeline": version("spanner_pipeline"),
        **{engine: version(engine) for engine in _ENGINES},
        "python": platform.python_version(),
    }
