"""The YAML of a delivery: from which instant on live traffic counts, meter by meter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from spanner_pipeline.configuration.values import Strict

FILE = "delivery.yaml"
"""Its file in the data root; there need not be one."""


def _instant(given: Any) -> datetime:
    """An instant that Open Spanner can tell: with an offset, in whole seconds."""
    try:
        found = datetime.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError("must be an instant with an offset, such as 2026-03-01T00:00:00Z.")
    if found.microsecond:
        raise ValueError("has a fraction of a second, which Open Spanner cannot tell. Leave it out")
    return found.astimezone(UTC)


class Delivery(Strict):
    """What holds for every delivery.

    Attributes:
        cut_over: First instant of live traffic, by meter; from there on nothing is delivered.
    """

    cut_over: dict[str, Annotated[datetime, BeforeValidator(_instant)]] = Field(
        default_factory=dict
    )
