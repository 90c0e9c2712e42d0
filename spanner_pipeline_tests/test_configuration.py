"""Every mistake of a data root is told at once, each with its file, its line and what to write."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import yaml

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.errors import ConfigurationError, Problem
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.conftest import MakeRoot

METER = """\
name: calls
unit: call
dimensions:
  - {name: region, type: string}
  - {name: plan, type: string, required: false}
"""
SOURCE = """\
source: old
format: {family: delimited}
files: legacy/{year}-{month}.csv
partitions: {grain: month, from: 2024-01}
zone: UTC
identity: {native: id}
usage:
  - meter: calls
    subject: account
    quantity: amount
    timestamp: at
    dimensions:
      region: region
"""


def problems(make_root: MakeRoot, meter: str = METER, source: str = SOURCE) -> list[Problem]:
    """The mistakes of a root with one meter and one source."""
    root = make_root({"calls": meter}, {"old": source})
    with pytest.raises(ConfigurationError) as error:
        load_catalog(root)
    return error.value.problems


def test_a_root_without_mistakes_loads(make_root: MakeRoot) -> None:
    catalog = load_catalog(make_root({"calls": METER}, {"old": SOURCE}))
    assert list(catalog.meters) == ["calls"]
    assert catalog.sources["old"].columns == ["account", "amount", "at", "region", "id"]


CASES: dict[str, tuple[str, str, int, str, str]] = {
    # what: (written, instead of, line, key, message)
    "unknown key": (
        "quantty: amount",
        "quantity: amount",
        10,
        "usage[0].quantty",
        "Did you mean `quantity`?",
    ),
    "unknown key, nothing near": (
        "partitions: {grain: month, from: 2024-01, q: 1}",
        "partitions: {grain: month, from: 2024-01}",
        4,
        "partitions.q",
        "The keys here are from, grain, to.",
    ),
    "unknown key below an optional one": (
        "identity: {native: {colum: id}}",
        "identity: {native: id}",
        6,
        "identity.native.colum",
        "Did you mean `column`?",
    ),
    "expectation of nothing": (
        "identity: {native: id}\nexpect: {rows: {of: 7}}",
        "identity: {native: id}",
        7,
        "expect.rows",
        "says nothing. Give `min`, `max` or both, such as {min: 0.5, max: 2}.",
    ),
    "bound that every ordinary partition breaks": (
        "identity: {native: id}\nexpect: {rows: {min: 1.5}}",
        "identity: {native: id}",
        7,
        "expect.rows",
        "`min` is a multiple of the median and must be at most 1.",
    ),
    "upper bound below the median": (
        "identity: {native: id}\nexpect: {rows: {max: 0.5}}",
        "identity: {native: id}",
        7,
        "expect.rows",
        "`max` is a multiple of the median and must be at least 1.",
    ),
    "bound that is no number": (
        "identity: {native: id}\nexpect: {rows: {min: half}}",
        "identity: {native: id}",
        7,
        "expect.rows.min",
        "must be a number; found 'half'.",
    ),
    "duration without a unit": (
        "identity: {native: id}\nexpect: {delivered_within: 2}",
        "identity: {native: id}",
        7,
        "expect.delivered_within",
        "write days or hours, such as 2d or 36h.",
    ),
    "expectation with another name": (
        "identity: {native: id}\nexpect: {row: {min: 0.5}}",
        "identity: {native: id}",
        7,
        "expect.row",
        "Did you mean `rows`?",
    ),
    "neighbours of a whole": (
        "files: legacy/all.csv\npartitions: {grain: whole}\nexpect: {rows: {min: 0.5}}",
        "files: legacy/{year}-{month}.csv\npartitions: {grain: month, from: 2024-01}",
        5,
        "expect.rows",
        "grain `whole` has no neighbours to compare with. Remove it.",
    ),
    "missing key": ("", "    subject: account\n", 8, "usage[0].subject", "is missing. Add it."),
    "empty key": ("subject:", "subject: account", 9, "usage[0].subject", "is empty. Write a value"),
    "unknown zone": (
        "zone: New York",
        "zone: UTC",
        5,
        "zone",
        "`New York` is no time zone. Use an IANA name such as America/New_York.",
    ),
    "zone that only this machine knows": (
        "zone: localtime",
        "zone: UTC",
        5,
        "zone",
        "is no time zone",
    ),
    "unknown choice": (
        "format: {family: csv}",
        "format: {family: delimited}",
        2,
        "format.family",
        "'avro', 'delta', 'sql'; found 'csv'.",
    ),
    "key of another family": (
        "format: {family: json_lines, quote: '\"'}",
        "format: {family: delimited}",
        2,
        "format.quote",
        "is not a known key. The keys here are encoding, family, nulls.",
    ),
    "no family": (
        "format: {encoding: utf-8}",
        "format: {family: delimited}",
        2,
        "format.family",
        "is missing. Add it.",
    ),
    "text instead of keys": (
        "format: csv",
        "format: {family: delimited}",
        2,
        "format",
        "must have keys of its own; found 'csv'.",
    ),
    "keys instead of text": (
        "zone: {name: UTC}",
        "zone: UTC",
        5,
        "zone",
        "must be one text; found {'name': 'UTC'}.",
    ),
    "text instead of a list": (
        "format: {family: delimited, nulls: NULL}",
        "format: {family: delimited}",
        2,
        "format.nulls",
        "must be a list, such as [a, b]; found 'NULL'.",
    ),
    "no date": (
        "partitions: {grain: month, from: January}",
        "partitions: {grain: month, from: 2024-01}",
        4,
        "partitions.from",
        "must be a date such as 2013-02-01; found 'January'.",
    ),
    "no first day": (
        "partitions: {grain: month, from: 2024-01-15}",
        "partitions: {grain: month, from: 2024-01}",
        4,
        "partitions",
        "`from` must be the first day of a month.",
    ),
    "no share": (
        "zone: UTC\nmax_rejected: few",
        "zone: UTC",
        6,
        "max_rejected",
        "such as 0.1% or 0.001",
    ),
    "wrong placeholders": (
        "files: legacy/{year}-{day}.csv",
        "files: legacy/{year}-{month}.csv",
        3,
        "files",
        "grain month takes {year} {month} placeholders; found legacy/{year}-{day}.csv",
    ),
    "no identity": ("", "identity: {native: id}\n", 1, "identity", "Say what makes a row itself"),
    "a bare snapshot": (
        "identity: snapshot",
        "identity: {native: id}",
        6,
        "identity",
        "a snapshot needs its scope: `{snapshot: {scope: partition}}`.",
    ),
    "a snapshot of nothing": (
        "identity: {snapshot: {scope: []}}",
        "identity: {native: id}",
        6,
        "identity.snapshot",
        "write `partition`",
    ),
    "a snapshot without a scope": (
        "identity: {snapshot: {shrink: 5%}}",
        "identity: {native: id}",
        6,
        "identity.snapshot.scope",
        "",
    ),
    "a snapshot that shrinks by more than all": (
        "identity: {snapshot: {scope: partition, shrink: 110%}}",
        "identity: {native: id}",
        6,
        "identity.snapshot.shrink",
        "above 100%",
    ),
    "ids across subjects of rows without ids": (
        "identity: {snapshot: {scope: partition}, across_subjects: true}",
        "identity: {native: id}",
        6,
        "identity",
        "a snapshot without `row` has no ids",
    ),
    "two kinds of identity": (
        "identity: {native: id, composite: [id]}",
        "identity: {native: id}",
        6,
        "identity",
        "needs exactly one of native, composite, multiset and snapshot.",
    ),
    "unknown meter": (
        "meter: cals",
        "meter: calls",
        8,
        "usage[0].meter",
        "`cals` is not in meters/ (known: calls)",
    ),
    "unknown dimension": (
        "region: region\n      tier: tier",
        "region: region",
        14,
        "usage[0].dimensions.tier",
        "meter calls has no such dimension (it has region, plan).",
    ),
    "required dimension not mapped": (
        "plan: plan",
        "region: region",
        12,
        "usage[0].dimensions",
        "meter calls requires `region`. Map it, such as `region: <column>`.",
    ),
    "key that stands twice": (
        "zone: UTC\nzone: UTC",
        "zone: UTC",
        6,
        "zone",
        "stands twice, first in line 5. Keep one.",
    ),
    "bad regular expression": (
        'subject: {column: account, extract: "(a"}',
        "subject: account",
        9,
        "usage[0].subject.extract",
        "not a regular expression: unclosed group.",
    ),
    "expression that only Python knows": (
        'subject: {column: account, extract: "(a)(?=b)"}',
        "subject: account",
        9,
        "usage[0].subject.extract",
        "look-ahead and look-behind, is not supported",
    ),
    "two groups": (
        'subject: {column: account, extract: "(a)(b)"}',
        "subject: account",
        9,
        "usage[0].subject.extract",
        "needs exactly one group in parentheses",
    ),
    "brace left open": (
        'subject: {template: "{account"}',
        "subject: account",
        9,
        "usage[0].subject.template",
        "expected '}' before end of string",
    ),
    "template of no column": (
        'subject: {template: "acme"}',
        "subject: account",
        9,
        "usage[0].subject.template",
        "Use `constant`",
    ),
    "template with a format": (
        'subject: {template: "{account:>5}"}',
        "subject: account",
        9,
        "usage[0].subject.template",
        "write each column as {name}",
    ),
    "fraction of a second as Python writes it": (
        'timestamp: {column: at, format: "%Y-%m-%d %H:%M:%S.%f"}',
        "timestamp: at",
        11,
        "usage[0].timestamp.format",
        "%f reads .5 as 5 nanoseconds; write %.f",
    ),
    "zone name that would be ignored": (
        'timestamp: {column: at, format: "%Y-%m-%d %H:%M %Z"}',
        "timestamp: at",
        11,
        "usage[0].timestamp.format",
        "%Z would be ignored",
    ),
    "format without a date": (
        'timestamp: {column: at, format: "%H:%M"}',
        "timestamp: at",
        11,
        "usage[0].timestamp.format",
        "does not give a date",
    ),
    "twelve hours without AM and PM": (
        'timestamp: {column: at, format: "%d.%m.%Y %I:%M"}',
        "timestamp: at",
        11,
        "usage[0].timestamp.format",
        "12-hour directive and meridiem directive",
    ),
    "sum with an unknown zero": (
        "quantity: {sum: [a, b], null_as_zero: [c]}",
        "quantity: amount",
        10,
        "usage[0].quantity",
        "`null_as_zero` names c, which `sum` does not",
    ),
    "sum with extract": (
        'quantity: {sum: [a, b], extract: "(.)"}',
        "quantity: amount",
        10,
        "usage[0].quantity",
        "`sum` takes whole columns; remove `extract` and `map`.",
    ),
    "two origins": (
        "subject: {column: a, constant: b}",
        "subject: account",
        9,
        "usage[0].subject",
        "needs exactly one of column, constant, template, expression.",
    ),
    "revision without an order": (
        "zone: UTC\ncorrections: {revision: updated}",
        "zone: UTC",
        6,
        "corrections.revision",
        "texts have no order to trust",
    ),
    "neither revision nor order": (
        "zone: UTC\ncorrections: {}",
        "zone: UTC",
        6,
        "corrections",
        "needs exactly one of revision and order.",
    ),
    "both revision and order": (
        "zone: UTC\ncorrections: {order: partitions, revision: {column: rev, type: number}}",
        "zone: UTC",
        6,
        "corrections",
        "needs exactly one of revision and order.",
    ),
    "order of nothing": (
        "zone: UTC\ncorrections:\n  order: []",
        "zone: UTC",
        7,
        "corrections.order",
        "must be `partitions`, or a list of file patterns, oldest first.",
    ),
    "order by something else": (
        "zone: UTC\ncorrections: {order: arrival}",
        "zone: UTC",
        6,
        "corrections.order",
        "must be `partitions`, or a list of file patterns, oldest first. Found: 'arrival'.",
    ),
    "order with placeholders": (
        "zone: UTC\ncorrections: {order: ['legacy/{year}-{month}.csv']}",
        "zone: UTC",
        6,
        "corrections.order",
        "takes no placeholders; write `*` in their place.",
    ),
    "ids of a multiset": (
        "identity: {multiset: true, across_subjects: true}",
        "identity: {native: id}",
        6,
        "identity",
        "a multiset has no ids; remove `across_subjects`.",
    ),
    "unknown function": (
        "subject: {expression: coalesc(account, a)}",
        "subject: account",
        9,
        "usage[0].subject.expression",
        "at character 1: there is no function `coalesc`. Did you mean coalesce?",
    ),
    "an expression of texts where a number is needed": (
        "quantity: {expression: amount + lower(unit)}",
        "quantity: amount",
        10,
        "usage[0].quantity.expression",
        "at character 10: `+` takes a number here, and `lower(unit)` is a text. Write number(",
    ),
    "a condition that is none": (
        "quantity: amount\n    condition: amount",
        "quantity: amount",
        11,
        "usage[0].condition",
        "at character 1: `amount` is not true or false. Compare it",
    ),
    "a column that the format does not have": (
        "format: {family: delimited, header: false, columns: [account, at, region, id, n]}\n"
        "description: x",
        "format: {family: delimited}",
        2,
        "format",
        "gives no column amount",
    ),
    "a counter of nothing": (
        "quantity: {column: amount, cumulative: {reset: zero}}",
        "quantity: amount",
        10,
        "usage[0].quantity.cumulative.by",
        "is missing. Add it.",
    ),
    "a counter of another kind of reset": (
        "quantity: {column: amount, cumulative: {by: id, reset: guess}}",
        "quantity: amount",
        10,
        "usage[0].quantity.cumulative.reset",
        "must be 'reject' or 'zero'; found 'guess'.",
    ),
    "a roll-over that the meter cannot hold": (
        "quantity: {column: amount, cumulative: {by: id, rolls_over_at: 0.0000000001}}",
        "quantity: amount",
        10,
        "usage[0].quantity.cumulative.rolls_over_at",
        "38 digits in all and 9 after the point",
    ),
    "a reading that is a constant": (
        "quantity: {constant: 1, cumulative: {by: id}}",
        "quantity: amount",
        10,
        "usage[0].quantity",
        "no reading of a counter",
    ),
    "bad YAML": ("zone: [UTC", "zone: UTC", 6, "", "not valid YAML"),
    "neither usage nor totals": (
        "usage: []\n",
        SOURCE[SOURCE.index("usage:") :],
        1,
        "",
        "has neither",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_in_a_source_is_told_at_its_line(make_root: MakeRoot, case: str) -> None:
    written, instead_of, line, key, message = CASES[case]
    assert SOURCE.count(instead_of) == 1
    found = problems(make_root, source=SOURCE.replace(instead_of, written))
    matching = [p for p in found if message in p.message]
    assert [(p.file, p.line, p.key) for p in matching] == [("sources/old.yaml", line, key)], found
    assert all(p.message == p.message.strip() and "\n" not in p.message for p in found)


def test_a_time_without_offset_needs_a_declared_zone(make_root: MakeRoot) -> None:
    format_ = 'timestamp: {column: at, format: "%Y-%m-%d"}'
    naive = SOURCE.replace("timestamp: at", format_).replace("zone: UTC\n", "")
    (found,) = problems(make_root, source=naive)
    assert (found.line, found.key) == (10, "usage[0].timestamp.format")
    assert found.message.endswith("nobody knows whose clock it was; declare `zone`.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 2 * *", "must have five fields"),
        ("0 24 * * *", "the hour beyond 0 to 23"),
        ("0 2 * * mon", "the day of the week that is no number"),
        ("*/0 2 * * *", "a step of 0"),
        ("0 2 30 2 *", "names a day that its months do not have"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(make_root: MakeRoot, text: str, message: str) -> None:
    (found,) = problems(make_root, source=f'schedule: "{text}"\n{SOURCE}')
    assert (found.line, found.key) == (1, "schedule")
    assert message in found.message


def test_one_partition_has_no_order_among_partitions(make_root: MakeRoot) -> None:
    whole = SOURCE.replace("{grain: month, from: 2024-01}", "{grain: whole}").replace(
        "{year}-{month}", "all"
    )
    (found,) = problems(make_root, source=whole + "corrections:\n  order: partitions\n")
    assert (found.file, found.line, found.key) == ("sources/old.yaml", 15, "corrections.order")
    assert found.message.endswith("List file patterns, oldest first, or declare `revision`.")


METER_CASES = {
    "unknown aggregation": (
        "unit: call",
        "unit: call\naggregation: median",
        3,
        "aggregation",
        "must be 'sum'",
    ),
    "no unit": ("unit: call", "", 1, "unit", "is missing. Add it."),
    "decimals in words": (
        "unit: call",
        "unit: call\ndecimals: two",
        3,
        "decimals",
        "must be a whole number; found 'two'.",
    ),
    "too many decimals": (
        "unit: call",
        "unit: call\ndecimals: 19",
        3,
        "decimals",
        "must be at most 18; found '19'.",
    ),
    "dimension twice": (
        "plan",
        "region",
        1,
        "",
        "dimension `region` is declared twice (SQL takes no note",
    ),
    "reserved dimension": ("plan", "subject", 5, "dimensions[1].name", "`subject` is reserved"),
    "neither true nor false": (
        "required: false",
        "required: maybe",
        5,
        "dimensions[1].required",
        "must be true or false",
    ),
}


@pytest.mark.parametrize("case", METER_CASES)
def test_a_mistake_in_a_meter_is_told_at_its_line(make_root: MakeRoot, case: str) -> None:
    instead_of, written, line, key, message = METER_CASES[case]
    (found,) = problems(make_root, meter=METER.replace(instead_of, written))
    assert (found.file, found.line, found.key) == ("meters/calls.yaml", line, key)
    assert message in found.message


def test_all_mistakes_of_all_files_are_told_at_once(make_root: MakeRoot) -> None:
    two_usages = SOURCE + SOURCE[SOURCE.index("  - meter") :]
    root = make_root(
        {"calls": METER, "bytes": "name: bytes\n", "broken": "name: [\n"},
        {
            "a": SOURCE.replace("source: old", "source: a").replace("meter: calls", "meter: calz"),
            "b": two_usages.replace("source: old", "source: b").replace("{year}-{month}", "all"),
            "c": SOURCE.replace("old", "c").replace("UTC", "Nowhere").replace("at\n", "\n"),
            "d": SOURCE.replace("source: old", "source: d").replace("meter: calls", "meter: bytes"),
            "e": SOURCE.replace("source: old", "source: a"),
        },
    )
    with pytest.raises(ConfigurationError) as error:
        load_catalog(root)
    told = [(p.file, p.line, p.key) for p in error.value.problems]
    assert told == [
        ("meters/broken.yaml", 2, ""),
        ("meters/bytes.yaml", 1, "unit"),
        ("sources/a.yaml", 8, "usage[0].meter"),
        ("sources/b.yaml", 3, "files"),
        ("sources/b.yaml", 14, "usage[1].part"),
        ("sources/c.yaml", 5, "zone"),
        ("sources/c.yaml", 11, "usage[0].timestamp"),
        ("sources/e.yaml", 1, "source"),
    ]
    assert str(error.value).startswith("8 mistakes in the configuration:\n  meters/broken.yaml:2: ")
    assert "  sources/b.yaml:14: usage[1].part: usage[0] feeds `calls` too" in str(error.value)


def test_a_root_that_is_not_there_says_which_folders_it_needs(make_root: MakeRoot) -> None:
    root = make_root({}, {})
    (root.path / "meters").rmdir()
    with pytest.raises(ConfigurationError, match=r"has no folder meters/\. Create it"):
        load_catalog(root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("NO", "NO"), ("1.10", "1.10"), ("0x1F", "0x1F"), ("2024-01-05", "2024-01-05"), ("on", "on")],
)
def test_a_constant_stays_as_it_is_written(make_root: MakeRoot, text: str, expected: str) -> None:
    written = SOURCE.replace("region: region", f"region: {{constant: {text}}}")
    source = load_catalog(make_root({"calls": METER}, {"old": written})).sources["old"]
    assert source.usage[0].dimensions["region"].constant == expected


@pytest.mark.parametrize(
    ("partitions", "files", "keys"),
    [
        ({"grain": "whole"}, "a", ["whole"]),
        (
            {"grain": "day", "from": "2024-02-28", "to": "2024-03-02"},
            "{year}{month}{day}",
            ["2024-02-28", "2024-02-29", "2024-03-01"],
        ),
        ({"grain": "month", "from": "2023-12"}, "{year}{month}", ["2023-12", "2024-01", "2024-02"]),
        ({"grain": "year", "from": "2022", "to": "2024"}, "{year}", ["2022", "2023"]),
    ],
)
def test_partitions_are_half_open_and_reach_to_today(
    partitions: dict[str, Any], files: str, keys: list[str]
) -> None:
    declared = yaml.safe_load(SOURCE) | {"partitions": partitions, "files": files}
    assert Source.model_validate(declared).partition_keys(date(2024, 2, 10)) == keys
