"""What goes over the wire: Go's reading of JSON and of RFC 3339, and the error envelope."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Row = dict[str, Any]

RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\dT)(\d?\d)(:\d\d:\d\d)(?:[.,](\d+))?(Z|([+-])([01]\d|2[0-4]):([0-5]\d|60))",
    re.ASCII,
)
ZERO_TIME = "0001-01-01T00:00:00Z"


class RefusalError(Exception):
    """An answer that is not a success: status, code and message of the error envelope."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = {name.replace("_", "-"): text for name, text in headers.items()}

    def body(self) -> Row:
        return {"error": {"code": self.code, "message": self.message}}


def invalid(message: str) -> RefusalError:
    return RefusalError(400, "invalid_input", f"invalid input: {message}")


def not_found() -> RefusalError:
    return RefusalError(404, "not_found", "not found")


def conflict(message: str) -> RefusalError:
    return RefusalError(409, "conflict", f"conflict: {message}")


INVALID_JSON = ("invalid_json", "invalid JSON body")


@dataclass(frozen=True)
class Field:
    """How one field of a body is read: its JSON type, and what stands there without it."""

    kind: type
    default: Any = None


TEXT, NUMBER, WHOLE = Field(str, ""), Field(float, 0), Field(int, 0)
OBJECT, LIST, ANY, FLAG = Field(dict), Field(list), Field(object), Field(bool, False)


def parse(body: bytes) -> Any:
    """The document of a body; one document, numbers that a double holds, no NaN."""
    try:
        return json.loads(
            body.decode("utf-8", "replace"), parse_float=_double, parse_constant=_double
        )
    except ValueError:
        raise RefusalError(400, *INVALID_JSON) from None


def _double(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def read_fields(document: Any, fields: dict[str, Field]) -> Row:
    """Known fields whatever their case, the last one of a name; unknown ones are passed over.

    A value of another JSON type refuses the whole request; null is the same as absent.
    """
    found = {name: field.default for name, field in fields.items()}
    if document is None:
        return found
    if not isinstance(document, dict):
        raise RefusalError(400, *INVALID_JSON)
    for key, value in document.items():
        name = key if key in fields else key.lower()
        if name in fields and value is not None:
            found[name] = _typed(value, fields[name].kind)
    return found


def _typed(value: Any, kind: type) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is object or (kind is float and is_number):
        return value
    if isinstance(value, kind) and (kind is not int or is_number):
        return value
    raise RefusalError(400, *INVALID_JSON)


def number(value: float) -> int | float:
    """A double as Go writes it: in its fewest digits, without a fraction where it has none."""
    double = float(value)
    if not double.is_integer() or abs(double) >= 1e21:
        return double
    return int(double) if abs(double) < 2**53 else int(Decimal(repr(double)))


def doubles(value: Any) -> Any:
    """A JSON value whose numbers went through a double, as in Go's `any`."""
    if isinstance(value, dict):
        return {key: doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [doubles(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return value


def time_text(value: str, name: str) -> str:
    """An RFC 3339 time in UTC, with as many fractional digits as it needs ('' stays '')."""
    if value == "":
        return ""
    match = RFC3339.fullmatch(value)
    try:
        if match is None:
            raise ValueError(value)
        whole = datetime.fromisoformat(f"{match[1]}{match[2]:0>2}{match[3]}")
        if match[5] != "Z":
            shift = timedelta(hours=int(match[7]), minutes=int(match[8]))
            whole = whole - shift if match[6] == "+" else whole + shift
    except (ValueError, OverflowError):
        raise RefusalError(400, f"invalid_{name}", f"{name} must be RFC3339") from None
    text = stored(whole, (match[4] or "")[:9])
    return "" if text == ZERO_TIME else text


def required_time(value: str, name: str) -> str:
    if value == "":
        raise RefusalError(400, f"invalid_{name}", f"{name} must be RFC3339")
    return time_text(value, name)


def stored(whole: datetime, fraction: str = "") -> str:
    """A time as the store keeps it: trailing zeros of the fraction dropped."""
    digits = fraction.rstrip("0")
    seconds = whole.replace(microsecond=0, tzinfo=None).isoformat()
    return f"{seconds}.{digits}Z" if digits else f"{seconds}Z"


def now_text() -> str:
    now = datetime.now(UTC)
    return stored(now, f"{now.microsecond:06d}")


def shown(text: str) -> str:
    """A stored time as answers show it: whole seconds, the fraction dropped."""
    return text[:19] + "Z"


def instant(text: str) -> datetime:
    """A stored time as a datetime (to the microsecond)."""
    head, _, fraction = text.rstrip("Z").partition(".")
    micros = int(fraction[:6].ljust(6, "0")) if fraction else 0
    return datetime.fromisoformat(head).replace(microsecond=micros, tzinfo=UTC)
