"""The YAML of a source: where its files are, how to read them, what their rows mean.

Belongs here: the declaration and its checks. Not here: reading files (`sources`) or comparing
totals (`reconciliation`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from spanner_pipeline.configuration import tables
from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.cron import NIGHTLY, cron
from spanner_pipeline.configuration.expectations import Expectations
from spanner_pipeline.configuration.expression import columns_of
from spanner_pipeline.configuration.identity import PARTITIONS, Corrections, Identity, Snapshot
from spanner_pipeline.configuration.layout import Delta, Format, Sql
from spanner_pipeline.configuration.locations import file_location
from spanner_pipeline.configuration.lookup import Subject
from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.configuration.span import EventTime, Plausible, Span
from spanner_pipeline.configuration.values import (
    SOURCE_FILE,
    Condition,
    Filter,
    Mistake,
    MistakesError,
    Share,
    Strict,
    Timestamp,
    Value,
    complete_date,
    known_zone,
)

Grain = Literal["day", "month", "year", "whole"]

WHOLE = "whole"
"""The only partition of a source that is delivered in one piece."""

PLACEHOLDER_ORDER = ("year", "month", "day")
PLACEHOLDERS = {
    "day": {"year", "month", "day"},
    "month": {"year", "month"},
    "year": {"year"},
    "whole": set(),
}


class Partitions(Strict):
    """How deliveries are cut. `from` is inclusive, `to` exclusive; without `to`, until today."""

    grain: Grain
    from_: date | None = Field(default=None, alias="from")
    to: date | None = None

    @field_validator("from_", "to", mode="before")
    @classmethod
    def _whole_date(cls, given: Any) -> Any:
        return complete_date(given) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _bounded(self) -> Partitions:
        if self.grain == WHOLE:
            if self.from_ or self.to:
                raise ValueError("grain `whole` has one partition; remove `from` and `to`.")
        elif self.from_ is None:
            raise ValueError("needs `from`, the first period that was delivered.")
        elif self.to is not None and self.to <= self.from_:
            raise ValueError("`to` is exclusive and must be after `from`.")
        elif (self.grain == "month" and self.from_.day != 1) or (
            self.grain == "year" and (self.from_.month, self.from_.day) != (1, 1)
        ):
            raise ValueError(f"`from` must be the first day of a {self.grain}.")
        return self


class Scope(Span):
    """Which time is migrated: events outside [from, to) are out of scope, and counted."""


class Usage(Strict):
    """What one row means to one meter."""

    meter: str
    part: str | None = None
    subject: Subject
    quantity: Quantity
    timestamp: EventTime
    dimensions: dict[str, Value] = Field(default_factory=dict)
    where: dict[str, Filter] = Field(default_factory=dict)
    condition: Condition | None = None

    @property
    def name(self) -> str:
        """How this usage is told apart within its source."""
        return f"{self.meter}.{self.part}" if self.part else self.meter

    @property
    def values(self) -> dict[str, Value]:
        """The values that an event is made of, by what messages call them."""
        unit = {"unit": self.quantity.unit} if self.quantity.unit is not None else {}
        own = {"subject": self.subject, "quantity": self.quantity, "timestamp": self.timestamp}
        dimensions = {f"dimensions.{name}": value for name, value in self.dimensions.items()}
        declared = self.quantity.cumulative
        by = declared.by if declared is not None else ()
        counter = {f"counter[{n}]": value for n, value in enumerate(by)}
        return {**own, **unit, **counter, **dimensions}

    @property
    def essential_columns(self) -> list[str]:
        """The source columns without which no row can become an event."""
        if self.where or self.condition is not None:
            return []
        values = (self.subject, self.quantity, self.timestamp)
        names = [name for value in values if value.expression is None for name in value.columns]
        return [n for n in names if n not in self.quantity.null_as_zero]

    @property
    def columns(self) -> list[str]:
        """The source columns that this usage reads."""
        names = [name for value in self.values.values() for name in value.columns]
        return [*names, *self.where, *columns_of(self.condition)]


class Source(Strict):
    """A legacy system and how to read it."""

    source: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)
    description: str = ""
    owner: str | None = None
    format: Format
    files: str = Field(min_length=1)
    partitions: Partitions
    zone: str | None = None
    identity: Identity | None = None
    corrections: Corrections | None = None
    scope: Scope = Scope()
    plausible: Plausible | None = None
    max_rejected: Share | None = None
    expect: Expectations = Expectations()
    schedule: str = NIGHTLY
    usage: tuple[Usage, ...] = ()
    billing_totals: tuple[BillingTotal, ...] = ()

    _zone = field_validator("zone")(known_zone)
    _location = field_validator("files")(file_location)
    _cron = field_validator("schedule")(cron)

    @model_validator(mode="after")
    def _consistent(self) -> Source:
        found = [*self._format_mistakes(), *self._delivery_mistakes(), *self._usage_mistakes()]
        if found:
            raise MistakesError(found)
        return self

    def _format_mistakes(self) -> Iterator[Mistake]:
        grain = self.partitions.grain
        expected = PLACEHOLDERS[grain]
        yield from tables.location_mistakes(self.format, self.files)
        if isinstance(self.format, Sql):
            yield from tables.period_mistakes(self.format, self.files, expected)
        elif tables.placeholders(self.format, self.files) != expected:
            wanted = " ".join(f"{{{name}}}" for name in PLACEHOLDER_ORDER if name in expected)
            also = " (or in `where` of `format`)" if isinstance(self.format, Delta) else ""
            yield (
                ("files",),
                f"grain {grain} takes {wanted or 'no'} placeholders{also}; found {self.files}",
            )
        have = self.format.fixed_columns
        if have and (missing := ", ".join(n for n in self.columns if n not in have)):
            yield (
                ("format",),
                f"gives no column {missing}, which is read below. It gives {', '.join(have)}; "
                "correct one of the two.",
            )

    def _delivery_mistakes(self) -> Iterator[Mistake]:
        grain = self.partitions.grain
        if not self.usage and not self.billing_totals:
            yield (), "has neither `usage` nor `billing_totals`. Add what its rows mean."
        if self.billing_totals and grain != WHOLE:
            message = "must be `whole`: billing totals are read as one."
            yield ("partitions", "grain"), message
        if self.corrections is not None and self.corrections.order == PARTITIONS and grain == WHOLE:
            yield (
                ("corrections", "order"),
                "`partitions` needs more than one, and grain `whole` has one. List file patterns, "
                "oldest first, or declare `revision`.",
            )
        if self.is_table and self.corrections and isinstance(self.corrections.order, tuple):
            yield (
                ("corrections", "order"),
                "lists file patterns; a table has no files. Declare `revision`, or `partitions`.",
            )
        if self.expect.rows is not None and grain == WHOLE:
            yield ("expect", "rows"), "grain `whole` has no neighbours to compare with. Remove it."
        if self.expect != Expectations() and not self.usage:
            yield ("expect",), "is about imports, and without `usage` there are none. Remove it."
        if self.schedule != NIGHTLY and (not self.usage or grain == WHOLE):
            message = "starts the imports of partitions, and there are none. Remove it."
            yield ("schedule",), message

    def _usage_mistakes(self) -> Iterator[Mistake]:
        if self.usage and self.identity is None:
            yield (
                ("identity",),
                "is missing. Say what makes a row itself: `native: <column>`, `composite: "
                "[<columns>]`, `multiset` where identical rows are real repeats, or `snapshot` "
                "where each delivery replaces the one before.",
            )
        first: dict[str, int] = {}
        for index, usage in enumerate(self.usage):
            if not self.zone_of(usage.timestamp) and not usage.timestamp.may_have_offset:
                message = "has no offset (%z), so nobody knows whose clock it was; declare `zone`."
                yield ("usage", index, "timestamp", "format"), message
            cut = self.is_table and self.partitions.grain != WHOLE
            if usage.quantity.cumulative is not None and cut:
                message = (
                    "needs the readings before a partition, and of a table nobody can say whether "
                    "they changed. Read it as a whole (`grain: whole`), or export it to files."
                )
                yield ("usage", index, "quantity", "cumulative"), message
            if first.setdefault(usage.name, index) != index:
                message = (
                    f"usage[{first[usage.name]}] feeds `{usage.name}` too, and one row may not "
                    "have one key twice. Give each its own `part`."
                )
                yield ("usage", index, "part"), message

    @property
    def is_table(self) -> bool:
        """Whether its deliveries are parts of a table, and no files."""
        return isinstance(self.format, Delta | Sql)

    @property
    def columns(self) -> list[str]:
        """All source columns that any declaration reads, in order of first mention."""
        return [name for name in dict.fromkeys(self._names) if name != SOURCE_FILE]

    @property
    def key_values(self) -> dict[str, Value]:
        """The values that a row's key and its revision are made of, by what messages call them."""
        parts = self.identity.parts if self.identity is not None else ()
        values: dict[str, Value] = {f"identity[{n}]": part for n, part in enumerate(parts)}
        if self.corrections is not None and self.corrections.revision is not None:
            values["revision"] = self.corrections.revision
        return values

    @property
    def across_subjects(self) -> bool:
        """Whether ids are unique across subjects, so that keys do not hold the subject."""
        return self.identity is not None and self.identity.across_subjects

    @property
    def snapshot(self) -> Snapshot | None:
        """How its deliveries replace their scopes, where they do."""
        return self.identity.snapshot if self.identity is not None else None

    @property
    def reads_file_names(self) -> bool:
        """Whether the same bytes under another name can mean something else."""
        by_pattern = self.corrections is not None and isinstance(self.corrections.order, tuple)
        return by_pattern or SOURCE_FILE in self._names

    @property
    def _names(self) -> list[str]:
        names = [name for usage in self.usage for name in usage.columns]
        names += [name for total in self.billing_totals for name in total.columns]
        names += self._identity_columns
        return names + (self.corrections.columns if self.corrections is not None else [])

    @property
    def essential_columns(self) -> list[str]:
        """The source columns that a file cannot lack in all its rows."""
        names = [name for usage in self.usage for name in usage.essential_columns]
        parts = self.identity.parts if self.identity is not None else ()
        names += [name for part in parts if part.expression is None for name in part.columns]
        return [n for n in dict.fromkeys(names) if n != SOURCE_FILE]

    @property
    def _identity_columns(self) -> list[str]:
        parts = self.identity.parts if self.identity is not None else ()
        return [name for part in parts for name in part.columns]

    def zone_of(self, timestamp: Timestamp) -> str | None:
        """The zone of a naive time: its own, else the source's."""
        return timestamp.zone or self.zone

    def plausible_at(self, timestamp: EventTime) -> Plausible | None:
        """When its events can have happened: the timestamp's own declaration, else the source's."""
        return timestamp.plausible or self.plausible

    def partition_keys(self, today: date) -> list[str]:
        """The partitions that exist by `today`, oldest first."""
        if self.partitions.from_ is None:
            return [WHOLE]
        keys = []
        period, end = self.partitions.from_, self.partitions.to or today
        while period < end:
            keys.append(partition_key(self.partitions.grain, period))
            period = next_period(self.partitions.grain, period)
        return keys


def partition_key(grain: Grain, period: date) -> str:
    """Spell the partition that starts at `period`: `2013-02-01`, `2013-02` or `2013`."""
    return period.isoformat()[: {"day": 10, "month": 7, "year": 4, "whole": 10}[grain]]


def with_dates(text: str, partition: str) -> str:
    """A text with the dates of a partition in the place of its placeholders."""
    parts = partition.split("-") if partition != WHOLE else []
    dates = dict(zip(PLACEHOLDER_ORDER, parts, strict=False))
    return re.sub(r"\{(\w+)\}", lambda match: dates[match[1]], text)


def next_period(grain: Grain, period: date) -> date:
    """The first day of the period after the one that starts at `period`."""
    if grain == "day":
        return date.fromordinal(period.toordinal() + 1)
    if grain == "month":
        return date(period.year + period.month // 12, period.month % 12 + 1, 1)
    return date(period.year + 1, 1, 1)
