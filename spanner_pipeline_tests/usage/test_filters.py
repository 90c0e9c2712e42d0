"""Filters mean what Open Spanner's mean, as examples and against a plain model."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.filters import (
    Condition,
    FilterError,
    Group,
    Texts,
    UnknownFieldError,
    parse_filters,
)
from spanner_pipeline.usage.query import query_usage
from spanner_pipeline_tests.usage.events import Event, a_meter, fill

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC)
METER = a_meter(
    dimensions=[
        {"name": name, "type": kind, "required": False}
        for name, kind in (("plan", "string"), ("http.status", "number"), ("trial", "boolean"))
    ],
)
NOON = "2024-01-01T12:00:00Z"
EVENTS = [
    Event(NOON, 1, "acme", {"plan": "pro", "http.status": Decimal(200), "trial": True}),
    Event(NOON, 2, "acme", {"plan": "free", "http.status": Decimal(404)}),
    Event("2024-01-02T00:00:00Z", 4, "globex", {"plan": "Pro_2", "http.status": Decimal(90)}),
    Event("2024-01-02T00:00:01Z", 8, "initech", {"trial": False}),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    return fill(tmp_path_factory.mktemp("filters"), METER, EVENTS)


def passing(root: DataRoot, *texts: str) -> set[int]:
    """Which events pass, by their quantity, which is a power of two."""
    found = query_usage(root, METER, START, END, "month", where=parse_filters(texts))
    total = int(found["quantity"].sum())
    return {bit for bit in (1, 2, 4, 8) if total & bit}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plan=pro", {1}),
        ("plan=<nil>", {8}),
        ("plan!=pro", {2, 4}),  # what lacks the field never differs from it
        ("plan?", {1, 2, 4}),
        ("plan~r", {1, 2, 4}),
        ("plan~pr_", set()),  # no wildcards
        ("plan~PRO", set()),
        ("metadata.plan>pro", set()),
        ("plan<pro", {2, 4}),  # by code point: capitals first
        ("http.status=200", {1}),
        ("http.status>=200", {1, 2}),
        ("http.status>90", {1, 2}),  # as numbers, not as texts
        ("http.status~0", {1, 2, 4}),
        ("trial=true", {1}),
        ("trial!=true", {8}),
        ("subject>acme", {4, 8}),
        ("quantity<=2", {1, 2}),
        ("timestamp>2024-01-01T12:00:00Z", {4, 8}),
        ("event_time<=2024-01-02T01:00:00+01:00", {1, 2, 4}),
        ("idempotency_key~000003", {8}),
        ("metadata.import_batch?", {1, 2, 4, 8}),
    ],
)
def test_a_short_filter(root: DataRoot, text: str, expected: set[int]) -> None:
    assert passing(root, text) == expected


def test_several_must_all_hold_and_one_field_may_have_several_texts(root: DataRoot) -> None:
    assert passing(root, "plan=pro", "plan=free") == {1, 2}
    assert passing(root, "plan=pro", "plan=free", "subject=acme", "trial?") == {1}
    assert passing(root) == {1, 2, 4, 8}


def condition(field: str, op: str, value: str) -> str:
    return f'{{"type":"condition","field":"{field}","op":"{op}","value":{value}}}'


def group(op: str, *rules: str) -> str:
    return f'{{"type":"group","op":"{op}","rules":[{",".join(rules)}]}}'


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (condition("metadata.http.status", "in", "[200,90]"), {1, 4}),
        (condition("metadata.http.status", "eq", '"200"'), set()),
        (condition("metadata.http.status", "neq", '"200"'), {1, 2, 4}),
        (condition("metadata.http.status", "in", '["many",404]'), {2}),
        (condition("metadata.trial", "eq", "true"), {1}),
        (condition("metadata.trial", "eq", "1"), set()),
        (condition("meter", "eq", '"calls"'), {1, 2, 4, 8}),
        (condition("quantity", "gt", "1.999999999"), {2, 4, 8}),
        (
            group(
                "or",
                condition("metadata.plan", "eq", '"free"'),
                group(
                    "and",
                    condition("subject", "neq", '"acme"'),
                    condition("metadata.trial", "exists", "null"),
                ),
            ),
            {2, 8},
        ),
    ],
)
def test_a_tree_as_the_service_takes_it(root: DataRoot, tree: str, expected: set[int]) -> None:
    assert passing(root, tree) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan", "write FIELD=TEXT"),
        ("{", "no JSON"),
        (group("and"), "at least 1"),
        (group("not", condition("subject", "eq", '"a"')), "'and' or 'or'"),
        (condition("subject", "in", "[]"), "at least one value"),
        (condition("subject", "eq", "null"), "needs a value"),
        (condition("subject", "starts_with", '"a"'), "'eq', 'neq'"),
        ("http.status>many", "`many` is no number"),
        ("trial!=yes", "`yes` is no boolean"),
        ("timestamp>2024-01-01", "no time with an offset"),
        (condition("metadata.http.status", "gt", '"9"'), "number"),
        ("quantity>0.0000000001", "more decimals"),
    ],
)
def test_what_means_nothing_is_refused(root: DataRoot, text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        passing(root, text)


@pytest.mark.parametrize("text", ["plna=pro", "received_at>2024-01-01T00:00:00Z"])
def test_a_field_that_the_lake_does_not_have_is_named(root: DataRoot, text: str) -> None:
    with pytest.raises(UnknownFieldError, match="It has: subject, plan"):
        passing(root, text)


MOMENTS = [START, START + timedelta(hours=1), START + timedelta(days=1)]
VALUES: dict[str, list[Any]] = {
    "subject": ["acme", "globex", "ac", "me"],
    "quantity": [Decimal(n) for n in ("1", "2.5", "-3")],
    "timestamp": [moment.isoformat() for moment in MOMENTS],
    "metadata.region": ["eu", "us", "", "e", Decimal(1), True],
    "metadata.size": [*(Decimal(n) for n in ("0", "0.1", "10", "-2.5")), "10"],
    "metadata.trial": [True, False, "true"],
}
ORDERED = {"metadata.region": str, "metadata.size": Decimal, "metadata.trial": bool}


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    field = draw(st.sampled_from(sorted(VALUES)))
    op = draw(st.sampled_from(("eq", "neq", "gt", "gte", "lt", "lte", "in", "exists")))
    values = VALUES[field]
    if op in ("gt", "gte", "lt", "lte") and field in ORDERED:
        values = [value for value in values if type(value) is ORDERED[field]]
    one = st.sampled_from(values)
    value = draw(st.lists(one, min_size=1, max_size=3) if op == "in" else one)
    return Condition(field=field, op=op, value=None if op == "exists" else value)


rules = st.recursive(
    conditions(),
    lambda inner: st.builds(
        lambda op, parts: Group(op=op, rules=tuple(parts)),
        st.sampled_from(("and", "or")),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=4,
)
events = st.lists(
    st.builds(
        Event,
        st.sampled_from(MOMENTS),
        st.sampled_from(VALUES["quantity"]),
        st.sampled_from(("acme", "globex")),
        st.fixed_dictionaries(
            {},
            optional={
                "region": st.sampled_from(("eu", "us", "")),
                "size": st.sampled_from([Decimal(n) for n in ("0", "0.1", "10", "100")]),
                "trial": st.booleans(),
            },
        ),
    ),
    max_size=12,
)


def passes(rule: Condition | Group | Texts, event: Event) -> bool:
    """The model: what the service's domain code says, with the types of its databases."""
    if isinstance(rule, Group):
        return (all if rule.op == "and" else any)(passes(part, event) for part in rule.rules)
    assert isinstance(rule, Condition)
    own = {"subject": event.subject, "quantity": event.exact, "timestamp": event.moment}
    held: Any = own.get(rule.field, event.dimensions.get(rule.field.removeprefix("metadata.")))
    if held is None or rule.op == "exists":
        return held is not None
    given = rule.value if rule.op == "in" else [rule.value]
    if rule.field == "timestamp":
        given = [datetime.fromisoformat(text) for text in given]
    equal = any(type(held) is type(one) and held == one for one in given)
    if rule.op in ("eq", "in"):
        return equal
    if rule.op == "neq":
        return not equal
    limit = given[0]
    ordered = {"gt": held > limit, "gte": held >= limit, "lt": held < limit, "lte": held <= limit}
    return ordered[rule.op]


@settings(max_examples=60, deadline=None)
@given(events=events, rule=rules)
def test_random_filters_pass_what_a_model_passes(
    events: list[Event], rule: Condition | Group
) -> None:
    kinds = (("region", "string"), ("size", "number"), ("trial", "boolean"))
    dimensions = [{"name": name, "type": kind, "required": False} for name, kind in kinds]
    meter = a_meter("count", dimensions=dimensions)
    with tempfile.TemporaryDirectory() as folder:
        root = fill(Path(folder), meter, events)
        found = query_usage(root, meter, START, END, where=rule)["events"].sum()
    assert found == sum(passes(rule, event) for event in events)
