"""What a comparison rests on and says, as canonical bytes, and the one digest of all of it.

Belongs here: what signatures and evidence packs bind. Not here: time, user, machine, data root and
table versions, which may differ where nothing of substance does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from spanner_pipeline.configuration.locations import is_url
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.control import ControlTotals, Total
from spanner_pipeline.lake.ledger import MAPPING_VERSION, Ledger
from spanner_pipeline.reconciliation.compare import STATUSES, Comparison
from spanner_pipeline.reconciliation.deliveries import Deliveries
from spanner_pipeline.reconciliation.spelling import disarmed, exact_text, plain
from spanner_pipeline.root import Catalog, DataRoot

PARTS = {
    "code.json": "the code version",
    "declaration.json": "the configuration",
    "inputs.json": "the inputs",
    "control_totals.json": "the control totals",
    "numbers.csv": "the numbers",
    "causes.csv": "the causes",
    "verdict.json": "the verdict",
}
"""The parts by name, with what a person calls each."""

KEY = ("subject", "period", "zone", "start", "end")
"""What tells numbers apart, beside their dimensions (`dim_<name>`)."""


@dataclass(frozen=True)
class Facts:
    """The parts of one comparison.

    Attributes:
        parts: The bytes of each of `PARTS`.
    """

    parts: Mapping[str, bytes]

    @cached_property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each part."""
        return {name: hashlib.sha256(part).hexdigest() for name, part in self.parts.items()}

    @property
    def fingerprint(self) -> str:
        """The digest of all parts."""
        return fingerprint_of(self.digests)


def fingerprint(root: DataRoot, catalog: Catalog, comparison: Comparison) -> str:
    """The digest of all that a comparison rests on and says: SHA-256, in hexadecimal."""
    return facts(root, catalog, comparison).fingerprint


def fingerprint_of(digests: Mapping[str, str]) -> str:
    """The fingerprint of parts that have these digests."""
    return hashlib.sha256(canonical(dict(digests))).hexdigest()


def canonical(said: Any) -> bytes:
    """JSON of which there is one spelling."""
    text = json.dumps(said, sort_keys=True, indent=1, ensure_ascii=False)
    return (text + "\n").encode()


def facts(root: DataRoot, catalog: Catalog, comparison: Comparison) -> Facts:
    """Gather all that a comparison rests on and says."""
    numbers = _numbers(comparison)
    return Facts(
        {
            "code.json": canonical(
                {"spanner_pipeline": version("spanner_pipeline"), "mapping": MAPPING_VERSION}
            ),
            "declaration.json": canonical(_declaration(root, catalog, comparison)),
            "inputs.json": canonical(_inputs(root, comparison)),
            "control_totals.json": canonical(_control_totals(comparison)),
            "numbers.csv": numbers.drop("cell").write_csv().encode(),
            "causes.csv": _causes(comparison, numbers).write_csv().encode(),
            "verdict.json": canonical(_verdict(comparison)),
        }
    )


def participants(catalog: Catalog, comparison: Comparison) -> list[Source]:
    """The sources that take part in a comparison, by name."""
    feeding = Deliveries(catalog, comparison.meter, comparison.imports).sources
    found = {source.source: source for source in [comparison.source, *feeding]}
    return [found[name] for name in sorted(found)]


def _declaration(root: DataRoot, catalog: Catalog, comparison: Comparison) -> dict[str, Any]:
    sources = {}
    for source in participants(catalog, comparison):
        # Its other comparisons say nothing of this one, nor does when deliveries come.
        others = {"billing_totals", "expect", "schedule"}
        declared = source.model_dump(mode="json", exclude=others, by_alias=True)
        sources[source.source] = {**declared, "files": _location(root, source.files)}
    return {
        "comparison": comparison.total.model_dump(mode="json", by_alias=True),
        "declared_by": comparison.source.source,
        "meter": comparison.meter.model_dump(mode="json", by_alias=True),
        "period": comparison.period,
        "sources": sources,
    }


def _location(root: DataRoot, files: str) -> str:
    return files if is_url(files) else root.relative(Path(files))


