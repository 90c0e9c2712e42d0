"""Tidewater's AI usage (SAMPLE): CloudEvents 1.0, out of order, some late and some sent again."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple

from spanner_pipeline.sample.customers import DAYS, SEED, Customer, arrivals

_BUSY_DAY = 320
_LATE_IN_1000 = 10
_AGAIN_IN_1000 = 5
_MOST_LATE = timedelta(days=3)
_SLOWEST_SECONDS = 1200
_MODELS = ("tide-small", "tide-small", "tide-large")


class Completion(NamedTuple):
    """One answer of the AI assistant: one distinct event.

    Attributes:
        customer: Who asked.
        time: When (UTC, whole milliseconds).
        tokens: Input and output tokens together.
        line: The event as JSON.
    """

    customer: Customer
    time: datetime
    tokens: int
    line: str


def completions() -> list[Completion]:
    """All distinct events, by day."""
    rng = random.Random(f"{SEED} completions")  # noqa: S311 - sample data, not a secret
    return [
        _completion(rng, customer, moment)
        for day in DAYS
        for customer, moment in arrivals(rng, day, lambda customer: customer.completions, _BUSY_DAY)
    ]


def deliveries(events: Iterable[Completion]) -> dict[date, list[str]]:
    """Lay events out by the UTC day they were delivered.

    About 1 % arrive one to three days late. About 0.5 % arrive a second time, as the identical
    line, on the same or a later day. Nothing arrives later than three days or after the last day.

    Args:
        events: The distinct events.

    Returns:
        For each day the lines of its file, in the order of delivery.
    """
    rng = random.Random(f"{SEED} deliveries")  # noqa: S311 - sample data, not a secret
    files: dict[date, list[tuple[datetime, str]]] = {day: [] for day in DAYS}
    for event in events:
        day = event.time.date()
        latest = min(day + _MOST_LATE, DAYS[-1])
        arrived = day
        if rng.randrange(1000) < _LATE_IN_1000:
            arrived = min(day + timedelta(days=rng.randint(1, _MOST_LATE.days)), latest)
        days = [arrived]
        if rng.randrange(1000) < _AGAIN_IN_1000:
            days.append(arrived + timedelta(days=rng.randint(0, (latest - arrived).days)))
        for arrived in days:
            delay = arrived - day + timedelta(seconds=rng.randrange(_SLOWEST_SECONDS))
            files[arrived].append((event.time + delay, event.line))
    return {day: [line for _, line in sorted(lines)] for day, lines in files.items()}


def _completion(rng: random.Random, customer: Customer, moment: datetime) -> Completion:
    tokens_in, tokens_out = rng.randrange(20, 6000), rng.randrange(1, 1500)
    event = {
        "specversion": "1.0",
        "type": "ai.completion",
        "source": "/tidewater/assistant",
        "id": f"evt_{rng.getrandbits(80):020x}",
        "subject": customer.slug,
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {
            "model": rng.choice(_MODELS),
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
        },
    }
    line = json.dumps(event, separators=(",", ":"))
    return Completion(customer, moment, tokens_in + tokens_out, line)
