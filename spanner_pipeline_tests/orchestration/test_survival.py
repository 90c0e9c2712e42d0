"""A run or a daemon that is killed in the middle loses nothing: what is left goes on by itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import AssetPartitionStatus
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.instance import open_instance, prepare_home
from spanner_pipeline.importing import STAGES
from spanner_pipeline_tests.orchestration.daemon import daemons, dagster, until, worker_of
from spanner_pipeline_tests.orchestration.running import statuses
from spanner_pipeline_tests.small_root import ACCOUNTS, SmallRoot, small_root
from spanner_pipeline_tests.test_cli import events

pytestmark = pytest.mark.slow

DAYS = [f"2024-01-{day:02}" for day in range(1, 17)]
ROWS = 500
GREEN = AssetPartitionStatus.MATERIALIZED


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRoot:
    """Two weeks of calls and hits, long enough to be killed in the middle."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    root = small_root(tmp_path / "root")
    prepare_home(root)
    root.rewrite("dagster/dagster.yaml", "_seconds: 10", "_seconds: 1")  # of what is looked after
    for source in ("switch", "edge"):
        root.rewrite(f"sources/{source}.yaml", "to: 2024-01-05", "to: 2024-01-17")
    for day in DAYS:
        root.write_hits(day)
        more = (
            f"{day}/m{n},{ACCOUNTS[n % 3]},1.000,{day}T12:{n % 60:02}:00Z,eu" for n in range(ROWS)
        )
        root.write_calls(day, *more)
    return root


@pytest.fixture
def instance(root: SmallRoot) -> Iterator[dg.DagsterInstance]:
    with open_instance(root) as opened:
        yield opened


def imported(root: SmallRoot, source: str = "switch") -> int:
    return len(list((root.lake / "imports" / source).glob("*/*.json")))


def assert_all_green_and_counted_once(
    root: SmallRoot, instance: dg.DagsterInstance, *sources: str
) -> None:
    for source in sources:
        found = statuses(root, instance, source)
        assert found == dict.fromkeys(DAYS, GREEN)
    assert events(root, "calls") == ((6 + ROWS) * len(DAYS),) * 2


def test_a_run_that_is_killed_is_tried_again_and_counts_once(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    begun = time.monotonic()
    dagster(root, "sensor", "start", "watch_switch")
    with daemons(root) as start:
        start()
        [first] = until("run", lambda: instance.get_runs())
        worker = until("worker", lambda: worker_of(instance, first.run_id))
        until("partition", lambda: imported(root) >= 3)
        os.kill(worker, signal.SIGKILL)
        held = imported(root)
        assert held < len(DAYS), "it was done before it was killed"
        until("failure", lambda: _run(instance, first.run_id).is_failure)
        succeeded = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
        [second] = until("success", lambda: instance.get_runs(succeeded))
    assert second.parent_run_id == first.run_id
    assert len(instance.get_runs()) == 2, "the sensor does not ask again meanwhile"
    assert_all_green_and_counted_once(root, instance, "switch")
    print(f"killed after {held} of {len(DAYS)} days; {time.monotonic() - begun:.0f} s in all")


def _run(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def test_a_backfill_goes_on_when_its_daemon_is_killed(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    begun = time.monotonic()
    keys = [import_key(source, stage) for source in ("switch", "edge") for stage in STAGES]
    backfill = PartitionBackfill.from_asset_partitions(
        asset_graph=build_definitions(root).resolve_asset_graph(),
        backfill_id="fortnight",
        tags={},
        backfill_timestamp=time.time(),
        asset_selection=keys,
        partition_names=DAYS,
        dynamic_partitions_store=instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    with daemons(root) as start:
        killed = start()
        until("partition", lambda: imported(root) >= 3)
        killed.kill()
        held = imported(root)
        assert held < len(DAYS), "it was done before it was killed"
        start()
        until("end of the backfill", lambda: _ended(instance, "fortnight"))
    assert_all_green_and_counted_once(root, instance, "switch", "edge")
    assert events(root, "hits") == (4 * len(DAYS),) * 2
    print(f"killed after {held} of {len(DAYS)} days; {time.monotonic() - begun:.0f} s in all")


def _ended(instance: dg.DagsterInstance, backfill: str) -> bool:
    found = instance.get_backfill(backfill)
    assert found is not None
    assert found.status not in (BulkActionStatus.FAILED, BulkActionStatus.COMPLETED_FAILED)
    return found.status is BulkActionStatus.COMPLETED_SUCCESS
