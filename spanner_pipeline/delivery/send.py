"""Sending: batches that the service can take, at a measured pace, each outcome written down.

An event is in the ledger before it is sent and again once it is answered. Wherever this stops, even
killed, the next delivery sends under the same keys what has no answer, and the service takes each
key once.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import polars as pl

from spanner_pipeline.delivery.answers import Answers
from spanner_pipeline.delivery.client import OpenSpanner, TooManyAtOnceError
from spanner_pipeline.delivery.ledger import DeliveryLedger
from spanner_pipeline.delivery.words import announced, words_on

MOST_EVENTS = 1000
MOST_BYTES = 1 << 20
"""What one call may hold; the service allows no more."""

GROUP = 10 * MOST_EVENTS
"""Events between two writings of the ledger."""

_SHOWN = 20

Progress = Callable[[int], None]
"""Told how many more events were answered."""


@dataclass
class Outcome:
    """What the service answered.

    Attributes:
        events: How many by status.
        failures: Key, code and message of some that it refused.
        differing: Key, what was sent and what is there, of some duplicates that differ.
    """

    events: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    differing: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, answered: pl.DataFrame) -> None:
        """Count more answers."""
        self.events.update(answered["status"].to_list())
        failed = answered.filter(pl.col("status") == "failed").head(_SHOWN)
        self.failures += failed.select("idempotency_key", "code", "message").rows()
        other = answered.filter(pl.col("status") == "duplicate_differs").head(_SHOWN)
        self.differing += other.select("idempotency_key", "sent", "theirs").rows()
        del self.failures[_SHOWN:], self.differing[_SHOWN:]


class Pace:
    """Keeps below so many events a minute, evenly, so that live traffic has the rest."""

    def __init__(self, per_minute: int) -> None:
        """Begin now."""
        self._each = 60 * 10**9 // per_minute
        self._free = time.monotonic_ns()

    def wait(self, events: int) -> None:
        """Wait until so many may go."""
        now = time.monotonic_ns()
        if self._free > now:
            time.sleep((self._free - now) / 10**9)
        self._free = max(now, self._free) + events * self._each


class Sender:
    """Sends events of one meter, and writes down what becomes of them."""

    def __init__(
        self,
        client: OpenSpanner,
        ledger: DeliveryLedger,
        rate: int,
        ignored: Collection[str] = (),
        progress: Progress = lambda events: None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            client: The service.
            ledger: Where it is written down.
            rate: Events a minute at most.
            ignored: Metadata in which a duplicate may differ.
            progress: Told of events that were answered.
        """
        self._client = client
        self._ledger = ledger
        self._pace = Pace(rate)
        self._ignored = frozenset(ignored)
        self._progress = progress
        self._most = MOST_EVENTS
        self._most_bytes = MOST_BYTES
        self._fitted = 1

    def send(self, events: Iterable[pl.DataFrame]) -> Outcome:
        """Send all events.

        Args:
            events: Groups of them, as `fates.Chosen.stream` gives them.

        Raises:
            TargetError: When the service refuses or does not answer. What it answered until then is
                written down.
        """
        outcome = Outcome()
        groups = iter(events)
        # The ledger is written while the service is at work. What goes next is in it in good time;
        # an answer that is not in it yet when this is killed only means to ask once more.
        with ThreadPoolExecutor(1) as clerk:
            ahead = clerk.submit(self._announced, groups)
            written: Future[None] | None = None
            while (group := ahead.result()) is not None:
                ahead = clerk.submit(self._announced, groups)
                answers: list[tuple[pl.DataFrame, Answers]] = []
                try:
                    for batch in self._batches(group):
                        for sent, answer in self._settled(batch):
                            answers.append((sent, answer))
                            self._progress(sent.height)
                    if written:
                        written.result()  # raises when the last answers could not be written
                finally:
                    if answers:
                        written = clerk.submit(self._write_down, answers, outcome)
            if written:
                written.result()
        self._ledger.tidy()
        return outcome

    def _announced(self, groups: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
        """The next group, once it is in the ledger that it is about to be sent."""
        group = next(groups, None)
        if group is not None:
            self._ledger.write(announced(group))
        return group

    def _write_down(
        self, answers: Sequence[tuple[pl.DataFrame, Answers]], outcome: Outcome
    ) -> None:
        said = [words_on(batch, answer, self._ignored) for batch, answer in answers]
        answered = pl.concat(said, how="diagonal_relaxed")
        self._ledger.write(answered)
        outcome.add(answered)

    def _batches(self, group: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Pieces that the service can take, as far as is known."""
        while group.height:
            piece = group.head(self._most)
            while piece.height > 1 and _size(piece) > self._most_bytes:
                piece = piece.head(piece.height // 2)
            yield piece
            group = group.slice(piece.height)

    def _settled(self, batch: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, Answers]]:
        """Send a batch, in pieces where it is too much at once."""
        keys = batch["idempotency_key"].to_list()
        content = f"[{','.join(batch['sent'])}]".encode()
        self._pace.wait(len(keys))
        try:
            fits = len(keys) <= self._fitted
            answers = self._client.send(content, batch_key(content), keys, fits=fits)
        except TooManyAtOnceError as error:
            if len(keys) > 1:
                if error.code == "request_too_large":
                    self._most_bytes = len(content) // 2
                else:
                    self._most = len(keys) // 2
                for piece in self._batches(batch):
                    yield from self._settled(piece)
                return
            yield batch, Answers(frozenset(), {}, [(0, error.code, str(error))])
            return
        self._fitted = max(self._fitted, len(keys))
        yield batch, answers


def batch_key(content: bytes) -> str:
    """Names a batch by its exact content: the service answers a known key without looking at it."""
    return f"spanner_pipeline:{hashlib.sha256(content).hexdigest()}"


def _size(batch: pl.DataFrame) -> int:
    return int(batch["sent"].str.len_bytes().sum()) + batch.height + 1
