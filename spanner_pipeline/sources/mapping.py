"""Rows of texts become usage events of one meter, as the source declares.

A mapped batch has, for each row: where it came from (`source_file`, `source_line`, `original`,
`malformed`); the event (`subject`, `quantity`, `timestamp`, `dim_*`, `revision`); the texts it was
made from (`text.*`), for messages; why an expression has no value (`wrong.*`) and which of its
columns are empty (`empty.*`); `is_number` (the quantity's text is one, as declared); `scope.*`,
`identity.*` and `content` for the key; `counter` and `usable` of a reading; `out_of_scope` (why the
row is left out, else null), `ambiguous_time` (its hour existed twice) and `too_fine` (its time says
more than microseconds).
Values that could not be read are null; `validation` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from string import Formatter

import polars as pl

from spanner_pipeline.configuration.expression import parse
from spanner_pipeline.configuration.lookup import Account
from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.configuration.source import Source, Usage
from spanner_pipeline.configuration.span import EventTime
from spanner_pipeline.configuration.values import Filter, IdentityPart, Value
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.sources import event_time, subjects, texts, units
from spanner_pipeline.sources.customers import Customers
from spanner_pipeline.sources.expressions import compute, plain
from spanner_pipeline.sources.numbers import plain_number
from spanner_pipeline.sources.rows import raw

TERM_SEPARATOR = " + "
SUBJECT_TEXT = "text.subject"
"""The column with what was looked up, where the source declares a lookup."""

CONDITION = "condition"
"""The column with the usage's condition, and its field in messages."""

FILTERED = "filtered by `where`"
UNMET = "filtered by `condition`"
OUTSIDE_SCOPE = "outside the migrated time"

_DIGITS_FOR_CARRY = 2
"""A sum of up to 100 terms has at most so many digits more than its largest term."""


def wrong(field: str) -> str:
    """The column that says why the expression of a field has no value; null where nothing is."""
    return f"wrong.{field}"


def empty(field: str) -> str:
    """The column that names the empty columns among those that an expression reads."""
    return f"empty.{field}"


def _computed(value: Value) -> str:
    return f"_computed.{value.model_dump_json()}"


def with_expressions(frame: pl.DataFrame, values: Mapping[str, Value]) -> pl.DataFrame:
    """Compute the expressions of named fields, for `text_of`; add what is wrong and empty."""
    for field, value in values.items():
        if value.expression is not None:
            spelled = partial(plain_number, value) if isinstance(value, Quantity) else plain
            found = compute(frame, value.expression, raw, spelled)
            frame = frame.with_columns(
                found.values.cast(pl.String).alias(_computed(value)),
                found.wrong.alias(wrong(field)),
                _empty_columns(value.expression).alias(empty(field)),
            )
    return frame


def with_condition(frame: pl.DataFrame, condition: str | None) -> pl.DataFrame:
    """Add `condition`: whether it is true of a row, null where it is neither true nor false."""
    if condition is None:
        return frame.with_columns(pl.lit(value=True).alias(CONDITION))
    found = compute(frame, condition, raw)
    return frame.with_columns(
        found.values.alias(CONDITION),
        found.wrong.alias(wrong(CONDITION)),
        _empty_columns(condition).alias(empty(CONDITION)),
    )


def why_not_computed(values: Mapping[str, Value], condition: str | None) -> pl.Expr:
    """What is wrong with the first expression of a row that has no value; null where none has."""
    nothing = pl.lit(None, dtype=pl.String)
    found = [pl.col(wrong(name)) for name, value in values.items() if value.expression is not None]
    if condition is not None:
        unknown = pl.concat_str(pl.lit("the condition is unknown: "), pl.col(empty(CONDITION)))
        found += [pl.col(wrong(CONDITION)), pl.when(pl.col(CONDITION).is_null()).then(unknown)]
    return pl.coalesce(*found, nothing)


def _empty_columns(expression: str) -> pl.Expr:
    names = [
        pl.when(pl.col(raw(name)).is_null()).then(pl.lit(f"`{name}` is empty"))
        for name in parse(expression).columns
    ]
    if not names:
        return pl.lit(None, dtype=pl.String)
    return pl.concat_str(names, separator=", ", ignore_nulls=True).replace("", None)


def text_of(value: Value) -> pl.Expr:
    """The text that a declared value has in each row; null where its column is null.

    Of an expression, the frame has what `with_expressions` found.
    """
    if value.constant is not None:
        text = pl.lit(value.constant)
    elif value.template is not None:
        pieces: list[pl.Expr] = []
        for literal, name, _, _ in Formatter().parse(value.template):
            pieces += [pl.lit(literal)] if literal else []
            pieces += [pl.col(raw(name))] if name else []
        text = pl.concat_str(pieces)
    elif value.expression is not None:
        text = pl.col(_computed(value))
    else:
        assert value.column is not None
        text = pl.col(raw(value.column))
    if value.extract is not None:
        text = text.str.extract(value.extract, 1)
    if value.map:
        text = text.replace(value.map)
    return text


