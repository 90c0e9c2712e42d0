"""The old bill, the lake and the live service in one table, number by number of the old bill.

From old to lake the reconciliation found the causes. From lake to service there are two steps: what
the ledger says was not delivered, or is otherwise in the lake now, and where the service holds
something else than it was sent. All parts add up to the difference; what none explains is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from spanner_pipeline.control import EXACT
from spanner_pipeline.delivery.beside_lake import FATES
from spanner_pipeline.delivery.causes import (
    CAUSES,
)
from spanner_pipeline.delivery.settling import added
from spanner_pipeline.delivery.verify import Verified
from spanner_pipeline.reconciliation.compare import NOT_COMPARABLE, Comparison, Verdict


@dataclass(frozen=True)
class Part:
    """One cause of what the service has more than the lake.

    Attributes:
        cause: What.
        events: How many events; 0 where only a total differs.
        quantity: In the comparison's unit; parts of a number add up to its difference.
        fails: Whether it explains nothing away.
        example: A key of one of them.
        warns: Whether it was chosen, and the service cannot answer for it.
    """

    cause: str
    events: int
    quantity: Decimal
    fails: bool
    example: str = ""
    warns: bool = False


@dataclass(frozen=True)
class Number:
    """One number of the old bill, three times.

    Attributes:
        row: The number, as in the comparison.
        service: What the service counts, live traffic too; None where it cannot be asked.
        parts: Why that is not what the lake has.
        why: Why the service cannot be asked.
        verdict: Of all three.
    """

    row: Mapping[str, Any]
    service: Decimal | None
    parts: tuple[Part, ...]
    why: str
    verdict: Verdict

    @property
    def more(self) -> Decimal | None:
        """What the service has more than the lake."""
        if self.service is None:
            return None
        return EXACT.subtract(self.service, self.row["new"] or Decimal(0))


@dataclass(frozen=True)
class ThreeWay:
    """An old bill, the lake and the service.

    Attributes:
        comparison: The old bill and the lake, of the numbers that are meant.
        numbers: All of them, in its order.
        verified: What the service holds beside the ledger.
    """

    comparison: Comparison
    numbers: Sequence[Number]
    verified: Verified

    @cached_property
    def compared(self) -> list[Number]:
        """Numbers that all three sides have."""
        return [number for number in self.numbers if number.service is not None]

    @cached_property
    def differing(self) -> list[Number]:
        """Numbers that are not three times the same, those that fail first, then the biggest."""
        found = [n for n in self.numbers if n.row["difference"] != 0 or n.parts or n.why]

        def order(number: Number) -> tuple[bool, bool, Decimal, int]:
            gaps = (number.row["difference"], number.more)
            size = max(abs(gap or Decimal(0)) for gap in gaps)
            cell = int(number.row["cell"])
            return number.verdict == "PASS", number.verdict == "WARN", -size, cell

        return sorted(found, key=order)

    @property
    def lake_total(self) -> Decimal:
        """What the lake has, in the numbers compared."""
        return added(number.row["new"] or Decimal(0) for number in self.compared)

    @property
    def more(self) -> Decimal:
        """What the service counts more than the lake has."""
        return EXACT.subtract(self.service_total, self.lake_total)

    @property
    def service_total(self) -> Decimal:
        """What the service counts, in the numbers compared."""
        return added(number.service or Decimal(0) for number in self.compared)

    @cached_property
    def parts(self) -> list[tuple[Part, int]]:
        """Each cause from lake to service, all numbers together, and in how many it is."""
        by_cause: dict[str, list[Part]] = {c: [] for c in (*FATES.values(), *CAUSES)}
        for number in self.compared:
            for part in number.parts:
                by_cause[part.cause].append(part)
        return [
            (
                Part(
                    cause,
                    sum(part.events for part in found),
                    added(part.quantity for part in found),
                    found[0].fails,
                    warns=found[0].warns,
                ),
                len(found),
            )
            for cause, found in by_cause.items()
            if found
        ]

    @cached_property
    def failings(self) -> list[str]:
        """Why the three do not agree, for a person; empty where they do."""
        found = [f"old bill and lake: {why}" for why in self.comparison.failings]
        for part, numbers in self.parts:
            if part.fails or part.warns:
                noun = "number" if numbers == 1 else "numbers"
                found.append(f"lake and service: {part.cause}, in {numbers:,} {noun}")
        if unasked := [n for n in self.numbers if n.why and n.row["status"] != NOT_COMPARABLE]:
            found.append(f"the service could not be asked for {len(unasked):,} of the numbers")
        if self.verified.fails:
            causes = dict.fromkeys(d.cause for d in self.verified.differences if d.fails)
            found.append(f"ledger and service: {', '.join(causes)}")
        return found

    @property
    def verdict(self) -> Verdict:
        """The worst of the old bill's and of all numbers'."""
        verdicts = {self.comparison.verdict, *(number.verdict for number in self.numbers)}
        if self.verified.fails or "FAIL" in verdicts:
            return "FAIL"
        return "WARN" if "WARN" in verdicts else "PASS"
