"""A data root with rows of every kind beside its numbers: to be proven, signed and explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.root import DataRoot, load_catalog

HEADER = "id,who,units,at,kind\n"
JANUARY = """\
1,acme,10.5,2026-01-05T08:00:00Z,live
2,acme,5,2026-01-06T08:00:00Z,live
3,globex,7,2026-01-06T09:00:00Z,live
4,acme,x,2026-01-07T08:00:00Z,live
5,acme,3,2026-01-08T08:00:00Z,test
2,acme,6,2026-01-06T08:00:00Z,live
1,acme,10.5,2026-01-05T08:00:00Z,live
7,acme,2,soon,live
8,Globex Inc,1,2026-01-09T08:00:00Z,live
"""
LATE = "20,acme,1,2026-01-05T23:00:00Z,live\n"
FEBRUARY = "10,acme,4,2026-02-05T08:00:00Z,live\n" + LATE
BILL = """\
customer,month,units
acme,2026-01,19.5
globex,2026-01,7
acme,2026-02,4
"""

METER: dict[str, Any] = {"name": "calls", "unit": "call", "aggregation": "sum", "decimals": 3}
USAGE: dict[str, Any] = {
    "source": "usage",
    "format": {"family": "delimited"},
    "files": "legacy/usage-{year}-{month}.csv",
    "partitions": {"grain": "month", "from": "2026-01", "to": "2026-03"},
    "identity": {"native": "id"},
    "usage": [
        {
            "meter": "calls",
            "subject": "who",
            "quantity": "units",
            "timestamp": "at",
            "where": {"kind": {"not": ["test"]}},
        }
    ],
}
OLD: dict[str, Any] = {
    "source": "old_bill",
    "format": {"family": "delimited"},
    "files": "legacy/bill.csv",
    "partitions": {"grain": "whole"},
    "billing_totals": [
        {
            "name": "bill",
            "meter": "calls",
            "subject": "customer",
            "quantity": "units",
            "period": {"column": "month", "grain": "month", "zone": "UTC"},
        }
    ],
}


class ProofRoot(DataRoot):
    """The data root."""

    def write(self, name: str, content: str | dict[str, Any]) -> None:
        """Write one file; YAML unless it is a text."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        path.write_text(text, encoding="utf-8", newline="")

    def bring(self, month: str, rows: str) -> None:
        """Deliver and import a month."""
        self.write(f"legacy/usage-2026-{month}.csv", HEADER + rows)
        catalog = load_catalog(self)
        import_partition(self, catalog, catalog.sources["usage"], f"2026-{month}")

    def compare(self, period: str | None = None) -> Comparison:
        """Compare the bill."""
        catalog = load_catalog(self)
        ((source, total),) = catalog.comparisons
        return reconcile(self, catalog, source, total, period)


def proof_root(path: Path, months: tuple[str, ...] = ("01", "02")) -> ProofRoot:
    """A data root with its months imported, in this order."""
    root = ProofRoot(path)
    root.write("meters/calls.yaml", METER)
    root.write("sources/usage.yaml", USAGE)
    root.write("sources/old_bill.yaml", OLD)
    root.write("legacy/bill.csv", BILL)
    for month in months:
        root.bring(month, {"01": JANUARY, "02": FEBRUARY}[month])
    return root
