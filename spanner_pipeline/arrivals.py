"""Which deliveries of a source stand in its folder and were never imported.

A folder that did not change costs a look at each file, not a read. Content is known by digest, as
the ledger knows it: a file that is only touched, or moved and brought back, is not new. What was
reverted is not new either; whoever took it out decides when it comes back. Where rows had no
customer, another lookup file makes their partition new: importing it again lets them in.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.lake.ledger import Ledger, batch_name
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import ListedFile, digest_now, find_files, list_files
from spanner_pipeline.sources.tables import asks_a_server
from spanner_pipeline.unmapped import lookup_files, mendable
from spanner_pipeline.whole import written_whole

SETTLING = timedelta(seconds=10)
"""How long a file must have been left alone; one that is still being written is no delivery."""

READING = timedelta(seconds=20)
"""How long one look reads files; the next look goes on where it ended."""

LARGEST = 4 * 1024**3
"""Bytes of a partition beyond which its files are not read here; the import digests them."""

_UNREAD, _UNREADABLE = "unread", "unreadable"


@dataclass(frozen=True)
class Memory:
    """What one look leaves to the next; small, however many files there are.

    Attributes:
        listing: Digest of the listing in which nothing was left to do; empty where there was.
        asked: The content that was asked for, by partition, where it is not imported yet.
    """

    listing: str = ""
    asked: Mapping[str, str] = field(default_factory=dict)

    def spell(self) -> str:
        """As a text."""
        return json.dumps({"listing": self.listing, "asked": dict(self.asked)})

    @classmethod
    def read(cls, text: str | None) -> Memory:
        """Read what `spell` wrote; nothing is remembered where there is no text."""
        return cls(**json.loads(text)) if text else cls()


@dataclass(frozen=True)
class Look:
    """What one look at the folder of a source found.

    Attributes:
        files: How many files there are.
        partitions: How many partitions they belong to.
        arrived: The content of partitions that is new since the last look, oldest first.
        waiting: The content of partitions that was asked for before, and is not imported yet.
        settling: Partitions with a file that somebody may still be writing.
        unread: Partitions that are left to the next look, because reading took long.
        listing: Digest of the listing.
    """

    files: int
    partitions: int
    arrived: dict[str, str]
    waiting: dict[str, str]
    settling: list[str]
    unread: list[str]
    listing: str

    def remember(self, taken: Collection[str]) -> Memory:
        """What to remember when runs of some of the arrived partitions were asked for."""
        done = not self.settling and not self.unread and len(taken) == len(self.arrived)
        asked = {key: self.arrived[key] for key in self.arrived if key in taken}
        return Memory(self.listing if done else "", {**self.waiting, **asked})


def look(
    root: DataRoot, source: Source, keys: Sequence[str], before: Memory, now: datetime
) -> Look:
    """Look for deliveries of a source that were neither imported nor asked for.

    Args:
        root: The data root.
        source: The source.
        keys: Its partitions that exist by now, oldest first.
        before: What the last look left; changes since then are new.
        now: The time.
    """
    listed = list_files(root, source, set(keys))
    lookups = lookup_files(root, source)
    listing = listing_mark(
        [file for key in sorted(listed) for file in listed[key]] + lookups, *sorted(listed)
    )
    ledger = Ledger(root)
    anew = set(mendable(root, source)) if before.asked or listing != before.listing else set()
    waiting = {
        key: content
        for key, content in before.asked.items()
        if key in listed
        and (key in anew or content.split()[0] not in ledger.delivered(source, key))
    }
    arrived: dict[str, str] = {}
    settling: list[str] = []
    unread: list[str] = []
    if listing != before.listing:
        contents = _Contents(root, source)
        # What failed for want of a customer is tried again with another file.
        customers = "".join(f" {digest_now(root, file.name, {})}" for file in lookups)
        for key in (key for key in keys if key in listed):
            if any(is_fresh(file, now) for file in [*listed[key], *lookups]):
                settling.append(key)
                continue
            if asks_a_server(source) and key not in anew and ledger.delivered(source, key):
                continue  # whether it is as it was, only an import finds out
            content = contents.of(key, listed[key])
            if content is None:
                unread.append(key)
            elif content in ledger.delivered(source, key) and key not in anew:
                waiting.pop(key, None)
            elif waiting.get(key) != (content := f"{content}{customers}"):
                waiting.pop(key, None)
                arrived[key] = content
        contents.keep(listed)
    return Look(
        files=sum(map(len, listed.values())),
        partitions=len(listed),
        arrived=arrived,
        waiting=waiting,
        settling=settling,
        unread=unread,
        listing=listing,
    )


def is_fresh(file: ListedFile, now: datetime) -> bool:
    """Whether somebody may still be writing a file."""
    age = timedelta(microseconds=(_nanoseconds(now) - file.changed) // 1000)
    return timedelta() <= age < SETTLING


def _nanoseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def listing_mark(files: Sequence[ListedFile], *more: str) -> str:
    """A digest of how files look from outside."""
    text = json.dumps([[f.name, f.size, f.changed] for f in files] + list(more))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Contents:
    """The content of partitions, read only where their files look otherwise than last time."""

    def __init__(self, root: DataRoot, source: Source) -> None:
        self._root, self._source = root, source
        self._path = root.lake / "digests" / f"{source.source}.json"
        self._known: dict[str, list[str]] = {}
        if self._path.is_file():
            self._known = json.loads(self._path.read_text("utf-8"))
        self._begun = time.monotonic_ns()
        self._changed = False

    def of(self, partition: str, files: Sequence[ListedFile]) -> str | None:
        """The digest of a delivery, as the ledger has it; None where there is no time to read."""
        mark = listing_mark(files)
        known = self._known.get(partition)
        if known is not None and known[0] == mark:
            return known[1]
        large = sum(file.size for file in files) > LARGEST
        if large or asks_a_server(self._source):
            return f"{_UNREAD} {mark}"
        if timedelta(microseconds=(time.monotonic_ns() - self._begun) // 1000) > READING:
            return None
        try:
            found = find_files(self._root, self._source, partition)
        except PipelineError:  # the import says what is wrong with them
            return f"{_UNREADABLE} {mark}"
        content = batch_name(self._source, partition, found).rpartition("/")[2]
        self._known[partition] = [mark, content]
        self._changed = True
        return content

    def keep(self, partitions: Collection[str]) -> None:
        """Write down what was read, of the partitions that still have files."""
        if self._changed:
            kept = {key: known for key, known in self._known.items() if key in partitions}
            with written_whole(self._path) as work:
                work.write_text(json.dumps(kept), encoding="utf-8")