def account_of(account: Account) -> pl.Expr:
    """The account of each row, spelled as it is declared."""
    return subjects.spelled(text_of(account), account)


def passes(where: dict[str, Filter]) -> pl.Expr:
    """Whether a row counts under all filters."""
    outcome = pl.lit(value=True)
    for name, rule in where.items():
        text = pl.col(raw(name))
        if rule.is_:
            outcome &= text.is_in(list(rule.is_)).fill_null(value=False)
        if rule.not_:
            outcome &= ~text.is_in(list(rule.not_)).fill_null(value=False)
        if rule.present is not None:
            outcome &= text.is_not_null() if rule.present else text.is_null()
    return outcome


def with_quantity(frame: pl.DataFrame, quantity: Quantity, decimals: int) -> pl.DataFrame:
    """Add `text.quantity`, `is_number` and the exact `quantity`; null where it does not fit."""
    if quantity.sum:
        sources = [
            pl.col(raw(name)).fill_null("0") if name in quantity.null_as_zero else pl.col(raw(name))
            for name in quantity.sum
        ]
    else:
        sources = [text_of(quantity)]
    terms = [f"term.{index}" for index in range(len(sources))]
    computed = quantity.expression is not None and parse(quantity.expression).kind == "number"
    spelled = plain if computed else partial(plain_number, quantity)
    frame = frame.with_columns(
        *(spelled(t).alias(n) for n, t in zip(terms, sources, strict=True)),
        _joined(sources).alias("text.quantity"),
    ).with_columns(
        pl.all_horizontal(pl.col(term).is_not_null() for term in terms).alias("is_number")
    )
    if quantity.unit is not None:
        frame = frame.with_columns(text_of(quantity.unit).alias(units.UNIT_TEXT))
    if quantity.unit is not None or quantity.factor is not None:
        frame = frame.with_columns(
            units.multiplied(quantity, pl.col(term)).alias(term) for term in terms
        )
    values = [texts.exact_decimal(frame, term, decimals) for term in terms]
    return frame.with_columns(_total(values, decimals).alias("quantity")).drop(terms)


def _joined(sources: list[pl.Expr]) -> pl.Expr:
    return sources[0] if len(sources) == 1 else pl.concat_str(sources, separator=TERM_SEPARATOR)


def _total(values: list[pl.Expr], decimals: int) -> pl.Expr:
    if len(values) == 1:
        return values[0]
    exact = pl.Decimal(MAX_PRECISION, decimals)
    # Polars stops at a sum that overflows. Terms this large do not fit, so that no sum can.
    limit = pl.lit(Decimal(10 ** (MAX_PRECISION - decimals - _DIGITS_FOR_CARRY)), dtype=exact)
    total = pl.lit(0, dtype=exact)
    for value in values:
        total = total + pl.when(value.abs() < limit).then(value)
    return total.cast(exact)


def map_usage(
    frame: pl.DataFrame,
    source: Source,
    usage: Usage,
    meter: Meter,
    customers: Customers | None = None,
) -> pl.DataFrame:
    """Map one batch of rows to events of one meter; same rows, same order.

    Args:
        frame: The rows.
        source: Their source.
        usage: Which of its usages.
        meter: The usage's meter.
        customers: Who is who, where the usage declares a lookup.
    """
    zone = source.zone_of(usage.timestamp)
    frame = frame.rename({"line": "source_line"})
    frame = with_expressions(frame, {**source.key_values, **usage.values})
    frame = with_condition(frame, usage.condition)
    frame = with_quantity(frame, usage.quantity, meter.decimals)
    frame = frame.with_columns(
        account_of(usage.subject).alias("subject"),
        text_of(usage.timestamp).alias("text.timestamp"),
        passes(usage.where).alias("_passes"),
        *_dimension_texts(usage, meter),
    )
    if customers is not None:
        frame = customers.with_subject(frame.with_columns(pl.col("subject").alias(SUBJECT_TEXT)))
    # Lazily, because only then Polars computes once what several of these have in common.
    mapped = frame.lazy().with_columns(
        *event_time.times(usage.timestamp, frame["text.timestamp"]),
        *_typed_dimensions(frame, meter),
        *_identity(frame, source),
    )
    mapped = mapped.with_columns(
        event_time.timestamp(usage.timestamp, zone).alias("timestamp"),
        event_time.ambiguous(usage.timestamp, zone).alias("ambiguous_time"),
        _revision(source).alias("revision"),
    )
    return mapped.with_columns(
        _out_of_scope(source, usage.timestamp).alias("out_of_scope"),
        *_content(source, meter),
        *_counter(source, usage),
    ).collect()


def _counter(source: Source, usage: Usage) -> list[pl.Expr]:
    """Which counter a row is a reading of, and whether others may be measured from it."""
    declared = usage.quantity.cumulative
    if declared is None:
        return []
    parts = [
        text_of(part).str.replace_all("%", "%25", literal=True).str.replace_all("/", "%2F")
        for part in declared.by
    ]
    usable = ~pl.col("malformed") & pl.col("_passes") & pl.col(CONDITION).fill_null(value=False)
    if (plausible := source.plausible_at(usage.timestamp)) is not None:
        usable &= texts.within(plausible, source.zone_of(usage.timestamp), pl.col("timestamp"))
    return [pl.concat_str(parts, separator="/").alias("counter"), usable.alias("usable")]


