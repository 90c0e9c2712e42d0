"""What should have been delivered is known from the declaration, what was from the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.importing import import_partition
from spanner_pipeline.lake.expected import (
    Arrived,
    arrived,
    completeness,
    due,
    near_neighbours,
    overdue,
)
from spanner_pipeline.lake.ledger import configuration_digest
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root

LATER = datetime(2024, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    """Day 1 is imported, day 2 brought no usage, day 3 has no file, day 4 was not imported."""
    root = small_root(tmp_path_factory.mktemp("expected") / "root")
    root.rewrite("sources/switch.yaml", "max_rejected: 20%\n", "")
    root.rewrite("legacy/switch/2024-01-02.csv", "T0", "T9")
    root.file("switch", DAYS[2]).unlink()
    catalog = load_catalog(root)
    for day in DAYS[:2]:
        import_partition(root, catalog, catalog.sources["switch"], day)
    return root


def declared(root: SmallRoot, **expect: Any) -> Source:
    """The source, with other expectations."""
    source = load_catalog(root).sources["switch"].model_dump(by_alias=True)
    return Source.model_validate({**source, "expect": expect})


def source_of(grain: str, begin: str, files: str, **more: Any) -> Source:
    return Source.model_validate(
        {
            "source": "old",
            "format": {"family": "delimited"},
            "files": files,
            "partitions": {"grain": grain, "from": begin},
            "identity": {"native": "id"},
            "usage": [{"meter": "calls", "subject": "a", "quantity": "n", "timestamp": "at"}],
            **more,
        }
    )


@pytest.mark.parametrize(
    ("grain", "files", "partition", "more", "expected"),
    [
        ("day", "{year}{month}{day}", "2024-02-28", {}, "2024-03-01T00:00:00+00:00"),
        ("month", "{year}{month}", "2024-02", {}, "2024-03-02T00:00:00+00:00"),
        ("year", "{year}", "2024", {}, "2025-01-02T00:00:00+00:00"),
        (
            "day",
            "{year}{month}{day}",
            "2024-03-09",
            {"zone": "America/New_York", "expect": {"delivered_within": "6h"}},
            "2024-03-10T06:00:00-04:00",  # on the day that the clocks went forward
        ),
    ],
)
def test_files_are_due_so_long_after_their_partition_ends(
    grain: str, files: str, partition: str, more: dict[str, Any], expected: str
) -> None:
    source = source_of(grain, "2024-01-01", files, **more)
    assert due(source, partition) == datetime.fromisoformat(expected)


def test_a_partition_is_complete_when_it_has_rows(root: SmallRoot) -> None:
    source = declared(root)
    rows = arrived(root, source)
    assert rows == {DAYS[0]: Arrived(6, 6), DAYS[1]: Arrived(6, 0)}
    found = [completeness(root, source, day, rows, LATER) for day in DAYS]
    assert [finding.passed for finding in found] == [True, False, False, False]
    assert "6 rows, and no usage, due since 2024-01-04 00:00 UTC" in found[1].message
    assert "quarantine/switch/2024-01-02/" in found[1].message
    assert "no file legacy/switch/2024-01-03.csv, due since 2024-01-05" in found[2].message
    assert "are there but are not imported" in found[3].message
    told = completeness(root, source, DAYS[3], rows, LATER, "line 7 is cut.")
    assert told.message.endswith(": line 7 is cut.")


def test_what_is_not_due_is_not_missed(root: SmallRoot) -> None:
    source = declared(root, delivered_within="3d")
    early = datetime(2024, 1, 6, 23, 59, tzinfo=UTC)
    assert completeness(root, source, DAYS[2], {}, early).passed
    assert not completeness(root, source, DAYS[2], {}, datetime(2024, 1, 7, tzinfo=UTC)).passed


def test_all_that_is_missing_is_told_with_since_when(root: SmallRoot) -> None:
    source = declared(root)
    found = overdue(source, arrived(root, source), LATER)
    assert not found.passed
    assert found.message.startswith("3 partitions have no data: 2024-01-02 (due since 2024-01-04")
    assert "The newest partition with data is 2024-01-01." in found.message
    assert overdue(source, dict.fromkeys(DAYS, Arrived(1, 1)), LATER).passed
    assert overdue(source, {}, datetime(2024, 1, 2, tzinfo=UTC)).passed


def test_what_was_reverted_is_missing_again(tmp_path: Path) -> None:
    root = small_root(tmp_path / "root")
    catalog = load_catalog(root)
    source = catalog.sources["switch"]
    [done] = import_partition(root, catalog, source, DAYS[0])
    assert arrived(root, source) == {DAYS[0]: Arrived(6, 6)}
    revert(root, catalog, done.record.batch)
    assert arrived(root, source) == {}


WEEKS = {f"2024-01-{day:02}": Arrived(100, 100) for day in range(1, 22)}


@pytest.mark.parametrize(
    ("bounds", "rows", "passed", "told"),
    [
        ({"min": "0.5"}, 50, True, "50 rows; median 100 of 7 neighbours"),
        ({"min": "0.5"}, 49, False, "49 rows, less than 0.5 times the median 100 of 7 neighbours"),
        ({"max": "2"}, 200, True, "median 100"),
        ({"max": "2"}, 201, False, "201 rows, more than 2 times the median 100 of 7 neighbours"),
        ({"max": "2"}, 0, True, "median 100"),
        ({"min": "0.5", "of": "2"}, 1, False, "of 2 neighbours (2024-01-10 to 2024-01-12)"),
    ],
)
def test_row_counts_are_compared_with_the_nearest_partitions(
    root: SmallRoot, bounds: dict[str, str], rows: int, passed: bool, told: str
) -> None:
    source = declared(root, rows=bounds)
    counts = {**WEEKS, "2024-01-11": Arrived(rows)}
    found = near_neighbours(source, "2024-01-11", counts)
    assert found is not None
    assert found.passed is passed
    assert told in found.message


def test_neighbours_are_the_nearest_in_time_and_their_median_is_exact(root: SmallRoot) -> None:
    source = declared(root, rows={"min": "0.5", "of": "4"})
    counts = {"2024-01-01": 10**6, "2024-01-10": 10, "2024-01-11": 11, "2024-01-12": 1}
    counts |= {"2024-01-13": 20, "2024-01-14": 21, "2024-03-01": 10**6}
    found = near_neighbours(source, "2024-01-12", {k: Arrived(n) for k, n in counts.items()})
    assert found is not None
    assert "median 15.5 of 4 neighbours (2024-01-10 to 2024-01-14)" in found.message


def test_without_neighbours_or_bounds_nothing_is_compared(root: SmallRoot) -> None:
    bounded = declared(root, rows={"min": "0.5"})
    alone = near_neighbours(bounded, "2024-01-11", {"2024-01-11": Arrived(3)})
    assert alone is not None
    assert alone.passed
    assert near_neighbours(bounded, "2024-02-11", WEEKS) is None
    assert near_neighbours(declared(root), "2024-01-11", WEEKS) is None


def test_what_is_expected_does_not_make_known_files_new(root: SmallRoot) -> None:
    catalog = load_catalog(root)
    meter = catalog.meters["calls"]
    digests = {
        configuration_digest(source, source.usage[0], meter)
        for source in (declared(root), declared(root, rows={"min": "0.5"}, severity="error"))
    }
    assert len(digests) == 1
