"""What races have in common: rows of a day, how often each is run, what must hold after it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from spanner_pipeline.importing import UsageImport
from spanner_pipeline.lake.records import ImportRecord, RevertRecord
from spanner_pipeline_tests.faults.pairs import Import
from spanner_pipeline_tests.faults.scenes import State
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes

DAYS = ("2024-01-01", "2024-01-02")

stale_or_free = pytest.mark.parametrize("stale", [True, False], ids=["same version", "free"])
"""Both have opened the same version before one goes on, or they only start together."""


def repeated(times: int) -> pytest.MarkDecorator:
    """Run a race so often."""
    return pytest.mark.parametrize("number", range(times))


def rows(names: range, day: str = DAYS[0], **changes: str) -> list[Row]:
    """Rows of a day; the quantity of each is its name."""
    return [Row(str(n), quantity=str(n), time=f"{day}T05:00:00Z").but(**changes) for n in names]


def place(lake: TinyRoot, first: list[Row], second: list[Row]) -> None:
    """Put a delivery of each day in place of the last ones."""
    both = zip(DAYS, (first, second), strict=True)
    lake.place({f"{day}.csv": csv_bytes(delivered) for day, delivered in both})


def both_balance(done: Sequence[UsageImport], new: int, corrected: int = 0) -> None:
    """Law 1 holds for each import, and both together brought so many rows."""
    for one in done:
        balance(one)
    assert sum(one.totals.new.rows for one in done) == new
    assert sum(one.totals.corrected.rows for one in done) == corrected


def one_after_the_other(
    held: int | None, stale: bool, *done: ImportRecord | RevertRecord
) -> list[ImportRecord | RevertRecord]:
    """Check that whoever committed last had looked at what the other wrote.

    Args:
        held: The version before the race.
        stale: Whether both had opened it, so that one of them lost.
        done: What both say that they did.

    Returns:
        Both, in the order of their commits.
    """
    first, second = sorted(done, key=_versions)
    assert _versions(first)[0] <= _versions(second)[1]
    if stale:
        assert _versions(second)[1] > (-1 if held is None else held), "nobody had to look again"
    return [first, second]


def _versions(done: ImportRecord | RevertRecord) -> tuple[int, int]:
    """The versions after and before."""
    after, before = done.version_after, done.version_before
    return -1 if after is None else after, -1 if before is None else before


def both_are_known(lake: TinyRoot, state: State, *jobs: Import) -> None:
    """The lake holds what it should, no lost attempt left a file, importing again changes nothing.

    Args:
        lake: The lake.
        state: What it should hold.
        jobs: The imports that must be known.
    """
    assert lake.payloads() == state
    traces = _traces(lake)
    assert not traces, f"left behind: {traces}"
    version, files = lake.version, lake.lake_files()
    for job in jobs:
        assert job.do().unchanged
    assert (lake.version, lake.lake_files()) == (version, files)


def _traces(lake: TinyRoot) -> list[str]:
    """Files that no commit ever named, and work files."""
    log = lake.table.path / "_delta_log"
    said = "".join(commit.read_text("utf-8") for commit in log.glob("*.json"))
    events = lake.table.path.rglob("*.parquet")
    left = [path for path in events if path.parent != log and path.name not in said]
    for folder in ("lake", "quarantine"):
        left += (lake.path / folder).rglob("*.tmp")
    left += (lake.path / "staging").iterdir()
    return [str(path) for path in left]
