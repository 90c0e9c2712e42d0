"""The old system: it bills from the delivered rows, one by one, with the faults that it has.

It shares no code with the engine that explains its bills: what is kept, refused, repeated, rejected
or left out is worked out here anew. Numbers are whole, in the meter's smallest digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from functools import cached_property
from typing import TypeVar

import polars as pl

from spanner_pipeline.reconciliation.causes import TWICE
from spanner_pipeline_tests.benchmarks.planted.deliveries import DECIMALS, Deliveries
from spanner_pipeline_tests.benchmarks.planted.faults import (
    Clock,
    Closes,
    Counts,
    Fault,
    Forgets,
    InUnits,
    Line,
    Lost,
    Merged,
    Number,
    OtherClock,
    Rounds,
    WithoutVoids,
)
from spanner_pipeline_tests.benchmarks.planted.history import NOT_USAGE

KEPT, REFUSED, REPEATED = "kept", "refused", "repeated"
NO_ID, NO_DEVICE, CANCELLED, TOO_EARLY = "no id", "no device", "cancelled", "too early"

AnyFault = TypeVar("AnyFault", bound=Fault)


def classified(deliveries: Deliveries) -> pl.DataFrame:
    """The rows with their `kind`, and `units`: the quantity in the smallest digit."""
    rows = deliveries.rows.sort("delivered", "line")
    rows = rows.with_columns(
        (pl.col("quantity") * 10**DECIMALS).cast(pl.Int64).alias("units"),
        pl.when(pl.col("state") == NOT_USAGE)
        .then(pl.lit(CANCELLED))
        .when(pl.col("at") < deliveries.scope)
        .then(pl.lit(TOO_EARLY))
        .when(pl.col("id") == "")
        .then(pl.lit(NO_ID))
        .when(pl.col("device") == "")
        .then(pl.lit(NO_DEVICE))
        .alias("kind"),
    )
    usage, rest = rows.filter(pl.col("kind").is_null()), rows.filter(pl.col("kind").is_not_null())
    first = pl.int_range(pl.len()).over("id") == 0
    same = pl.col("units") == pl.col("units").first().over("id")
    kind = pl.when(first).then(pl.lit(KEPT)).when(same).then(pl.lit(REPEATED))
    return pl.concat([usage.with_columns(kind.otherwise(pl.lit(REFUSED)).alias("kind")), rest])


class OldSystem:
    """Bills numbers with faults."""

    def __init__(self, deliveries: Deliveries) -> None:
        """Take the delivered rows."""
        self.rows = classified(deliveries)
        self.grain = deliveries.history.grain

    @cached_property
    def _parts(self) -> dict[tuple[object, ...], pl.DataFrame]:
        return self.rows.partition_by("customer", "place", as_dict=True, maintain_order=True)

    def of(self, number: Number) -> pl.DataFrame:
        """The rows of a number's customer and place, of all time."""
        return self._parts.get((number.customer, number.place), self.rows.clear())

    def bills(self, number: Number, faults: Sequence[Fault] = ()) -> list[int]:
        """The lines that it prints for a number; without faults one, which is right."""
        quantity = self._usage(number, faults)
        for unit in _all(faults, InUnits):
            quantity /= unit.of
        for rounds in _all(faults, Rounds):
            if rounds.what == "total":
                quantity = Fraction(rounds.round(quantity))
        printed = Rounds("total", 1, "nearest").round(quantity)  # it has so many digits
        lines = [printed]
        lines += [printed if f.credit is None else -f.credit for f in _all(faults, Line)]
        return lines

    def parts(self, number: Number, faults: Sequence[Fault]) -> dict[str, int]:
        """What each fault takes from what is right, when one comes after the other.

        That is new minus old. A second line takes what stands on it.
        """
        ordered = sorted(faults, key=lambda fault: fault.order)
        [before] = self.bills(number)
        parts: dict[str, int] = {}
        applied: list[Fault] = []
        for fault in ordered:
            if not isinstance(fault, Line):
                applied.append(fault)
                [after] = self.bills(number, applied)
                parts[fault.cause] = before - after
                before = after
        _, *more = self.bills(number, ordered)
        if more:
            parts[_all(ordered, Line)[0].cause] = -sum(more)
        return parts

    def _usage(self, number: Number, faults: Sequence[Fault]) -> Fraction:
        [cut] = _all(faults, OtherClock) or [OtherClock()]
        clock = Clock(number, cut)
        rows = self._on_file(number, faults).filter(during(clock, number.begins, number.ends))
        rows = _with_times(rows, clock, _all(faults, Lost))
        units = rows["units"]
        [rounds] = _all(faults, Rounds) or [Rounds("total", 1, "down")]
        if rounds.what == "event":
            units = _rounded(units, rounds)
        rows = rows.with_columns((units * rows["times"]).alias("units"))
        if rounds.what == "day":
            days = rows.group_by(_day(clock)).agg(pl.col("units").sum())["units"]
            rows = _rounded(days, rounds).to_frame()
        total = Fraction(int(rows["units"].sum()))
        for merged in _all(faults, Merged):
            total += self._usage(merged.other, ())
        return total

    def _on_file(self, number: Number, faults: Sequence[Fault]) -> pl.DataFrame:
        """The rows that it counts at all, whenever they were used."""
        rows = self.of(number)
        for closes in _all(faults, Closes):
            closed = number.ends + timedelta(days=closes.after)
            rows = rows.filter(pl.col("delivered") < closed)
        for forgets in _all(faults, Forgets):
            rows = rows.filter(pl.col("at") >= number.instant(forgets.before))
        if _all(faults, WithoutVoids):
            rows = rows.filter(pl.col("units") > 0)
        kinds = {KEPT} | {kind for counts in _all(faults, Counts) for kind in counts.kinds}
        rows = rows.filter(pl.col("kind").is_in(list(kinds)))
        if REFUSED in kinds:  # the last word under an id replaces what was said before
            said = rows.filter(kind=REFUSED)["id"].unique().to_list()
            rows = rows.filter(~(pl.col("id").is_in(said) & (pl.col("kind") == KEPT)))
        return rows


