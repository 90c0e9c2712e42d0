"""The service's side of each number of an old bill, and why it is not the lake's.

A window's subjects are asked for together; single events are compared by key only where what was
delivered of a number and what is there differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.control import EXACT
from spanner_pipeline.delivery.beside_lake import FATES, LACKING, LEFT_OUT, Moved, not_alike
from spanner_pipeline.delivery.causes import (
    FAILING,
    LIVE,
    OVERLAP,
    ROUNDING,
    UNEXPLAINED,
    Difference,
    alike,
)
from spanner_pipeline.delivery.client import ConflictError
from spanner_pipeline.delivery.fates import Choices, choosing
from spanner_pipeline.delivery.live import Holding
from spanner_pipeline.delivery.seam import live_by_subject
from spanner_pipeline.delivery.settling import Chosen, added
from spanner_pipeline.delivery.target import TargetError
from spanner_pipeline.delivery.three_way import Number, Part, ThreeWay
from spanner_pipeline.delivery.verify import Verification, Verified
from spanner_pipeline.reconciliation.compare import BREAKS, NOT_COMPARABLE, Comparison, Verdict
from spanner_pipeline.usage.aggregations import ADDITIVE
from spanner_pipeline.usage.filters import MISSING_GROUP

_NOTHING = Holding(0, Decimal(0))
_Holdings = tuple[dict[str, Holding], list[tuple[str, dict[str, Holding]]]]


def compare_three_ways(
    asked: Verification,
    verified: Verified,
    comparison: Comparison,
    start: datetime | None = None,
    end: datetime | None = None,
) -> ThreeWay:
    """Set the service beside an old bill and the lake.

    Args:
        asked: The verification, while nobody delivers.
        verified: What it found.
        comparison: The old bill and the lake.
        start: Only numbers whose period does not begin before it.
        end: Only numbers whose period does not end after it.

    Raises:
        TargetError: When the service refuses, or the lake changed since it was compared.
    """
    scoped = _within(comparison, start, end)
    return ThreeWay(scoped, _Numbers(asked, scoped).all(), verified)


def _within(comparison: Comparison, start: datetime | None, end: datetime | None) -> Comparison:
    meant = pl.lit(value=True)
    if start is not None:
        meant &= (pl.col("start") >= start).fill_null(value=True)
    if end is not None:
        meant &= (pl.col("end") <= end).fill_null(value=True)
    cells = comparison.cells.filter(meant)
    kept = set(cells["cell"])
    causes = tuple(cause for cause in comparison.causes if cause.cell in kept)
    old = replace(comparison.old, cells=comparison.old.cells.filter(meant))
    return replace(comparison, cells=cells, causes=causes, old=old)


class _Numbers:
    """Asks the service for the numbers of an old bill, a window of all subjects at a time."""

    def __init__(self, asked: Verification, comparison: Comparison) -> None:
        self._asked, self._comparison = asked, comparison
        self._total, self._meter = comparison.total, comparison.meter
        self._additive = self._meter.aggregation in ADDITIVE
        self._moved: Mapping[int, Sequence[Moved]] = {}

    def all(self) -> list[Number]:
        if self._additive:
            choices = Choices(cut_over=self._asked.cut_over, net=self._asked.ledger.netting)
            asked = self._asked
            with choosing(asked.root, self._meter, asked.ledger, choices, asked.kept) as chosen:
                if chosen.table.version != self._comparison.lake_version:
                    changed = f"the lake's {self._meter.name} changed while it was compared."
                    raise TargetError(f"{changed} Verify again.")
                comparable = self._comparison.compared
                self._moved = not_alike(chosen, self._meter, self._total, comparable)
        found: dict[int, Number] = {}
        by = ["start", "end", *self._comparison.dimensions]
        for part in self._comparison.cells.partition_by(by):
            rows = list(part.iter_rows(named=True))
            for row, number in zip(rows, self._of_window(rows), strict=True):
                found[row["cell"]] = number
        return [found[cell] for cell in self._comparison.cells["cell"]]

    def _of_window(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Number]:
        """The numbers of one period and of the same dimensions."""
        unasked = self._unasked(rows[0])
        if not unasked:
            try:
                holdings = self._holdings(rows[0])
            except ConflictError as error:
                unasked = str(error)
        for row in rows:
            if row["status"] == NOT_COMPARABLE:
                yield Number(row, None, (), row["why"], self._comparison.verdict)
            elif unasked:
                yield Number(row, None, (), unasked, self._verdict(row, ()) or "WARN")
            else:
                yield self._number(row, holdings)

    def _unasked(self, row: Mapping[str, Any]) -> str:
        """Why the service cannot be asked for a period and dimensions."""
        if row["start"] is None or row["end"] is None:
            return "its period is not known"
        if row["start"].microsecond or row["end"].microsecond:
            return "its period does not begin and end with a second, as the service's windows do"
        if not self._additive and self._total.subject is None:
            return f"the {self._meter.aggregation} of all subjects is none of the service's answers"
        if any(row[name] == MISSING_GROUP for name in self._comparison.dimensions):
            return "the service cannot be asked for events without a dimension"
        if any(MISSING_GROUP in values for values in self._total.only.values()):
            return "the service cannot be asked for events without a dimension"
        return ""

    def _holdings(self, row: Mapping[str, Any]) -> _Holdings:
        """What it holds of ours by subject, and of live traffic before and after the cut-over."""
        reader, start, end = self._asked.reader, row["start"], row["end"]
        rules = _rules(self._total, row, self._kinds)
        if not self._additive or not reader.marked:
            return reader.by_subject(start, end, rules, marked=False), []
        ours = reader.by_subject(start, end, rules)
        cut = self._asked.cut_over
        if cut is None:
            return ours, [(LIVE, live_by_subject(reader, start, end, rules))]
        live = []
        if start < cut:
            live.append((OVERLAP, live_by_subject(reader, start, min(end, cut), rules)))
        if end > cut:
            live.append((LIVE, live_by_subject(reader, max(start, cut), end, rules)))
        return ours, live

    def _number(
        self,
        row: Mapping[str, Any],
        holdings: _Holdings,
    ) -> Number:
        ours, live = holdings
        lake, there = row["usage"] or Decimal(0), self._of(row, ours)
        if not self._additive:
            more = EXACT.subtract(there.quantity, lake)
            cause = ROUNDING if alike(lake, there.quantity, row["events"] or 0) else UNEXPLAINED
            parts = [Part(cause, 0, more, cause in FAILING)] if more else []
            return self._made(row, there.quantity, parts)
        parts = [
            Part(
                FATES[moved.fate],
                moved.events,
                moved.quantity,
                fails=moved.fate in LACKING,
                warns=moved.fate in LEFT_OUT,
            )
            for moved in self._moved.get(row["cell"], ())
        ]
        delivered = EXACT.add(lake, added(part.quantity for part in parts))
        parts += self._between(row, delivered, there)
        for cause, holding in ((cause, self._of(row, by)) for cause, by in live):
            if holding.events:
                parts.append(Part(cause, holding.events, holding.quantity, cause in FAILING))
                there = Holding(there.events, EXACT.add(there.quantity, holding.quantity))
        return self._made(row, there.quantity, parts)

    def _of(self, row: Mapping[str, Any], by_subject: Mapping[str, Holding]) -> Holding:
        if self._total.subject is not None:
            return by_subject.get(row["subject"], _NOTHING)
        events = sum(holding.events for holding in by_subject.values())
        return Holding(events, added(holding.quantity for holding in by_subject.values()))

    def _between(
        self, row: Mapping[str, Any], delivered: Decimal, there: Holding
    ) -> Iterator[Part]:
        """Why the service holds something else of a number than it was sent."""
        more = EXACT.subtract(there.quantity, delivered)
        if not more:
            return
        if alike(delivered, there.quantity, there.events, whole=self._asked.whole):
            yield Part(ROUNDING, 0, more, fails=False)
            return
        start, end = row["start"], row["end"]
        subject = row["subject"] if self._total.subject is not None else None
        edges = {start: -1, end: 1}
        chosen = self._chosen(row) if self._total.dimensions or self._total.only else None
        found = self._asked.settling.compare(
            start, end, subject, there.quantity, edges=edges, chosen=chosen
        )
        if self._asked.reader.marked:
            found = [one for one in found if one.cause != LIVE]  # told by totals
        for cause, of_it in _by_cause(found).items():
            quantity = added(one.quantity for one in of_it)
            events = sum(one.events for one in of_it)
            yield Part(cause, events, quantity, cause in FAILING, of_it[0].example)
        if rest := EXACT.subtract(more, added(one.quantity for one in found)):
            yield Part(UNEXPLAINED, 0, rest, fails=True)

    def _chosen(self, row: Mapping[str, Any]) -> Chosen:
        """The events of a number's dimensions."""
        asked = {name: {row[f"dim_{name}"]} for name in self._total.dimensions}
        asked |= {name: set(values) for name, values in self._total.only.items()}
        keys = self._asked.sent.keys_of(self._meter, row["start"], row["end"], asked)
        wanted = {n: {_plain(text, self._kinds[n]) for text in texts} for n, texts in asked.items()}

        def means(event: Mapping[str, Any]) -> bool:
            metadata = event.get("metadata") or {}
            return all(_at(metadata, name) in texts for name, texts in wanted.items())

        return Chosen(keys, means)

    @property
    def _kinds(self) -> Mapping[str, str]:
        return {dimension.name: dimension.type for dimension in self._meter.dimensions}

    def _made(self, row: Mapping[str, Any], usage: Decimal, parts: Sequence[Part]) -> Number:
        """A number in the comparison's unit: usage, or usage times price."""
        if self._total.price is not None:
            price = row["price"]
            usage = EXACT.multiply(usage, price)
            parts = [replace(p, quantity=EXACT.multiply(p.quantity, price)) for p in parts]
        kept = tuple(parts)
        return Number(row, usage, kept, "", self._verdict(row, kept) or "PASS")

    def _verdict(self, row: Mapping[str, Any], parts: Sequence[Part]) -> Verdict | None:
        if any(part.fails for part in parts):
            return "FAIL"
        # A number that differs is as bad as the comparison says that its breaks are.
        broke = row["status"] in BREAKS and self._comparison.broke
        verdict = self._comparison.verdict if broke else None
        return "WARN" if verdict != "FAIL" and any(part.warns for part in parts) else verdict


def _by_cause(found: Sequence[Difference]) -> dict[str, list[Difference]]:
    by_cause: dict[str, list[Difference]] = {}
    for one in found:
        by_cause.setdefault(one.cause, []).append(one)
    return by_cause


def _rules(
    total: BillingTotal, row: Mapping[str, Any], kinds: Mapping[str, str]
) -> list[Mapping[str, Any]]:
    """Filters for the events of a number."""
    asked: dict[str, list[str]] = {name: list(values) for name, values in total.only.items()}
    asked |= {name: [row[f"dim_{name}"]] for name in total.dimensions}
    return [
        {
            "type": "condition",
            "field": f"metadata.{name}",
            "op": "in",
            "value": [_plain(text, kinds[name]) for text in texts],
        }
        for name, texts in asked.items()
    ]


def _plain(text: str, kind: str) -> Any:
    """A dimension's text as JSON has it."""
    return text if kind == "string" else json.loads(text)


def _at(metadata: Mapping[str, Any], name: str) -> Any:
    """A dimension of an event; a dotted name is a path."""
    found: Any = metadata
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
