"""Why old and new differ: causes, tested by counting again, whose parts sum to the difference.

Belongs here: which numbers are looked at, how deeply, and what they have in common. How one number
may have been counted is in `estimate` and `operations`, the search for it in `search`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.control import EXACT
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation import plausibility
from spanner_pipeline.reconciliation.atoms import HOWS, Neighbourhood, Surroundings
from spanner_pipeline.reconciliation.causes import (
    CAUSES,
    CUSTOMERS,
    NOT_IMPORTED,
    Explanation,
)
from spanner_pipeline.reconciliation.deliveries import Deliveries
from spanner_pipeline.reconciliation.estimate import Case, Switch, switches_of
from spanner_pipeline.reconciliation.operations import Operation, part_units
from spanner_pipeline.reconciliation.search import Search
from spanner_pipeline.reconciliation.totals import dimension_columns
from spanner_pipeline.reconciliation.ways import Way
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import ADDITIVE

MOST_SEARCHED = 20_000
"""Numbers that are looked at one by one; the biggest differences first."""

MOST_IN_DEPTH = 300
"""Numbers of which ways of several steps are tried."""

MOST_CLOSELY = 60
"""Numbers of which, if that gave nothing, hours and rounded parts are tried: a second each."""

_CaseOf = tuple[Case, list[Switch]]
_ORDER = {cause: place for place, cause in enumerate(CAUSES)}


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        explanations: The causes, by number, then in the declared order.
        not_searched: Numbers that were left, or not searched in depth, because there are too many.
    """

    explanations: tuple[Explanation, ...]
    not_searched: int = 0


def explain(
    root: DataRoot,
    connection: duckdb.DuckDBPyConnection,
    meter: Meter,
    total: BillingTotal,
    cells: pl.DataFrame,
    deliveries: Deliveries,
) -> Found:
    """Find the causes of differences.

    Args:
        root: The data root.
        connection: Has the view `events`; its time zone is UTC.
        meter: The meter.
        total: The declaration.
        cells: All numbers, judged.
        deliveries: The deliveries of the meter.
    """
    differing = cells.filter(pl.col("difference") != 0)
    if differing.is_empty() or meter.aggregation not in ADDITIVE:
        return Found(())
    differing = differing.sort(pl.col("difference").abs(), "cell", descending=[True, False])
    zones = cells["zone"].drop_nulls().value_counts(sort=True)["zone"].to_list()
    around = Neighbourhood(root, connection, meter, total, deliveries, sorted(zones[:6]))
    detective = _Detective(around, meter, total, differing, deliveries)
    detective.not_imported(set(cells.filter(pl.col("events") > 0)["period"]))
    return detective.run()


