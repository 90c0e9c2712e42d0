"""What may pass is tried again, after a wait; bad data and what is done already are not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import dagster as dg
import pytest
from dagster import AssetPartitionStatus

from spanner_pipeline.assets import imports, retries
from spanner_pipeline.assets.backfill import run_backfill
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.retries import FAILURE, MAX_RETRIES, MAY_PASS
from spanner_pipeline.errors import LakeBusyError
from spanner_pipeline_tests.orchestration.running import import_days, statuses
from spanner_pipeline_tests.small_root import DAYS, SmallRoot
from spanner_pipeline_tests.test_cli import assert_whole, events

GREEN, RED = AssetPartitionStatus.MATERIALIZED, AssetPartitionStatus.FAILED


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each day was begun. The third day finds the lake busy until its third time."""
    counted: Counter[str] = Counter()
    real = imports.import_partition

    def busy(*arguments: Any) -> Any:
        day = arguments[3]
        counted[day] += 1
        if day == DAYS[2] and counted[day] < 3:
            raise LakeBusyError("others won every commit.")
        return real(*arguments)

    monkeypatch.setattr(imports, "import_partition", busy)
    monkeypatch.setattr(retries, "BACK_OFF_SECONDS", 0.01)
    return counted


def waits(result: dg.ExecuteInProcessResult) -> list[float | None]:
    return [
        event.step_retry_data.seconds_to_wait
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY
    ]


def test_what_may_pass_is_tried_again_alone_and_with_longer_waits(
    root: SmallRoot, instance: dg.DagsterInstance, tried: Counter[str]
) -> None:
    root.write_calls(DAYS[1], 'x,"acme')
    result = import_days(root, instance, DAYS)
    assert tried == {DAYS[0]: 1, DAYS[1]: 1, DAYS[2]: 3, DAYS[3]: 1}
    assert waits(result) == [0.01, 0.02]
    assert not result.success, "a bad day stays bad"
    assert list(statuses(root, instance).values()) == [GREEN, RED, GREEN, GREEN]
    [failed] = [e for e in result.all_events if e.is_step_failure]
    told: Any = failed.step_failure_data.user_failure_data
    [row] = told.metadata["failed partitions"].records
    assert row.data["partition"] == DAYS[1], "told by the last attempt, which did not take it"
    assert events(root, "calls") == (18, 18)


def test_a_run_whose_trouble_passed_succeeds(
    root: SmallRoot, instance: dg.DagsterInstance, tried: Counter[str]
) -> None:
    assert import_days(root, instance, DAYS).success
    assert list(statuses(root, instance).values()) == [GREEN] * 4
    assert events(root, "calls") == (24, 24)


def test_what_does_not_pass_ends_after_the_last_retry(
    root: SmallRoot, instance: dg.DagsterInstance, tried: Counter[str]
) -> None:
    tried[DAYS[2]] = -10
    result = import_days(root, instance, DAYS)
    assert len(waits(result)) == MAX_RETRIES
    assert tried[DAYS[2]] == -10 + 1 + MAX_RETRIES
    assert list(statuses(root, instance).values()) == [GREEN, GREEN, RED, GREEN]


def test_a_failed_partition_says_why_and_whether_it_may_pass(
    root: SmallRoot, instance: dg.DagsterInstance, tried: Counter[str]
) -> None:
    tried[DAYS[2]] = -10
    root.cut("switch", DAYS[1])
    import_days(root, instance, DAYS)
    for day, passing, why in ((DAYS[1], False, f"{DAYS[1]}.csv"), (DAYS[2], True, "others won")):
        told = instance.fetch_observations(
            dg.AssetRecordsFilter(import_key("switch", "merged"), asset_partitions=[day]), limit=1
        ).records[0]
        assert told.asset_observation is not None
        said = told.asset_observation.metadata
        assert said[MAY_PASS].value is passing
        assert why in str(said[FAILURE].value)


def test_a_backfill_of_the_command_line_tries_again_and_counts_once(
    root: SmallRoot, tried: Counter[str]
) -> None:
    outcome = run_backfill(root)
    assert outcome.failures == {}
    assert outcome.totals["switch", "calls"].new.rows == 24
    assert outcome.totals["switch", "calls"].present.rows == 0
    assert_whole(root)
