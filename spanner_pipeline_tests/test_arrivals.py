"""New and changed deliveries are found once each, without reading what did not change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spanner_pipeline import arrivals
from spanner_pipeline.arrivals import Look, Memory, look
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.importing import import_partition
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.selection import contiguous
from spanner_pipeline.sources.files import find_files, list_files
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    """A root whose first two days are in the lake."""
    root = small_root(tmp_path_factory.mktemp("arrivals") / "imported")
    take(root, *DAYS[:2])
    return root


@pytest.fixture
def root(imported: SmallRoot, tmp_path: Path) -> SmallRoot:
    return SmallRoot(shutil.copytree(imported.path, tmp_path / "root"))


def take(root: DataRoot, *days: str) -> None:
    catalog = load_catalog(root)
    for day in days:
        import_partition(root, catalog, catalog.sources["switch"], day)


def looked(root: DataRoot, before: Memory | None = None, *, after: int = 3600) -> Look:
    """A look some seconds after all that the test did."""
    switch = load_catalog(root).sources["switch"]
    now = datetime.now(UTC) + timedelta(seconds=after)
    return look(root, switch, switch.partition_keys(now.date()), before or Memory(), now)


def remembered(found: Look, taken: Collection[str] | None = None) -> Memory:
    """What survives until the next look, which may be in another process."""
    return Memory.read(found.remember(found.arrived if taken is None else taken).spell())


@pytest.fixture
def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*arguments: object) -> None:
        pytest.fail(f"read {arguments}")

    monkeypatch.setattr(arrivals, "find_files", read)


def test_what_is_not_in_the_ledger_has_arrived_and_is_told_once(root: SmallRoot) -> None:
    first = looked(root)
    assert list(first.arrived) == [DAYS[2], DAYS[3]]
    assert (first.files, first.partitions) == (4, 4)
    again = looked(root, remembered(first))
    assert again.arrived == {}
    assert list(again.waiting) == [DAYS[2], DAYS[3]]
    take(root, DAYS[2])
    assert list(looked(root, remembered(again)).waiting) == [DAYS[3]]


def test_what_was_not_taken_is_told_again(root: SmallRoot) -> None:
    first = looked(root)
    assert list(looked(root, remembered(first, [DAYS[2]])).arrived) == [DAYS[3]]


@pytest.mark.usefixtures("nothing_is_read")
def test_a_folder_that_did_not_change_is_not_read(root: SmallRoot) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(arrivals, "find_files", find_files)
        memory = remembered(looked(root))
    assert looked(root, memory).arrived == {}
    assert list(looked(root).arrived) == [DAYS[2], DAYS[3]], "known by digest, without memory"


def test_only_files_that_look_otherwise_are_read(
    root: SmallRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = remembered(looked(root))
    read = []
    monkeypatch.setattr(arrivals, "find_files", lambda *a: read.append(a[2]) or find_files(*a))
    os.utime(root.file("switch", DAYS[0]))
    root.write_calls(DAYS[1], f"7,acme,1.000,{DAYS[1]}T09:00:00Z,eu")
    found = looked(root, memory)
    assert read == [DAYS[0], DAYS[1]]
    assert list(found.arrived) == [DAYS[1]], "touched is not changed"


def test_a_bad_file_is_told_once_until_it_is_mended(root: SmallRoot) -> None:
    for spoil in (b"", b"id,account\n"):
        root.file("switch", DAYS[2]).write_bytes(spoil)
        first = looked(root)
        assert DAYS[2] in first.arrived
        memory = remembered(first)
        root.write_calls(DAYS[3], f"{spoil!r},acme,1.000,{DAYS[3]}T09:00:00Z,eu")
        assert list(looked(root, memory).arrived) == [DAYS[3]], "its neighbour changed"
        root.write_calls(DAYS[2])
        assert DAYS[2] in looked(root, memory).arrived


def test_a_file_that_is_being_written_is_left_to_settle(root: SmallRoot) -> None:
    root.write_calls(DAYS[2])
    early = looked(root, after=0)
    assert DAYS[2] in early.settling
    assert DAYS[2] not in early.arrived
    late = looked(root, remembered(early))
    assert DAYS[2] in late.arrived


def test_reading_is_bounded_and_goes_on_with_the_next_look(
    root: SmallRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "READING", timedelta(seconds=-1))
    tired = looked(root)
    assert tired.unread == list(DAYS)
    monkeypatch.undo()
    assert list(looked(root, remembered(tired)).arrived) == [DAYS[2], DAYS[3]]


@pytest.mark.usefixtures("nothing_is_read")
def test_huge_deliveries_are_told_without_being_read(
    root: SmallRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "LARGEST", 10)
    first = looked(root)
    assert list(first.arrived) == list(DAYS)
    assert looked(root, remembered(first)).arrived == {}


def test_what_was_reverted_does_not_come_back_by_itself(root: SmallRoot) -> None:
    revert(root, load_catalog(root), Ledger(root).standing("switch")[0].batch)
    assert list(looked(root).arrived) == [DAYS[2], DAYS[3]]


def test_a_partition_that_begins_later_is_not_there_yet(root: SmallRoot) -> None:
    root.rewrite("sources/switch.yaml", ", to: 2024-01-05", "")
    switch = load_catalog(root).sources["switch"]
    root.write_calls("2024-01-05")
    days = []
    for day in (4, 5, 6):
        now = datetime(2024, 1, day, 23, tzinfo=UTC)
        days.append([*look(root, switch, switch.partition_keys(now.date()), Memory(), now).arrived])
    assert days == [[DAYS[2]], [DAYS[2], DAYS[3]], [DAYS[2], DAYS[3], "2024-01-05"]]


@pytest.mark.parametrize(
    ("pattern", "grain", "names", "expected"),
    [
        (
            "legacy/{year}/{month}/calls-{year}{month}{day}-*.csv",
            "day",
            [
                *("2024/01/calls-20240102-a.csv", "2024/01/calls-20240102-b.csv"),
                *("2024/02/calls-20240102-a.csv", "2024/01/calls-20249999-a.csv"),
            ],
            {"2024-01-02": [0, 1]},
        ),
        (
            "legacy/**/[a-c]?-{year}-{month}.csv",
            "month",
            ["a1-2024-01.csv", "x/y/b2-2024-02.csv", "d1-2024-01.csv", "a1-2031-01.csv"],
            {"2024-01": [0], "2024-02": [1]},
        ),
        ("legacy/{year}.(old)+csv", "year", ["2024.(old)+csv", "2024.oldcsv"], {"2024": [0]}),
        ("legacy/*.csv", "whole", ["a.csv", "b.csv", ".c.csv"], {"whole": [0, 1]}),
    ],
)
def test_the_files_of_all_partitions_are_those_of_each(
    tmp_path: Path, pattern: str, grain: str, names: list[str], expected: dict[str, list[int]]
) -> None:
    root = DataRoot(tmp_path)
    for name in names:
        path = tmp_path / "legacy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "legacy/folder.csv").mkdir()
    source = Source.model_validate(
        {
            "source": "old",
            "format": {"family": "delimited"},
            "files": pattern,
            "partitions": {"grain": grain, **({"from": "2024-01-01"} if grain != "whole" else {})},
            "identity": {"native": "id"},
            "usage": [{"meter": "m", "subject": "a", "quantity": "n", "timestamp": "t"}],
            "zone": "UTC",
        }
    )
    keys = source.partition_keys(datetime(2024, 3, 1, tzinfo=UTC).date())
    listed = list_files(root, source, keys)
    found = {key: [file.name for file in files] for key, files in listed.items()}
    assert found == {k: [f"legacy/{names[n]}" for n in ns] for k, ns in expected.items()}
    for key in found:
        assert found[key] == [file.name for file in find_files(root, source, key)]


def test_ranges_have_no_holes_and_a_longest() -> None:
    keys = list("abcdefgh")
    assert contiguous(keys, {"a", "b", "c", "e", "h"}, 2) == [["a", "b"], ["c"], ["e"], ["h"]]
    assert contiguous(keys, set(), 2) == []
