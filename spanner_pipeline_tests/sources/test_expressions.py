"""Expressions mean what they say, exactly, or their rows are rejected by name."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanner_pipeline.configuration.expression import ExpressionError, parse
from spanner_pipeline.configuration.functions import FUNCTIONS, OPERATORS
from spanner_pipeline.reconciliation.compare import reconcile
from spanner_pipeline.root import load_catalog
from spanner_pipeline.sources.expressions import compute
from spanner_pipeline.sources.mapping import UNMET
from spanner_pipeline_tests.conftest import MakeRoot, Run
from spanner_pipeline_tests.lake_reading import events, quarantined
from spanner_pipeline_tests.lake_reading import run as import_
from spanner_pipeline_tests.sources.test_mapping import METER, imported, source

EXACT = Context(prec=300)
ROW = {
    "a": "1",
    "b": "2.50",
    "none": None,
    "bad": "1,5",
    "s": "Foo/bar",
    "status": "404",
    "data.tokens": "7",
    'labels["service.name"]': "web",
    "line item/amount": "-3",
}


def of_row(expression: str) -> tuple[Any, str | None]:
    """The value of an expression for one row, and why it has none."""
    found = compute(
        pl.DataFrame([ROW], dict.fromkeys(ROW, pl.String)), expression, lambda name: name
    )
    return found.values.item(), found.wrong.item()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a + b", "3.5"),
        ("a + b * 2 - 1", "5"),
        ("(a + b) * 2", "7"),
        ("10 - 2 - 3", "5"),
        ("-a - -b", "1.5"),
        ("b / 4", "0.625"),
        ("1e3 * .5", "500"),
        ('abs("line item/amount") * 1000', "3000"),
        ("data.tokens + 1", "8"),
        ('labels["service.name"]', "web"),
        ("coalesce(none, s)", "Foo/bar"),
        ("coalesce(none, 0) + a", "1"),
        ("coalesce(a, bad + 1)", "1"),
        ("none + 1", None),
        ("concat(s, '-', a + b, '''')", "Foo/bar-3.5'"),
        ("concat(s, none)", None),
        ("lower(s)", "foo/bar"),
        ("upper(s)", "FOO/BAR"),
        ("trim('  x ')", "x"),
        ("replace(s, 'o', '0')", "F00/bar"),
        ("split_part(s, '/', 2)", "bar"),
        ("split_part(s, '/', 3)", None),
        ("substring(s, 5)", "bar"),
        ("substring(s, 1, 3)", "Foo"),
        ("extract(s, '^([A-Z])')", "F"),
        ("length(s)", "7"),
        ("nullif(a, 1.0)", None),
        ("nullif(a, '1.0')", "1"),
        ("if(status >= 400 and status < 500, 'client', 'fine')", "client"),
        ("if(a = 2, bad * 2, b)", "2.5"),
        ("text(number('007'))", "7"),
        ("a = 1.00", True),
        ("a = '1.00'", False),
        ("status in (200, 404)", True),
        ("status not in (200, 404)", False),
        ("s <> 'x' and not s == 'x'", True),
        ("s < 'G'", True),
        ("none = 'x'", None),
        ("none is null and a is not null", True),
        ("none > 1 or a = 1", True),
        ("none > 1 and a = 2", False),
        ("a = 1 or bad > 1", True),
        ("a = 2 and bad > 1", False),
        ("starts_with(s, 'Foo') and ends_with(s, 'r') and contains(s, '/')", True),
        ("true or none is null", True),
        ("IF(a = 1, NULL, 'x')", None),
    ],
)
def test_an_expression_gives(expression: str, value: object) -> None:
    assert of_row(expression) == (value, None)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("a + bad", "`bad` is no number: 1,5"),
        ("a / 3", "`a / 3` does not divide exactly within 38 digits"),
        ("a / (b - 2.5)", "`a / (b - 2.5)` divides by 0"),
        ("b * 1e30 + 1e-30", "`b * 1e30 + 1e-30` has more than 38 digits"),
        ("(a + 1e37) * (a + 1e37)", "`(a + 1e37) * (a + 1e37)` has more than 38 digits"),
        ("if(none = 1, 1, 2)", "`none = 1` is neither true nor false, as something is empty"),
        ("coalesce(bad * 1, 0)", "`bad` is no number: 1,5"),
        ("bad > 1 or a = 1", "`bad` is no number: 1,5"),
    ],
)
def test_what_has_no_exact_value_is_said(expression: str, why: str) -> None:
    assert of_row(expression) == (None, why)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "at character 1: the expression ends where a column"),
        ("a +", "at character 4: the expression ends where"),
        ("a b", "at character 3: `b` does not continue"),
        ("(a", r"at character 3: `\)` is missing"),
        ("a is 5", "at character 6: `null` is missing after `is`; found `5`"),
        ("'x", "at character 1: .* is a text that does not end"),
        ("a ; b", "at character 3: .* is no part of an expression"),
        ("__import__('os')", "there is no function `__import__`. There are coalesce"),
        ("a.b()", "there is no function"),
        ("lower(a + 1)", "`lower` takes a text here, and `a \\+ 1` is a number"),
        ("a + 'x'", "`\\+` takes a number here"),
        ("a < b", r"Write number\(a\) < number\(b\)"),
        ("coalesce(1, 'a')", "values that are alike"),
        ("if(a, 1, 2)", "takes true or false here, and `a` is a text"),
        ("a in ()", "`in` takes 2 or more, and has 1"),
        ("substring(a, 0)", "a whole number from 1 on here"),
        ("split_part(a, b, 1)", "takes a text in '…' here"),
        ("extract(a, '(')", "at character 12: not a regular expression"),
        ("1" * 39, "more than 38 digits"),
        ("(" * 50 + "a" + ")" * 50, "nested too deeply"),
        ("a + " * 600 + "a", "longer than 2000"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_character(expression: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse(expression)


def test_every_function_has_an_example_that_reads(run: Run) -> None:
    listed = run("sources", "expressions").out
    for name, function in (OPERATORS | FUNCTIONS).items():
        node = parse(function.example)
        assert function.gives in ("alike", node.kind), name
        assert function.example in listed


Value = tuple[str, Callable[[dict[str, Decimal]], Decimal | None]]


def combined(parts: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    """Arithmetic of two parts, as a text and as Python's decimals do it; None where refused."""

    def join(left: Value, sign: str, right: Value) -> Value:
        def apply(row: dict[str, Decimal]) -> Decimal | None:
            one, other = left[1](row), right[1](row)
            if one is None or other is None:
                return None
            if sign == "/":
                found = EXACT.divide(one, other) if other else None
                exact = found is not None and EXACT.multiply(found, other) == one
                return found if exact else None
            return {"+": EXACT.add, "-": EXACT.subtract, "*": EXACT.multiply}[sign](one, other)

        return f"({left[0]} {sign} {right[0]})", apply

    return st.builds(join, parts, st.sampled_from("+-*/"), parts)