def _inputs(root: DataRoot, comparison: Comparison) -> dict[str, Any]:
    """The old export, and every delivery whose events may be in the lake, superseded ones too."""
    imported: dict[str, dict[str, Any]] = {}
    for record in Ledger(root).standing():
        if record.meter != comparison.meter.name:
            continue
        imported[f"{record.batch} {record.usage}"] = {
            file.name: {
                "bytes": file.size,
                "sha256": file.digest,
                **_total(file.totals.read),
            }
            for file in record.files
        }
    old = comparison.old
    return {
        "old_export": {
            "files": {f.name: {"bytes": f.size, "sha256": f.digest} for f in old.files},
            "not_compared": old.not_compared,
            "quantity": plain(comparison.old_total),
            "rows": old.rows,
            "subtotals": old.subtotals,
        },
        "imported": imported,
    }


def _control_totals(comparison: Comparison) -> dict[str, Any]:
    """What became of the rows that were read, whatever had been imported before them."""
    sums: dict[str, ControlTotals] = {}
    rejected: dict[str, dict[str, int]] = {}
    left_out: dict[str, dict[str, Total]] = {}
    for record in comparison.imports:
        name = f"{record.source} {record.usage}"
        sums[name] = sums.get(name, ControlTotals()) + record.totals.replayed()
        for code, rows in record.rejected.items():
            by_code = rejected.setdefault(name, {})
            by_code[code] = by_code.get(code, 0) + rows
        for why, total in record.out_of_scope.items():
            by_why = left_out.setdefault(name, {})
            by_why[why] = by_why.get(why, Total()) + total
    return {
        name: {
            "read": _total(totals.read),
            "in_the_lake": _total(totals.present),
            "conflicting": _total(totals.conflicting),
            "rejected": _total(totals.rejected),
            "out_of_scope": _total(totals.out_of_scope),
            "rejected_rows_by_reason": rejected.get(name, {}),
            "out_of_scope_by_why": {
                why: _total(total) for why, total in left_out.get(name, {}).items()
            },
        }
        for name, totals in sums.items()
    }


def _total(total: Total) -> dict[str, Any]:
    return {"rows": total.rows, "quantity": plain(total.quantity)}


def _numbers(comparison: Comparison) -> pl.DataFrame:
    """Every number as texts, in an order that depends on nothing but them; `cell` stays."""
    names = [KEY[0], *comparison.dimensions, *KEY[1:]]
    cells = comparison.cells.sort([*names, "lines"], maintain_order=True)
    quantities = ("old", "new", "difference", "tolerance", "unexplained")
    aside = ("usage", "price", "amount", "copies", "credits")
    free = [KEY[0], *comparison.dimensions, "lines", "why"]
    columns = [*names, "status", *quantities, *aside, "events", "lines", "why", "cell"]
    return cells.select(columns).with_columns(
        *(disarmed(pl.col(name)).alias(name) for name in free),
        *(exact_text(name) for name in (*quantities, *aside)),
        *(pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") for name in ("start", "end")),
    )


def _causes(comparison: Comparison, numbers: pl.DataFrame) -> pl.DataFrame:
    """Every cause, beside the number that it is of, in the order taken."""
    schema = dict.fromkeys(("cause", "detail", "quantity", "known"), pl.String)
    found = pl.DataFrame(
        [
            (c.cell, c.cause, c.detail, plain(c.quantity), "yes" if c.known else "no")
            for c in comparison.causes
        ],
        schema={"cell": numbers.schema["cell"], **schema},
        orient="row",
    )
    names = [KEY[0], *comparison.dimensions, *KEY[1:]]
    placed = numbers.select("cell", *names).join(
        found, on="cell", how="inner", maintain_order="left_right"
    )
    return placed.drop("cell").with_columns(disarmed(pl.col("detail")).alias("detail"))


def _verdict(comparison: Comparison) -> dict[str, Any]:
    return {
        "comparison": comparison.total.name,
        "meter": comparison.meter.name,
        "period": comparison.period,
        "unit": comparison.unit,
        "verdict": comparison.verdict,
        "why": comparison.failings,
        "tolerance": comparison.tolerance_text,
        "old": plain(comparison.old_total),
        "new": plain(comparison.new_total),
        "difference": plain(comparison.difference),
        "unexplained": plain(comparison.unexplained),
        "numbers": comparison.cells.height,
        "unexplained_numbers": comparison.residuals.height,
        "statuses": {s: comparison.cells.filter(status=s).height for s in STATUSES},
        "unreadable_rows": comparison.old.unreadable.height,
        "contradicting_subtotals": comparison.old.contradictions.height,
        "not_searched": comparison.not_searched,
        "outside": _total(comparison.outside),
    }
