"""A small data root with one meter, its events, and an old bill to compare them with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.causes import Explanation
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.usage.events import Event, a_meter, fill

COLUMNS = ("customer", "zone", "month", "units", "usd")
MONTHLY: dict[str, Any] = {
    "name": "bill",
    "meter": "calls",
    "subject": "customer",
    "quantity": "units",
    "period": {"column": "month", "grain": "month", "zone": {"column": "zone"}},
}


@dataclass
class Books:
    """A data root: put usage in, write the old bill, compare.

    Attributes:
        path: The data root.
        total: What the comparison declares, beyond `MONTHLY`.
        meter: What the meter declares, beyond its name and unit.
        columns: The header of the old bill.
        bill_file: Where the old bill is.
    """

    path: Path
    total: dict[str, Any] = field(default_factory=dict)
    meter: dict[str, Any] = field(default_factory=dict)
    columns: Sequence[str] = COLUMNS
    bill_file: str = "legacy/bill.csv"

    @property
    def root(self) -> DataRoot:
        """Where it is."""
        return DataRoot(self.path)

    def write(self, name: str, content: str | Mapping[str, Any]) -> None:
        """Write one file of the root; YAML unless it is a text."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        path.write_text(text, encoding="utf-8", newline="")

    def declare(self) -> None:
        """Write the YAML."""
        declared = a_meter(**self.meter).model_dump(mode="json")
        self.write("meters/calls.yaml", declared)
        total = {k: v for k, v in (MONTHLY | self.total).items() if v is not None}
        old = {
            "source": "old_bill",
            "format": {"family": "delimited", "nulls": ["", "-"]},
            "files": "legacy/*bill.csv",
            "partitions": {"grain": "whole"},
            "billing_totals": [total],
        }
        self.write("sources/old_bill.yaml", old)
        usage = {
            "source": "usage",
            "format": {"family": "delimited"},
            "files": "legacy/usage.csv",
            "partitions": {"grain": "whole"},
            "identity": {"native": "id"},
            "usage": [
                {
                    "meter": "calls",
                    "subject": "who",
                    "quantity": {"column": "units", "nonpositive": "keep"},
                    "timestamp": "at",
                }
            ],
        }
        self.write("sources/usage.yaml", usage)

    def bill(self, *rows: Sequence[object]) -> Books:
        """Write the old bill."""
        self.write(self.bill_file, spelled(self.columns, rows))
        return self

    def lake(self, *events: Event) -> Books:
        """Put events into the lake directly."""
        fill(self.path, a_meter(**self.meter), events)
        return self

    def imported(self, *rows: Sequence[object]) -> Books:
        """Import rows of `id, who, units, at`; what is wrong with them is rejected."""
        self.declare()
        self.write("legacy/usage.csv", spelled(("id", "who", "units", "at"), rows))
        catalog = load_catalog(self.root)
        import_partition(self.root, catalog, catalog.sources["usage"], "whole")
        return self

    def compare(self) -> Comparison:
        """Compare."""
        self.declare()
        catalog = load_catalog(self.root)
        ((source, total),) = catalog.comparisons
        return reconcile(self.root, catalog, source, total)


def spelled(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def statuses(comparison: Comparison) -> dict[tuple[str, str], str]:
    """The status of each cell, by subject and period."""
    rows = comparison.cells.select("subject", "period", "status").rows()
    return {(subject, str(period)): status for subject, period, status in rows}


def found(comparison: Comparison) -> list[tuple[str, str, Decimal]]:
    """Causes as subject, cause and amount."""
    subjects = comparison.cells["subject"]
    return [(subjects[c.cell], c.cause, c.quantity) for c in comparison.causes]


def balances(comparison: Comparison) -> bool:
    """Whether old + causes + unexplained is new, in every cell, to the last digit."""
    return all(
        (row["new"] or 0) - (row["old"] or 0)
        == row["difference"]
        == sum((c.quantity for c in of(comparison, row)), row["unexplained"])
        for row in comparison.compared.iter_rows(named=True)
    )


def of(comparison: Comparison, row: Mapping[str, Any]) -> list[Explanation]:
    """The causes of one cell."""
    return comparison.causes_of(row["cell"])
