"""Order among deliveries is declared: a column, the export's date, or the batch's place."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import find_files
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes

OLD = [Row(str(i), quantity=f"{i}.5", time=f"2024-01-{1 + i % 9:02}T05:00:00Z") for i in range(50)]
RESTATED = [row.but(quantity="1000", rev="2") for row in OLD[::10]]
DATED = {
    "revision": {
        "column": "source_file",
        "extract": r"export-(\d{8})",
        "type": "time",
        "format": "%Y%m%d",
    }
}
LISTED = {"order": ["legacy/first-*.csv", "legacy/restated-*.csv"]}
# how: (corrections, daily, old file, restated file)
WAYS: dict[str, tuple[Any, bool, str, str]] = {
    "column": (True, False, "b.csv", "a.csv"),
    "export's date": (DATED, False, "b-export-20240301.csv", "a-export-20240401.csv"),
    "partitions": ({"order": "partitions"}, True, "2024-02-01.csv", "2024-03-01.csv"),
    "patterns": (LISTED, False, "first-b.csv", "restated-a.csv"),
}


class Deliveries:
    """An old delivery and one that restates a tenth of it, ordered in one way."""

    def __init__(self, folder: Path, way: str) -> None:
        corrections, daily, self.old, self.restated = WAYS[way]
        self.lake = TinyRoot(folder, corrections=corrections, daily=daily)

    def deliver(self, *files: str) -> tuple[int, int, int]:
        """Place files, the first one with the newest time, and import; new, present, corrected."""
        rows = {self.old: OLD, self.restated: RESTATED}
        self.lake.place({name: csv_bytes(rows[name]) for name in files})
        for age, name in enumerate(files):
            moment = 2_000_000_000 - age
            os.utime(self.lake.path / "legacy" / name, (moment, moment))
        done = self.lake.run(files[0][:10] if self.lake.daily else "whole")
        balance(done)
        totals = done.totals
        assert totals.read.rows == totals.new.rows + totals.present.rows + totals.corrected.rows
        return totals.new.rows, totals.present.rows, totals.corrected.rows


@pytest.fixture(params=WAYS)
def deliveries(request: pytest.FixtureRequest, tmp_path: Path) -> Deliveries:
    return Deliveries(tmp_path, request.param)


EXPECTED = {row.id: row.payload for row in [*OLD, *RESTATED]}


def test_an_old_delivery_changes_nothing_back(deliveries: Deliveries) -> None:
    lake = deliveries.lake
    assert deliveries.deliver(deliveries.old) == (50, 0, 0)
    assert deliveries.deliver(deliveries.restated) == (0, 0, 5)
    before = lake.lake_files()
    assert deliveries.deliver(deliveries.old) == (0, 50, 0)
    lake.path.joinpath("legacy", deliveries.old).write_bytes(csv_bytes(OLD[::-1]))
    lake.run(deliveries.old[:10] if lake.daily else "whole")
    assert lake.lake_files() == before
    assert lake.payloads() == EXPECTED
    assert not lake.conflicts()


def test_it_does_not_matter_which_arrives_first(deliveries: Deliveries) -> None:
    assert deliveries.deliver(deliveries.restated) == (5, 0, 0)
    assert deliveries.deliver(deliveries.old) == (45, 5, 0)
    assert deliveries.lake.payloads() == EXPECTED


@pytest.mark.parametrize("way", [way for way in WAYS if way != "partitions"])
@pytest.mark.parametrize("newest", ["old", "restated"])
def test_file_times_do_not_matter_within_one_delivery(
    tmp_path: Path, way: str, newest: str
) -> None:
    deliveries = Deliveries(tmp_path, way)
    files = (deliveries.old, deliveries.restated)
    assert deliveries.deliver(*(files if newest == "old" else files[::-1])) == (50, 5, 0)
    assert deliveries.lake.payloads() == EXPECTED


@pytest.mark.parametrize(
    ("corrections", "names"),
    [
        (DATED, ["export-20240101.csv", "export-20240201.csv", "export-20240301.csv"]),
        ({"order": ["*/a*", "*/b*", "*/c*"]}, ["a.csv", "b.csv", "c.csv"]),
    ],
)
def test_old_bytes_under_a_later_name_are_a_later_delivery(
    tmp_path: Path, corrections: Any, names: list[str]
) -> None:
    lake = TinyRoot(tmp_path, corrections=corrections)
    for name, quantity in zip(names, "121", strict=True):
        lake.deliver([Row("1", quantity=quantity)], name)
    assert lake.quantities() == {"1": Decimal(1)}


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Asia/Kathmandu", None])
def test_the_date_of_an_export_is_read_in_any_zone(tmp_path: Path, zone: str | None) -> None:
    dated = {"revision": {**DATED["revision"], **({"zone": zone} if zone else {})}}
    lake = TinyRoot(tmp_path, corrections=dated)
    days = ("20181105", "20181103", "20181104")  # of which clocks in Brazil had no midnight
    for day in days:
        lake.deliver([Row(day), Row("1", quantity=day)], f"export-{day}.csv")
    assert not lake.rejected()
    assert lake.quantities() == {**dict.fromkeys(days, Decimal(1)), "1": Decimal("20181105")}


@pytest.mark.parametrize(
    ("grain", "files", "revision"),
    [
        ("day", "legacy/{year}{month}{day}", 20240229),
        ("month", "legacy/{year}{month}", 20240201),
        ("year", "legacy/{year}", 20240101),
    ],
)
def test_a_partition_stands_in_the_calendar_by_its_first_day(
    tmp_path: Path, grain: str, files: str, revision: int
) -> None:
    source = Source.model_validate(
        {
            "source": "s",
            "format": {"family": "delimited"},
            "files": f"{files}*",
            "partitions": {"grain": grain, "from": "2024"},
            "identity": {"native": "id"},
            "corrections": {"order": "partitions"},
            "usage": [{"meter": "m", "subject": "a", "quantity": "1", "timestamp": "t"}],
        }
    )
    (tmp_path / "legacy").mkdir()
    (tmp_path / "legacy" / "20240229.csv").write_text("a")
    partition = "2024-02-29"[: {"day": 10, "month": 7, "year": 4}[grain]]
    (file,) = find_files(DataRoot(tmp_path), source, partition)
    assert file.revision == revision


@pytest.mark.parametrize(
    "order", [["legacy/a*", "legacy/c*"], ["legacy/a*", "*/b*", "**/b.csv"]], ids=["none", "two"]
)
def test_rows_of_a_file_without_its_one_place_are_rejected(
    tmp_path: Path, order: list[str]
) -> None:
    lake = TinyRoot(tmp_path, corrections={"order": order})
    lake.place({name: csv_bytes([Row(name)]) for name in ("a.csv", "b.csv")})
    done = lake.run()
    balance(done)
    assert (done.totals.new.rows, done.record.rejected) == (1, {"revision_missing": 1})
    (rejected,) = lake.rejected()
    assert (rejected["source_file"], rejected["value"]) == ("legacy/b.csv", "legacy/b.csv")
    assert rejected["hint"].endswith("Add the file there.")
    lake.corrections = {"order": ["legacy/a*", "legacy/b*"]}
    lake.declare()
    assert lake.run().totals.new.rows == 1
    assert not lake.rejected()


def test_patterns_of_an_order_match_as_those_of_files_do(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections={"order": ["legacy/*.csv", "legacy/[!a-x]*", "**/c.txt"]})
    lake.place({name: csv_bytes([Row(name)]) for name in ("a.csv", "y.txt", "c.txt", "d.txt")})
    lake.run()
    events = lake.events().sort("source_file")
    assert events.select("source_file", "revision").rows() == [
        ("legacy/a.csv", 1),
        ("legacy/c.txt", 3),
        ("legacy/y.txt", 2),
    ]


def test_two_restatements_of_one_place_are_a_conflict(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections={"order": "partitions"}, daily=True)
    for quantity in "12":
        lake.place({"2024-02-01.csv": csv_bytes([Row("1", quantity=quantity)])})
        done = lake.run("2024-02-01")
    assert done.totals.conflicting.rows == 1
    assert lake.quantities() == {"1": Decimal(1)}


def test_rows_of_a_file_whose_name_gives_no_date_are_rejected(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections=DATED)
    assert lake.deliver([Row()], "export-2024.csv").record.rejected == {"revision_missing": 1}
