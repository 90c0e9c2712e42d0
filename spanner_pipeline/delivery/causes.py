"""Why the service holds something else than it was sent: event by event, by idempotency key."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from spanner_pipeline.delivery.ledger import SETTLED
from spanner_pipeline.delivery.live import exact, is_marked
from spanner_pipeline.delivery.sent import Sent, SentEvent

ROUNDING = "float rounding"
BOUNDARY = "fraction of a second at the edge of the window"
CONFLICT = "duplicate with another payload"
PRUNED = "missing there, older than its retention"
MISSING = "missing there"
LIVE = "there, and not ours"
UNANSWERED = "there, and its answer was lost"
STRANGE = "there with our mark, and not in this ledger"
ALTERED = "another payload there"
UNEXPLAINED = "unexplained"

CAUSES = {
    ROUNDING: "the service adds doubles; the difference is below a billionth",
    BOUNDARY: "the service's SQLite store sorts 00:00:00.5 before 00:00:00",
    CONFLICT: "the service had an event of this key already, and keeps it; see the ledger",
    PRUNED: "the service deletes what is older than the meter keeps",
    LIVE: "live traffic, or what another tool sent",
    UNANSWERED: "deliver again: the same keys are settled, nothing is counted twice",
    MISSING: "the ledger says that the service took it. Was its store restored, or the meter's "
    "retention shortened?",
    STRANGE: "sent from another data root, or the ledger was lost; it may be counted twice",
    ALTERED: "the service told of no conflict when it took this event",
    UNEXPLAINED: "the service's total is another one than that of its own raw events",
}
"""What each cause of a difference means to a person."""

FAILING = frozenset({MISSING, STRANGE, ALTERED, UNEXPLAINED})
"""Causes that explain nothing away."""

_TOLERANCE = Decimal("1e-9")


@dataclass(frozen=True)
class Difference:
    """Events of a subject in which ledger and service differ for one cause.

    Attributes:
        subject: The subject.
        start: First instant that was compared, a UTC midnight.
        end: First instant after it.
        cause: One of `CAUSES`.
        events: How many; 0 where only a total differs.
        quantity: Theirs less ours.
        example: A key of one of them.
    """

    subject: str
    start: datetime
    end: datetime
    cause: str
    events: int
    quantity: Decimal
    example: str = ""

    @property
    def fails(self) -> bool:
        """Whether it is not explained."""
        return self.cause in FAILING


def alike(ours: Decimal, theirs: Decimal) -> bool:
    """Whether two totals are the same but for rounding in doubles."""
    return abs(ours - theirs) <= _TOLERANCE * max(abs(ours), abs(theirs))


@dataclass
class _Sum:
    events: int = 0
    quantity: Decimal = Decimal(0)
    example: str = ""

    def add(self, key: str, quantity: Decimal) -> None:
        self.events += 1
        self.quantity += quantity
        self.example = self.example or key


class Settling:
    """Compares raw events of a subject and a range with the ledger."""

    def __init__(self, sent: Sent, pruned_before: datetime, *, marked: bool) -> None:
        """Nothing is compared yet.

        Args:
            sent: The ledger.
            pruned_before: What is older the service may have deleted.
            marked: Whether totals count only events with our mark.
        """
        self._sent = sent
        self._pruned_before = pruned_before
        self._marked = marked

    def compare(
        self,
        subject: str,
        start: datetime,
        end: datetime,
        raw: Iterable[Mapping[str, Any]],
        total: Decimal | None,
        *,
        count: bool = False,
    ) -> Iterator[Difference]:
        """Find the causes.

        Args:
            subject: The subject.
            start: First instant.
            end: First instant after the last one.
            raw: Its raw events there, and those of a second more at both ends.
            total: What the service says it adds up to; None where that cannot be compared.
            count: Whether the service's total is a number of events.
        """
        ours = self._sent.events(subject, start, end)
        sums: dict[str, _Sum] = defaultdict(_Sum)
        others: dict[str, Mapping[str, Any]] = {}
        shown = Decimal(0)
        for event in raw:
            key, inside = event.get("idempotency_key") or "", start <= _time(event) < end
            quantity = exact(event["quantity"])
            if inside and (is_marked(event) or not self._marked):
                shown += 1 if count else quantity
            known = ours.pop(key, None)
            if known is not None:
                if cause := _cause_of_known(known, event):
                    sums[cause].add(key, quantity - known.quantity)
            elif inside and key:
                others[key] = event
            elif inside:
                sums[_stranger(event)].add(str(event.get("id", "")), quantity)
        for key, known in ours.items():
            sums[self._cause_of_missing(known)].add(key, -known.quantity)
        words = self._sent.find(list(others))
        for key, event in others.items():
            sums[_cause_of_other(words.get(key), event)].add(key, exact(event["quantity"]))
        found = [
            Difference(subject, start, end, cause, summed.events, summed.quantity, summed.example)
            for cause, summed in sums.items()
        ]
        if total is not None and total != shown:
            cause = ROUNDING if alike(shown, total) else self._cause_of_total(subject, start, end)
            found.append(Difference(subject, start, end, cause, 0, total - shown))
        yield from found

    def _cause_of_missing(self, known: SentEvent) -> str:
        if known.status == "duplicate_differs":
            return CONFLICT
        return PRUNED if known.timestamp < self._pruned_before else MISSING

    def _cause_of_total(self, subject: str, start: datetime, end: datetime) -> str:
        second = timedelta(seconds=1)
        at_edges = [
            event
            for edge in (start, end)
            for event in self._sent.events(subject, edge, edge + second).values()
            if event.timestamp.microsecond
        ]
        return BOUNDARY if at_edges else UNEXPLAINED


def _cause_of_known(known: SentEvent, event: Mapping[str, Any]) -> str | None:
    if known.status == "duplicate_differs":
        return CONFLICT
    double = json.loads(str(known.quantity), parse_int=float)  # as the service made it
    same_time = known.timestamp.replace(microsecond=0) == _time(event)
    return None if same_time and double == event["quantity"] else ALTERED


def _cause_of_other(word: SentEvent | None, event: Mapping[str, Any]) -> str:
    if word is None:
        return _stranger(event)
    if word.status == "sent":
        return UNANSWERED
    # Of another day or subject than ours: the service told so when it was sent.
    conflict = word.status == "duplicate_differs"
    return CONFLICT if conflict else ALTERED if word.status in SETTLED else STRANGE


def _stranger(event: Mapping[str, Any]) -> str:
    return STRANGE if is_marked(event) else LIVE


def _time(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["timestamp"]).astimezone(UTC)
