"""Reading what the service holds of a meter, sliced so that no answer can have been cut.

The service cuts every answer at 1000 rows and does not say so: an answer of so many rows is never
believed, but asked for again in two halves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from statistics import median_low
from typing import Any

from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.target import TargetError

CAP = 1000
"""Rows of an answer at most."""

MARK = "import_batch"
"""The dimension that events of this product carry, and live traffic does not."""

_BUCKET_DAYS = 366
_DEEPEST = 64

OURS: Mapping[str, Any] = {"type": "condition", "field": f"metadata.{MARK}", "op": "exists"}
"""A filter for the events that carry it."""


@dataclass(frozen=True)
class Holding:
    """What the service holds of a subject: its events, and its aggregate as it says it."""

    events: int
    quantity: Decimal


class LiveMeter:
    """One live meter over a window of whole UTC days."""

    def __init__(self, client: OpenSpanner, name: str, *, marked: bool) -> None:
        """Nothing is asked yet.

        Args:
            client: The service.
            name: The meter.
            marked: Count only events that carry the mark of this product.
        """
        self._client = client
        self._name = name
        self._marked = marked
        self.calls = 0

    def by_subject(
        self, start: datetime, end: datetime, *, marked: bool | None = None
    ) -> dict[str, Holding]:
        """What it holds of each subject.

        Args:
            start: First instant.
            end: First instant after the last one.
            marked: Another choice than the usual one.

        Raises:
            TargetError: When the service refuses, or its answers cannot be made small enough.
        """
        rules = [OURS] if (self._marked if marked is None else marked) else []
        return dict(self._breakdown(start, end, rules, 0))

    def _breakdown(
        self, start: datetime, end: datetime, rules: list[Mapping[str, Any]], depth: int
    ) -> Iterator[tuple[str, Holding]]:
        body = {"field": "subject", **self._window(start, end), "limit": CAP, **_filter(rules)}
        items = self._post("/v1/usages/breakdowns/search", body).get("items") or []
        if len(items) < CAP:
            for item in items:
                yield item["value"], Holding(item["events"], exact(item["quantity"]))
            return
        if depth == _DEEPEST:
            raise TargetError(
                f"the service gives {CAP} subjects of {self._name} however few are asked for. Its "
                "filter on subjects does not work, so nothing can be verified."
            )
        middle = median_low([item["value"] for item in items])
        for op in ("lte", "gt"):
            half = {"type": "condition", "field": "subject", "op": op, "value": middle}
            yield from self._breakdown(start, end, [*rules, half], depth + 1)

    def by_day(self, subject: str, start: datetime, end: datetime) -> dict[date, Decimal]:
        """The aggregate of each UTC day on which the subject has events, for less rows than a cut.

        Raises:
            TargetError: When the service refuses.
        """
        found: dict[date, Decimal] = {}
        for first, last in _slices(start, end, timedelta(days=_BUCKET_DAYS)):
            rules = [OURS] if self._marked else []
            body = {"subject": subject, "bucket_size": "day", **self._window(first, last)}
            for item in self._post("/v1/usages/search", {**body, "limit": CAP, **_filter(rules)}):
                day = date.fromisoformat(item["bucket_start"][: len("2024-01-01")])
                found[day] = found.get(day, Decimal(0)) + exact(item["quantity"])
        return found

    def events(self, subject: str, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
        """Raw events of a subject, newest first, whoever sent them; a page at a time is held.

        A second more is read at both ends, because the service's SQLite store sorts fractions of a
        second before the whole one.

        Raises:
            TargetError: When the service refuses.
        """
        second = timedelta(seconds=1)
        window = self._window(start - second, end + second)
        asked: dict[str, str | int] = {**window, "subject": subject, "limit": CAP}
        while True:
            self.calls += 1
            page = self._client.get("/v1/usageevents", asked)
            yield from page.get("items") or []
            if not (cursor := page.get("next_cursor")):
                return
            asked["cursor"] = cursor

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        self.calls += 1
        return self._client.post(path, body)

    def _window(self, start: datetime, end: datetime) -> dict[str, str]:
        return {"meter": self._name, "from": _spelled(start), "to": _spelled(end)}


def exact(number: Any) -> Decimal:
    """A number of an answer, by the shortest digits that name its double."""
    return Decimal(str(number))


def is_marked(event: Mapping[str, Any]) -> bool:
    """Whether a raw event carries the mark of this product."""
    return MARK in (event.get("metadata") or {})


def can_be_marked(dimensions: Collection[str]) -> bool:
    """Whether the mark tells anything: not where it is a dimension of the meter's own."""
    return MARK not in dimensions


def _filter(rules: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {"filter": {"type": "group", "op": "and", "rules": rules}} if rules else {}


def _slices(
    start: datetime, end: datetime, longest: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        last = min(end, start + longest)
        yield start, last
        start = last


def _spelled(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
