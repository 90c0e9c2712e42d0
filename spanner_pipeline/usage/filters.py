"""Fields, groups and filters of a usage query, as Open Spanner has them.

A filter is the tree of `POST /v1/usages/search`, or the texts of `GET`: `field=text`, where a
missing dimension is `<nil>`. A missing dimension passes no condition, another type is never equal
(`"200"` is not `200`), texts compare by code point. Where the service's two databases differ, the
definition in its domain code is meant: `contains` is case-sensitive and has no wildcards, numbers
compare as numbers.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spanner_pipeline.control import EXACT
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.meters import MAX_PRECISION, Dimension, Meter

MISSING_GROUP = "<nil>"
"""What Open Spanner says for an event that lacks the dimension it is grouped by."""

Operator = Literal["eq", "neq", "gt", "gte", "lt", "lte", "in", "contains", "exists"]

_COMPARISONS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_SIGNS: dict[str, Operator] = {
    "!=": "neq",
    ">=": "gte",
    "<=": "lte",
    ">": "gt",
    "<": "lt",
    "~": "contains",
}
_SHORT = re.compile(r"([A-Za-z0-9_.-]+)\s*(?:(!=|>=|<=|=|>|<|~)(.*)|(\?))", re.DOTALL)


class UnknownFieldError(PipelineError):
    """A query names a field that the meter does not have."""


class FilterError(PipelineError):
    """A filter that Open Spanner would refuse, or that means nothing for its field."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Strict):
    """One comparison: `value` is a text, number or boolean; a list of them for `in`."""

    type: Literal["condition"] = "condition"
    field: str
    op: Operator
    value: Any = None

    @model_validator(mode="after")
    def _complete(self) -> Condition:
        if self.op == "in" and not (isinstance(self.value, list | tuple) and self.value):
            raise ValueError("`in` needs a list with at least one value.")
        if self.op != "exists" and self.value is None:
            raise ValueError(f"`{self.op}` needs a value.")
        return self


class Group(_Strict):
    """Filters of which all (`and`) or any (`or`) must hold."""

    type: Literal["group"] = "group"
    op: Literal["and", "or"]
    rules: tuple[Filter, ...] = Field(min_length=1)


class Texts(_Strict):
    """The field, spelled as a group's name is, is one of these texts."""

    type: Literal["texts"] = "texts"
    field: str
    texts: tuple[str, ...]


Rule: TypeAlias = Condition | Group | Texts
Filter = Annotated[Rule, Field(discriminator="type")]
Group.model_rebuild()


class _Parsed(_Strict):
    filter: Filter


def parse_filters(texts: Sequence[str]) -> Rule | None:
    """Read filters as a command line has them; all must hold.

    `FIELD=TEXT` (repeated for one field: any of them), `FIELD!=VALUE`, `>`, `>=`, `<`, `<=`,
    `FIELD~TEXT` (contains), `FIELD?` (exists), or the JSON of `POST /v1/usages/search`.

    Raises:
        FilterError: When one cannot be read.
    """
    rules: list[Rule] = []
    same: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        if text.lstrip().startswith("{"):
            rules.append(_from_json(text))
        elif not (found := _SHORT.fullmatch(text)):
            raise FilterError(
                f"filter `{text}`: write FIELD=TEXT, FIELD!=VALUE, FIELD>VALUE, FIELD~TEXT, FIELD? "
                "or the JSON of Open Spanner's filters."
            )
        elif found[2] == "=":
            same[found[1]].append(found[3])
        elif found[4]:
            rules.append(Condition(field=found[1], op="exists"))
        else:
            rules.append(Condition(field=found[1], op=_SIGNS[found[2]], value=_Unread(found[3])))
    rules += [Texts(field=field, texts=tuple(values)) for field, values in same.items()]
    return Group(op="and", rules=tuple(rules)) if len(rules) > 1 else next(iter(rules), None)


class _Unread(str):
    """A value of a command line, which has the type of its field."""


def _from_json(text: str) -> Rule:
    try:
        tree = json.loads(text, parse_float=Decimal, parse_int=Decimal)
        return _Parsed.model_validate({"filter": tree}).filter
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        raise FilterError(f"filter {text}: {place}: {first['msg']}") from error
    except ValueError as error:
        raise FilterError(f"filter {text}: this is no JSON ({error}).") from error


