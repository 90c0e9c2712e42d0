"""The jobs that a person finds: what they ask, show, do and refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline.assets.ranges import range_tags
from spanner_pipeline.importing import STAGES
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline_tests.orchestration.running import import_days
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root
from spanner_pipeline_tests.test_cli import assert_whole, events


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    return small_root(tmp_path_factory.mktemp("jobs") / "root")


@pytest.fixture(scope="module")
def instance(root: SmallRoot) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", "")
        with open_instance(root) as opened:
            yield opened


def run_job(
    root: SmallRoot, instance: dg.DagsterInstance, name: str, config: Any = None, **more: Any
) -> dg.ExecuteInProcessResult:
    job = build_definitions(root).resolve_job_def(name)
    return job.execute_in_process(config, instance=instance, raise_on_error=False, **more)


def shown(result: dg.ExecuteInProcessResult, op: str) -> dict[str, Any]:
    """The metadata that an op shows with its output."""
    [event] = [e for e in result.events_for_node(op) if e.is_successful_output]
    return {k: v.value for k, v in event.step_output_data.metadata.items()} | {
        "by meter": getattr(event.step_output_data.metadata.get("by meter"), "records", [])
    }


def reason(result: dg.ExecuteInProcessResult) -> str:
    [event] = [e for e in result.all_events if e.is_step_failure]
    told = event.step_failure_data.user_failure_data
    return str(told.description) if told else str(event.step_failure_data.error)


def batch_of(root: SmallRoot, day: str) -> str:
    [record] = [r for r in Ledger(root).standing("switch") if r.partition == day]
    return record.batch


def test_a_source_is_backfilled_over_a_range_in_one_run(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    job = build_definitions(root).resolve_job_def("backfill_edge")
    result = job.execute_in_process(instance=instance, tags=range_tags(DAYS))
    assert result.success
    assert len(result.get_asset_materialization_events()) == len(STAGES) * len(DAYS)
    assert events(root, "hits") == (16, 16)


def test_reconcile_refreshes_usage_and_every_comparison(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    assert import_days(root, instance, DAYS).success
    result = run_job(root, instance, "reconcile")
    assert result.success
    told = {e.asset_key for e in result.get_asset_materialization_events()}
    assert told == {
        dg.AssetKey(["usage", "calls"]),
        dg.AssetKey(["usage", "hits"]),
        dg.AssetKey(["reports", "billed_calls"]),
    }


def test_a_revert_only_shows_what_it_would_do_unless_told_to_do_it(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    import_days(root, instance, DAYS)
    before = root.written("lake", "quarantine")
    batch = batch_of(root, DAYS[1])
    result = run_job(root, instance, "revert_batch", {"batch": f" {batch} "})
    assert result.success
    [row] = shown(result, "preview_revert")["by meter"]
    assert row.data["rows removed"] == 6
    assert row.data["quantity removed"] == "21.006"
    assert row.data["rows restored"] == 0
    assert root.written("lake", "quarantine") == before

    result = run_job(root, instance, "revert_batch", {"batch": batch, "dry_run": False})
    assert result.success
    [row] = shown(result, "revert_meter_calls")["by meter"]
    assert row.data["rows removed"] == 6
    assert events(root, "calls") == (18, 18)
    [observed] = result.asset_observations_for_node("revert_meter_calls")
    assert (observed.asset_key, observed.partition) == (import_key("switch", "merged"), DAYS[1])

    result = run_job(root, instance, "revert_batch", {"batch": batch, "dry_run": False})
    assert not result.success
    assert f"no import `{batch}` stands" in reason(result)

    assert import_days(root, instance, DAYS[1:2]).success, "a revert is for now, not for ever"
    assert_whole(root)


def test_a_revert_that_others_build_on_is_refused_until_forced(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    import_days(root, instance, DAYS)
    batch = batch_of(root, DAYS[0])
    root.write_calls(DAYS[0], f"more,acme,1.000,{DAYS[0]}T12:00:00Z,eu")
    assert import_days(root, instance, DAYS[:1]).success
    for dry_run in (True, False):
        result = run_job(root, instance, "revert_batch", {"batch": batch, "dry_run": dry_run})
        assert "cannot be reverted by itself" in reason(result)
    result = run_job(root, instance, "revert_batch", {"batch": batch, "force": True})
    told = shown(result, "preview_revert")
    assert told["to do"] == "Later imports built on it: import their partitions again."
    assert events(root, "calls") == (25, 25)


def test_a_preview_shows_the_events_that_come_back(
    root: SmallRoot, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    corrected = small_root(tmp_path / "corrected")
    corrected.rewrite(
        "sources/switch.yaml",
        "identity: {native: id}",
        "identity: {native: id}\ncorrections: {revision: {column: rev, type: number}}",
    )
    head, *lines = corrected.file("switch", DAYS[0]).read_text().splitlines()
    for revision in (1, 2):
        text = "\n".join([f"{head},rev", *(f"{line},{revision}" for line in lines)]) + "\n"
        corrected.file("switch", DAYS[0]).write_text(text.replace("1.001", f"{revision}.001"))
        assert import_days(corrected, instance, DAYS[:1]).success
    batch = Ledger(corrected).standing("switch")[-1].batch
    result = run_job(corrected, instance, "revert_batch", {"batch": batch})
    [row] = shown(result, "preview_revert")["by meter"]
    assert (row.data["rows removed"], row.data["rows restored"]) == (6, 6)
    assert (row.data["quantity removed"], row.data["quantity restored"]) == ("22.006", "21.006")


def test_maintenance_shows_what_it_did_to_each_meter(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    import_days(root, instance, DAYS)
    (root.staging / "left").mkdir(parents=True)
    result = run_job(root, instance, "maintain", {"keep_days": 0})
    assert result.success
    assert not (root.staging / "left").exists()
    for meter in ("calls", "hits"):
        told = result.events_for_node(f"maintain_meter_{meter}")
        [output] = [e for e in told if e.is_successful_output]
        [row] = output.step_output_data.metadata["files"].records
        assert row.data["meter"] == meter
        assert output.step_output_data.metadata["outcome"].value == "done"


def test_forms_say_what_they_ask_and_their_defaults(root: SmallRoot) -> None:
    definitions = build_definitions(root)
    fields = definitions.resolve_job_def("maintain").run_config_schema.config_type.fields
    assert fields["keep_days"].default_value == 7
    assert "days old" in fields["keep_days"].description
    form = definitions.resolve_job_def("revert_batch").run_config_schema.config_type.fields
    assert form["batch"].is_required
    assert form["dry_run"].default_value is True
    assert form["force"].default_value is False
    assert all(field.description for field in form.values())
    for job in definitions.jobs or []:
        assert job.description, job.name


def test_what_changes_the_lake_waits_in_the_pool_of_its_meter(root: SmallRoot) -> None:
    definitions = build_definitions(root)
    imports = {
        source: definitions.get_assets_def(import_key(source, "merged")).op.pool
        for source in ("switch", "edge")
    }
    assert imports == {"switch": "meter_calls", "edge": "meter_hits"}
    for job, verb in (("maintain", "maintain"), ("revert_batch", "revert")):
        pools = {n.name: n.definition.pool for n in definitions.resolve_job_def(job).nodes}
        pools.pop("preview_revert", None)
        assert pools == {f"{verb}_{pool}": pool for pool in imports.values()}
