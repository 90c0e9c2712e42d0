"""Why the service may hold something else than it was sent, and when two totals are alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from spanner_pipeline.control import EXACT

ROUNDING = "float rounding"
BOUNDARY = "fraction of a second at the edge of the window"
CONFLICT = "duplicate with another payload"
PRUNED = "missing there, older than its retention"
ROLLED_UP = "raw events pruned there, and still counted"
MISSING = "missing there"
OVERLAP = "live traffic before the cut-over"
BEYOND = "delivered at or after the cut-over"
LIVE = "there, and not ours"
UNANSWERED = "there, and its answer was lost"
STRANGE = "there with our mark, and not in this ledger"
ALTERED = "another payload there"
UNEXPLAINED = "unexplained"

CAUSES = {
    ROUNDING: "the service adds doubles; the difference is less than so many of them can make",
    BOUNDARY: "the service's SQLite store sorts 00:00:00.5 before 00:00:00",
    CONFLICT: "the service had an event of this key already, and keeps it; see the ledger",
    PRUNED: "the service deletes what is older than the meter keeps",
    ROLLED_UP: "the service deleted the raw events, and has them in its totals still",
    LIVE: "live traffic, or what another tool sent",
    UNANSWERED: "deliver again: the same keys are settled, nothing is counted twice",
    OVERLAP: "history is delivered up to the cut-over, so that this usage counts twice",
    BEYOND: "live traffic counts from the cut-over on, so that this usage counts twice",
    MISSING: "the ledger says that the service took it; see whether its store was restored, or the "
    "meter's retention shortened",
    STRANGE: "sent from another data root, or the ledger was lost; it may be counted twice",
    ALTERED: "the service told of no conflict when it took this event",
    UNEXPLAINED: "the service's total is another one than that of its own raw events",
}
"""What each cause of a difference means to a person."""

FAILING = frozenset({OVERLAP, BEYOND, MISSING, STRANGE, ALTERED, UNEXPLAINED})
"""Causes that explain nothing away."""

_EXACT_DOUBLES = 2**53
_HALF_UNITS = EXACT.divide(Decimal(1), Decimal(2**52))
"""What adding one more double can be wrong by, of the sum; twice that, to be safe."""


@dataclass(frozen=True)
class Difference:
    """Events of a subject in which ledger and service differ for one cause.

    Attributes:
        subject: The subject; empty where a difference is of all together.
        start: First instant that was compared.
        end: First instant after it.
        cause: One of `CAUSES`.
        events: How many; 0 where only a total differs.
        quantity: Theirs less ours, as the meter adds up.
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


def alike(ours: Decimal, theirs: Decimal, events: int, *, whole: bool = False) -> bool:
    """Whether two totals are the same but for what adding up doubles can make of them.

    Args:
        ours: The exact total.
        theirs: The service's.
        events: How many quantities were added up; none is negative.
        whole: Whether they are whole numbers, which doubles hold exactly.
    """
    largest = max(abs(ours), abs(theirs))
    if whole and largest < _EXACT_DOUBLES:
        return ours == theirs
    most = EXACT.multiply(EXACT.multiply(largest, Decimal(events + 1)), _HALF_UNITS)
    return abs(EXACT.subtract(theirs, ours)) <= most


def rolled_up(found: Iterable[Difference]) -> list[Difference]:
    """Say of what was pruned that it is in the service's totals still."""
    return [
        replace(one, cause=ROLLED_UP, quantity=Decimal(0)) if one.cause == PRUNED else one
        for one in found
    ]
