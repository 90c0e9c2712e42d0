"""Rows of the legacy files that the lake does not count, or not as they were delivered.

Belongs here: how many there are by source and why, and the first of them for a person to look at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from spanner_pipeline.control import ControlTotals, Total
from spanner_pipeline.counters.measuring import RESTARTED, ROLLED_OVER
from spanner_pipeline.lake.quarantine import Kind, quarantine_files
from spanner_pipeline.lake.records import FileTotals
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.spelling import places
from spanner_pipeline.root import DataRoot

_PLACE = ("source_file", "source_line")
_COLUMNS: dict[Kind, tuple[str, ...]] = {
    "rejected": (*_PLACE, "reason_code", "field", "value", "hint"),
    "left_out": (*_PLACE, "why", "subject", "timestamp", "quantity"),
    "repeated": (*_PLACE, "subject", "timestamp", "quantity", *(f"first_{n}" for n in _PLACE)),
    "conflicts": (
        "idempotency_key",
        "fields_that_differ",
        *(
            f"{side}_{name}"
            for side in ("kept", "refused")
            for name in ("quantity", "timestamp", *_PLACE)
        ),
        "rule",
    ),
}
_ORDER: dict[Kind, tuple[str, ...]] = {
    "conflicts": ("refused_source_file", "refused_source_line", "idempotency_key")
}


@dataclass
class Fed:
    """What one usage of a source brought to the meter.

    Attributes:
        name: Source and usage.
        totals: What became of its rows.
        files: The files that it read.
        rejected: Rows by reason code.
        left_out: Rows and quantity by why.
        repeated: Rows delivered once more under a key that is counted.
        ambiguous: Rows of an hour that a clock change repeats.
        begun_again: Readings of counters that restarted or rolled over, and their usage.
    """

    name: str
    totals: ControlTotals = field(default_factory=ControlTotals)
    files: list[FileTotals] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, Total] = field(default_factory=dict)
    repeated: int = 0
    ambiguous: int = 0
    begun_again: dict[str, Total] = field(default_factory=dict)

    @property
    def places(self) -> int:
        """How many digits after the point its quantities have."""
        parts = (getattr(self.totals, part.name).quantity for part in fields(self.totals))
        return places([*parts, *(file.totals.read.quantity for file in self.files)])


def by_usage(root: DataRoot, comparison: Comparison) -> list[Fed]:
    """Every source and usage that feeds the meter, by name."""
    found: dict[str, Fed] = {}
    for record in comparison.imports:
        name = f"{record.source} → {record.usage}"
        fed = found.setdefault(name, Fed(name))
        fed.totals += record.totals
        fed.files += record.files
        fed.ambiguous += record.ambiguous_times
        fed.rejected.update(record.rejected)
        for kind in {RESTARTED, ROLLED_OVER} & record.readings.keys():
            fed.begun_again[kind] = fed.begun_again.get(kind, Total()) + record.readings[kind]
        for why, total in record.out_of_scope.items():
            fed.left_out[why] = fed.left_out.get(why, Total()) + total
        for file in quarantine_files(root, [record], "repeated"):
            fed.repeated += pq.read_metadata(file).num_rows
    return [found[name] for name in sorted(found)]


def first_rows(
    root: DataRoot, comparison: Comparison, kind: Kind, most: int
) -> list[dict[str, Any]]:
    """The first rows of a kind, by file and line.

    Args:
        root: The data root.
        comparison: The comparison.
        kind: The kind.
        most: How many at most.
    """
    files = quarantine_files(root, comparison.imports, kind)
    if not files:
        return []
    order = _ORDER.get(kind, _PLACE)
    # File by file: those of an earlier configuration may have other types.
    parts = pl.collect_all([_first(file, _COLUMNS[kind], order, most) for file in files])
    rows = [row for part in parts for row in part.iter_rows(named=True)]
    return sorted(rows, key=lambda row: tuple(row[name] for name in order))[:most]


def _first(path: Path, columns: Sequence[str], order: Sequence[str], most: int) -> pl.LazyFrame:
    rows = pl.scan_parquet(path)
    held = [name for name in columns if name in rows.collect_schema().names()]
    return rows.select(held).bottom_k(most, by=order)
