"""Sending: batches that the service can take, at a measured pace, each outcome written down.

An event is in the ledger before it is sent and again once it is answered. Wherever this stops, even
killed, the next delivery sends under the same keys what has no answer, and the service takes each
key once.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from spanner_pipeline.delivery.client import OpenSpanner, TooManyAtOnceError
from spanner_pipeline.delivery.ledger import DeliveryLedger, Status

MOST_EVENTS = 1000
MOST_BYTES = 1 << 20
"""What one call may hold; the service allows no more."""

GROUP = 10 * MOST_EVENTS
"""Events between two writings of the ledger."""

_KEPT = ["idempotency_key", "digest", "subject", "quantity", "timestamp"]
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
        for group in events:
            self._ledger.write(group.select(_KEPT).with_columns(_status("sent")))
            answers: list[pl.DataFrame] = []
            try:
                for batch in self._batches(group):
                    for answered in self._settled(batch):
                        answers.append(answered)
                        self._progress(answered.height)
            finally:
                if answers:
                    answered = pl.concat(answers, how="diagonal_relaxed")
                    self._ledger.write(answered)
                    outcome.add(answered)
        self._ledger.tidy()
        return outcome

    def _batches(self, group: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Pieces that the service can take, as far as is known."""
        while group.height:
            piece = group.head(self._most)
            while piece.height > 1 and _size(piece) > self._most_bytes:
                piece = piece.head(piece.height // 2)
            yield piece
            group = group.slice(piece.height)

    def _settled(self, batch: pl.DataFrame) -> Iterator[pl.DataFrame]:
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
            nothing = pl.lit(None, dtype=pl.String)
            yield batch.select(_KEPT).with_columns(
                _status("failed"),
                *(pl.lit(error.code).alias("code"), pl.lit(str(error)).alias("message")),
                *(nothing.alias("sent"), nothing.alias("theirs")),
            )
            return
        self._fitted = max(self._fitted, len(keys))
        failed = pl.DataFrame(
            [(keys[place], code, message) for place, code, message in answers.failed],
            schema={name: pl.String for name in ("idempotency_key", "code", "message")},
            orient="row",
        ).with_columns(_status("failed"))
        accepted = pl.DataFrame({"idempotency_key": sorted(answers.accepted)}).with_columns(
            _status("accepted")
        )
        known = self._duplicates(batch, answers.duplicates)
        said = pl.concat([failed, accepted, known], how="diagonal_relaxed").unique(
            "idempotency_key", keep="first"
        )
        yield batch.select(_KEPT).join(said, on="idempotency_key", maintain_order="left")

    def _duplicates(
        self, batch: pl.DataFrame, theirs: Mapping[str, Mapping[str, Any]]
    ) -> pl.DataFrame:
        """Tell duplicates that say the same from those that do not; there are few of either."""
        rows: list[tuple[str, str, str | None, str | None]] = []
        keys = pl.Series(list(theirs), dtype=pl.String)
        held = batch.filter(pl.col("idempotency_key").is_in(keys.implode()))
        for key, sent in held.select("idempotency_key", "sent").iter_rows():
            there = theirs[key]
            if self._same(_doubles(sent), _doubles(json.dumps(there))):
                rows.append((key, "duplicate", None, None))
            else:
                said = json.dumps(there, sort_keys=True, ensure_ascii=False)
                rows.append((key, "duplicate_differs", sent, said))
        names = ("idempotency_key", "status", "sent", "theirs")
        return pl.DataFrame(rows, schema={name: pl.String for name in names}, orient="row")

    def _same(self, ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
        if any(ours[name] != theirs.get(name) for name in ("subject", "meter", "quantity")):
            return False
        seconds = len("2024-01-01T00:00:00")  # the service tells no fraction of a second
        if ours["timestamp"][:seconds] != str(theirs.get("timestamp"))[:seconds]:
            return False
        pair = (_nested(ours["metadata"]), _nested(theirs.get("metadata") or {}))
        mine, its = ({k: v for k, v in m.items() if k not in self._ignored} for m in pair)
        return mine == its


def batch_key(content: bytes) -> str:
    """Names a batch by its exact content: the service answers a known key without looking at it."""
    return f"spanner_pipeline:{hashlib.sha256(content).hexdigest()}"


def _status(status: Status) -> pl.Expr:
    return pl.lit(status).alias("status")


def _size(batch: pl.DataFrame) -> int:
    return int(batch["sent"].str.len_bytes().sum()) + batch.height + 1


def _doubles(text: str) -> dict[str, Any]:
    """JSON with every number as the double that the service makes of it."""
    found: dict[str, Any] = json.loads(text, parse_int=float)
    return found


def _nested(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as the service stores it: a dotted name is a path."""
    found: dict[str, Any] = {}
    for name, value in metadata.items():
        *path, last = name.split(".")
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return found