def leaf(name: str) -> Value:
    return name, lambda row: row[name]


TREES = st.recursive(st.sampled_from([leaf("a"), leaf("b"), leaf("c")]), combined, max_leaves=5)
NUMBERS = st.decimals(-(10**9), 10**9, places=3, allow_nan=False) | st.sampled_from(
    [Decimal(0), Decimal("1e3"), Decimal("0.001"), Decimal(2), Decimal(-1)]
)


@settings(max_examples=150, deadline=None)
@given(tree=TREES, rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=4))
def test_arithmetic_is_that_of_exact_decimals_or_refused(
    tree: Value, rows: list[tuple[Decimal, Decimal, Decimal]]
) -> None:
    text, reference = tree
    named = [dict(zip("abc", row, strict=True)) for row in rows]
    frame = pl.DataFrame([{name: str(n) for name, n in row.items()} for row in named])
    found = compute(frame, text, lambda name: name)
    for row, value, wrong in zip(named, found.values, found.wrong, strict=True):
        expected = reference(row)
        assert (value is None) == (wrong is not None)
        if value is not None:
            assert expected == Decimal(value)
        elif expected is not None:  # exact, but on the way beyond 38 digits
            assert "38 digits" in wrong


def test_a_source_maps_rows_by_expressions(make_root: MakeRoot) -> None:
    usage = {
        "subject": {"expression": "coalesce(customer, account)", "map": {"x": "acme"}},
        "quantity": {"expression": "coalesce(input, 0) + output * 1000", "decimal": ","},
        "timestamp": {"expression": "concat(day, ' ', hour)"},
        "dimensions": {"tier": {"expression": "if(status < 500, lower(tier), 'failed')"}},
        "condition": "kind in ('usage', 'credit') and not starts_with(account, 'test')",
    }
    text = (
        "id;customer;account;input;output;day;hour;status;tier;kind\n"
        "1;;x;1,5;2;2024-01-01;10:00;200;GOLD;usage\n"
        "2;globex;x;;0,25;2024-01-01;11:00;503;GOLD;usage\n"
        "3;globex;test-1;1;1;2024-01-01;11:00;200;;usage\n"
        "4;globex;x;1;;2024-01-01;11:00;200;;credit\n"
        "5;globex;x;1;0.5;2024-01-01;11:00;200;;credit\n"
        "6;globex;x;1;1;2024-01-01;11:00;;;credit\n"
        "7;globex;;1;1;2024-01-01;11:00;200;;usage\n"
    )
    declared = source(usage, format={"family": "delimited", "separator": ";"}, zone="UTC")
    declared["identity"] = {"native": {"expression": "concat('row-', id)"}}
    root, done = imported(make_root, declared, text)
    lake = events(root, "calls").sort("source_line")
    assert lake.select("subject", "quantity", "dim_tier").rows() == [
        ("acme", Decimal("2001.5"), "gold"),
        ("globex", Decimal(250), "failed"),
    ]
    assert lake["idempotency_key"][0] == "old:acme:calls:row-1"
    assert str(lake["timestamp"][1]) == "2024-01-01 11:00:00+00:00"
    assert done.record.out_of_scope[UNMET].rows == 1
    assert quarantined(root).select("source_line", "reason_code", "field", "value").rows() == [
        (5, "quantity_missing", "quantity", "`output` is empty"),
        (6, "expression_failed", "quantity", "`output` is no number: 0.5"),
        (
            7,
            "expression_failed",
            "tier",
            "`status < 500` is neither true nor false, as something is empty",
        ),
        (8, "condition_unknown", "condition", "`account` is empty"),
    ]
    done.totals.check("the file")


