"""What a source should deliver, and when: what the checks of its imports look for."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from spanner_pipeline.configuration.values import Strict

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1)}


def duration(text: Any) -> timedelta:
    """Read `2d` or `36h`.

    Raises:
        ValueError: When it is neither.
    """
    if isinstance(text, timedelta):
        return text
    found = re.fullmatch(r"(\d{1,5})([dh])", str(text))
    if not found:
        raise ValueError("write days or hours, such as 2d or 36h.")
    return int(found[1]) * _UNITS[found[2]]


Duration = Annotated[timedelta, BeforeValidator(duration)]


class RowBounds(Strict):
    """How many rows a partition may have, as multiples of the median of its neighbours.

    `{min: 0.5, max: 2, of: 7}`: not less than half and not more than twice the median of the 7
    partitions that are nearest in time, before or after, and were imported.
    """

    min: Decimal | None = Field(default=None, ge=0)
    max: Decimal | None = Field(default=None, ge=0)
    of: int = Field(default=7, ge=1, le=366)

    @model_validator(mode="after")
    def _holds_the_median(self) -> RowBounds:
        if self.min is None and self.max is None:
            raise ValueError("says nothing. Give `min`, `max` or both, such as {min: 0.5, max: 2}.")
        if self.min is not None and self.min > 1:
            raise ValueError("`min` is a multiple of the median and must be at most 1.")
        if self.max is not None and self.max < 1:
            raise ValueError("`max` is a multiple of the median and must be at least 1.")
        return self


class Expectations(Strict):
    """What is normal for a source. What is not, is told by checks; it does not stop an import.

    Without `rows`, row counts are not compared: what is normal for weekends, launches and outages
    only those know who know the source, and a check that cries wolf is soon ignored.

    Attributes:
        delivered_within: How long after the end of a partition its files should be there.
        rows: Bounds of row counts.
        severity: What a failed check is: a warning, or an error.
    """

    delivered_within: Duration = timedelta(days=1)
    rows: RowBounds | None = None
    severity: Literal["warn", "error"] = "warn"
