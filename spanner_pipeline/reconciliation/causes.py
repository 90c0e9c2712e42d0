"""The closed list of causes, in the order in which they are taken, and what each means.

Where two causes overlap (a late event on a day that the old bill lacks), the one that stands first
here takes the overlap, and the next what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

UNEXPLAINED = "unexplained"

REJECTED = "rejected rows"
CONFLICTS = "conflicts"
REPEATED = "rows delivered twice"
LEFT_OUT = "rows left out"
NEGATIVE = "voids and credits"
LATE = "late arrivals"
RETENTION = "retention of the old system"
BOUNDARY = "period boundary"
MISSING = "missing in the old bill"
TWICE = "counted twice in the old bill"
CUSTOMERS = "customers merged or renamed"
UNIT = "unit of the old bill"
LINES = "lines of the old bill"
NOT_IMPORTED = "not imported"
ROUNDING = "rounding of the old bill"

CAUSES = {
    REJECTED: "rows that were rejected here, by reason, and that the old system counted",
    CONFLICTS: "rows that said something else than the payload kept here under their key, and "
    "that the old system counted in its place",
    REPEATED: "rows that the legacy files hold more than once under one key, counted each time",
    LEFT_OUT: "rows that the source's filters or migrated time leave out here",
    NEGATIVE: "quantities of zero or less, which one side nets and the other does not",
    LATE: "events delivered after the old bill was closed",
    RETENTION: "events that the old system had forgotten when it was exported, as declared",
    BOUNDARY: "the period cut on another clock, without summer time, or with its other end",
    MISSING: "hours, days or files that the old bill lacks",
    TWICE: "hours, days or files that the old bill counts twice",
    CUSTOMERS: "usage that one side has under another customer",
    UNIT: "the old bill counts in another unit",
    LINES: "lines that stand twice on the old bill, or its credits, which are no usage",
    NOT_IMPORTED: "deliveries of the period that were not imported",
    ROUNDING: "the old bill rounds each event, each day or the total",
}
"""Each cause with its definition, in the order in which they are taken."""


@dataclass(frozen=True)
class Explanation:
    """One cause of one number's difference.

    Attributes:
        cell: The number, by its place among the comparison's cells.
        cause: One of `CAUSES`.
        detail: What exactly, for a person.
        quantity: Its part of new minus old.
        known: Whether the rows themselves are on record here, so that only their being counted
            there is inferred; else the numbers alone speak for it.
    """

    cell: int
    cause: str
    detail: str
    quantity: Decimal
    known: bool = False
