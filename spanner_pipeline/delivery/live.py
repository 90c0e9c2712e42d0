"""Reading what the service holds of a meter, sliced so that no answer can have been cut.

The service cuts every answer at 1000 rows and does not say so: an answer of so many rows is never
believed, but asked for again in two halves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from statistics import median_low
from typing import Any

from spanner_pipeline.control import EXACT
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.target import TargetError

CAP = 1000
"""Rows of an answer at most."""

MARK = "import_batch"
"""The dimension that events of this product carry, and live traffic does not."""

SECOND = timedelta(seconds=1)

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
        self.marked = marked
        self.calls = 0

    def by_subject(
        self,
        start: datetime,
        end: datetime,
        rules: Sequence[Mapping[str, Any]] = (),
        *,
        marked: bool | None = None,
    ) -> dict[str, Holding]:
        """What it holds of each subject.

        Args:
            start: First instant.
            end: First instant after the last one.
            rules: Filters that its events pass as well.
            marked: Another choice than the usual one.

        Raises:
            TargetError: When the service refuses, or its answers cannot be made small enough.
        """
        return dict(self._breakdown(start, end, [*self._rules(marked), *rules], 0))

    def _rules(self, marked: bool | None = None) -> list[Mapping[str, Any]]:
        return [OURS] if (self.marked if marked is None else marked) else []

    def _breakdown(
        self, start: datetime, end: datetime, rules: list[Mapping[str, Any]], depth: int
    ) -> Iterator[tuple[str, Holding]]:
        body = {"field": "subject", **self._window(start, end), "limit": CAP, **_filter(rules)}
        items = self._post("/v1/usages/breakdowns/search", body).get("items") or []
        if len(items) < CAP:
            for item in items:
                yield item["value"], Holding(item["events"], exact(item["quantity"]))
            return
        for half in self._halves([item["value"] for item in items], depth):
            yield from self._breakdown(start, end, [*rules, half], depth + 1)

    def by_day(
        self, start: datetime, end: datetime, subject: str | None = None
    ) -> dict[date, Decimal]:
        """The aggregate of each UTC day, of one subject or of all together.

        Raises:
            TargetError: When the service refuses.
        """
        found: dict[date, Decimal] = {}
        whose = {} if subject is None else {"subject": subject}
        for first, last in _slices(start, end, timedelta(days=_BUCKET_DAYS)):
            for item in self._buckets(first, last, self._rules(), whose):
                day = _day(item)
                found[day] = EXACT.add(found.get(day, Decimal(0)), exact(item["quantity"]))
        return found

    def by_subject_and_day(
        self, windows: Iterable[tuple[datetime, datetime]]
    ) -> dict[tuple[str, date], Decimal]:
        """The aggregate of each subject and UTC day.

        Args:
            windows: Of whole days, at most 366 each. One with too many rows for an answer is
                halved, so it is cheaper to expect less than that.

        Raises:
            TargetError: When the service refuses, or its answers cannot be made small enough.
        """
        found: dict[tuple[str, date], Decimal] = {}
        for start, end in windows:
            for item in self._grid(start, end, self._rules(), 0):
                place = item["group"]["subject"], _day(item)
                # A fraction of a second may put a day's events into the answer before, too.
                found[place] = EXACT.add(found.get(place, Decimal(0)), exact(item["quantity"]))
        return found

    def _grid(
        self, start: datetime, end: datetime, rules: list[Mapping[str, Any]], depth: int
    ) -> Iterator[Mapping[str, Any]]:
        items = self._buckets(start, end, rules, {"group_by": ["subject"]})
        if len(items) < CAP:
            yield from items
        elif (days := (end - start).days) > 1:
            middle = start + timedelta(days=days // 2)
            yield from self._grid(start, middle, rules, depth)
            yield from self._grid(middle, end, rules, depth)
        else:
            for half in self._halves([item["group"]["subject"] for item in items], depth):
                yield from self._grid(start, end, [*rules, half], depth + 1)

    def _buckets(
        self,
        start: datetime,
        end: datetime,
        rules: list[Mapping[str, Any]],
        asked: Mapping[str, Any],
    ) -> list[Mapping[str, Any]]:
        body = {**asked, "bucket_size": "day", **self._window(start, end), "limit": CAP}
        found: list[Mapping[str, Any]] = self._post("/v1/usages/search", {**body, **_filter(rules)})
        return found

    def _halves(self, subjects: list[str], depth: int) -> Iterator[Mapping[str, Any]]:
        """Filters that part subjects in two."""
        if depth == _DEEPEST:
            raise TargetError(
                f"the service gives {CAP} subjects of {self._name} however few are asked for. Its "
                "filter on subjects does not work, so nothing can be verified."
            )
        middle = median_low(subjects)
        for op in ("lte", "gt"):
            yield {"type": "condition", "field": "subject", "op": op, "value": middle}

    def events(
        self, start: datetime, end: datetime, subject: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Raw events, newest first, whoever sent them; a page at a time is held.

        Raises:
            TargetError: When the service refuses.
        """
        asked: dict[str, str | int] = {**self._window(start, end), "limit": CAP}
        if subject is not None:
            asked["subject"] = subject
        while True:
            self.calls += 1
            page = self._client.get("/v1/usageevents", asked)
            yield from page.get("items") or []
            if not (cursor := page.get("next_cursor")):
                return
            asked["cursor"] = cursor

    def misplaced(self, edge: datetime, subject: str | None = None) -> list[dict[str, Any]]:
        """Events of the second that begins at `edge` and that the service counts before it.

        Its SQLite store sorts fractions of a second before the whole one; others have none here.

        Raises:
            TargetError: When the service refuses.
        """
        before = self.events(edge - SECOND, edge, subject)
        return [event for event in before if time_of(event) >= edge]

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        self.calls += 1
        return self._client.post(path, body)

    def _window(self, start: datetime, end: datetime) -> dict[str, str]:
        return {"meter": self._name, "from": _spelled(start), "to": _spelled(end)}


def exact(number: Any) -> Decimal:
    """A number of an answer, by the shortest digits that name its double."""
    return Decimal(str(number))


def time_of(event: Mapping[str, Any]) -> datetime:
    """When a raw event happened; the service tells whole seconds."""
    return datetime.fromisoformat(event["timestamp"]).astimezone(UTC)


def is_marked(event: Mapping[str, Any]) -> bool:
    """Whether a raw event carries the mark of this product."""
    return MARK in (event.get("metadata") or {})


def can_be_marked(dimensions: Collection[str]) -> bool:
    """Whether the mark tells anything: not where it is a dimension of the meter's own."""
    return MARK not in dimensions


def _day(bucket: Mapping[str, Any]) -> date:
    return date.fromisoformat(bucket["bucket_start"][: len("2024-01-01")])


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
