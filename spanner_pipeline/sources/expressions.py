"""Expressions computed for whole batches of rows, part by part; what fails is said row by row.

Belongs here: computing the tree of an expression. Not here: reading it
(`configuration.expression`), nor arithmetic (`exact`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import polars as pl

from spanner_pipeline.configuration.expression import Call, Column, Constant, Node, parse
from spanner_pipeline.sources import exact, texts

Plain = Callable[[pl.Expr], pl.Expr]
"""Gives the plain spelling of texts that are numbers as a source spells them, else null."""

_TYPES: dict[str, pl.DataType] = {"number": exact.NUMBER, "truth": pl.Boolean()}


@dataclass(frozen=True)
class Computed:
    """What an expression gives for each row: a value or null, or else why it has none."""

    values: pl.Series
    wrong: pl.Series


def plain(text: pl.Expr) -> pl.Expr:
    """Texts that are plain numbers."""
    return pl.when(texts.is_number(text)).then(text)


def compute(
    frame: pl.DataFrame, expression: str, column: Callable[[str], str], spelled: Plain = plain
) -> Computed:
    """Compute an expression for each row of a frame.

    Args:
        frame: The rows.
        expression: A checked expression.
        column: The frame's column that holds a source column.
        spelled: How the source spells numbers in its columns.

    Returns:
        Texts, with numbers in their plain spelling; or truths, for an expression that gives them.
    """
    node = parse(expression)
    found = _Rows(frame, column, spelled).computed(node)
    if node.kind == "number":
        return Computed(exact.spell(found.values), found.wrong)
    return found


class _Rows:
    """The rows of a batch, of which the parts of an expression are computed."""

    def __init__(self, frame: pl.DataFrame, column: Callable[[str], str], spelled: Plain) -> None:
        self._frame, self._column, self._spelled = frame, column, spelled

    def computed(self, node: Node) -> Computed:
        """Compute a part for every row."""
        if isinstance(node, Call):
            arguments = [self.computed(one) for one in node.arguments]
            return _OF_OUTCOMES.get(node.name, self._of_values)(arguments, node)
        if isinstance(node, Column):
            return Computed(self._frame[self._column(node.name)], self._all(None, pl.String()))
        assert isinstance(node, Constant)
        return Computed(self._constant(node), self._all(None, pl.String()))

    def _all(self, value: object, dtype: pl.DataType) -> pl.Series:
        return pl.Series([value], dtype=dtype).new_from_index(0, self._frame.height)

    def _constant(self, node: Constant) -> pl.Series:
        if node.text is None:
            return self._all(None, _TYPES.get(node.kind, pl.String()))
        if node.kind == "truth":
            return self._all(node.text == "true", pl.Boolean())
        text = self._all(node.text, pl.String())
        return exact.read(text) if node.kind == "number" else text

    def _of_values(self, arguments: list[Computed], node: Call) -> Computed:
        """A part that needs all its arguments: wrong where one of them is."""
        wrong = reduce(_first, [argument.wrong for argument in arguments])
        values = [argument.values for argument in arguments]
        if node.name == "number":
            result, more = self._number(values[0], node)
        else:
            result = _OF_VALUES[node.name](values, node)
            more = _refused(values, result, node) if node.name in "+-*/" else wrong
        wrong = _first(wrong, more)
        return Computed(_chosen(wrong.is_null(), result, result.clear(len(result))), wrong)

    def _number(self, text: pl.Series, node: Call) -> tuple[pl.Series, pl.Series]:
        if text.dtype != pl.String:
            return text, self._all(None, pl.String())
        frame = text.alias("text").to_frame()
        known = frame.select(self._spelled(pl.col("text"))).to_series()
        numbers = exact.read(known)
        name = pl.lit(f"`{node.spelled}` ")
        shown = pl.concat_str(name, pl.lit("is no number: "), pl.col("text"))
        large = pl.concat_str(name, pl.lit("has more than 38 digits: "), pl.col("text"))
        failed = frame.with_columns(known.alias("known"), numbers.is_null().alias("unread")).select(
            pl.when(pl.col("text").is_not_null() & pl.col("unread")).then(
                pl.when(pl.col("known").is_null()).then(shown).otherwise(large)
            )
        )
        return numbers, failed.to_series()


def _chosen(mask: pl.Series, then: pl.Series, otherwise: pl.Series) -> pl.Series:
    """One value or the other; the other, too, where the mask is null."""
    frame = pl.DataFrame([mask.alias("mask"), then.alias("then"), otherwise.alias("else")])
    return frame.select(pl.when("mask").then("then").otherwise("else")).to_series()


def _first(one: pl.Series, other: pl.Series) -> pl.Series:
    """The first that is not null."""
    return _chosen(one.is_not_null(), one, other)


def _where(mask: pl.Series, text: str) -> pl.Series:
    """A text where the mask is true, else null."""
    return mask.alias("mask").to_frame().select(pl.when("mask").then(pl.lit(text))).to_series()


def _refused(values: list[pl.Series], result: pl.Series, node: Call) -> pl.Series:
    """Why arithmetic has no exact result, where it has numbers."""
    known = values[0].is_not_null() & values[1].is_not_null()
    failed, part = known & result.is_null(), f"`{node.spelled}`"
    if node.name != "/":
        return _where(failed, f"{part} has more than 38 digits")
    by_zero = _where(known & (values[1].struct.field("whole") == 0), f"{part} divides by 0")
    return _first(by_zero, _where(failed, f"{part} does not divide exactly within 38 digits"))


def _if(arguments: list[Computed], node: Call) -> Computed:
    condition, yes, no = arguments
    asked = node.arguments[0].spelled
    unknown = condition.values.is_null() & condition.wrong.is_null()
    chosen = _chosen(condition.values, yes.wrong, no.wrong)
    unknown_why = _where(unknown, f"`{asked}` is neither true nor false, as something is empty")
    wrong = _first(_first(condition.wrong, unknown_why), chosen)
    values = _chosen(condition.values, yes.values, no.values)
    return Computed(_chosen(wrong.is_null(), values, values.clear(len(values))), wrong)


def _coalesce(arguments: list[Computed], node: Call) -> Computed:
    """The first that is not empty; what is wrong before it is wrong, what is behind it is not."""
    found = arguments[-1]
    for one in reversed(arguments[:-1]):
        settled = one.values.is_not_null() | one.wrong.is_not_null()
        found = Computed(
            _chosen(settled, one.values, found.values), _chosen(settled, one.wrong, found.wrong)
        )
    return found


def _and(arguments: list[Computed], node: Call) -> Computed:
    left, right = arguments
    return _logical(left, right, settled_by=False, values=left.values & right.values)


def _or(arguments: list[Computed], node: Call) -> Computed:
    left, right = arguments
    return _logical(left, right, settled_by=True, values=left.values | right.values)


def _logical(left: Computed, right: Computed, settled_by: bool, values: pl.Series) -> Computed:
    """From left to right: what the left settles, the right cannot make wrong."""
    settled = (left.values == settled_by).fill_null(value=False)
    wrong = _first(left.wrong, _chosen(settled, right.wrong.clear(len(settled)), right.wrong))
    return Computed(_chosen(wrong.is_null(), values, values.clear(len(values))), wrong)


_OF_OUTCOMES = {"if": _if, "coalesce": _coalesce, "and": _and, "or": _or}
"""Parts that do not need all of their arguments."""


def _same(left: pl.Series, right: pl.Series) -> pl.Series:
    return exact.compare(left, right) == 0 if isinstance(left.dtype, pl.Struct) else left == right


def _in_order(values: list[pl.Series], orders: tuple[int, ...]) -> pl.Series:
    left, right = values
    if isinstance(left.dtype, pl.Struct):
        order = exact.compare(left, right)
    else:
        above = (left > right).cast(pl.Int32)
        order = above - (left < right).cast(pl.Int32)
    return _null_kept(order.is_in(orders), order)


def _null_kept(found: pl.Series, of: pl.Series) -> pl.Series:
    return _chosen(of.is_not_null(), found, found.clear(len(found)))


def _text(values: list[pl.Series], node: Call) -> pl.Series:
    value = values[0]
    if isinstance(value.dtype, pl.Struct):
        return exact.spell(value)
    return value.cast(pl.String)


def _concat(values: list[pl.Series], node: Call) -> pl.Series:
    frame = pl.DataFrame([one.alias(str(index)) for index, one in enumerate(values)])
    return frame.select(pl.concat_str(pl.all())).to_series()


def _constants(node: Call) -> list[str]:
    return [c.text for c in node.arguments[1:] if isinstance(c, Constant) and c.text is not None]


def _part(values: list[pl.Series], node: Call) -> pl.Series:
    separator, place = _constants(node)
    return values[0].str.split(separator).list.get(int(place) - 1, null_on_oob=True)


def _substring(values: list[pl.Series], node: Call) -> pl.Series:
    start, *length = (int(text) for text in _constants(node))
    return values[0].str.slice(start - 1, *length)


def _length(values: list[pl.Series], node: Call) -> pl.Series:
    return exact.read(values[0].str.len_chars().cast(pl.String))


def _on_text(change: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[..., pl.Series]:
    def apply(values: list[pl.Series], node: Call) -> pl.Series:
        frame = pl.DataFrame([one.alias(name) for name, one in zip("ab", values, strict=False)])
        return frame.select(change(pl.col("a"), pl.col("b"))).to_series()

    return apply


_OF_VALUES: dict[str, Callable[[list[pl.Series], Call], pl.Series]] = {
    "+": lambda v, _: exact.add(*v),
    "-": lambda v, _: exact.add(v[0], exact.negative(v[1])),
    "*": lambda v, _: exact.multiply(*v),
    "/": lambda v, _: exact.divide(*v),
    "negative": lambda v, _: exact.negative(v[0]),
    "abs": lambda v, _: exact.absolute(v[0]),
    "=": lambda v, _: _same(*v),
    "!=": lambda v, _: ~_same(*v),
    "<": lambda v, _: _in_order(v, (-1,)),
    "<=": lambda v, _: _in_order(v, (-1, 0)),
    ">": lambda v, _: _in_order(v, (1,)),
    ">=": lambda v, _: _in_order(v, (0, 1)),
    "in": lambda v, _: reduce(pl.Series.__or__, [_same(v[0], one) for one in v[1:]]),
    "is null": lambda v, _: v[0].is_null(),
    "not": lambda v, _: ~v[0],
    "nullif": lambda v, _: _chosen(_same(*v), v[0].clear(len(v[0])), v[0]),
    "text": _text,
    "concat": _concat,
    "lower": lambda v, _: v[0].str.to_lowercase(),
    "upper": lambda v, _: v[0].str.to_uppercase(),
    "trim": lambda v, _: v[0].str.strip_chars(),
    "replace": lambda v, node: v[0].str.replace_all(*_constants(node), literal=True),
    "split_part": _part,
    "substring": _substring,
    "extract": lambda v, node: v[0].str.extract(_constants(node)[0], 1),
    "length": _length,
    "starts_with": _on_text(lambda a, b: a.str.starts_with(b)),
    "ends_with": _on_text(lambda a, b: a.str.ends_with(b)),
    "contains": _on_text(lambda a, b: a.str.contains(b, literal=True)),
}
"""Parts that need all of their arguments, which are texts, numbers or truths as checked."""