def during(clock: Clock, begins: date, ends: date) -> pl.Expr:
    """Whether a row falls into some days, on a clock."""
    start, end = clock.instant(begins), clock.instant(ends)
    at, bounds = pl.col("at"), clock.fault.bounds
    after = at >= start if bounds.startswith("[") else at > start
    return after & (at <= end if bounds.endswith("]") else at < end)


def _day(clock: Clock) -> pl.Expr:
    at = pl.col("at")
    if clock.fault.bounds == "(start, end]":
        at -= timedelta(microseconds=1)
    if clock.fault.standard:
        return (at + clock.standard_offset).dt.date()
    return at.dt.convert_time_zone(clock.zone).dt.date()


def _with_times(rows: pl.DataFrame, clock: Clock, losses: Sequence[Lost]) -> pl.DataFrame:
    """Rows with how many `times` each is counted."""
    times = pl.lit(1)
    for lost in losses:
        hit = _day(clock).is_in(lost.days)
        if lost.hours is not None:
            since, until = lost.hours
            hit = (pl.col("at") >= since) & (pl.col("at") < until)
        if lost.file:
            hit = pl.col("file") == lost.file
        times = times * pl.when(hit).then(2 if lost.cause == TWICE else 0).otherwise(1)
    return rows.with_columns(times.alias("times"))


def _rounded(units: pl.Series, rounds: Rounds) -> pl.Series:
    below = units // rounds.to * rounds.to
    rest = units - below
    lifted = {"down": rest < 0, "up": rest > 0, "nearest": 2 * rest >= rounds.to}[rounds.how]
    return below + lifted.cast(pl.Int64) * rounds.to


def _all(faults: Sequence[Fault], kind: type[AnyFault]) -> list[AnyFault]:
    return [fault for fault in faults if isinstance(fault, kind)]
