"""The filter trees of the search calls, as SQL over events."""

from __future__ import annotations

from typing import Any

from spanner_pipeline_tests.open_spanner.meters import DIMENSION_NAME
from spanner_pipeline_tests.open_spanner.wire import (
    ANY,
    LIST,
    RFC3339,
    TEXT,
    RefusalError,
    invalid,
    number,
    read_fields,
    time_text,
)

FIELDS = {"type": TEXT, "op": TEXT, "rules": LIST, "field": TEXT, "value": ANY}
COLUMNS = {
    "subject": "subject",
    "meter": "meter",
    "quantity": "quantity",
    "timestamp": "event_time",
    "event_time": "event_time",
    "received_at": "received_at",
    "idempotency_key": "idempotency_key",
}
TIMES = {"timestamp", "event_time", "received_at"}
RAW_ONLY = {"quantity", "timestamp", "event_time", "received_at", "idempotency_key"}
"""What a rolled-up hour no longer knows."""
COMPARISONS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
TRUTHS = {"eq": "IS", "neq": "IS NOT"}
"""How a boolean is compared: rows that lack the field are not equal to it."""


class Condition:
    """Pieces of SQL with their parameters, and the fields they ask for."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.values: list[Any] = []
        self.fields: set[str] = set()

    def add(self, sql: str, *values: Any) -> None:
        self.parts.append(sql)
        self.values += values

    def sql(self, glue: str = " AND ") -> str:
        return glue.join(f"({part})" for part in self.parts) or "1"

    def add_tree(self, document: Any) -> None:
        """Add the filter of a request (None: no filter)."""
        if document is None:
            return
        read = read_fields(document, FIELDS)
        if read["type"] == "group":
            self._add_group(read["op"], read["rules"] or [])
        elif read["type"] == "condition":
            self._add_condition(read["field"].strip(), read["op"], read["value"])
        else:
            raise invalid(f'unsupported filter type "{read["type"]}"')

    def _add_group(self, op: str, rules: list[Any]) -> None:
        inner = Condition()
        for rule in rules:
            inner.add_tree(rule if rule is not None else {})
        if op not in ("and", "or"):
            raise invalid(f'unsupported filter group operator "{op}"')
        if not rules:
            raise invalid("filter group requires at least one rule")
        self.add(inner.sql(f" {op.upper()} "), *inner.values)
        self.fields |= inner.fields

    def _add_condition(self, name: str, op: str, value: Any) -> None:
        operand, path = self._operand(name)
        self.fields.add(name)
        if op == "exists":
            test = f"json_type(metadata, {path})" if path else operand
            self.add(f"{test} IS NOT NULL")
            return
        if op not in (*COMPARISONS, "in", "contains"):
            raise invalid(f'unsupported filter operator "{op}"')
        if value is None:
            raise invalid("filter value is required")
        if op == "in":
            if not isinstance(value, list) or not value:
                raise invalid("in filter requires a non-empty value array")
            marks = ", ".join("?" * len(value))
            self.add(f"{operand} IN ({marks})", *(plain(item, name) for item in value))
        elif op == "contains":
            text = value if isinstance(value, str) else str(number(value))
            self.add(f"CAST({operand} AS TEXT) LIKE ?", f"%{text}%")
        else:
            compared = TRUTHS.get(op, "") if isinstance(value, bool) else ""
            self.add(f"{operand} {compared or COMPARISONS[op]} ?", plain(value, name))

    def _operand(self, name: str) -> tuple[str, str]:
        """The SQL of a field, and its quoted JSON path where it is metadata."""
        if name in COLUMNS:
            return COLUMNS[name], ""
        key = name.removeprefix("metadata.")
        if key == name or not DIMENSION_NAME.fullmatch(key):
            raise invalid(f'unsupported filter field "{name}"')
        return f"json_extract(metadata, '$.{key}')", f"'$.{key}'"


def plain(value: Any, name: str) -> Any:
    """A filter's value as SQLite compares it: numbers as doubles, times as stored text."""
    if name in TIMES:
        if not isinstance(value, str) or not RFC3339.fullmatch(value):
            raise RefusalError(500, "internal_error", "internal server error")
        return time_text(value, "filter")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return value
