"""The lake as a dictionary and a list, and the random steps that both are put through.

Nothing here knows the package: what the model says follows from the laws alone.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from spanner_pipeline_tests.lake.building import Row, csv_bytes, shuffled

Files = dict[str, list[Row]]


@dataclass(frozen=True)
class Held:
    """A row that the lake took, and from where."""

    row: Row
    batch: str
    file: str
    line: int


@dataclass(frozen=True)
class Imported:
    """A delivery that was read: how many rows had which outcome, and whose rows it met.

    `repeated` says of each further copy of an event where it stands, and where the row that counts;
    `apart` are those that may be overlooked, because the copies lie on several days.
    """

    batch: str
    outcomes: Counter[str] = field(default_factory=Counter)
    conflicts: list[tuple[Any, ...]] = field(default_factory=list)
    repeated: list[tuple[Any, ...]] = field(default_factory=list)
    apart: list[tuple[Any, ...]] = field(default_factory=list)
    met: set[str] = field(default_factory=set)

    @property
    def enters(self) -> bool:
        """Whether it changed the lake."""
        return bool(self.outcomes["new"] + self.outcomes["corrected"])


@dataclass(frozen=True)
class Reverted:
    """A batch that was taken out: how many rows went, and under how many keys others came back."""

    batch: str
    removed: int
    restored: int


@dataclass
class Model:
    """The lake.

    Attributes:
        corrections: Whether a higher revision replaces.
        rows: What was taken under each identity and not reverted since, oldest first; the last is
            what stands in the lake.
        log: What was done, oldest first.
    """

    corrections: bool
    rows: dict[str, list[Held]] = field(default_factory=dict)
    log: list[Imported | Reverted] = field(default_factory=list)

    def deliver(self, batch: str, files: Files) -> Imported:
        """Merge one delivery."""
        done = Imported(batch)
        delivered = [
            Held(row, batch, f"legacy/{name}", line)
            for name in sorted(files)
            for line, row in enumerate(files[name], start=2)
        ]
        for identity in {copy.row.id for copy in delivered}:
            copies = [copy for copy in delivered if copy.row.id == identity]
            if self.corrections:
                copies.sort(key=lambda copy: -int(copy.row.rev))
            days = {copy.row.payload[1].date() for copy in copies}
            apart = self.corrections and len(days) > 1
            stood, number = self.rows.setdefault(identity, []), len(copies)
            done.met.update({held.batch for held in stood[-1:]} - {batch})
            if not stood:
                done.outcomes["new"] += 1
                stood.append(copies.pop(0))
            elif self.corrections and int(copies[0].row.rev) > int(stood[-1].row.rev):
                done.outcomes["corrected"] += 1
                stood.append(copies.pop(0))
            kept, counts = stood[-1].row, len(copies) < number
            for copy in copies:
                stale = self.corrections and int(copy.row.rev) < int(kept.rev)
                if stale or copy.row.payload == kept.payload:
                    done.outcomes["present"] += 1
                    if counts:
                        places = (copy.file, copy.line, stood[-1].file, stood[-1].line)
                        (done.apart if apart else done.repeated).append((batch, *places))
                    counts = True
                else:
                    done.outcomes["conflicting"] += 1
                    conflict = (batch, copy.file, copy.line, kept.payload, copy.row.payload)
                    done.conflicts.append(conflict)
        self.log.append(done)
        return done

    def revert(self, batch: str) -> Reverted:
        """Take a batch out."""
        went = [identity for identity, stood in self.rows.items() if stood[-1].batch == batch]
        left = {
            identity: [held for held in stood if held.batch != batch]
            for identity, stood in self.rows.items()
        }
        self.rows = {identity: stood for identity, stood in left.items() if stood}
        done = Reverted(batch, len(went), len(self.rows.keys() & set(went)))
        self.log.append(done)
        return done

    def latest(self, batch: str) -> Imported:
        """The latest import of a batch."""
        return [e for e in self.log if isinstance(e, Imported) and e.batch == batch][-1]

    def known(self, batch: str) -> bool:
        """Whether a delivery need not be read: it was, and nothing that it saw was reverted."""
        known = False
        for done, reverted in self._imports():
            if done.batch == batch:
                known = reverted.isdisjoint({batch, *done.met})
        return known

    def standing(self) -> list[str]:
        """The batches that were not reverted since they were imported, oldest first."""
        batches = [done.batch for done, reverted in self._imports() if done.batch not in reverted]
        return [batch for n, batch in enumerate(batches, start=1) if batch not in batches[n:]]

    def built_upon(self, batch: str) -> bool:
        """Whether an import that still stands met rows of a batch."""
        return any(
            batch in done.met - reverted
            for done, reverted in self._imports()
            if done.batch not in reverted
        )

    def conflicts(self) -> list[tuple[Any, ...]]:
        """The conflicts in quarantine."""
        latest = (self.latest(batch) for batch in self.standing())
        return [conflict for done in latest for conflict in done.conflicts]

    def repeated(self) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
        """The repeated rows in quarantine: those that must be there, and those that may be."""
        latest = [self.latest(batch) for batch in self.standing()]
        must = {row for done in latest for row in done.repeated}
        return must, must | {row for done in latest for row in done.apart}

    def _imports(self) -> Iterator[tuple[Imported, set[str]]]:
        """All imports, each with the batches that were reverted since."""
        for n, done in enumerate(self.log):
            if isinstance(done, Imported):
                yield done, {e.batch for e in self.log[n:] if isinstance(e, Reverted)}


TIMES = (
    "2024-01-01T00:00:00Z",
    "2024-01-01T23:59:59.999999Z",
    "2024-01-02T00:30:00+01:00",  # the first of January in UTC
    "2024-01-02T12:00:00Z",
    "2024-03-31T02:30:00Z",
    "2025-01-01T00:00:00Z",
)
UNCOMMITTED = (
    "before EventTable.prepare",
    "after EventTable.prepare",
    "before write_day",
    "after write_day",
    "after write_without",
    "before create_write_transaction",
)
UNCOMMITTED_IMPORT = (*UNCOMMITTED, "after stage", "after Replaced.take", "after write_repeated")
COMMITTED = ("after create_write_transaction", "before Ledger.add", "before Ledger.add_revert")
WRITTEN_DOWN = ("after Ledger.add", "after Ledger.add_revert", "after quarantine_file")
"""Where a process may die. What the commit said is known without a ledger; what needs no commit
is known once it is written down."""


@dataclass(frozen=True)
class Import:
    """One delivery: fresh rows, or the rows of an earlier one in other clothes.

    It dies at some moments, as far as it gets there, each time it is run, before it may end.
    """

    rows: tuple[Row, ...] = (Row(),)
    of: int = 0
    how: str = "fresh"
    files: int = 1
    deaths: tuple[str, ...] = ()

    def delivery(self, earlier: list[Delivery]) -> Delivery:
        """What is delivered."""
        if self.how == "fresh" or not earlier:
            number = min(self.files, len(self.rows))
            return Delivery({f"{n}.csv": list(self.rows[n::number]) for n in range(number)})
        before = earlier[-1 - self.of % len(earlier)]
        rows = [row for name in sorted(before.files) for row in before.files[name]]
        return {
            "the same bytes": before,
            "shuffled": Delivery({"shuffled.csv": shuffled(rows)}),
            "gzip": Delivery({"packed.csv": rows}, packed=True),
            "other line ends": Delivery({"windows.csv": rows}, end="\r\n"),
            "with more": Delivery({"more.csv": [*rows, *self.rows]}),
        }[self.how]


@dataclass(frozen=True)
class Revert:
    """One batch that stands is taken out, counted from the oldest; then it may be run again."""

    of: int = 0
    force: bool = False
    again: bool = False
    deaths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delivery:
    """Files with the rows that they hold."""

    files: Files
    end: str = "\n"
    packed: bool = False

    def contents(self) -> dict[str, bytes]:
        """The files as they are placed."""
        texts = {name: csv_bytes(rows, end=self.end) for name, rows in self.files.items()}
        if self.packed:
            return {name: gzip.compress(text, mtime=0) for name, text in texts.items()}
        return texts


ROW = st.builds(
    Row,
    id=st.sampled_from("123456"),
    quantity=st.sampled_from(["1", "2.5", "0.000000001"]),
    time=st.sampled_from(TIMES),
    region=st.sampled_from(["", "eu"]),
    rev=st.sampled_from(["1", "2", "3", "10"]),
)
ROWS = st.lists(ROW, min_size=1, max_size=9).map(tuple)
HOW = st.sampled_from(["the same bytes", "shuffled", "gzip", "other line ends", "with more"])


def _deaths(before: Sequence[str], after: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    moment = st.sampled_from(before) | st.sampled_from(after)
    return st.just(()) | st.lists(moment, min_size=1, max_size=2).map(tuple)


DEATHS = _deaths(UNCOMMITTED_IMPORT, [COMMITTED[0], COMMITTED[1], WRITTEN_DOWN[0]])
FRESH = st.builds(Import, rows=ROWS, files=st.integers(1, 2), deaths=DEATHS)
EARLIER = st.builds(Import, rows=ROWS, of=st.integers(0, 4), how=HOW, deaths=DEATHS)
REVERT = st.builds(
    Revert,
    of=st.sampled_from([0, 0, 1, 2]),  # the oldest are built upon
    again=st.booleans(),
    deaths=_deaths(UNCOMMITTED, [COMMITTED[0], COMMITTED[2], *WRITTEN_DOWN[1:]]),
)
FORCED = REVERT.map(lambda step: replace(step, force=True))
STEPS = st.tuples(
    FRESH,
    FRESH | EARLIER,
    st.lists(FRESH | EARLIER | REVERT | FORCED, min_size=2, max_size=6),
).map(lambda steps: [*steps[:2], *steps[2]])
