"""The lake as lists and dictionaries, and what may happen to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from spanner_pipeline_tests.lake.building import Row

TIMES = (
    "2024-01-01T00:00:00Z",
    "2024-01-01T23:59:59.999999Z",
    "2024-01-02T00:30:00+01:00",  # the first of January in UTC
    "2024-01-02T12:00:00Z",
    "2024-03-31T02:30:00Z",
    "2025-01-01T00:00:00Z",
)
ROW = st.builds(
    Row,
    id=st.sampled_from("123456"),
    quantity=st.sampled_from(["1", "2.5", "0.000000001"]),
    time=st.sampled_from(TIMES),
    region=st.sampled_from(["", "eu"]),
    rev=st.sampled_from(["1", "2", "3", "10"]),
)

DEATHS = ("before writing", "before the commit", "after the commit", "before the ledger")
DEATH = st.one_of(st.none(), st.sampled_from(DEATHS))


@dataclass(frozen=True)
class Delivery:
    """Fresh rows, or the rows of an earlier delivery in other clothes."""

    rows: tuple[Row, ...] = ()
    of: int = -1
    how: str = "fresh"
    files: int = 1
    death: str | None = None


@dataclass(frozen=True)
class Revert:
    """An earlier import is taken out."""

    of: int
    force: bool
    death: str | None = None


CLOTHES = ["the same bytes", "shuffled", "gzip", "other line ends", "with more"]
FRESH = st.builds(
    Delivery,
    rows=st.lists(ROW, min_size=1, max_size=9).map(tuple),
    files=st.integers(1, 2),
    death=DEATH,
)
AGAIN = st.builds(
    Delivery,
    of=st.integers(0, 5),
    how=st.sampled_from(CLOTHES),
    rows=st.lists(ROW, max_size=2).map(tuple),
    death=DEATH,
)
REVERT = st.builds(Revert, of=st.integers(0, 5), force=st.booleans(), death=DEATH)
STEP = st.one_of(FRESH, FRESH, AGAIN, REVERT, REVERT)


@dataclass
class Import:
    """One import that was made."""

    batch: str
    met: set[str]
    known: bool = True
    stands: bool = True


@dataclass
class Model:
    """For each identity the rows that it had, the newest last, each with its import batch."""

    corrections: bool
    versions: dict[str, list[tuple[Row, str]]] = field(default_factory=dict)
    imports: list[Import] = field(default_factory=list)

    @property
    def rows(self) -> dict[str, Row]:
        """What the lake holds."""
        return {identity: stack[-1][0] for identity, stack in self.versions.items()}

    def knows(self, batch: str) -> bool:
        """Whether this delivery was imported, and all that it met is still there."""
        return any(done.known for done in self.imports if done.batch == batch)

    def deliver(
        self, batch: str, files: dict[str, list[Row]]
    ) -> tuple[Counter[str], list[tuple[Any, ...]]]:
        """Merge one delivery; gives how many rows had which outcome, and the conflicts."""
        outcomes: Counter[str] = Counter()
        conflicts: list[tuple[Any, ...]] = []
        delivered = [
            (name, line, row)
            for name in sorted(files)
            for line, row in enumerate(files[name], start=2)
        ]
        identities = {row.id for _, _, row in delivered}
        met = {self.versions[id][-1][1] for id in identities & self.versions.keys()} - {batch}
        for identity in identities:
            copies = [copy for copy in delivered if copy[2].id == identity]
            if self.corrections:
                copies.sort(key=lambda copy: -int(copy[2].rev))
            best, held = copies[0][2], self.rows.get(identity)
            if held is None or (self.corrections and int(best.rev) > int(held.rev)):
                outcomes["corrected" if held else "new"] += 1
                self.versions.setdefault(identity, []).append((best, batch))
                copies = copies[1:]
            kept = self.rows[identity]
            for name, line, row in copies:
                stale = self.corrections and int(row.rev) < int(kept.rev)
                if stale or row.payload == kept.payload:
                    outcomes["present"] += 1
                else:
                    outcomes["conflicting"] += 1
                    conflicts.append((f"legacy/{name}", line, kept.payload, row.payload))
        self.imports.append(Import(batch, met))
        return outcomes, conflicts

    def stands(self, batch: str) -> bool:
        """Whether an import of this batch was not reverted."""
        return any(done.stands for done in self.imports if done.batch == batch)

    def built_upon(self, batch: str) -> bool:
        """Whether an import that stands met rows of this batch, which stood since."""
        return any(done.stands and batch in done.met for done in self.imports)

    def revert(self, batch: str) -> None:
        """Forget every row of a batch; what it replaced shows again."""
        for identity, stack in list(self.versions.items()):
            left = [version for version in stack if version[1] != batch]
            if left:
                self.versions[identity] = left
            else:
                del self.versions[identity]
        for done in self.imports:
            if done.batch == batch:
                done.stands = False
            if batch == done.batch or batch in done.met:
                done.known = False
            done.met.discard(batch)
