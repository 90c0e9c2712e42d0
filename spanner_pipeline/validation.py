"""Events against their meter: a pandera schema, checked set-wise; every failure has a reason code.

Open Spanner's own rules (subject pattern, quantity above 0, dimension types, required dimensions)
are part of the schema, because what it refuses can never be delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandera.polars as pa
import polars as pl
from pandera.constants import CHECK_OUTPUT_KEY
from pandera.errors import SchemaErrors

from spanner_pipeline import reasons
from spanner_pipeline.configuration.source import Source, Usage
from spanner_pipeline.counters.measuring import BEYOND, CONTRADICTED, FELL, HELD, UNSOUND
from spanner_pipeline.meters import MAX_PRECISION, Dimension, Meter
from spanner_pipeline.reasons import Reason
from spanner_pipeline.sources import texts, units
from spanner_pipeline.sources.mapping import (
    CONDITION,
    SUBJECT_TEXT,
    empty,
    identity_columns,
    scope_columns,
    wrong,
)

SUBJECT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"


@dataclass(frozen=True)
class Rule:
    """One rule: rows for which `holds` is false are rejected for `reason`; `value` is shown."""

    reason: Reason
    holds: pl.Expr
    value: pl.Expr


class Validator:
    """Splits mapped events of one usage into accepted and rejected rows."""

    def __init__(self, source: Source, usage: Usage, meter: Meter) -> None:
        """Build the schema from the meter and the source's declarations."""
        self._rules = _rules(source, usage, meter)
        holds = [rule.holds.fill_null(value=False) for rule in self._rules]
        # Of rows that are all sound, one answer is enough.
        self._sound = _schema(meter, [pl.all_horizontal(holds)])
        self._schema = _schema(meter, holds)

    def split(self, events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Split events into those accepted and those rejected.

        Args:
            events: Mapped and keyed rows that are in scope.

        Returns:
            The accepted rows, as they are; and the rejected rows with `reason_code` (the first
            rule that failed), `reasons` (all), `field`, `value` and `hint`.
        """
        try:
            self._sound.validate(events, lazy=True)
        except SchemaErrors:
            return self._split(events)
        return events, events.clear().with_columns(
            pl.lit(None, dtype=pl.String).alias(name) for name in REASON_COLUMNS
        )

    def _split(self, events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        try:
            self._schema.validate(events, lazy=True)
        except SchemaErrors as errors:
            failed = self._failed(errors, events.height)
            rejected = pl.any_horizontal(failed.values())
            first = [
                pl.when(mask).then(pl.lit(index, dtype=pl.Int32)) for index, mask in failed.items()
            ]
            codes = [
                pl.when(mask).then(pl.lit(self._rules[index].reason.code))
                for index, mask in failed.items()
            ]
            marked = events.with_columns(
                rejected.alias("_rejected"),
                pl.coalesce(first).alias("_rule"),
                pl.concat_str(codes, separator="; ", ignore_nulls=True).alias("reasons"),
            )
            bad = marked.filter("_rejected")
            return (
                marked.filter(~pl.col("_rejected")).drop("_rejected", "_rule", "reasons"),
                bad.with_columns(*self._explain(sorted(failed))).drop("_rejected", "_rule"),
            )
        raise TypeError("rows are sound one by one and not together, a defect of ours")

    def _failed(self, errors: SchemaErrors, height: int) -> dict[int, pl.Expr]:
        failed: dict[int, pl.Expr] = {}
        for error in errors.schema_errors:
            output = error.check_output
            name = getattr(error.check, "name", None)
            if output is None or name is None or not str(name).isdigit():
                raise TypeError(f"the event schema does not hold, a defect of ours: {error}")
            mask = output.lazy().collect()[CHECK_OUTPUT_KEY]
            if mask.len() != height:
                raise TypeError(f"check {name} answered {mask.len()} rows of {height}")
            failed[int(name)] = pl.lit(~mask)
        return dict(sorted(failed.items()))

    def _explain(self, rules: list[int]) -> list[pl.Expr]:
        def choose(expressions: dict[int, pl.Expr]) -> pl.Expr:
            return pl.coalesce(
                pl.when(pl.col("_rule") == index).then(expression)
                for index, expression in expressions.items()
            )

        picked = {index: self._rules[index] for index in rules}
        return [
            choose({i: pl.lit(r.reason.code) for i, r in picked.items()}).alias("reason_code"),
            choose({i: pl.lit(r.reason.field) for i, r in picked.items()}).alias("field"),
            choose({i: r.value for i, r in picked.items()}).alias("value"),
            choose({i: pl.lit(r.reason.hint) for i, r in picked.items()}).alias("hint"),
        ]


REASON_COLUMNS = ("reasons", "reason_code", "field", "value", "hint")

_TYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "number": pl.Decimal(MAX_PRECISION, 9),
    "boolean": pl.Boolean(),
}


def _schema(meter: Meter, rules: Sequence[pl.Expr]) -> pa.DataFrameSchema:
    """What pandera checks of events; each check is named by the number of its rule."""
    return pa.DataFrameSchema(
        columns={
            "subject": pa.Column(pl.String, nullable=True),
            "quantity": pa.Column(pl.Decimal(MAX_PRECISION, meter.decimals), nullable=True),
            "timestamp": pa.Column(texts.MICROSECONDS_UTC, nullable=True),
            **{d.column: pa.Column(_TYPES[d.type], nullable=True) for d in meter.dimensions},
        },
        checks=[
            pa.Check(_checker(holds), name=str(index), error=str(index))
            for index, holds in enumerate(rules)
        ],
        strict=False,
    )


def _checker(holds: pl.Expr):  # type: ignore[no-untyped-def]  # pandera passes its own data class
    return lambda data: data.lazyframe.select(holds)


def _rules(source: Source, usage: Usage, meter: Meter) -> list[Rule]:
    subject, quantity, time = pl.col("subject"), pl.col("quantity"), pl.col("timestamp")
    no_subject = subject.is_null() | (subject == "")
    quantity_text, time_text = pl.col("text.quantity"), pl.col("text.timestamp")
    computed = usage.quantity.expression is not None
    quantity_shown = pl.col(empty("quantity")) if computed else quantity_text
    rules = [
        *_subject_rules(usage, subject),
        Rule(reasons.SUBJECT_PATTERN, subject.str.contains(SUBJECT_PATTERN) | no_subject, subject),
        Rule(reasons.QUANTITY_MISSING, quantity_text.is_not_null(), quantity_shown),
        *_quantity_rules(usage, quantity, quantity_text),
        Rule(reasons.TIMESTAMP_MISSING, time_text.is_not_null(), time_text),
        *_time_rules(source, usage, time, time_text),
    ]
    columns = [*scope_columns(source), *(identity_columns(source) or [])]
    if columns:
        present = pl.all_horizontal(pl.col(column).is_not_null() for column in columns)
        shown = pl.concat_str([pl.col(c).fill_null("?") for c in columns], separator="|")
        rules.append(Rule(reasons.IDENTITY_MISSING, present, shown))
    if source.corrections is not None:
        revision = pl.col("revision")
        reason, shown = reasons.REVISION_MISSING, revision.cast(pl.String)
        if source.corrections.order is not None:
            reason, shown = reasons.FILE_WITHOUT_ORDER, pl.col("source_file")
        rules.append(Rule(reason, revision.is_not_null(), shown))
    for dimension in meter.dimensions:
        rules += _dimension_rules(dimension)
    # What has no value because its expression failed has no other fault.
    failed = _expression_rules(source, usage)
    for fault in failed:
        rules = [
            Rule(r.reason, r.holds.fill_null(value=False) | ~fault.holds, r.value)
            if r.reason.field == fault.reason.field
            else r
            for r in rules
        ]
    rules = [*failed, *rules]
    # A malformed row has no fields to find fault with.
    malformed = pl.col("malformed")
    rules = [Rule(r.reason, r.holds.fill_null(value=False) | malformed, r.value) for r in rules]
    return [Rule(reasons.MALFORMED, ~malformed, pl.col("original")), *rules]


def _expression_rules(source: Source, usage: Usage) -> list[Rule]:
    values = {**source.key_values, **usage.values}
    named = [name for name, value in values.items() if value.expression is not None]
    rules = [Rule(reasons.not_computed(_field(n)), _is_right(n), pl.col(wrong(n))) for n in named]
    if usage.condition is None:
        return rules
    known = pl.col(CONDITION).is_not_null() | ~_is_right(CONDITION)
    return [
        Rule(reasons.not_computed(CONDITION), _is_right(CONDITION), pl.col(wrong(CONDITION))),
        Rule(reasons.CONDITION_UNKNOWN, known, pl.col(empty(CONDITION))),
        *rules,
    ]


def _field(name: str) -> str:
    """The field of an event that a value belongs to."""
    return "quantity" if name == "unit" else name.removeprefix("dimensions.").partition("[")[0]


def _is_right(name: str) -> pl.Expr:
    return pl.col(wrong(name)).is_null()


def _subject_rules(usage: Usage, subject: pl.Expr) -> list[Rule]:
    if usage.subject.lookup is None:
        return [Rule(reasons.SUBJECT_MISSING, subject != "", subject)]
    text = pl.col(SUBJECT_TEXT)
    mapped = subject.is_not_null() | text.is_null() | (text == "")
    return [
        Rule(reasons.SUBJECT_MISSING, text != "", text),
        Rule(reasons.SUBJECT_UNMAPPED, mapped, text),
    ]


def _quantity_rules(usage: Usage, quantity: pl.Expr, text: pl.Expr) -> list[Rule]:
    number = pl.col("is_number")
    rules = [Rule(reasons.QUANTITY_NOT_A_NUMBER, number | text.is_null(), text)]
    counter = usage.quantity.cumulative is not None
    read = pl.col("reading") if counter else quantity
    fits = read.is_not_null() | ~number | text.is_null()
    if usage.quantity.unit is not None:
        known = units.is_known(usage.quantity.unit)
        rules.append(Rule(reasons.UNIT_UNKNOWN, known, pl.col(units.UNIT_TEXT)))
        fits |= ~known
    rules.append(Rule(reasons.QUANTITY_DOES_NOT_FIT, fits, text))
    if counter:
        rules += _counter_rules(usage, quantity, text)
    if usage.quantity.nonpositive == "reject":
        rules.append(Rule(reasons.QUANTITY_NOT_POSITIVE, (quantity > 0) | quantity.is_null(), text))
    return rules


def _counter_rules(usage: Usage, quantity: pl.Expr, text: pl.Expr) -> list[Rule]:
    counter, kind = pl.col("counter"), pl.col("kind")

    def is_not(unsound: str) -> pl.Expr:
        return kind.ne_missing(unsound)

    # What is measured has usage; else it had more digits than can be subtracted.
    fits = quantity.is_not_null() | kind.is_null() | kind.is_in(UNSOUND)
    return [
        Rule(reasons.COUNTER_MISSING, counter.is_not_null(), counter),
        Rule(reasons.QUANTITY_DOES_NOT_FIT, fits, text),
        Rule(reasons.COUNTER_BEYOND_ROLL_OVER, is_not(BEYOND), text),
        Rule(reasons.READINGS_CONTRADICT, is_not(CONTRADICTED), text),
        Rule(reasons.COUNTER_FELL, is_not(FELL), text),
        Rule(reasons.READING_BEFORE_MISSING, is_not(HELD), pl.col("lacking")),
    ]


def _time_rules(source: Source, usage: Usage, time: pl.Expr, text: pl.Expr) -> list[Rule]:
    missing = text.is_null()
    naive = pl.col("naive_time")
    finer = pl.col("too_fine")
    rules = [Rule(reasons.TIMESTAMP_TOO_PRECISE, ~finer | missing, text)]
    if usage.timestamp.below_microsecond == "cut":
        finer, rules = pl.lit(value=False), []
    zone = source.zone_of(usage.timestamp)
    read = time.is_not_null() | missing | finer
    rules.append(Rule(reasons.TIMESTAMP_FORMAT, read | naive.is_not_null(), text))
    if zone is None:
        rules.append(Rule(reasons.TIMESTAMP_WITHOUT_ZONE, read | naive.is_null(), text))
    else:
        twice = pl.col("ambiguous_time")
        rules += [
            Rule(reasons.TIMESTAMP_AMBIGUOUS, read | naive.is_null() | ~twice, text),
            Rule(reasons.TIMESTAMP_NONEXISTENT, read | naive.is_null() | twice, text),
        ]
    if (plausible := source.plausible_at(usage.timestamp)) is not None:
        plainly = texts.within(plausible, zone, time) | time.is_null()
        rules.append(Rule(reasons.TIME_IMPLAUSIBLE, plainly, text))
    return rules


def _dimension_rules(dimension: Dimension) -> list[Rule]:
    text = pl.col(f"text.{dimension.column}")
    rules = []
    if dimension.must_be_present:
        reason = reasons.dimension_missing(dimension.name)
        rules.append(Rule(reason, text.is_not_null(), text))
    if dimension.type != "string":
        reason = reasons.dimension_type(dimension.name, dimension.type)
        rules.append(Rule(reason, pl.col(dimension.column).is_not_null() | text.is_null(), text))
    return rules
