"""The YAML of a delivery: from which instant on live traffic counts, meter by meter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from spanner_pipeline.configuration.values import Strict

FILE = "delivery.yaml"
"""Its file in the data root; there need not be one."""


def _instant(given: Any) -> datetime:
    """An instant that Open Spanner can tell for ever: it rolls old events up by the hour."""
    try:
        found = datetime.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError("must be an instant with an offset, such as 2026-03-01T00:00:00Z.")
    found = found.astimezone(UTC)
    if found != found.replace(minute=0, second=0, microsecond=0):
        raise ValueError("must be a whole hour of UTC, as Open Spanner rolls old events up by it.")
    return found


class Delivery(Strict):
    """What holds for every delivery.

    Attributes:
        cut_over: First instant of live traffic, by meter; from there on nothing is delivered.
    """

    cut_over: dict[str, Annotated[datetime, BeforeValidator(_instant)]] = Field(
        default_factory=dict
    )
