"""Pydantic's findings in the words of a data engineer: what is wrong and what to write instead."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

_MESSAGES = {
    "missing": "is missing. Add it.",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "tuple_type": "must be a list, such as [a, b]",
    "dict_type": "must have keys of its own",
    "model_type": "must have keys of its own",
    "model_attributes_type": "must have keys of its own",
    "string_type": "must be one text",
    "string_pattern_mismatch": "has characters that are not allowed here; it must match {pattern}",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} character(s)",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "decimal_parsing": "must be a number",
    "decimal_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "date_from_datetime_parsing": "must be a date such as 2013-02-01",
    "date_from_datetime_inexact": "must be a whole day such as 2013-02-01",
    "datetime_from_date_parsing": "must be a date or time such as 2013-02-01 or 2013-02-01T00:00Z",
    "datetime_parsing": "must be a date or time such as 2013-02-01 or 2013-02-01T00:00Z",
}


def explanation(detail: Any, model: type[BaseModel]) -> str:
    """Explain one of pydantic's findings about `model`."""
    kind, found = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        return _unknown_key(detail["loc"], model)
    if found is None:
        return "is empty. Write a value, or remove the key."
    if kind in ("missing", "union_tag_not_found"):
        return _MESSAGES["missing"]
    if kind == "value_error":
        message = str(detail["ctx"]["error"])
        shown = isinstance(found, dict | list) or str(found) in message
        return message if shown else f"{message} Found: {_short(found)}."
    message = _MESSAGES.get(kind, str(detail["msg"])).format(**detail.get("ctx", {}))
    if kind == "union_tag_invalid":
        found = detail["ctx"]["tag"]
    return f"{message}; found {_short(found)}."


def _unknown_key(path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    *above, key = path
    known = sorted(_keys(_type_at(model, above)))
    close = get_close_matches(str(key), known, 1)
    remedy = f"Did you mean `{close[0]}`?" if close else f"The keys here are {', '.join(known)}."
    return f"is not a known key. {remedy}"


def _keys(kind: Any) -> dict[str, Any]:
    fields = getattr(kind, "model_fields", {})
    return {field.alias or name: field.annotation for name, field in fields.items()}


def _type_at(kind: Any, path: list[str | int]) -> Any:
    """The type that stands at a key path below a model."""
    for part in path:
        keys = _keys(kind)
        if keys:
            kind = keys[str(part)]
        elif variants := _variants(kind):
            kind = variants[str(part)]
        else:
            kind = _inner(kind)
        if type(None) in get_args(kind):
            kind = next(k for k in get_args(kind) if k is not type(None))
    return kind


def _variants(kind: Any) -> dict[str, Any]:
    """The models of a union by the family that tells them apart; empty for other types."""
    families = {one: _keys(one).get("family") for one in get_args(kind)}
    return {get_args(family)[0]: one for one, family in families.items() if family is not None}


def _inner(kind: Any) -> Any:
    """What a tuple or a dict holds."""
    return next(k for k in reversed(get_args(kind)) if k is not Ellipsis)


def _short(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 60 else f"{text[:57]}..."