def test_an_old_bill_is_read_by_expressions(make_root: MakeRoot, run: Run) -> None:
    bill = {
        "source": "bill",
        "format": {"family": "delimited"},
        "files": "legacy/bill.txt",
        "partitions": {"grain": "whole"},
        "billing_totals": [
            {
                "name": "bill_calls",
                "meter": "calls",
                "condition": "kind != 'tax'",
                "subject": {"expression": "lower(who)"},
                "quantity": {"expression": "day + night"},
                "period": {"column": "month", "grain": "month", "zone": "America/New_York"},
            }
        ],
    }
    files = {
        "a.csv": "id,who,n,at\n1,acme,3,2024-01-01 10:00\n2,globex,5,2024-01-02 10:00\n",
        "bill.txt": "who,day,night,kind,month\nACME,1,2,use,2024-01\nACME,9,9,tax,2024-01\n"
        "GLOBEX,x,5,use,2024-01\n",
    }
    root = make_root({"calls": METER}, {"old": source(), "bill": bill}, files)
    assert import_(root, "old")[0].totals.new.rows == 2
    assert run("reconcile", data=root).code == 1
    catalog = load_catalog(root)
    (found,) = [reconcile(root, catalog, s, total) for s, total in catalog.comparisons]
    assert found.cells.filter(pl.col("old").is_not_null())["old"].to_list() == [Decimal(3)]
    assert found.old.unreadable["why"].to_list() == ["`day` is no number: x"]
