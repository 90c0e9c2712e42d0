"""Lines by a declared regular expression: checked on load, matched from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from spanner_pipeline_tests.sources.reading import make_source, read

PATTERN = r"(?<at>\S+) (?P<who>[^:]+):(?<n>\d+)(?: (?<note>.*))?"
COLUMNS = ["who", "n", "note"]


def test_groups_are_columns_and_blank_lines_are_none(tmp_path: Path) -> None:
    text = "\n2026 a b:1\r\n\n2026 é:٣2 x  y \n2026 c:3 "
    found = read(tmp_path, text, make_source(COLUMNS, family="pattern", pattern=PATTERN))
    assert found["line"].to_list() == [2, 4, 5]
    assert found.select("^raw.[wn].*$").rows() == [
        ("a b", "1", None),
        ("é", "٣2", "x  y "),
        ("c", "3", None),
    ]
    assert not found["malformed"].any()


@pytest.mark.parametrize(
    "line", ["x 2026 a:1", "2026 a:1x", "2026 a:", " ", "2026\r a:1", "# 2026", "2026 a:1\0"]
)
def test_a_line_must_match_from_end_to_end(tmp_path: Path, line: str) -> None:
    """An alternative at the top is held together, and so is a multi-line flag."""
    pattern = r"(?m)never|[0-9]+ (?<who>[a-z]+):(?<n>[0-9]+)$"
    source = make_source(["who", "n"], family="pattern", pattern=pattern)
    found = read(tmp_path, f"{line}\n2026 a:1\n", source)
    assert found["malformed"].to_list() == [True, False]
    assert found["original"].to_list() == [line, "2026 a:1"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?<who>a", "not a regular expression: unclosed group"),
        ("(?<who>a)(?=b)", "not a regular expression: look-around"),
        ("(?<who>a)(b)(c)", r"without a name \(number 2, number 3\)"),
        ("who", "has no group"),
        ("(?<who>a)(?<who>b)", "not a regular expression: duplicate capture group name"),
        ("(?x) (?<who>a) # the customer", "Remove a comment"),
        ("(?<n>a)", "gives no column who, which is read below. It gives n"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused_on_load(pattern: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make_source(["who"], family="pattern", pattern=pattern)
