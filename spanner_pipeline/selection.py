"""Which sources and partitions a command means."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.root import Catalog


class UnknownNameError(PipelineError):
    """A source, partition, meter or comparison that the data root does not have."""


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