class _Detective:
    """Looks at the numbers that differ, the biggest first, twice: what explains one may another."""

    def __init__(
        self,
        around: Neighbourhood,
        meter: Meter,
        total: BillingTotal,
        differing: pl.DataFrame,
        deliveries: Deliveries,
    ) -> None:
        self._around, self._meter, self._total = around, meter, total
        self._differing = differing.head(MOST_SEARCHED)
        self._left = differing.height - self._differing.height
        self._deliveries = deliveries
        money = total.price is not None
        self._digits = meter.decimals + (differing.schema["price"].scale if money else 0)  # type: ignore[attr-defined]
        self._found: dict[int, list[Explanation]] = {}
        self._doubtful: set[int] = set()
        self._seen: Counter[tuple[object, ...]] = Counter()
        self._rows = {row["cell"]: row for row in self._differing.iter_rows(named=True)}
        self._others = _Others(self._differing, dimension_columns(total), self._whole)

    def run(self) -> Found:
        first = self._cases(self._pending())
        for cell, (case, switches) in first.items():
            self._look(cell, case, switches, deep=False)
        unsolved = [cell for cell in first if cell not in self._found]
        deep = unsolved[:MOST_IN_DEPTH]
        self._left += len(unsolved) - len(deep)
        first |= self._cases(self._pending().filter(pl.col("cell").is_in(deep)), daily=True)
        self._in_depth({cell: first[cell] for cell in deep})
        # Once more, with what explains other numbers.
        for cell in [*sorted(self._doubtful & set(first)), *unsolved]:
            if cell not in self._found or cell in self._doubtful:
                self._look(cell, *first[cell], deep=cell in deep)
        ordered = sorted(
            (e for found in self._found.values() for e in found),
            key=lambda e: (e.cell, _ORDER[e.cause], e.detail),
        )
        return Found(tuple(ordered), self._left)

    def _pending(self) -> pl.DataFrame:
        """What is left, numbers that both sides have first: they may take up those of one side."""
        one_sided = pl.col("old").is_null() | pl.col("new").is_null()
        left = self._differing.filter(~pl.col("cell").is_in(list(self._found)))
        return left.sort(one_sided, pl.col("old").is_null(), maintain_order=True)

    def _whole(self, number: Decimal | None) -> int | None:
        return None if number is None else int(number.scaleb(self._digits, EXACT))

    def _cases(
        self, cells: pl.DataFrame, *, daily: bool = False, hourly: bool = False
    ) -> dict[int, tuple[Case, list[Switch]]]:
        if cells.is_empty():
            return {}
        surroundings = self._around.of(cells, daily=daily, hourly=hourly)
        return {row["cell"]: self._case(row, surroundings) for row in cells.iter_rows(named=True)}

    def _case(self, row: Mapping[str, Any], around: Surroundings) -> tuple[Case, list[Switch]]:
        price = 1
        if self._total.price is not None:
            price = (
                int(row["price"].scaleb(self._digits - self._meter.decimals)) if row["price"] else 0
            )
        numbers = (self._whole(row[name]) for name in ("old", "new"))
        old, new = numbers
        case = Case(
            row["cell"],
            old,
            new,
            around.atoms.get(row["cell"], []),
            price,
            self._whole(row["copies"]) or 0,
            self._whole(row["credits"]) or 0,
            row["days"],
            self._total.quantity.per == "day",
            self._digits,
        )
        closes_after = self._total.old_system.closes_after
        return case, switches_of(case, around.clocks, row["zone"], closes_after)

    def _look(self, cell: int, case: Case, switches: list[Switch], *, deep: bool) -> None:
        if cell not in self._found or cell in self._doubtful:
            search = Search(case, switches, self._others.of(cell), self._seen)
            self._believe(cell, case, search.run(deep=deep))

    def _in_depth(self, cases: Mapping[int, _CaseOf]) -> None:
        """Look for ways of several steps, for hours and for rounded parts; the simplest wins."""
        ways: dict[int, Way] = {}
        for cell, (case, switches) in cases.items():
            way = Search(case, switches, self._others.of(cell), self._seen).run(deep=True)
            if way is not None and way.bits <= plausibility.SIMPLE:
                self._believe(cell, case, way)
            elif way is not None:
                ways[cell] = way
        pending = self._differing.filter(
            pl.col("cell").is_in([cell for cell in cases if cell not in self._found])
        )
        self._left += max(0, pending.height - MOST_CLOSELY)
        left = self._cases(pending.head(MOST_CLOSELY), daily=True, hourly=True)
        rounded = self._rounded(left)
        for cell, (case, switches) in left.items():
            search = Search(case, switches, self._others.of(cell), self._seen)
            if way := search.closely(rounded[cell], ways.get(cell)):
                ways[cell] = way
        for cell, way in ways.items():
            if any(o.other in self._found for o in way.operations if o.other is not None):
                self._look(cell, *cases[cell], deep=True)  # another number took that customer up
            elif cell not in self._found:
                self._believe(cell, cases[cell][0], way)

    def _rounded(
        self, cases: Mapping[int, _CaseOf]
    ) -> Mapping[int, Mapping[tuple[Decimal, str], Case]]:
        """Numbers with each event rounded, to units that may give the old number, and how."""
        events: dict[int, dict[tuple[Decimal, str], Case]] = defaultdict(dict)
        if self._total.price is not None or self._meter.aggregation != "sum":
            return events
        units: dict[Decimal, list[int]] = defaultdict(list)
        for cell, (case, _) in cases.items():
            goals = (case.target, case.target - case.copies, case.target - case.credits)
            for unit in {unit for goal in goals for unit, _ in part_units(case, goal)}:
                units[unit].append(cell)
        for unit, among in units.items():
            rows = self._differing.filter(pl.col("cell").is_in(among))
            for how in HOWS:
                around = self._around.of(rows, daily=True, hourly=True, rounded=(unit, how))
                for row in rows.iter_rows(named=True):
                    events[row["cell"]][unit, how] = self._case(row, around)[0]
        return events

    def _believe(self, cell: int, case: Case, way: Way | None) -> None:
        if way is None:
            return
        found = []
        for step, part in way.parts(case):
            if way.certain:
                self._seen[step.keys[0]] += 1
            details = "; or ".join([step.detail, *way.alternatives])
            known = isinstance(step, Switch) and step.known
            found.append(Explanation(cell, step.cause, details, self._exact(part), known))
            if isinstance(step, Operation) and step.other is not None:
                self._other_side(step, cell)
        if not way.certain:
            self._doubtful.add(cell)
        self._found[cell] = found

    def _other_side(self, step: Operation, cell: int) -> None:
        """A number that is meant by another: all of it is explained by that."""
        assert step.other is not None
        row, other = self._rows[step.other], self._rows[cell]
        where = "the old bill has it under" if row["old"] is None else "the lake has it under"
        detail = f"{where} {other['subject']}"
        gap = row["difference"]
        self._found[step.other] = [Explanation(step.other, CUSTOMERS, detail, gap)]
        self._others.take(step.other)

    def _exact(self, part: int) -> Decimal:
        return EXACT.scaleb(Decimal(part), -self._digits)

    def not_imported(self, held: set[str]) -> None:
        """Explain in full the numbers of a time of which nothing was imported.

        Args:
            held: Periods of which the lake has events all the same.
        """
        for cell, row in self._rows.items():
            if row["period"] in held:
                continue
            names = self._deliveries.absent_during(row["first"], row["days"])
            if names is not None:
                shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
                detail = f"nothing was imported for this time: {shown}"
                gap = row["difference"]
                self._found[cell] = [Explanation(cell, NOT_IMPORTED, detail, gap, known=True)]


