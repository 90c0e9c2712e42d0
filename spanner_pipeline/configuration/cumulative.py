"""How a source's YAML says that a quantity is the reading of a counter that only grows.

Belongs here: the declaration and its checks. Not here: measuring usage (`counters`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field, field_validator

from spanner_pipeline.configuration.values import Strict, Value


class Cumulative(Strict):
    """That a number is a reading; usage is what it grew since the reading before it.

    Attributes:
        by: What tells counters apart; readings with the same texts are of one counter.
        first: Whether the first reading of a counter is only where its usage begins (`baseline`),
            or counts as usage from 0 on (`count`).
        reset: What a smaller reading means: that the counter began again at 0 (`zero`), or a
            mistake, from which on its readings are rejected (`reject`).
        rolls_over_at: How many values a counter has before it begins again at 0, as 4294967296 for
            32 bits. A fall that is a step forward by at most half of them is a roll-over.
        gaps: What a partition without files means: readings that are to come, so that the next ones
            are rejected until they came (`reject`), or none (`bridge`).
    """

    by: tuple[Value, ...] = Field(min_length=1)
    first: Literal["baseline", "count"] = "baseline"
    reset: Literal["reject", "zero"] = "reject"
    rolls_over_at: Decimal | None = Field(default=None, gt=0)
    gaps: Literal["reject", "bridge"] = "reject"

    @field_validator("by", mode="before")
    @classmethod
    def _one(cls, given: Any) -> Any:
        return [given] if isinstance(given, str | dict) else given

    @property
    def columns(self) -> list[str]:
        """The source columns that tell counters apart."""
        return [name for value in self.by for name in value.columns]
