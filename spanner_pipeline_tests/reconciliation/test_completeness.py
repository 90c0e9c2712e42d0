"""The heat map's data: missing, partial, zero and present days are told apart, on every clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.reconciliation.report.completeness import (
    MOST_SUBJECTS,
    Completeness,
    completeness,
)
from spanner_pipeline.reconciliation.report.heatmap import gap_rows, heat_map
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.reconciliation.building import Books
from spanner_pipeline_tests.usage.events import Event

SWITCH = """\
source: {name}
format: {{family: delimited}}
files: legacy/{name}/{pattern}.csv
partitions: {{grain: {grain}, from: {first}, to: {last}}}
identity: {{native: id}}
max_rejected: 100%
usage:
  - meter: calls
    subject: who
    quantity: units
    timestamp: {{column: at, format: "%Y-%m-%d %H:%M"{clock}}}
    dimensions: {{region: region}}
    where: {{who: {{not: [nobody]}}}}
"""
BILL = """\
source: bill
format: {{family: delimited}}
files: legacy/bill.csv
partitions: {{grain: whole}}
billing_totals:
  - name: bill
    meter: calls
    {more}
    quantity: units
    period: {{start: since, last: until, zone: {{column: zone}}}}
"""
METER = """\
name: calls
unit: call
aggregation: {aggregation}
decimals: 3
dimensions: [{{name: region, type: string}}]
"""


class Switch:
    """A root whose usage comes by day, of which days may be left out."""

    def __init__(
        self,
        path: Path,
        *,
        sources: Iterable[str] = ("switch",),
        more: str = "subject: who",
        first: str = "2024-01-01",
        last: str = "2024-01-13",
        clock: str = "UTC",
        aggregation: str = "sum",
        grain: str = "day",
    ) -> None:
        self.root = DataRoot(path)
        for folder in ("meters", "sources", "legacy"):
            (path / folder).mkdir(parents=True)
        (path / "meters/calls.yaml").write_text(METER.format(aggregation=aggregation))
        (path / "sources/bill.yaml").write_text(BILL.format(more=more))
        for name in sources:
            declared = SWITCH.format(
                name=name,
                first=first,
                last=last,
                grain=grain,
                pattern="{year}-{month}" + "-{day}" * (grain == "day"),
                clock=f", zone: {clock}",
            )
            (path / f"sources/{name}.yaml").write_text(declared)
        self._ids = 0

    def day(self, day: date | str, *rows: tuple[str, str, str], source: str = "switch") -> None:
        """Deliver and import rows of `who, units, time`; without any, one that is left out."""
        path = self.root.path / "legacy" / source / f"{day}.csv"
        path.parent.mkdir(exist_ok=True)
        lines = ["id,who,units,at,region"]
        for who, units, at in rows or [("nobody", "1", f"{day} 12:00")]:
            self._ids += 1
            key = who.partition("#")[2] or str(self._ids)
            lines.append(f"{key},{who.partition('#')[0]},{units},{at},eu")
        path.write_text("\n".join(lines) + "\n")
        catalog = load_catalog(self.root)
        import_partition(self.root, catalog, catalog.sources[source], str(day))

    def compare(self, *rows: str) -> Comparison:
        """Compare with a bill of `who,zone[,until]`; each for twelve days, else until then."""
        lines = ["who,zone,since,until,units"]
        for row in rows:
            who, zone, until = [*row.split(","), "2024-01-12"][:3]
            lines.append(f"{who},{zone},2024-01-01,{until},9")
        text = "\n".join(lines) + "\n"
        (self.root.path / "legacy/bill.csv").write_text(text)
        catalog = load_catalog(self.root)
        ((source, total),) = catalog.comparisons
        return reconcile(self.root, catalog, source, total)

    def found(self, *rows: str) -> Completeness:
        """Look at the days of a comparison with such a bill."""
        found = completeness(self.root, self.compare(*rows))
        assert found is not None
        return found


def states(found: Completeness, subject: str) -> dict[int, str]:
    """The state of each day, but for those that are present."""
    rows = found.cells.filter(pl.col("subject") == subject, pl.col("state") != "present")
    return {day.day: state for day, state in rows.select("day", "state").rows()}


def twelve_days(switch: Switch, *absent: int, source: str = "switch") -> None:
    """Usage of acme on every day at noon, but for days that are not delivered."""
    for day in (date(2024, 1, 1) + timedelta(n) for n in range(12)):
        if day.day not in absent:
            switch.day(day, ("acme", "2.5", f"{day} 12:00"), source=source)


def test_missing_partial_zero_and_present_are_told_apart(tmp_path: Path) -> None:
    switch = Switch(tmp_path)
    twelve_days(switch, 3, 4, 6, 8, 9, 11)
    switch.day("2024-01-06", ("globex", "1", "2024-01-06 08:00"))  # no event of acme: zero
    switch.day("2024-01-08", ("acme", "3", "2024-01-08 08:00"), ("acme", "x", "2024-01-08 09:00"))
    switch.day(
        "2024-01-09", ("acme#k", "3", "2024-01-09 08:00"), ("acme#k", "4", "2024-01-09 08:00")
    )
    switch.day(  # all that there is of acme was rejected
        "2024-01-11", ("acme", "x", "2024-01-11 09:00"), ("globex", "1", "2024-01-11 08:00")
    )
    found = switch.found("acme,UTC", "globex,UTC")

    assert states(found, "acme") == {
        **dict.fromkeys((3, 4), "missing"),
        6: "zero",
        **dict.fromkeys((8, 9, 11), "partial"),
    }
    assert set(states(found, "globex")) == {*range(1, 6), 7, 8, 9, 10, 12}
    assert states(found, "globex")[3] == "missing"
    assert states(found, "globex")[8] == "zero"  # what was rejected was another's
    assert (found.grain, found.columns[0], found.columns[-1]) == (
        "day",
        date(2024, 1, 1),
        date(2024, 1, 12),
    )
    rows = found.cells.filter(pl.col("subject") == "acme")
    assert rows["usage"].drop_nulls().sum() == 6 * Decimal("2.5") + 6

    gaps = [(row["when"], row["who"], row["why"], row["rows"]) for row in gap_rows(found, 9)]
    assert gaps == [
        ("2024-01-03 to 2024-01-04 (2 days)", "all 2 subjects shown", "nothing was imported", 0),
        ("2024-01-08 to 2024-01-09 (2 days)", "acme", "rows rejected or in conflict", 2),
        ("2024-01-11", "acme", "rows rejected or in conflict", 1),
    ]


def test_one_of_several_deliveries_that_is_missing_makes_a_day_partial(tmp_path: Path) -> None:
    switch = Switch(tmp_path, sources=("switch", "edge"))
    twelve_days(switch, 7)
    twelve_days(switch, 7, 9, source="edge")
    found = switch.found("acme,UTC")
    assert states(found, "acme") == {7: "missing", 9: "partial"}
    assert found.gaps["why"].to_list() == [
        "nothing was imported",
        "not all of its deliveries were imported",
    ]


def test_days_are_those_of_each_subjects_own_clock(tmp_path: Path) -> None:
    switch = Switch(tmp_path)
    twelve_days(switch, 10, 11)
    switch.day("2024-01-10")
    switch.day("2024-01-11", ("tokyo", "5", "2024-01-11 15:30"))
    found = switch.found("acme,UTC", "tokyo,Asia/Tokyo")
    assert states(found, "acme") == {10: "zero", 11: "zero"}
    present = found.cells.filter(subject="tokyo", state="present")
    assert present["day"].to_list() == [date(2024, 1, 12)]


def test_a_missing_delivery_makes_two_days_of_another_clock_partial(tmp_path: Path) -> None:
    switch = Switch(tmp_path)
    twelve_days(switch, 10)
    found = switch.found("acme,UTC", "tokyo,Asia/Tokyo")
    assert states(found, "acme") == {10: "missing"}
    assert {d: s for d, s in states(found, "tokyo").items() if s != "zero"} == {
        10: "partial",
        11: "partial",
    }


def test_deliveries_are_for_days_of_their_sources_clock(tmp_path: Path) -> None:
    switch = Switch(tmp_path, clock="Asia/Tokyo")
    twelve_days(switch, 10)
    found = switch.found("acme,Asia/Tokyo")
    assert states(found, "acme") == {10: "missing"}


def test_events_that_came_late_do_not_make_a_missing_day_whole(tmp_path: Path) -> None:
    switch = Switch(tmp_path)
    twelve_days(switch, 10, 11)
    switch.day("2024-01-11", ("acme", "1", "2024-01-10 23:00"), ("acme", "1", "2024-01-11 01:00"))
    found = switch.found("acme,UTC")
    assert states(found, "acme") == {10: "partial"}
    assert found.gaps["why"].to_list() == ["only events that came with deliveries of other days"]


def test_other_slices_of_the_meter_are_no_gap(tmp_path: Path) -> None:
    switch = Switch(tmp_path, more="subject: who\n    only: {region: us}")
    twelve_days(switch, 12)
    switch.day("2024-01-12", ("acme", "x", "2024-01-12 09:00"))  # rejected, but of another region
    found = switch.found("acme,UTC")
    assert set(states(found, "acme").values()) == {"zero"}


def test_a_bill_of_all_subjects_has_one_row(tmp_path: Path) -> None:
    switch = Switch(tmp_path, more="")
    twelve_days(switch, 3, 8)
    switch.day("2024-01-08", ("acme", "x", "2024-01-08 09:00"))
    found = switch.found(",UTC")
    assert found.subjects == [""]
    assert states(found, "") == {3: "missing", 8: "partial"}
    assert ">all<" in heat_map(found, "call")


def test_a_long_time_is_shown_by_month(tmp_path: Path) -> None:
    switch = Switch(tmp_path, grain="month", last="2024-07-01")
    switch.day("2024-01", ("acme", "1", "2024-01-05 12:00"))
    switch.day("2024-02", ("acme", "1", "2024-02-05 12:00"), ("acme", "x", "2024-02-06 12:00"))
    switch.day("2024-04", ("nobody", "1", "2024-04-05 12:00"))
    found = switch.found("acme,UTC,2024-04-30")
    assert found.grain == "month"
    assert found.columns == [date(2024, month, 1) for month in (1, 2, 3, 4)]
    assert found.cells["state"].to_list() == ["present", "partial", "missing", "zero"]
    assert found.gaps.select("first", "last").rows() == [
        (date(2024, 3, 1), date(2024, 3, 31)),
        (date(2024, 2, 6), date(2024, 2, 6)),
    ]


def test_no_usage_is_counted_where_it_does_not_add(tmp_path: Path) -> None:
    switch = Switch(tmp_path, aggregation="max")
    twelve_days(switch, 2)
    found = switch.found("acme,UTC")
    assert found.cells["usage"].drop_nulls().unique().to_list() == [1]


def test_the_subjects_of_the_biggest_breaks_come_first(tmp_path: Path) -> None:
    rows = [(f"c{n:02}", "UTC", "2024-01", 10, "") for n in range(MOST_SUBJECTS + 10)]
    events = [Event("2024-01-05T00:00:00Z", 10, who) for who, *_ in rows]
    events += [Event("2024-01-06T00:00:00Z", 3, "c20"), Event("2024-01-06T00:00:00Z", -7, "c31")]
    books = Books(tmp_path).bill(*rows).lake(*events)
    found = completeness(books.root, books.compare())
    assert found is not None
    assert found.subjects[:3] == ["c31", "c20", "c00"]
    assert (len(found.subjects), found.more) == (MOST_SUBJECTS, 10)


def test_every_state_has_a_mark_of_its_own(tmp_path: Path) -> None:
    switch = Switch(tmp_path)
    twelve_days(switch, 5, 10, 12)
    switch.day("2024-01-10")
    switch.day("2024-01-12", ("acme", "x", "2024-01-12 09:00"))
    drawn = heat_map(switch.found("acme,UTC"), "call")
    marks = {name: drawn.count(f'class="{name}"') for name in ("cross", "half", "dot")}
    assert marks == {"cross": 2, "half": 1, "dot": 1}  # a cross has two strokes
    assert drawn.count('class="present shade4"') == 9
    assert "2024-01-05: missing" in drawn
    assert "2024-01-01: present, 2.5 call" in drawn