class _Others:
    """Customers whose usage may be meant: those that only one side has in the same period."""

    def __init__(self, differing: pl.DataFrame, dimensions: list[str], whole: Any) -> None:
        self._slot: dict[int, tuple[Any, ...]] = {}
        self._one_sided: dict[tuple[Any, ...], dict[int, tuple[int, str]]] = defaultdict(dict)
        for row in differing.iter_rows(named=True):
            slot = (row["period"], *(row[name] for name in dimensions))
            self._slot[row["cell"]] = slot
            if row["subject"] and (row["old"] is None) != (row["new"] is None):
                adds = whole(row["new"]) if row["old"] is None else -whole(row["old"])
                if adds:
                    self._one_sided[slot][row["cell"]] = (adds, row["subject"])

    def of(self, cell: int) -> list[Operation]:
        """The operations that add another customer's usage to a number."""
        beside = self._one_sided.get(self._slot[cell], {})
        bits = plausibility.chosen_of(plausibility.CUSTOMER, len(beside))
        own, found = beside.get(cell), []
        for other, (adds, subject) in beside.items():
            if other == cell or (own is not None and (own[0] > 0) == (adds > 0)):
                continue
            what = (
                "the old bill has under this customer what the lake has"
                if adds > 0
                else "the lake has under this customer what the old bill has"
            )
            told = f"{what} under {{}}"
            found.append(Operation(CUSTOMERS, told, (subject,), bits, adds, other))
        return found

    def take(self, cell: int) -> None:
        """A customer's usage can be meant only once."""
        self._one_sided[self._slot[cell]].pop(cell, None)
