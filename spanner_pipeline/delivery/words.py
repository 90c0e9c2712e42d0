"""What is written down of the events of a batch, once the service answered for all of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from spanner_pipeline.delivery.answers import Answers
from spanner_pipeline.delivery.ledger import Status

KEPT = ["idempotency_key", "digest", "subject", "quantity", "timestamp", "net", "retention_days"]
"""What the ledger keeps of every event."""

_NOTHING = [
    pl.lit(None, dtype=pl.String).alias(name) for name in ("code", "message", "sent", "theirs")
]


def status(said: Status) -> pl.Expr:
    """A column with the same status in every row."""
    return pl.lit(said).alias("status")


def announced(events: pl.DataFrame) -> pl.DataFrame:
    """The rows of the ledger for events that are about to be sent, and for those netted with them.

    Args:
        events: As `fates.Chosen.stream` gives them.
    """
    sent = events.select(KEPT).with_columns(status("sent"))
    netted = events.filter(pl.col("members").is_not_null()).select("net", "members")
    members = netted.explode("members").unnest("members")
    return pl.concat([sent, members.with_columns(status("netted"))], how="diagonal")


def words_on(batch: pl.DataFrame, answers: Answers, ignored: Collection[str]) -> pl.DataFrame:
    """The rows of the ledger for a batch, in its order.

    Args:
        batch: The events as they were sent.
        answers: What the service said of them.
        ignored: Metadata in which a duplicate may differ.
    """
    kept = batch.select(KEPT)
    keys = batch["idempotency_key"].to_list()
    if answers.accepted == set(keys):  # as nearly always
        return kept.with_columns(status("accepted"), *_NOTHING)
    failed = pl.DataFrame(
        [(keys[place], code, message) for place, code, message in answers.failed],
        schema={name: pl.String for name in ("idempotency_key", "code", "message")},
        orient="row",
    ).with_columns(status("failed"))
    accepted = pl.DataFrame({"idempotency_key": sorted(answers.accepted)}).with_columns(
        status("accepted")
    )
    known = _duplicates(batch, answers.duplicates, ignored)
    said = pl.concat([failed, accepted, known], how="diagonal_relaxed").unique(
        "idempotency_key", keep="first"
    )
    return kept.join(said, on="idempotency_key", maintain_order="left")


def _duplicates(
    batch: pl.DataFrame, theirs: Mapping[str, Mapping[str, Any]], ignored: Collection[str]
) -> pl.DataFrame:
    """Tell duplicates that say the same from those that do not; there are few of either."""
    rows: list[tuple[str, str, str | None, str | None]] = []
    keys = pl.Series(list(theirs), dtype=pl.String)
    held = batch.filter(pl.col("idempotency_key").is_in(keys.implode()))
    for key, sent in held.select("idempotency_key", "sent").iter_rows():
        there = theirs[key]
        if _same(_doubles(sent), _doubles(json.dumps(there)), ignored):
            rows.append((key, "duplicate", None, None))
        else:
            said = json.dumps(there, sort_keys=True, ensure_ascii=False)
            rows.append((key, "duplicate_differs", sent, said))
    names = ("idempotency_key", "status", "sent", "theirs")
    return pl.DataFrame(rows, schema={name: pl.String for name in names}, orient="row")


def _same(ours: dict[str, Any], theirs: dict[str, Any], ignored: Collection[str]) -> bool:
    if any(ours[name] != theirs.get(name) for name in ("subject", "meter", "quantity")):
        return False
    seconds = len("2024-01-01T00:00:00")  # the service tells no fraction of a second
    if ours["timestamp"][:seconds] != str(theirs.get("timestamp"))[:seconds]:
        return False
    pair = (_nested(ours["metadata"]), _nested(theirs.get("metadata") or {}))
    mine, its = ({k: v for k, v in m.items() if k not in ignored} for m in pair)
    return mine == its


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
