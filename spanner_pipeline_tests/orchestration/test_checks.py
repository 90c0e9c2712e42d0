"""Each partition's checks say whether it has what it should have; none of them stops an import."""

from __future__ import annotations

import warnings
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.expectations import COMPLETENESS, NEAR_NEIGHBOURS, NOTHING_OVERDUE
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.ranges import range_tags
from spanner_pipeline_tests.small_root import DAYS, SmallRoot

PASSED, FAILED = AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED
MERGED = import_key("switch", "merged")


def expect(root: SmallRoot, declared: str) -> None:
    root.rewrite("sources/switch.yaml", "max_rejected", f"expect: {declared}\nmax_rejected")


def run(
    root: SmallRoot, instance: dg.DagsterInstance, first: str, last: str
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(root)
    return dg.materialize(
        [definitions.get_assets_def(MERGED)],
        resources=definitions.resources,
        instance=instance,
        tags=range_tags((first, last)),
        raise_on_error=False,
    )


def states(instance: dg.DagsterInstance, check: str) -> list[Any]:
    """What the UI shows of a check for each day; None where it would show nothing."""
    found = instance.event_log_storage.get_asset_check_partition_info(
        [dg.AssetCheckKey(MERGED, check)], partition_keys=list(DAYS)
    )
    current = {
        info.partition_key: info.latest_execution_status
        for info in found
        if info.latest_target_materialization_storage_id == info.latest_materialization_storage_id
    }
    return [current.get(day) for day in DAYS]


def told(result: dg.ExecuteInProcessResult, check: str) -> dict[str | None, Any]:
    evaluations = result.get_asset_check_evaluations()
    return {e.partition: e for e in evaluations if e.check_name == check}


def test_each_day_says_whether_it_has_what_it_should_have(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    root.rewrite("sources/switch.yaml", "max_rejected: 20%\n", "")
    root.rewrite("legacy/switch/2024-01-02.csv", "T0", "T9")
    root.file("switch", DAYS[2]).unlink()
    result = run(root, instance, DAYS[0], DAYS[3])
    assert not result.success, "a day without a file is red"
    assert states(instance, COMPLETENESS) == [PASSED, FAILED, FAILED, PASSED]
    found = told(result, COMPLETENESS)
    assert {e.severity for e in found.values()} == {dg.AssetCheckSeverity.WARN}
    assert "6 rows, and no usage, due since 2024-01-04" in found[DAYS[1]].description
    assert "no file legacy/switch/2024-01-03.csv, due since" in found[DAYS[2]].description
    assert found[DAYS[0]].metadata["rows"].value == 6

    for day in DAYS[1:3]:
        root.write_calls(day)
    assert run(root, instance, DAYS[1], DAYS[2]).success
    assert states(instance, COMPLETENESS) == [PASSED] * 4, "the days that were not run keep theirs"


def test_a_day_that_fails_otherwise_says_why_it_is_not_complete(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    root.write_calls(DAYS[1], 'x,"acme')
    found = told(run(root, instance, DAYS[0], DAYS[3]), COMPLETENESS)
    assert not found[DAYS[1]].passed
    assert "legacy/switch/2024-01-02.csv:8" in found[DAYS[1]].description


def test_days_far_from_their_neighbours_are_told_with_the_declared_severity(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    expect(root, "{rows: {min: 0.5, max: 1.5}, severity: error}")
    root.write_calls(DAYS[0], *(f"{n},acme,1,{DAYS[0]}T10:00:00Z,eu" for n in range(7, 20)))
    result = run(root, instance, DAYS[0], DAYS[3])
    assert result.success, "a check does not stop an import"
    assert states(instance, NEAR_NEIGHBOURS) == [FAILED, PASSED, PASSED, PASSED]
    evaluation = told(result, NEAR_NEIGHBOURS)[DAYS[0]]
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert "19 rows, more than 1.5 times the median 6 of 3 neighbours" in evaluation.description


def test_days_are_compared_with_what_earlier_runs_imported(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    expect(root, "{rows: {min: 0.9}}")
    assert run(root, instance, DAYS[0], DAYS[2]).success
    root.file("switch", DAYS[3]).write_text(
        f"id,account,amount,at,region\n1,acme,1,{DAYS[3]}T10:00:00Z,eu\n"
    )
    assert run(root, instance, DAYS[3], DAYS[3]).success
    assert states(instance, NEAR_NEIGHBOURS) == [PASSED, PASSED, PASSED, FAILED]


def test_unchanged_days_keep_their_checks(root: SmallRoot, instance: dg.DagsterInstance) -> None:
    expect(root, "{rows: {min: 0.9}}")
    for _ in range(2):
        assert run(root, instance, DAYS[0], DAYS[3]).success
        for check in (COMPLETENESS, NEAR_NEIGHBOURS):
            assert states(instance, check) == [PASSED] * 4


def test_row_counts_are_not_compared_unless_that_is_declared(root: SmallRoot) -> None:
    keys = build_definitions(root).resolve_asset_graph().asset_check_keys
    assert NEAR_NEIGHBOURS not in {key.name for key in keys}
    assert dg.AssetCheckKey(MERGED, COMPLETENESS) in keys


def test_what_nobody_imported_is_missed(root: SmallRoot, instance: dg.DagsterInstance) -> None:
    assert run(root, instance, DAYS[0], DAYS[1]).success
    definitions = build_definitions(root)
    selection = dg.AssetSelection.checks(dg.AssetCheckKey(MERGED, NOTHING_OVERDUE))
    job = dg.define_asset_job("checks", selection=selection)
    merged = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    checks = merged.resolve_job_def("checks")
    [missed] = checks.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert not missed.passed
    assert missed.severity is dg.AssetCheckSeverity.WARN
    assert (missed.description or "").startswith("2 partitions have no data: 2024-01-03 (due")
    assert run(root, instance, DAYS[2], DAYS[3]).success
    [complete] = checks.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert complete.passed


def test_only_a_source_without_an_end_must_stay_fresh(root: SmallRoot) -> None:
    root.rewrite("sources/switch.yaml", ", to: 2024-01-05", "")
    expect(root, "{delivered_within: 36h}")
    graph = build_definitions(root).resolve_asset_graph()
    assert graph.get(import_key("edge", "merged")).freshness_policy is None
    policy: Any = graph.get(MERGED).freshness_policy
    assert policy.fail_window.to_timedelta().total_seconds() == (24 + 36) * 3600


def test_definitions_load_without_warnings(root: SmallRoot) -> None:
    expect(root, "{rows: {min: 0.9}}")
    with warnings.catch_warnings(record=True) as caught:
        build_definitions(root).resolve_asset_graph()
    assert [str(w.message) for w in caught] == []
