"""A number means what its source declares; a text that may mean another number is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.sources.mapping import with_quantity
from spanner_pipeline_tests.conftest import MakeRoot
from spanner_pipeline_tests.lake_reading import events, quarantined, run
from spanner_pipeline_tests.sources.test_mapping import METER, source

EUROPE = {"decimal": ",", "thousands": "."}


def read(declared: dict[str, Any], *values: str, decimals: int = 3) -> list[Decimal | None]:
    """The quantities of one column."""
    frame = pl.DataFrame({"raw.n": values}, schema={"raw.n": pl.String})
    quantity = Quantity.model_validate({"column": "n"} | declared)
    found: list[Decimal | None] = with_quantity(frame, quantity, decimals)["quantity"].to_list()
    return found


@pytest.mark.parametrize(
    ("declared", "text", "expected"),
    [
        ({}, "1234.5", "1234.5"),
        ({}, "1,234.5", None),
        ({}, "1234,5", None),
        ({}, "(5)", None),
        ({}, "5-", None),
        ({}, "$5", None),
        ({}, "5%", None),
        ({"thousands": ","}, "1,234,567.5", "1234567.5"),
        ({"thousands": ","}, "1234567.5", "1234567.5"),
        ({"thousands": ","}, "-1,234", "-1234"),
        ({"thousands": ","}, "1,234E2", "123400"),
        ({"thousands": ","}, "1,23", None),
        ({"thousands": ","}, "1,2,3", None),
        ({"thousands": ","}, "1234,567", None),
        ({"thousands": ","}, ",123", None),
        ({"thousands": ","}, "1,234.567,890", None),
        ({"thousands": ","}, "1,,234", None),
        (EUROPE, "1.234.567,5", "1234567.5"),
        (EUROPE, "1.234", "1234"),
        (EUROPE, "1.5", None),
        (EUROPE, "1,5", "1.5"),
        (EUROPE, ",5", "0.5"),
        (EUROPE, "1,5e2", "150"),
        (EUROPE, "1,234.5", None),
        (EUROPE, "", None),
        (EUROPE, ",", None),
        ({"decimal": ","}, "1.234", None),
        ({"decimal": ","}, "1234,5", "1234.5"),
        ({"decimal": ",", "thousands": " "}, "1 234,5", "1234.5"),
        ({"decimal": ",", "thousands": " "}, "1\u00a0234\u202f567,5", "1234567.5"),
        ({"decimal": ",", "thousands": " "}, "1 23,5", None),
        ({"thousands": "'"}, "1'234.5", "1234.5"),
        ({"thousands": "'"}, "1\u2019234.5", "1234.5"),
        ({"negative": "parentheses"}, "(1.5)", "-1.5"),
        ({"negative": "parentheses"}, "-1.5", "-1.5"),
        ({"negative": "parentheses"}, "(-1.5)", None),
        ({"negative": "parentheses"}, "(1.5", None),
        ({"negative": "parentheses", "thousands": ","}, "(1,234.5)", "-1234.5"),
        ({"negative": "trailing_minus"}, "1.5-", "-1.5"),
        ({"negative": "trailing_minus"}, "-1.5-", None),
        ({"negative": "trailing_minus"}, "(1.5)", None),
        ({"strip": ["$"]}, "$1.5", "1.5"),
        ({"strip": ["$"]}, "-$1.5", "-1.5"),
        ({"strip": ["$"]}, "$-1.5", "-1.5"),
        ({"strip": ["$"]}, "$$1.5", None),
        ({"strip": ["$"]}, "$", None),
        ({"strip": ["$"]}, "1$5", None),
        ({"strip": ["$"]}, "€1.5", None),
        ({"strip": ["%"]}, "12.5 %", "12.5"),
        ({"strip": ["EUR", "€"], **EUROPE}, "1.234,50\u00a0€", "1234.5"),
        ({"strip": ["EUR", "€"], **EUROPE}, "EUR 1.234,50", "1234.5"),
        ({"strip": ["$"], "negative": "parentheses"}, "($1.5)", "-1.5"),
        ({"strip": ["$"], "negative": "parentheses"}, "$(1.5)", "-1.5"),
    ],
)
def test_a_number_is_read_as_declared_or_not_at_all(
    declared: dict[str, Any], text: str, expected: str | None
) -> None:
    assert read(declared, text) == [None if expected is None else Decimal(expected)]


@settings(max_examples=300, deadline=None)
@given(
    value=st.decimals(places=3, min_value=-(10**20), max_value=10**20, allow_nan=False),
    declared=st.fixed_dictionaries(
        {
            "decimal": st.sampled_from(".,"),
            "thousands": st.sampled_from(["", " ", "'", ".", ","]),
            "negative": st.sampled_from(["minus", "parentheses", "trailing_minus"]),
            "strip": st.sampled_from([[], ["$"], ["USD", "%"]]),
        }
    ).filter(lambda d: d["decimal"] != d["thousands"]),
)
def test_every_number_comes_back_from_its_declared_spelling(
    value: Decimal, declared: dict[str, Any]
) -> None:
    text = f"{abs(value):,.3f}".replace(",", "_").replace(".", declared["decimal"])
    text = text.replace("_", declared["thousands"])
    text = f"{text} {declared['strip'][-1]}" if declared["strip"] else text
    if value < 0:
        wrap = {"minus": "-{}", "parentheses": "({})", "trailing_minus": "{}-"}
        text = wrap[declared["negative"]].format(text)
    assert read(declared, text) == [value]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"thousands": "."}, "`thousands` and `decimal` are both `.`"),
        ({"thousands": "0"}, "is part of numbers"),
        ({"thousands": "-"}, "is part of numbers"),
        ({"decimal": ";"}, "Input should be"),
        ({"strip": ["1"]}, "no number is made of"),
        ({"strip": [""]}, "no number is made of"),
    ],
)
def test_a_spelling_that_could_not_be_read_is_refused(
    declared: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message.replace(".", r"\.")):
        Quantity.model_validate({"column": "n"} | declared)


def test_a_number_that_is_spelled_otherwise_is_quarantined_as_it_stood(make_root: MakeRoot) -> None:
    declared = source({"quantity": {"column": "n", "thousands": ","}})
    rows = ['1,x,"1,234.5",2024-01-01 00:00', '2,x,"1,23",2024-01-01 00:00']
    root = make_root(
        {"calls": METER}, {"old": declared}, {"a.csv": "\n".join(["id,who,n,at", *rows, ""])}
    )
    run(root, "old")
    assert events(root, "calls")["quantity"].to_list() == [Decimal("1234.50")]
    kept = quarantined(root).select("reason_code", "value", "original").row(0)
    assert kept == ("quantity_not_a_number", "1,23", rows[1])
