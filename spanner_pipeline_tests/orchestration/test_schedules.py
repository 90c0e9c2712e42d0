"""A night imports what is due and missing, in few runs, whatever earlier nights missed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import AssetPartitionStatus

from spanner_pipeline.assets import imports, retries, schedules
from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline.errors import LakeBusyError
from spanner_pipeline_tests.orchestration.running import (
    asked_range,
    carry_out,
    forget,
    import_days,
    statuses,
)
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root
from spanner_pipeline_tests.test_cli import events

NIGHTLY, JOB = "import_switch_nightly", "backfill_switch"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", "")
        with open_instance(small_root(tmp_path_factory.mktemp("schedules"))) as opened:
            yield opened


@pytest.fixture
def root(tmp_path: Path, instance: dg.DagsterInstance) -> SmallRoot:
    forget(instance)
    return small_root(tmp_path / "root")


def tick(
    root: SmallRoot, instance: dg.DagsterInstance, night: str = "2024-02-01", name: str = NIGHTLY
) -> Any:
    definitions = build_definitions(root)
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime.fromisoformat(f"{night}T02:00:00").replace(tzinfo=UTC),
        repository_def=definitions.get_repository_def(),
    )
    return definitions.resolve_schedule_def(name).evaluate_tick(context)


def ranges(told: Any) -> list[tuple[str, str]]:
    return [asked_range(request) for request in told.run_requests or []]


def test_all_that_is_missing_is_asked_for_in_one_run(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    told = tick(root, instance)
    assert ranges(told) == [(DAYS[0], DAYS[3])]
    assert carry_out(root, instance, JOB, told.run_requests[0]).success
    assert events(root, "calls") == (24, 24)
    after = tick(root, instance)
    assert ranges(after) == []
    assert "4 imported" in after.skip_message


def test_a_night_takes_the_days_that_are_over_and_makes_good_what_was_missed(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    assert ranges(tick(root, instance, "2024-01-02")) == [(DAYS[0], DAYS[0])]
    assert ranges(tick(root, instance, "2024-01-04")) == [(DAYS[0], DAYS[2])]


def test_days_without_a_file_and_days_that_are_done_part_the_ranges(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    root.file("switch", DAYS[1]).unlink()
    assert ranges(tick(root, instance)) == [(DAYS[0], DAYS[0]), (DAYS[2], DAYS[3])]
    assert import_days(root, instance, DAYS[2:3]).success
    told = tick(root, instance)
    assert ranges(told) == [(DAYS[0], DAYS[0]), (DAYS[3], DAYS[3])]
    assert len({request.run_key for request in told.run_requests}) == 2


def test_a_tick_asks_for_a_bounded_number_of_runs(
    root: SmallRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "PARTITIONS_PER_RUN", 1)
    monkeypatch.setattr(schedules, "RUNS_PER_TICK", 3)
    assert ranges(tick(root, instance)) == [(day, day) for day in DAYS[:3]]


def test_bad_data_waits_until_it_is_mended_and_what_may_pass_is_taken_again(
    root: SmallRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "MAX_RETRIES", 0)
    root.cut("switch", DAYS[1])
    with monkeypatch.context() as patched:
        real = imports.import_partition

        def busy(*arguments: Any) -> Any:
            if arguments[3] == DAYS[3]:
                raise LakeBusyError("others won every commit.")
            return real(*arguments)

        patched.setattr(imports, "import_partition", busy)
        assert not import_days(root, instance, DAYS).success
    red = [day for day, s in statuses(root, instance).items() if s is AssetPartitionStatus.FAILED]
    assert red == [DAYS[1], DAYS[3]]
    told = tick(root, instance)
    assert ranges(told) == [(DAYS[3], DAYS[3])]
    assert carry_out(root, instance, JOB, told.run_requests[0]).success
    assert f"1 failed for bad data ({DAYS[1]})" in tick(root, instance).skip_message
    root.write_calls(DAYS[1])
    told = tick(root, instance)
    assert ranges(told) == [(DAYS[1], DAYS[1])]
    assert carry_out(root, instance, JOB, told.run_requests[0]).success
    assert events(root, "calls") == (24, 24)


def test_what_a_run_has_already_is_not_asked_for_again(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    job = build_definitions(root).resolve_job_def(JOB)
    instance.create_run_for_job(
        job,
        tags={"dagster/partition": DAYS[2]},
        asset_selection=frozenset(job.asset_layer.executable_asset_keys),
        status=dg.DagsterRunStatus.STARTED,
    )
    told = tick(root, instance)
    assert ranges(told) == [(DAYS[0], DAYS[1]), (DAYS[3], DAYS[3])]


def test_sources_in_one_piece_have_no_night_and_reconcile_has(root: SmallRoot) -> None:
    root.rewrite("sources/edge.yaml", "{year}-{month}-{day}", "*")
    root.rewrite(
        "sources/edge.yaml", "grain: day, from: 2024-01-01, to: 2024-01-05", "grain: whole"
    )
    found = build_definitions(root).schedules or []
    assert {s.name: (s.cron_schedule, s.job_name) for s in found} == {
        NIGHTLY: ("0 2 * * *", JOB),
        "check_overdue_nightly": ("30 3 * * *", "check_overdue"),
        "reconcile_billed_calls_nightly": ("0 4 * * *", "reconcile_billed_calls"),
    }
    assert {s.default_status for s in found} == {dg.DefaultScheduleStatus.STOPPED}
    assert {s.execution_timezone for s in found} == {"UTC"}


def test_a_source_says_when_its_imports_start(root: SmallRoot) -> None:
    root.rewrite("sources/edge.yaml", "identity:", 'schedule: "15 */6 * * 1-5"\nidentity:')
    found = {s.name: s.cron_schedule for s in build_definitions(root).schedules or []}
    assert found["import_edge_nightly"] == "15 */6 * * 1-5"
    assert found[NIGHTLY] == "0 2 * * *"


def test_a_night_compares_the_whole_bill_and_each_of_its_periods(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    import_days(root, instance, DAYS)
    told = tick(root, instance, name="reconcile_billed_calls_nightly")
    [request] = told.run_requests
    result = carry_out(root, instance, "reconcile_billed_calls", request)
    assert result.success
    made = {
        (e.asset_key.to_user_string(), e.partition)
        for e in result.get_asset_materialization_events()
    }
    assert made == {
        ("usage/calls", None),
        ("reports/billed_calls", None),
        ("reports/billed_calls/by_period", "2024-01"),
    }


def test_a_night_says_what_has_not_come(root: SmallRoot, instance: dg.DagsterInstance) -> None:
    import_days(root, instance, DAYS)
    told = tick(root, instance, name="check_overdue_nightly")
    result = carry_out(root, instance, "check_overdue", told.run_requests[0])
    said = {e.asset_key.path[0]: e.passed for e in result.get_asset_check_evaluations()}
    assert said == {"switch": True, "edge": False}
