"""What a command means: which sources and partitions, which days and instants."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import Catalog

_LENGTH = len("2026-01-31")


class UnknownNameError(PipelineError):
    """A source, partition, meter or comparison that the data root does not have."""


class UnreadableTimeError(PipelineError):
    """What was written for a day or an instant is none."""


def read_day(name: str, text: str | None) -> date | None:
    """A UTC day as a person writes it; None for nothing.

    Args:
        name: What messages call it.
        text: Such as `2026-01-31`.

    Raises:
        UnreadableTimeError: When it is no day.
    """
    if not text:
        return None
    try:
        if len(text) == _LENGTH:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise UnreadableTimeError(f"{name} {text}: write a UTC day, such as 2026-01-31.")


def read_instant(name: str, text: str | None) -> datetime | None:
    """An instant, or the midnight of a UTC day, as a person writes it; None for nothing.

    Args:
        name: What messages call it.
        text: Such as `2026-01-31` or `2026-01-31T10:00:00Z`.

    Raises:
        UnreadableTimeError: When it is none, or has no offset.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        message = f"{name} {text}: write a UTC day, or an instant with an offset."
        raise UnreadableTimeError(message) from None
    if len(text) == _LENGTH:
        return found.replace(tzinfo=UTC)
    if found.tzinfo is None:
        raise UnreadableTimeError(f"{name} {text}: write an offset behind it, such as Z.")
    return found


def select_meter(catalog: Catalog, name: str) -> Meter:
    """The meter of this name.

    Raises:
        UnknownNameError: When there is no such meter.
    """
    if name not in catalog.meters:
        known = ", ".join(catalog.meters) or "none"
        raise UnknownNameError(f"there is no meter `{name}` (known: {known}).")
    return catalog.meters[name]


def select_sources(catalog: Catalog, names: Sequence[str]) -> list[Source]:
    """The sources with usage of these names, or all.

    Raises:
        UnknownNameError: When there is no such source.
    """
    importable = {s.source: s for s in catalog.sources.values() if s.usage}
    for name in names:
        if name not in importable:
            known = ", ".join(importable) or "none"
            raise UnknownNameError(f"there is no source `{name}` with usage (known: {known}).")
    return [importable[name] for name in names or importable]


def select_partitions(source: Source, first: str | None, last: str | None) -> list[str]:
    """The partitions of a source from `first` to `last`, both inclusive.

    Raises:
        UnknownNameError: When a key is no partition of the source.
    """
    keys = source.partition_keys(datetime.now(UTC).date())
    for key in (first, last):
        if key is not None and key not in keys:
            span = f"{keys[0]} to {keys[-1]}" if keys else "none"
            raise UnknownNameError(f"{source.source} has no partition `{key}` (it has {span}).")
    begin = keys.index(first) if first else 0
    end = keys.index(last) + 1 if last else len(keys)
    if first and last and end <= begin:
        raise UnknownNameError(f"no partition is from `{first}` to `{last}`: exchange the two.")
    return keys[begin:end]


def contiguous(keys: Sequence[str], chosen: Collection[str], at_most: int) -> list[list[str]]:
    """The chosen keys in ranges without holes, in the order of all keys.

    Args:
        keys: All partition keys, oldest first.
        chosen: Some of them.
        at_most: The longest range.
    """
    ranges: list[list[str]] = []
    last = None
    for place, key in enumerate(keys):
        if key not in chosen:
            continue
        if last != place - 1 or len(ranges[-1]) == at_most:
            ranges.append([])
        ranges[-1].append(key)
        last = place
    return ranges
