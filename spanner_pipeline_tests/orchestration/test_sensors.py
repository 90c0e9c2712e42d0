"""What arrives in a source's folder, or changes there, is imported once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import AssetPartitionStatus

from spanner_pipeline import arrivals
from spanner_pipeline.assets import sensors
from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline_tests.orchestration.running import (
    asked_range,
    carry_out,
    forget,
    import_days,
    statuses,
)
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root
from spanner_pipeline_tests.test_cli import events

JOB = "backfill_switch"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", "")
        with open_instance(small_root(tmp_path_factory.mktemp("sensors"))) as opened:
            yield opened


class Watched:
    """A sensor that ticks when told to, and remembers as the daemon does."""

    def __init__(self, root: SmallRoot, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance
        self.cursor: str | None = None
        self.skipped: str | None = None
        self.requests: list[dg.RunRequest] = []

    def tick(self) -> list[tuple[str, str]]:
        """The ranges that it asks for."""
        definitions = build_definitions(self.root)
        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, definitions=definitions
        )
        told = definitions.resolve_sensor_def("watch_switch").evaluate_tick(context)
        self.cursor, self.skipped = told.cursor, told.skip_message
        self.requests = list(told.run_requests or [])
        return [asked_range(request) for request in self.requests]

    def carry_out(self) -> list[bool]:
        """Run what the last tick asked for; says which runs succeeded."""
        return [carry_out(self.root, self.instance, JOB, r).success for r in self.requests]


@pytest.fixture
def watched(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> Watched:
    monkeypatch.setattr(arrivals, "SETTLING", timedelta(0))
    forget(instance)
    return Watched(small_root(tmp_path / "root"), instance)


def test_new_and_changed_files_are_imported_and_then_nothing_is_asked(watched: Watched) -> None:
    root = watched.root
    late = root.file("switch", DAYS[2])
    kept = late.read_bytes()
    late.unlink()
    assert watched.tick() == [(DAYS[0], DAYS[1]), (DAYS[3], DAYS[3])]
    assert watched.tick() == [], "asked once, though nothing has run yet"
    assert "Asked for before and not imported" in str(watched.skipped)
    watched = again(watched)
    assert watched.tick() == [(DAYS[0], DAYS[1]), (DAYS[3], DAYS[3])]
    assert watched.carry_out() == [True, True]

    late.write_bytes(kept)
    root.write_calls(DAYS[0], f"7,acme,1.000,{DAYS[0]}T09:00:00Z,eu")
    assert watched.tick() == [(DAYS[0], DAYS[0]), (DAYS[2], DAYS[2])]
    assert watched.carry_out() == [True, True]
    assert events(root, "calls") == (25, 25)
    assert watched.tick() == []
    assert watched.skipped == "Nothing new: 4 files of 4 partitions."


def again(watched: Watched) -> Watched:
    """The same sensor when its memory is reset."""
    return Watched(watched.root, watched.instance)


def test_a_bad_file_is_tried_once_and_again_when_it_is_mended(watched: Watched) -> None:
    root = watched.root
    root.cut("switch", DAYS[1])
    assert watched.tick() == [(DAYS[0], DAYS[3])]
    [key] = [request.run_key for request in watched.requests]
    assert watched.carry_out() == [False]
    for _ in range(2):
        assert watched.tick() == []
        assert f"tried again when the file changes): {DAYS[1]}." in str(watched.skipped)
    root.write_calls(DAYS[1])
    assert watched.tick() == [(DAYS[1], DAYS[1])]
    assert watched.requests[0].run_key != key
    assert watched.carry_out() == [True]
    assert set(statuses(root, watched.instance).values()) == {AssetPartitionStatus.MATERIALIZED}
    assert events(root, "calls") == (24, 24)


def test_what_others_imported_is_not_asked_for(watched: Watched) -> None:
    assert import_days(watched.root, watched.instance, DAYS[:3]).success
    assert watched.tick() == [(DAYS[3], DAYS[3])]
    [request] = watched.requests
    other = again(watched)
    other.tick()
    assert other.requests[0].run_key == request.run_key, "Dagster runs a key once"


def test_a_tick_asks_for_a_bounded_number_of_runs_and_the_next_goes_on(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "PARTITIONS_PER_RUN", 1)
    monkeypatch.setattr(sensors, "RUNS_PER_TICK", 3)
    assert watched.tick() == [(day, day) for day in DAYS[:3]]
    assert watched.tick() == [(DAYS[3], DAYS[3])]
    assert watched.tick() == []


def test_a_file_that_just_changed_is_waited_for(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "SETTLING", timedelta(hours=1))
    assert watched.tick() == []
    assert f"perhaps still being written: {DAYS[0]}" in str(watched.skipped)


def test_every_source_with_usage_is_watched_when_turned_on(watched: Watched) -> None:
    found = build_definitions(watched.root).sensors or []
    assert sorted(sensor.name for sensor in found) == [
        "watch_bill_billed_calls",
        "watch_edge",
        "watch_switch",
    ]
    assert {sensor.default_status for sensor in found} == {dg.DefaultSensorStatus.STOPPED}
