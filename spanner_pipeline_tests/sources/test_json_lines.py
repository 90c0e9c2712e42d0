"""JSON Lines: numbers keep their digits, paths reach into objects, other lines are malformed."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline_tests.conftest import MakeRoot
from spanner_pipeline_tests.lake_reading import events, run
from spanner_pipeline_tests.sources.reading import make_source, read


@pytest.mark.parametrize(
    "number",
    ["12345678901234567890.123456789", "1.10", "-0", "0.1", "1E-7", "12e+3", "123456789012345678"],
)
def test_a_number_keeps_the_digits_of_the_file(tmp_path: Path, number: str) -> None:
    line = f'{{"id": 1, "data": {{"n": {number}, "list": [1, {number}]}}}}\n'
    found = read(tmp_path, line, make_source(["id", "data.n"], family="json_lines"))
    assert found["raw.data.n"].to_list() == [number]
    assert found["original"].to_list() == [line.rstrip("\n")]


def test_numbers_reach_the_lake_exactly(make_root: MakeRoot) -> None:
    numbers = ["12345678901234567890.123456789", "1.10", "2.5e-8", "3E2"]
    lines = "".join(
        f'{{"id": {n}, "at": "2024-01-05T10:00:00Z", "who": "acme", "n": {number}}}\n'
        for n, number in enumerate(numbers)
    )
    source = {
        "source": "s",
        "format": {"family": "json_lines"},
        "files": "legacy/a.jsonl",
        "partitions": {"grain": "whole"},
        "identity": {"native": {"column": "id", "type": "number"}},
        "usage": [{"meter": "m", "subject": "who", "quantity": "n", "timestamp": "at"}],
    }
    root = make_root({"m": {"name": "m", "unit": "u"}}, {"s": source}, {"a.jsonl": lines})
    run(root, "s")
    assert events(root, "m").sort("source_line")["quantity"].to_list() == [
        Decimal(number) for number in numbers
    ]


VALUE = st.one_of(
    st.text(max_size=8), st.integers(), st.decimals(allow_nan=False, allow_infinity=False)
)


@settings(max_examples=200, deadline=None)
@given(values=st.lists(VALUE, min_size=1, max_size=5), ascii_only=st.booleans())
def test_any_text_and_number_is_read_as_it_is_meant(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], ascii_only: bool
) -> None:
    def spell(value: object) -> str:
        return json.dumps(value, ensure_ascii=ascii_only) if isinstance(value, str) else str(value)

    values = [v for v in values if not isinstance(v, str) or "\x00" not in v] or ["x"]
    lines = "".join(f'{{"id":"x","v":{spell(value)},"z":[{spell(value)}]}}\n' for value in values)
    source = make_source(["id", "v"], family="json_lines", nulls=[])
    found = read(tmp_path_factory.mktemp("json"), lines, source)
    assert found["raw.v"].to_list() == [v if isinstance(v, str) else str(v) for v in values]
    assert not found["malformed"].any()


def test_texts_flags_nulls_and_nested_values(tmp_path: Path) -> None:
    line = r'{"id":"5\" \u00e9\n","data":{"on":true,"off":null,"of":{"a":[1.10]}}}' + "\n"
    columns = ["id", "data.on", "data.off", "data.of", "data.none.below"]
    found = read(tmp_path, line, make_source(columns, family="json_lines"))
    assert found.select(f"raw.{name}" for name in columns).row(0) == (
        '5" é\n',
        "true",
        None,
        '{"a":["1.10"]}',
        None,
    )


@pytest.mark.parametrize(
    "line",
    ['{"id": 1', "[1]", "5", '"{text"', "null", '{"id": 1} {"id": 2}', "id=1", '{"id": NaN}'],
)
def test_what_is_no_object_is_malformed(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, f'{{"id": 1}}\n{line}\n', make_source(["id"], family="json_lines"))
    assert found["malformed"].to_list() == [False, True]
    assert found["original"][1] == line


@pytest.mark.parametrize(
    ("line", "malformed"),
    [
        (r'{"n": 1, "n": 2}', True),
        (r'{"n": 0, "data": {"n": 1, "\u006e": 2}}', True),
        (r'{"id\u003a": ":", "n": 1, "id\u003A": ":"}', True),
        (r'{"id\u003a": ": \\u003a", "n": {"id\u003A": [":", {"n": 1}, {"n": 2}]}}', False),
    ],
)
def test_a_key_that_an_object_has_twice_makes_its_row_malformed(
    tmp_path: Path, line: str, malformed: bool
) -> None:
    found = read(tmp_path, line + "\n", make_source(["n"], family="json_lines"))
    assert found["malformed"].to_list() == [malformed]


def test_an_optional_key_may_be_in_no_row(tmp_path: Path) -> None:
    found = read(tmp_path, '{"id": 1}\n', make_source(["id", "promo"], family="json_lines"))
    assert found["raw.promo"].to_list() == [None]


def test_an_essential_key_that_is_in_no_row_is_another_file(tmp_path: Path) -> None:
    with pytest.raises(SourceFileError, match="no row has id"):
        read(tmp_path, '{"key": 1}\n', make_source(["id"], family="json_lines"))


def test_content_is_all_of_a_row_whatever_the_source_reads_of_it(tmp_path: Path) -> None:
    lines = '{"id": 1, "n": 2}\n{"id": 1, "n": 3}\n{"id":1,"n":2}\n'
    narrow = read(tmp_path, lines, make_source(["id"], "multiset", family="json_lines"))
    wide = read(tmp_path, lines, make_source(["id", "n"], "multiset", family="json_lines"))
    assert narrow["content"].to_list() == wide["content"].to_list()
    assert narrow["content"][0] == narrow["content"][2] != narrow["content"][1]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("items[0].n", "1.10"),
        ("items[1].n", "2"),
        ("items[2].n", None),
        ('labels["service.name"]', "api"),
        ("labels['service.name']", "api"),
        ('labels["it\'s"].x', "y"),
        ('["a.b"][0]', "z"),
        ("grid[1][0]", "4"),
        ("odd[key", "w"),
    ],
)
def test_a_path_reaches_into_arrays_and_odd_keys(
    tmp_path: Path, path: str, value: str | None
) -> None:
    line = (
        '{"id": 1, "items": [{"n": 1.10}, {"n": 2}], "grid": [[3], [4]], "odd[key": "w", '
        '"labels": {"service.name": "api", "it\'s": {"x": "y"}}, "a.b": ["z"]}\n'
    )
    found = read(tmp_path, line, make_source(["id", path], family="json_lines"))
    assert found[f"raw.{path}"].to_list() == [value]
