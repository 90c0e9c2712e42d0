"""Raw events of the service beside the ledger, event by event, by idempotency key."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from spanner_pipeline.control import EXACT
from spanner_pipeline.delivery.causes import (
    ALTERED,
    BOUNDARY,
    CONFLICT,
    LIVE,
    MISSING,
    PRUNED,
    ROUNDING,
    STRANGE,
    UNANSWERED,
    UNEXPLAINED,
    Difference,
    alike,
    rolled_up,
)
from spanner_pipeline.delivery.ledger import SETTLED
from spanner_pipeline.delivery.live import SECOND, LiveMeter, exact, is_marked, time_of
from spanner_pipeline.delivery.sent import Place, Sent, SentEvent

Raw = Mapping[str, Any]
NO_EDGES: Mapping[datetime, int] = MappingProxyType({})


@dataclass(frozen=True)
class Chosen:
    """Which events of a subject and a range are meant.

    Attributes:
        keys: Ours.
        means: Whether one of theirs is.
    """

    keys: Collection[str]
    means: Callable[[Raw], bool]


@dataclass
class _Sum:
    events: int = 0
    quantity: Decimal = Decimal(0)
    example: str = ""

    def add(self, key: str, quantity: Decimal) -> None:
        self.events += 1
        self.quantity = EXACT.add(self.quantity, quantity)
        self.example = self.example or key


class _Told:
    """Sums by subject and cause."""

    def __init__(self, but: Collection[Place]) -> None:
        self._but = but
        self._sums: dict[tuple[str, str], _Sum] = defaultdict(_Sum)

    def add(self, subject: str, when: datetime, cause: str, key: str, more: Decimal) -> None:
        if not self._but or (subject, when.astimezone(UTC).date()) not in self._but:
            self._sums[subject, cause].add(key, more)

    def differences(self, start: datetime, end: datetime) -> list[Difference]:
        return [
            Difference(subject, start, end, cause, summed.events, summed.quantity, summed.example)
            for (subject, cause), summed in self._sums.items()
        ]


class Settling:
    """Compares raw events of a range with the ledger."""

    def __init__(
        self,
        reader: LiveMeter,
        sent: Sent,
        pruned_before: datetime,
        *,
        counts: bool,
        whole: bool,
    ) -> None:
        """Nothing is compared yet.

        Args:
            reader: The service.
            sent: The ledger.
            pruned_before: What is older the service may have deleted.
            counts: Whether the meter counts events, whatever their quantities.
            whole: Whether what is added up are whole numbers.
        """
        self._reader, self._sent = reader, sent
        self._pruned_before = pruned_before
        self._counts, self._whole = counts, whole

    def compare(
        self,
        start: datetime,
        end: datetime,
        subject: str | None = None,
        total: Decimal | None = None,
        *,
        edges: Mapping[datetime, int] = NO_EDGES,
        chosen: Chosen | None = None,
        but: Collection[Place] = (),
    ) -> list[Difference]:
        """Find the causes; where there is a total, they add up to theirs less ours.

        Args:
            start: First instant.
            end: First instant after the last one.
            subject: Whose events; None for all.
            total: What the service says that they add up to.
            edges: Where the service may have put fractions of a second on the wrong side when it
                made that total: 1 where that adds to it, -1 where it takes away.
            chosen: Which of them are meant; None for all.
            but: Subjects and UTC days of which nothing is told.
        """
        # A second more at both ends, where fractions may be sorted in or out.
        raw: Iterator[Raw] = self._reader.events(start - SECOND, end + SECOND, subject)
        ours = self._sent.events(start, end, subject)
        if chosen is not None:
            ours = {key: event for key, event in ours.items() if key in chosen.keys}
            raw = (event for event in raw if chosen.means(event))
        told = _Told(but)
        shown = self._match(start, end, raw, ours, told)
        found = told.differences(start, end)
        if total is None:
            return found
        gap = EXACT.subtract(total, shown.quantity)

        def is_near(rest: Decimal) -> bool:
            nearly = EXACT.subtract(total, rest)
            return alike(nearly, total, shown.events, whole=self._whole)

        if not is_near(gap) and (moved := self.moved(start, end, subject, edges)):
            found.append(moved)
            gap = EXACT.subtract(gap, moved.quantity)
        pruned = added(one.quantity for one in found if one.cause == PRUNED)
        if pruned and not is_near(gap) and is_near(EXACT.add(gap, pruned)):
            found, gap = rolled_up(found), EXACT.add(gap, pruned)
        if gap:
            cause = ROUNDING if is_near(gap) else UNEXPLAINED
            found.append(Difference(subject or "", start, end, cause, 0, gap))
        return found

    def _match(
        self,
        start: datetime,
        end: datetime,
        raw: Iterable[Raw],
        ours: dict[str, SentEvent],
        told: _Told,
    ) -> _Sum:
        """Tell of events that differ; gives those of theirs that the service's total counts."""
        others: dict[str, Raw] = {}
        shown = _Sum()
        for event in raw:
            key, when = event.get("idempotency_key") or "", time_of(event)
            inside = start <= when < end
            if inside and self._is_counted(event):
                shown.add(key, self.value(event))
            known = ours.pop(key, None)
            if known is not None:
                if cause := _cause_of_known(known, event):
                    more = EXACT.subtract(self.value(event), self._value(known.quantity))
                    told.add(known.subject, known.timestamp, cause, key, more)
            elif inside and key:
                others[key] = event
            elif inside:
                cause = _stranger(event)
                told.add(event["subject"], when, cause, str(event["id"]), self.value(event))
        for key, known in ours.items():
            cause, less = self._cause_of_missing(known), -self._value(known.quantity)
            told.add(known.subject, known.timestamp, cause, key, less)
        words = self._sent.find(list(others))
        for key, event in others.items():
            cause = _cause_of_other(words.get(key), event)
            told.add(event["subject"], time_of(event), cause, key, self.value(event))
        return shown

    def moved(
        self, start: datetime, end: datetime, subject: str | None, edges: Mapping[datetime, int]
    ) -> Difference | None:
        """What the service sorts to the wrong side of edges; None where that is nothing."""
        summed = _Sum()
        for edge, sign in edges.items():
            for event in self._reader.misplaced(edge, subject):
                if self._is_counted(event):
                    summed.add(event.get("idempotency_key") or "", sign * self.value(event))
        if not summed.events:
            return None
        whose = subject or ""
        return Difference(
            whose, start, end, BOUNDARY, summed.events, summed.quantity, summed.example
        )

    def value(self, event: Raw) -> Decimal:
        """What a raw event adds to the meter's total."""
        return self._value(exact(event["quantity"]))

    def _value(self, quantity: Decimal) -> Decimal:
        return Decimal(1) if self._counts else quantity

    def _is_counted(self, event: Raw) -> bool:
        return is_marked(event) or not self._reader.marked

    def _cause_of_missing(self, known: SentEvent) -> str:
        if known.status == "duplicate_differs":
            return CONFLICT
        return PRUNED if known.timestamp < self._pruned_before else MISSING


def added(quantities: Iterable[Decimal]) -> Decimal:
    """An exact sum."""
    total = Decimal(0)
    for quantity in quantities:
        total = EXACT.add(total, quantity)
    return total


def _cause_of_known(known: SentEvent, event: Raw) -> str | None:
    if known.status == "duplicate_differs":
        return CONFLICT
    double = json.loads(str(known.quantity), parse_int=float)  # as the service made it
    same_time = known.timestamp.replace(microsecond=0) == time_of(event)
    same = same_time and double == event["quantity"] and known.subject == event["subject"]
    return None if same else ALTERED


def _cause_of_other(word: SentEvent | None, event: Raw) -> str:
    if word is None:
        return _stranger(event)
    if word.status == "sent":
        return UNANSWERED
    # Of another day or subject than ours: the service told so when it was sent.
    conflict = word.status == "duplicate_differs"
    return CONFLICT if conflict else ALTERED if word.status in SETTLED else STRANGE


def _stranger(event: Raw) -> str:
    return STRANGE if is_marked(event) else LIVE
