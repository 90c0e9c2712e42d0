"""One number is explained down to files and lines, and nothing of it is missing or told twice."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from spanner_pipeline.cli import app
from spanner_pipeline.control import Total
from spanner_pipeline.reconciliation.causes import CONFLICTS, LEFT_OUT, REJECTED, REPEATED
from spanner_pipeline.reconciliation.proof.number_rows import COUNTED, every_row
from spanner_pipeline.reconciliation.proof.trace import (
    Trace,
    UnknownNumberError,
    trace_comparison,
    trace_lake,
)
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.reconciliation.proof_root import BILL, USAGE, ProofRoot, proof_root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> ProofRoot:
    return proof_root(tmp_path_factory.mktemp("trace"))


def _acme(root: ProofRoot, period: str = "2026-01") -> Trace:
    (trace,) = trace_comparison(root, load_catalog(root), root.compare(), "acme", period)
    return trace


def _rows(root: ProofRoot, trace: Trace) -> list[dict[str, str]]:
    text = "".join(batch.write_csv() for batch in every_row(root, trace.part, trace.imports))
    return list(csv.DictReader(io.StringIO(text)))


def test_the_old_bill_is_quoted_with_file_and_line(root: ProofRoot) -> None:
    trace = _acme(root)
    assert trace.bill is not None
    assert trace.bill.lines.rows() == [("legacy/bill.csv", 2, "acme,2026-01,19.5")]


def test_a_number_of_several_lines_shows_each_and_no_other(tmp_path: Path) -> None:
    root = proof_root(tmp_path)
    root.write("legacy/bill.csv", BILL + "acme,2026-02,1\n" * 17 + "initech,2026-01,1\n")
    trace = _acme(root, "2026-02")
    assert trace.bill is not None
    assert trace.bill.lines["line"].to_list() == [*range(4, 22)]
    compared, catalog = root.compare(), load_catalog(root)
    (other,) = trace_comparison(root, catalog, compared, "initech", "2026-01")
    assert other.bill is not None
    assert other.bill.lines["line"].to_list() == [22]  # in whose name stands a 2


def test_what_the_lake_holds_is_told_by_file_and_sums_to_the_number(root: ProofRoot) -> None:
    trace = _acme(root)
    assert (trace.quantity, trace.events) == (Decimal("16.5"), 3)
    told = trace.files.select("source_file", "rows", "quantity", "first_line", "last_line").rows()
    assert told == [
        ("legacy/usage-2026-01.csv", 2, Decimal("15.5"), 2, 3),
        ("legacy/usage-2026-02.csv", 1, Decimal(1), 3, 3),
    ]
    assert trace.biggest["quantity"].to_list() == [Decimal("10.5"), Decimal(5), Decimal(1)]
    assert trace.first["source_line"].to_list() == [2, 3, 3]
    assert trace.first["idempotency_key"][0] == "usage:acme:calls:1"


def test_what_is_not_counted_is_told_by_kind_with_its_place(root: ProofRoot) -> None:
    trace = _acme(root)
    told = [(a.record, a.total, a.rows["source_line"].to_list()) for a in trace.asides]
    assert sorted(told, key=lambda entry: entry[0]) == [
        (CONFLICTS, Total(1, Decimal(6)), [7]),
        (REJECTED, Total(1, Decimal(0)), [5]),
        (REPEATED, Total(1, Decimal("10.5")), [8]),
        (LEFT_OUT, Total(1, Decimal(3)), [6]),
    ]
    by_record = {aside.record: aside.rows.row(0, named=True) for aside in trace.asides}
    assert by_record[REJECTED]["original"] == "4,acme,x,2026-01-07T08:00:00Z,live"
    assert "Not a number as declared" in by_record[REJECTED]["hint"]
    assert by_record[CONFLICTS]["hint"].startswith("legacy/usage-2026-01.csv:3 is kept: 5.000 of")
    assert by_record[REPEATED]["hint"] == "counted from legacy/usage-2026-01.csv:2"


def test_a_row_whose_time_nobody_can_read_may_be_of_the_number(root: ProofRoot) -> None:
    (aside,) = _acme(root).unplaced
    assert aside.rows["original"].to_list() == ["7,acme,2,soon,live"]
    globex = trace_comparison(root, load_catalog(root), root.compare(), "globex", "2026-01")
    assert globex[0].unplaced == []  # it says whose it is


def test_old_and_causes_and_the_unexplained_part_are_new(root: ProofRoot) -> None:
    for number in root.compare().cells.iter_rows(named=True):
        period = number["period"]
        comparison = root.compare()
        subject = number["subject"]
        for trace in trace_comparison(root, load_catalog(root), comparison, subject, period):
            assert trace.bill is not None
            assert trace.bill.adds_up
            parts = sum(cause.quantity for cause in trace.bill.causes)
            old, new = (trace.bill.number[name] or 0 for name in ("old", "new"))
            assert old + parts + trace.bill.number["unexplained"] == new


def test_the_csv_has_every_row_once_counted_ones_first(root: ProofRoot) -> None:
    rows = _rows(root, _acme(root))
    assert [(r["record"], r["source_file"][-6:-4], r["source_line"]) for r in rows] == [
        (COUNTED, "01", "2"),
        (COUNTED, "02", "3"),
        (COUNTED, "01", "3"),
        (REPEATED, "01", "8"),
        (CONFLICTS, "01", "7"),
        (REJECTED, "01", "5"),
        (LEFT_OUT, "01", "6"),
    ]
    counted = [Decimal(r["quantity"]) for r in rows if r["record"] == COUNTED]
    assert sum(counted) == Decimal("16.5")
    assert {r["subject"] for r in rows} == {"acme"}


def test_a_cell_of_the_csv_is_never_a_formula(tmp_path: Path) -> None:
    root = proof_root(tmp_path)
    rows = "1,acme,10.5,2026-01-05T08:00:00Z,live\n=1,acme,2,2026-01-05T09:00:00Z,live\n"
    root.bring("01", rows + '"=2+2",acme,x,2026-01-05T10:00:00Z,live\n')
    texts = {value for row in _rows(root, _acme(root)) for value in row.values()}
    assert not [text for text in texts if text[:1] in ("=", "+", "@")]


def test_without_a_comparison_the_lake_is_explained_alone(root: ProofRoot) -> None:
    catalog = load_catalog(root)
    trace = trace_lake(root, catalog, catalog.meters["calls"], "acme", "2026-01-05")
    assert (trace.bill, trace.quantity, trace.events) == (None, Decimal("11.5"), 2)
    tokyo = trace_lake(root, catalog, catalog.meters["calls"], "acme", "2026-01-05", "Asia/Tokyo")
    assert (tokyo.quantity, tokyo.events) == (Decimal("10.5"), 1)  # 23:00Z is the 6th there
    year = trace_lake(root, catalog, catalog.meters["calls"], None, "2026-01-01/2026-02-06")
    assert year.quantity == Decimal("27.5")


def test_days_that_nobody_imported_are_named(tmp_path: Path) -> None:
    root = proof_root(tmp_path, months=("01",))
    (trace,) = trace_comparison(root, load_catalog(root), root.compare(), "acme", "2026-02")
    assert (trace.quantity, trace.not_imported) == (None, {"usage": ["2026-02"]})


@pytest.mark.parametrize(
    ("subject", "period", "near"),
    [
        ("acmee", "2026-01", "Near: acme"),
        ("acme", "2026-1", "Near: 2026-01"),
        (None, "2026", "Name one"),
    ],
)
def test_a_number_that_does_not_exist_names_those_that_are_near(
    root: ProofRoot, subject: str | None, period: str, near: str
) -> None:
    with pytest.raises(UnknownNumberError, match=near):
        trace_comparison(root, load_catalog(root), root.compare(), subject, period)


def test_the_lake_alone_names_near_subjects_and_refuses_what_is_no_period(root: ProofRoot) -> None:
    catalog = load_catalog(root)
    meter = catalog.meters["calls"]
    with pytest.raises(UnknownNumberError, match="Near: globex"):
        trace_lake(root, catalog, meter, "Globexx", "2026-01")
    for text in ("2026-13", "2026-02-01/2026-01-01", "yesterday", "9999", "2026-02-30"):
        with pytest.raises(UnknownNumberError, match="no period"):
            trace_lake(root, catalog, meter, "acme", text)


def test_a_year_explains_every_number_that_begins_in_it(root: ProofRoot) -> None:
    traces = trace_comparison(root, load_catalog(root), root.compare(), "acme", "2026")
    assert sorted(trace.period for trace in traces) == ["2026-01", "2026-02"]


def test_dimensions_and_what_the_comparison_leaves_out_decide_the_rows(tmp_path: Path) -> None:
    root = proof_root(tmp_path, months=())
    meter = {"dimensions": [{"name": "kind", "type": "string"}]}
    declared = {"name": "calls", "unit": "call", "aggregation": "sum", "decimals": 3, **meter}
    root.write("meters/calls.yaml", declared)
    usage = {**USAGE["usage"][0], "where": {}, "dimensions": {"kind": "kind"}}
    root.write("sources/usage.yaml", {**USAGE, "usage": [usage]})
    root.write("legacy/bill.csv", "customer,month,units,kind\nacme,2026-01,3,test\n")
    total = {
        "name": "bill",
        "meter": "calls",
        "subject": "customer",
        "quantity": "units",
        "dimensions": {"kind": "kind"},
        "period": {"column": "month", "grain": "month", "zone": "UTC"},
    }
    old = {
        "source": "old_bill",
        "format": {"family": "delimited"},
        "files": "legacy/bill.csv",
        "partitions": {"grain": "whole"},
        "billing_totals": [total],
    }
    root.write("sources/old_bill.yaml", old)
    rows = "5,acme,3,2026-01-08T08:00:00Z,test\n6,acme,2,2026-01-08T08:00:00Z,live\n"
    root.bring(
        "01", rows + "7,acme,x,2026-01-08T09:00:00Z,test\n5,acme,4,2026-01-08T08:00:00Z,live\n"
    )
    traces = trace_comparison(root, load_catalog(root), root.compare(), "acme", "2026-01")
    told = {
        trace.part.dimensions["kind"]: (trace.quantity, sorted(a.record for a in trace.asides))
        for trace in traces
    }
    # The conflict is of both: one side says `test`, the other `live`.
    assert told == {
        "test": (Decimal(3), [CONFLICTS, REJECTED]),
        "live": (Decimal(2), [CONFLICTS]),
    }


def test_the_command_prints_the_number_and_the_csv(root: ProofRoot) -> None:
    run = CliRunner().invoke
    asked = ["--subject", "acme", "--period", "2026-01", "--data", str(root.path)]
    shown = run(app, ["explain", "--comparison", "bill", *asked])
    assert shown.exit_code == 0, shown.output
    for text in ("legacy/bill.csv:2", "acme,2026-01,19.5", "unexplained", "16.5", "usage:acme"):
        assert text in shown.output
    same = run(app, ["explain", "--meter", "calls", *asked])
    assert same.output == shown.output
    printed = run(app, ["explain", "--meter", "calls", *asked, "--csv"])
    assert pl.read_csv(io.StringIO(printed.output)).height == 7


@pytest.mark.parametrize(
    "asked",
    [
        ["--period", "2026-01"],
        ["--comparison", "bill", "--meter", "calls", "--period", "2026-01"],
        ["--comparison", "nope", "--period", "2026-01"],
        ["--meter", "nope", "--period", "2026-01"],
        ["--meter", "calls", "--subject", "nobody", "--period", "2026-01"],
        ["--meter", "calls", "--subject", "acme", "--period", "2026-01", "--zone", "Mars/Base"],
    ],
)
def test_wrong_use_is_said_and_ends_with_2(run: Run, root: ProofRoot, asked: list[str]) -> None:
    ended = run("explain", *asked, data=root)
    assert ended.code == 2
    assert ended.err.strip()