def _dimension_texts(usage: Usage, meter: Meter) -> list[pl.Expr]:
    missing = pl.lit(None, dtype=pl.String)
    return [
        (text_of(usage.dimensions[d.name]) if d.name in usage.dimensions else missing).alias(
            f"text.{d.column}"
        )
        for d in meter.dimensions
    ]


def _typed_dimensions(frame: pl.DataFrame, meter: Meter) -> list[pl.Expr]:
    typed = []
    for dimension in meter.dimensions:
        text = f"text.{dimension.column}"
        value = pl.col(text)
        if dimension.type == "number":
            value = texts.exact_decimal(frame, text, 9)
        elif dimension.type == "boolean":
            value = value.str.to_lowercase().replace_strict(
                {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
            )
        typed.append(value.alias(dimension.column))
    return typed


def scope_columns(source: Source) -> list[str]:
    """The columns with the canonical parts of a row's scope; none where there are no snapshots."""
    depth = source.snapshot.depth if source.snapshot is not None else 0
    return [f"scope.{index}" for index in range(depth)]


def identity_columns(source: Source) -> list[str] | None:
    """The columns with the canonical parts of a row's identity; None where content tells it."""
    assert source.identity is not None
    if source.identity.by_content:
        return None
    parts = source.snapshot.row if source.snapshot is not None else source.identity.parts
    return [f"identity.{index}" for index in range(len(parts))]


def _identity(frame: pl.DataFrame, source: Source) -> list[pl.Expr]:
    assert source.identity is not None
    parts = source.identity.parts
    columns = [*scope_columns(source), *(identity_columns(source) or [])]
    # The scope that is the partition comes with it, not out of the row.
    told = zip(parts, columns[-len(parts) :], strict=False)
    return [_canonical(frame, part).alias(column) for part, column in told]


def _content(source: Source, meter: Meter) -> list[pl.Expr]:
    """What an event of a snapshot says, unambiguously; null where it is no event.

    Columns that say nothing of the event do not count, so that an invoice's number that is filled
    in later makes no other event; nor does a dimension that the meter got since and the row lacks.
    """
    if source.snapshot is None or source.snapshot.row:
        return []
    time = pl.col("timestamp").dt.strftime("%Y%m%dT%H%M%S%.6f")
    pieces = [time, pl.lit(" "), texts.plain_decimal(pl.col("quantity"))]
    for dimension in sorted(meter.dimensions, key=lambda dimension: dimension.name):
        value, text = pl.col(dimension.column), pl.col(f"text.{dimension.column}")
        spelled = texts.plain_decimal(value) if dimension.type == "number" else value
        # What cannot be read is rejected, and must not pass for a row that lacks it.
        said = pl.coalesce(spelled.cast(pl.String), pl.lit("?") + text)
        name = pl.lit(f" {len(dimension.name)}:{dimension.name}:")
        pieces.append(
            pl.concat_str(
                [name, said.str.len_bytes().cast(pl.String), pl.lit(":"), said]
            ).fill_null("")
        )
    return [pl.concat_str(pieces).alias("content")]


def _canonical(frame: pl.DataFrame, part: IdentityPart) -> pl.Expr:
    if part.type == "time":
        return texts.canonical_time(part, text_of(part))
    if part.type == "number":
        with_text = frame.select(text_of(part).alias("number"))["number"]
        spelled = with_text.to_frame().select(
            texts.canonical_number(with_text.to_frame(), "number")
        )
        return pl.lit(spelled.to_series())
    return text_of(part)


def _revision(source: Source) -> pl.Expr:
    revision = source.corrections.revision if source.corrections is not None else None
    if revision is None:
        return pl.col("revision")
    text = text_of(revision)
    if revision.type == "number":
        return text.cast(pl.Int64, strict=False)
    zone, naive = source.zone_of(revision) or "UTC", texts.naive_time(revision, text)
    # A date is its midnight, and some clocks skip that.
    moments = (texts.localized(t, zone, "earliest") for t in (naive, naive.dt.offset_by("1h")))
    return pl.coalesce(texts.aware_time(revision, text), *moments).dt.epoch("us")


def _out_of_scope(source: Source, timestamp: EventTime) -> pl.Expr:
    time, zone = pl.col("timestamp"), source.zone_of(timestamp)
    outside = ~texts.within(source.scope, zone, time)
    if (plausible := source.plausible_at(timestamp)) is not None:
        # A time read wrongly must not pass for one that nobody wants.
        outside &= texts.within(plausible, zone, time)
    outside = outside.fill_null(value=False)
    return (
        pl.when(pl.col("malformed"))
        .then(None)
        .when(~pl.col("_passes"))
        .then(pl.lit(FILTERED))
        .when(~pl.col(CONDITION))
        .then(pl.lit(UNMET))
        .when(outside)
        .then(pl.lit(OUTSIDE_SCOPE))
    )
