"""What arrives in a source's bucket, or changes there, is imported once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest
from dagster import AssetPartitionStatus

from spanner_pipeline import arrivals
from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline.assets.retries import FAILURE
from spanner_pipeline.root import DataRoot
from spanner_pipeline_tests.orchestration.running import asked_range, carry_out, statuses
from spanner_pipeline_tests.sources.bucket import DAYS, Bucket, bucket_root, new_bucket, s3_server
from spanner_pipeline_tests.test_cli import events


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3_server():
        made = new_bucket("watched")
        for day in DAYS:
            made.put_calls(day)
        made.put("bill.csv", "account,month,calls\nacme,2024-01,12.006\n")
        yield made


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, bucket: Bucket) -> DataRoot:
    return bucket_root(tmp_path_factory.mktemp("buckets") / "root", bucket)


@pytest.fixture(scope="module")
def instance(root: DataRoot) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", "")
        patched.setattr(arrivals, "SETTLING", timedelta(0))
        with open_instance(root) as opened:
            yield opened


class Watch:
    """A sensor that ticks when told to, and remembers as the daemon does."""

    def __init__(self, root: DataRoot, instance: dg.DagsterInstance, name: str) -> None:
        self.root, self.instance, self.name = root, instance, name
        self.cursor: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        """The runs that it asks for."""
        definitions = build_definitions(self.root)
        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, definitions=definitions
        )
        told = definitions.resolve_sensor_def(self.name).evaluate_tick(context)
        self.cursor = told.cursor
        return list(told.run_requests or [])


def test_a_changed_object_marks_its_partition_and_a_broken_one_is_named(
    root: DataRoot, bucket: Bucket, instance: dg.DagsterInstance
) -> None:
    watch = Watch(root, instance, "watch_switch")
    tick = watch.tick

    def run(requests: list[dg.RunRequest]) -> list[bool]:
        return [carry_out(root, instance, "backfill_switch", r).success for r in requests]

    first = tick()
    assert [asked_range(request) for request in first] == [(DAYS[0], DAYS[1])]
    assert run(first) == [True]
    assert events(root, "calls") == (6, 6)
    assert tick() == []

    bucket.put_calls(DAYS[0], f"{DAYS[0]}/7,acme,1.000,{DAYS[0]}T09:00:00Z,eu")
    url = bucket.put(f"switch/{DAYS[1]}/calls-2.csv", "id,account,amount,at,region\nx,acme")
    changed = tick()
    assert [asked_range(request) for request in changed] == [(DAYS[0], DAYS[1])]
    assert run(changed) == [False]
    assert events(root, "calls") == (7, 7)
    assert statuses(root, instance) == {
        DAYS[0]: AssetPartitionStatus.MATERIALIZED,
        DAYS[1]: AssetPartitionStatus.FAILED,
    }
    [why] = instance.fetch_observations(
        dg.AssetRecordsFilter(dg.AssetKey(["switch", "merged"]), asset_partitions=[DAYS[1]]), 1
    ).records
    assert why.asset_observation is not None
    assert f"{url}:2: " in str(why.asset_observation.metadata[FAILURE].value)
    assert tick() == []

    bucket.delete(f"switch/{DAYS[1]}/calls-2.csv")
    assert tick() == [], "what is left was imported before"


def test_a_changed_bill_asks_for_its_comparison_with_all_periods(
    root: DataRoot, bucket: Bucket, instance: dg.DagsterInstance
) -> None:
    watch = Watch(root, instance, "watch_bill_billed_calls")
    bill = "account,month,calls\nacme,2024-01,13.006\n"
    bucket.put("bill.csv", bill)
    [request] = watch.tick()
    assert asked_range(request) == ("2024-01", "2024-01")
    assert carry_out(root, instance, "reconcile_billed_calls", request).success
    report = instance.get_latest_materialization_event(dg.AssetKey(["reports", "billed_calls"]))
    assert report is not None
    assert watch.tick() == []

    bucket.put("bill.csv", bill)  # written again, and the same
    assert watch.tick() == []
    bucket.put("bill.csv", bill + "globex,2024-01,1\n")
    [changed] = watch.tick()
    assert changed.run_key != request.run_key
    bucket.put("bill.csv", "")
    [broken] = watch.tick()
    assert not carry_out(root, instance, "reconcile_billed_calls", broken).success
    assert watch.tick() == []
    bucket.delete("bill.csv")
    assert watch.tick() == []
