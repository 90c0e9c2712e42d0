"""A span of time as a source's YAML names it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from spanner_pipeline.configuration.values import Strict, Timestamp, complete_date


class Span(Strict):
    """Time from `from` until just before `to`: dates or times, on the source's clock if naive."""

    from_: datetime | None = Field(default=None, alias="from")
    to: datetime | None = None

    @field_validator("from_", "to", mode="before")
    @classmethod
    def _instant(cls, given: Any) -> Any:
        return complete_date(given) if isinstance(given, str) else given

    @field_validator("from_", "to")
    @classmethod
    def _in_utc(cls, moment: datetime | None) -> datetime | None:
        if moment is None or moment.tzinfo is None:
            return moment
        return moment.astimezone(UTC)


class Plausible(Span):
    """When the usage of a source can have happened; a time outside is a mistake, never usage."""

    @model_validator(mode="after")
    def _says_something(self) -> Plausible:
        if self.from_ is None and self.to is None:
            raise ValueError("says nothing. Give `from`, `to` or both, such as {from: 2015-01-01}.")
        same_clock = (
            self.from_ and self.to and (self.from_.tzinfo is None) == (self.to.tzinfo is None)
        )
        if same_clock and self.from_ and self.to and self.to <= self.from_:
            raise ValueError("`to` is exclusive and must be after `from`.")
        return self


class EventTime(Timestamp):
    """When an event happened.

    Times are kept to the microsecond. Texts with digits below it that are not zero are rejected,
    unless `below_microsecond: cut` gives these digits up. `plausible` stands before the source's.
    """

    below_microsecond: Literal["reject", "cut"] = "reject"
    plausible: Plausible | None = None
