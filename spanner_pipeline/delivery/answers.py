"""What the service's answers say, whole or not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Answers:
    """What the service said of the events of one batch.

    Attributes:
        accepted: Keys of events that it took.
        duplicates: What it holds already, by key, as it holds it.
        failed: Position in the batch, code and message of those that it refused.
    """

    accepted: frozenset[str]
    duplicates: Mapping[str, Mapping[str, Any]]
    failed: Sequence[tuple[int, str, str]]


class Answer(Protocol):
    """What the SDK's responses and those of its connection have in common."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""

    @property
    def content(self) -> bytes:
        """The body."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""


def as_object(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer; empty where it is something else."""
    found = json.loads(answer.content)
    return found if isinstance(found, dict) else {}


def is_json(answer: Answer) -> bool:
    """Whether an answer is whole; raises ValueError where not."""
    json.loads(answer.content)
    return True


def answers_of(answer: Answer, keys: Sequence[str]) -> Answers | None:
    """What an answer says of the events of a batch.

    None where it does not account for every one: only a 201 does, or the 400 of a batch that all
    failed. It is parsed once, for parsing is most of what a delivery costs here.
    """
    if answer.status_code not in (201, 400):
        return None
    found = json.loads(answer.content)
    if not isinstance(found, dict) or "failed" not in found:
        return None
    failed = [
        (item["index"], str(item.get("code", "")), str(item.get("message", "")))
        for item in found.get("failed_items") or []
        if 0 <= item["index"] < len(keys)
    ]
    duplicates = {item["idempotency_key"]: item for item in found.get("duplicate_items") or []}
    accepted = frozenset(item["idempotency_key"] for item in found.get("accepted_items") or [])
    known = accepted | duplicates.keys() | {keys[place] for place, *_ in failed}
    return Answers(accepted, duplicates, failed) if known >= set(keys) else None
