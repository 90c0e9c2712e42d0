"""Rows mean what the source declares: subjects, sums, filters, scope, and clock changes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from spanner_pipeline.sources.mapping import FILTERED, OUTSIDE_SCOPE
from spanner_pipeline_tests.conftest import MakeRoot
from spanner_pipeline_tests.lake_reading import events, quarantined, run

METER = {
    "name": "calls",
    "unit": "call",
    "decimals": 2,
    "dimensions": [{"name": "tier", "type": "string", "required": False}],
}


def source(usage: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    declared = {"meter": "calls", "subject": "who", "quantity": "n", "timestamp": "at"}
    return {
        "source": "old",
        "format": {"family": "delimited"},
        "files": "legacy/*.csv",
        "partitions": {"grain": "whole"},
        "zone": "America/New_York",
        "identity": {"native": "id"},
        "usage": [declared | (usage or {})],
    } | changes


def imported(make_root: MakeRoot, declared: dict[str, Any], text: str, file: str = "a.csv") -> Any:
    """The root and the one import of a file."""
    root = make_root({"calls": METER}, {"old": declared}, {file: text})
    return root, run(root, "old")[0]


def clock(
    make_root: MakeRoot, ambiguous: str, *times: str
) -> tuple[list[datetime], list[str], int]:
    """The stored times, the reasons of rejected rows, and how many hours existed twice."""
    timestamp = {"timestamp": {"column": "at", "ambiguous": ambiguous}}
    rows = "".join(f"{n},acme,1,{at}\n" for n, at in enumerate([*times, "2024-06-01 00:00"]))
    root, done = imported(make_root, source(timestamp), f"id,who,n,at\n{rows}")
    stored = events(root, "calls").sort("source_line")["timestamp"].to_list()[:-1]
    return stored, list(done.record.rejected), done.record.ambiguous_times


TWICE = "2023-11-05 01:30:00"
SKIPPED = "2024-03-10 02:30:00"


@pytest.mark.parametrize(
    ("ambiguous", "stored"),
    [
        ("reject", []),
        ("earliest", [datetime(2023, 11, 5, 5, 30, tzinfo=UTC)]),
        ("latest", [datetime(2023, 11, 5, 6, 30, tzinfo=UTC)]),
    ],
)
def test_an_hour_that_exists_twice_follows_the_rule_and_is_counted(
    make_root: MakeRoot, ambiguous: str, stored: list[datetime]
) -> None:
    rejected = [] if stored else ["timestamp_ambiguous"]
    assert clock(make_root, ambiguous, TWICE) == (stored, rejected, 1)


@pytest.mark.parametrize("ambiguous", ["reject", "earliest", "latest"])
def test_an_hour_that_is_skipped_is_rejected_under_every_rule(
    make_root: MakeRoot, ambiguous: str
) -> None:
    assert clock(make_root, ambiguous, SKIPPED) == ([], ["timestamp_nonexistent"], 0)


def test_the_hours_around_a_clock_change_are_known(make_root: MakeRoot) -> None:
    times = ["2023-11-05 00:59:59", "2023-11-05 02:00", "2024-03-10 01:59:59", "2024-03-10 03:00"]
    stored, rejected, twice = clock(make_root, "reject", *times)
    assert [time.strftime("%d %H:%M:%S") for time in stored] == [
        "05 04:59:59",
        "05 07:00:00",
        "10 06:59:59",
        "10 07:00:00",
    ]
    assert (rejected, twice) == ([], 0)


def test_an_offset_in_the_text_settles_the_hour(make_root: MakeRoot) -> None:
    stored, rejected, twice = clock(make_root, "reject", f"{TWICE}-05:00", f"{TWICE}-04:00")
    assert [time.hour for time in stored] == [6, 5]
    assert (rejected, twice) == ([], 0)


@pytest.mark.parametrize(
    ("scope", "inside"),
    [
        ({"from": "2024-01-01"}, [3, 4, 5]),  # midnight in New York is 05:00 UTC
        ({"to": "2024-01-01"}, [2]),
        ({"from": "2024-01-01T00:00:00Z"}, [2, 3, 4, 5]),
        ({"from": "2024-01-01T06:00:00+01:00", "to": "2024-01-01T06:00:00Z"}, [3, 4]),
        ({"from": "2024", "to": "2024-02"}, [3, 4, 5]),
        ({"from": "2023-11-05T01:30", "to": "2023-11-06"}, []),  # a bound in an hour that is twice
    ],
)
def test_the_scope_is_half_open_on_the_source_s_clock_unless_it_names_another(
    make_root: MakeRoot, scope: dict[str, str], inside: list[int]
) -> None:
    times = ["2023-12-31 23:59:59", "2024-01-01 00:00", "2024-01-01 00:59:59", "2024-01-01 01:00"]
    rows = "".join(f"{n},acme,1,{at}\n" for n, at in enumerate(times))
    root, done = imported(make_root, source(scope=scope), f"id,who,n,at\n{rows}")
    stored = events(root, "calls")["source_line"].to_list() if inside else []
    assert sorted(stored) == inside
    outside = done.record.out_of_scope.get(OUTSIDE_SCOPE)
    assert (outside.rows if outside else 0) == len(times) - len(inside)


@pytest.mark.parametrize(
    ("where", "lines"),
    [
        ({"kind": "a"}, [2]),
        ({"kind": ["a", "b"]}, [2, 3]),
        ({"kind": {"not": ["a"]}}, [3, 4]),
        ({"kind": {"present": True}}, [2, 3]),
        ({"kind": {"present": False}}, [4]),
        ({"kind": {"is": ["a", "b"], "not": ["b"]}}, [2]),
    ],
)
def test_filtered_rows_are_out_of_scope_and_counted(
    make_root: MakeRoot, where: dict[str, Any], lines: list[int]
) -> None:
    rows = "".join(f"{n},x,1,2024-01-01 00:00,{kind}\n" for n, kind in enumerate(["a", "b", ""]))
    text = f"id,who,n,at,kind\n{rows}"
    root, done = imported(make_root, source({"where": where}), text)
    assert sorted(events(root, "calls")["source_line"]) == lines
    assert done.record.out_of_scope[FILTERED].rows == 3 - len(lines)


def test_a_subject_is_extracted_mapped_or_missing(make_root: MakeRoot) -> None:
    subject = {"column": "who", "extract": "^/orgs/(.+)$", "map": {"old-name": "acme"}}
    rows = ["/orgs/globex", "/orgs/old-name", "other", ""]
    text = "id,who,n,at\n" + "".join(f"{n},{w},1,2024-01-01 00:00\n" for n, w in enumerate(rows))
    root, done = imported(make_root, source({"subject": subject}), text)
    assert sorted(events(root, "calls")["subject"]) == ["acme", "globex"]
    assert done.record.rejected == {"subject_missing": 2}
    assert [line.split(",")[1] for line in quarantined(root)["original"]] == ["other", ""]


def test_a_template_joins_columns_and_is_missing_where_one_is(make_root: MakeRoot) -> None:
    usage = {"subject": {"template": "{{{who}}}.{unit name}", "map": {}, "extract": r"\{(.+)\}.*"}}
    text = "id,who,n,at,unit name\n1,a,1,2024-01-01 00:00,x\n2,a,1,2024-01-01 00:00,\n"
    root, done = imported(make_root, source(usage), text)
    assert events(root, "calls")["subject"].to_list() == ["a"]
    assert done.record.rejected == {"subject_missing": 1}


def test_the_name_of_the_file_is_a_column(make_root: MakeRoot) -> None:
    subject = {"column": "source_file", "extract": r"^(\w+)\.csv$"}
    text = "id,who,n,at\n1,x,1,2024-01-01 00:00\n"
    root, _ = imported(make_root, source({"subject": subject}), text, "globex.csv")
    assert events(root, "calls")["subject"].to_list() == ["globex"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("1.10,2.20,", Decimal("3.30")),
        ('"1,000.10",2,0.9', Decimal("1003.00")),
        ("1e2,-0.5,0", Decimal("99.50")),
        ("1,,", "quantity_missing"),
        ("1,x,2", "quantity_not_a_number"),
        ("1,0.001,2", "quantity_does_not_fit"),
        (f"{'9' * 36},{'9' * 36},", "quantity_does_not_fit"),
        ("1,-1,", "quantity_not_positive"),
    ],
)
def test_a_sum_of_columns_is_exact_or_rejected(
    make_root: MakeRoot, fields: str, expected: Decimal | str
) -> None:
    quantity = {"sum": ["n", "m", "tax"], "null_as_zero": ["tax"], "thousands": ","}
    text = f"id,who,at,n,m,tax\n1,x,2024-01-01 00:00,{fields}\n2,x,2024-01-01 00:00,1,1,\n"
    root, done = imported(make_root, source({"quantity": quantity}), text)
    if isinstance(expected, str):
        assert done.record.rejected == {expected: 1}
    else:
        stored = events(root, "calls").filter(source_line=2)["quantity"].to_list()
        assert stored == [expected]


def test_a_row_keeps_its_key_when_columns_trade_places(make_root: MakeRoot) -> None:
    keys = []
    for text in (
        "id,who,n,at\n1,x,1,2024-01-01 00:00\n2,x,1,2024-01-01 00:00\n",
        "at,n,who,id\n2024-01-01 00:00,1,x,1\n2024-01-01 00:00,1,x,2\n",
    ):
        root, done = imported(make_root, source(identity="multiset"), text)
        keys.append(sorted(events(root, "calls")["idempotency_key"]))
    assert keys[0] == keys[1]
    assert done.totals.present.rows == 2


def test_files_may_be_links_and_patterns_may_reach_below(make_root: MakeRoot) -> None:
    text = "id,who,n,at\n1,x,1,2024-01-01 00:00\n"
    declared = source(files="legacy/**/usage *.csv")
    root = make_root({"calls": METER}, {"old": declared}, {"a/b/usage [1].csv": text})
    (root.path / "legacy" / "c").symlink_to(root.path / "elsewhere")
    (root.path / "elsewhere").mkdir()
    (root.path / "elsewhere" / "usage 2.csv").write_text(text.replace("1,x", "2,x"))
    assert [f.name for f in run(root, "old")[0].record.files] == [
        "legacy/a/b/usage [1].csv",
        "legacy/c/usage 2.csv",
    ]


def test_files_may_lie_outside_the_root(make_root: MakeRoot) -> None:
    text = "id,who,n,at\n1,x,1,2024-01-01 00:00\n"
    root = make_root({"calls": METER}, {}, {"a.csv": text})
    outside = root.path.parent / "delivered.csv"
    outside.write_text(text)
    make_root({}, {"old": source(files=str(outside))})
    assert [f.name for f in run(root, "old")[0].record.files] == [str(outside)]