def filter_sql(meter: Meter, rule: Rule, parameters: dict[str, object]) -> str:
    """SQL for whether an event passes a filter.

    Args:
        meter: The meter.
        rule: The filter.
        parameters: Gets the values that the SQL names.

    Raises:
        UnknownFieldError: When the lake does not have a field.
        FilterError: When a value cannot be compared with its field.
    """

    def value(of: object) -> str:
        name = f"filter{len(parameters)}"
        parameters[name] = of
        return f"${name}"

    if isinstance(rule, Group):
        parts = (filter_sql(meter, part, parameters) for part in rule.rules)
        return f"({f' {rule.op.upper()} '.join(parts)})"
    if isinstance(rule, Texts):
        texts = value(list(rule.texts))
        return f"{group_sql(meter, rule.field)} IN (SELECT unnest({texts}::VARCHAR[]))"
    column, kind = _column(meter, rule.field)
    if rule.op == "exists":
        return f"{column} IS NOT NULL"
    if rule.op == "contains":
        text = value(str(rule.value))
        return f"contains({_text_sql(column, kind)}, {text}::VARCHAR)"
    given = rule.value if rule.op == "in" else [rule.value]
    read = [_read(rule, kind, one) for one in given]
    if rule.op in ("gt", "gte", "lt", "lte") and None in read:
        raise FilterError(
            f"filter on `{rule.field}`: {rule.value!r} cannot be more or less than a {kind}."
        )
    right = [one for one in read if one is not None]
    sql_type = _type(meter, rule.field, kind, right)
    known = [f"{value(one)}::{sql_type}" for one in right]
    if rule.op == "in":
        return f"{column} IN ({', '.join(known)})" if known else "false"
    if not known:  # another type is never equal
        return f"{column} IS NOT NULL" if rule.op == "neq" else "false"
    return f"{column} {_COMPARISONS[rule.op]} {known[0]}"


_TYPES = {"string": "VARCHAR", "boolean": "BOOLEAN", "time": "TIMESTAMPTZ"}
_DIMENSION_DECIMALS = 9
_OWN = {
    "subject": ("subject", "string"),
    "idempotency_key": ("idempotency_key", "string"),
    "quantity": ("quantity", "number"),
    "timestamp": ('"timestamp"', "time"),
    "event_time": ('"timestamp"', "time"),
    "metadata.import_batch": ("import_batch", "string"),
}


def _type(meter: Meter, field: str, kind: str, values: list[Any]) -> str:
    """The SQL type of a filter's values; none may have more digits, or it would be rounded."""
    if kind != "number":
        return _TYPES[kind]
    decimals = meter.decimals if field == "quantity" else _DIMENSION_DECIMALS
    for number in values:
        if EXACT.remainder(Decimal(number), Decimal(1).scaleb(-decimals)):
            raise FilterError(
                f"filter on `{field}`: {number} has more decimals than the field's {decimals}."
            )
    return f"DECIMAL({MAX_PRECISION}, {decimals})"


def _column(meter: Meter, field: str) -> tuple[str, str]:
    """The SQL of a filter's field, and the kind of its values."""
    if field in _OWN:
        return _OWN[field]
    if field == "meter":
        return literal(meter.name), "string"
    dimension = _dimension(meter, field.removeprefix("metadata."))
    return f'"{dimension.column}"', dimension.type


def _read(rule: Condition, kind: str, given: object) -> object:
    """A value in its field's own type; None where it is of another."""
    if given is None:
        raise FilterError(f"filter on `{rule.field}`: a value is missing.")
    if kind == "time":
        try:
            moment = datetime.fromisoformat(str(given))
        except ValueError:
            moment = datetime.min
        if moment.tzinfo is None:
            raise FilterError(
                f"filter on `{rule.field}`: `{given}` is no time with an offset, such as "
                "2026-01-31T12:00:00Z."
            )
        return moment
    if isinstance(given, _Unread):
        return _typed(rule, kind, given)
    right = {"string": str, "number": int | Decimal, "boolean": bool}[kind]
    fits = isinstance(given, right) and isinstance(given, bool) == (kind == "boolean")
    return given if fits else None


def _typed(rule: Condition, kind: str, text: str) -> object:
    if kind == "string":
        return str(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if kind == "boolean" or not number.is_finite():
        raise FilterError(f"filter on `{rule.field}`: `{text}` is no {kind}.")
    return number


def group_sql(meter: Meter, field: str) -> str:
    """SQL for a field as Open Spanner spells it in groups.

    Raises:
        UnknownFieldError: When it is neither `subject` nor a dimension.
    """
    if field == "subject":
        return "subject"
    dimension = _dimension(meter, field)
    text = _text_sql(f'"{dimension.column}"', dimension.type)
    return f"coalesce({text}, '{MISSING_GROUP}')"


def _text_sql(column: str, kind: str) -> str:
    text = f"{column}::VARCHAR"
    return f"rtrim(rtrim({text}, '0'), '.')" if kind == "number" else text


def _dimension(meter: Meter, name: str) -> Dimension:
    for dimension in meter.dimensions:
        if dimension.name == name:
            return dimension
    known = ", ".join(["subject", *(dimension.name for dimension in meter.dimensions)])
    raise UnknownFieldError(f"meter {meter.name} has no field `{name}`. It has: {known}.")
