"""Columns at fixed places, in characters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from spanner_pipeline.configuration.source import Source
from spanner_pipeline_tests.sources.reading import make_source, read


def column(name: str, start: int, width: int) -> dict[str, Any]:
    return {"name": name, "start": str(start), "width": str(width)}


WHO, N = column("who", 1, 6), column("n", 8, 4)


def source(columns: Any = (N, WHO), **more: Any) -> Source:
    return make_source(["who", "n"], family="fixed_width", **{"columns": list(columns)} | more)


def test_columns_are_cut_at_characters_and_lose_their_padding(tmp_path: Path) -> None:
    text = "HDR 2\n  Zoë  0012\r\na b c  1   \n\n        1.5    \nTRL 3\n\x1a"
    framed = source(preamble=1, footer={"starts_with": "TRL"}, nulls=["0012", ""])
    found = read(tmp_path, text, framed)
    assert found.select("line", "raw.who", "raw.n").rows() == [
        (2, "Zoë", None),
        (3, "a b c", "1"),
        (5, None, "1.5"),
    ]
    assert not found["malformed"].any()


@pytest.mark.parametrize(
    "line", ["acme   12 ", "acme    123x", "acme", "\t12", "acme   1234 5", "é"]
)
def test_a_line_of_another_length_is_malformed(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, f"{line}\nacme   1234\n", source())
    assert found["malformed"].to_list() == [True, False]
    assert found["original"][0] == line


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([WHO, column("n", 6, 4)], "`n` starts at 6, inside `who`, which goes to 6"),
        ([WHO, WHO | {"start": "9"}], "`columns` names who twice"),
        ([WHO], "gives no column n"),
        ([], "at least 1 item"),
        ([WHO, column("n", 0, 4)], "greater than or equal to 1"),
    ],
)
def test_places_that_cannot_be_are_refused_on_load(columns: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        source(columns)
