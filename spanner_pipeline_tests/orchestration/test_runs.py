"""What Dagster believes after real runs on a real instance: colours, metadata, checks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import yaml
from dagster import AssetPartitionStatus

from spanner_pipeline.assets import imports, retries
from spanner_pipeline.assets.backfill import run_backfill
from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.by_period import CHECK
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.instance import PROCESS, SETTINGS, open_instance
from spanner_pipeline.assets.metadata import CONTROL_TOTALS
from spanner_pipeline.assets.partitions import partitions_of
from spanner_pipeline.importing import STAGES
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root
from spanner_pipeline_tests.test_cli import assert_whole, events

REPO = Path(__file__).parent.parent.parent
GREEN, RED = AssetPartitionStatus.MATERIALIZED, AssetPartitionStatus.FAILED
REPORT = dg.AssetKey(["reports", "billed_calls"])


@pytest.fixture(scope="module")
def imported_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose calls were imported by a run; tests copy it."""
    root = small_root(tmp_path_factory.mktemp("imported") / "root")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", "")
        with open_instance(root) as instance:
            assert run(root, instance, import_key("switch", "merged"), DAYS).success
    return root.path


@pytest.fixture
def imported(
    imported_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[SmallRoot, dg.DagsterInstance]]:
    monkeypatch.setenv("DAGSTER_HOME", "")
    root = SmallRoot(shutil.copytree(imported_once, tmp_path / "imported"))
    with open_instance(root) as instance:
        yield root, instance


def run(
    root: SmallRoot, instance: dg.DagsterInstance, key: dg.AssetKey, days: tuple[str, ...] = ()
) -> dg.ExecuteInProcessResult:
    """One run of an asset, over a range of days where it has partitions."""
    names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    definitions = build_definitions(root)
    return dg.materialize(
        [definitions.get_assets_def(key)],
        resources=definitions.resources,
        instance=instance,
        selection=None if days else [key],
        tags=dict(zip(names, (days[0], days[-1]), strict=True)) if days else {},
        raise_on_error=False,
    )


def colours(root: SmallRoot, instance: dg.DagsterInstance, stage: str) -> list[Any]:
    source = load_catalog(root).sources["switch"]
    found = instance.get_status_by_partition(
        import_key("switch", stage), DAYS, partitions_of(source)
    )
    assert found is not None
    return [found[day] for day in DAYS]


def metadata(instance: dg.DagsterInstance, key: dg.AssetKey, day: str | None = None) -> Any:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[day] if day else None), limit=1
    ).records
    assert records[0].asset_materialization is not None
    return records[0].asset_materialization.metadata


def failure(result: dg.ExecuteInProcessResult) -> Any:
    [event] = [e for e in result.all_events if e.is_step_failure]
    return event.step_failure_data.user_failure_data


def test_a_broken_day_is_red_alone_and_mending_it_turns_it_green(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    root.write_calls(DAYS[1], 'x,"acme')
    result = run(root, instance, import_key("switch", "merged"), DAYS)
    assert not result.success
    for stage in STAGES:
        assert colours(root, instance, stage) == [GREEN, RED, GREEN, GREEN], stage
    told = failure(result)
    assert "switch: 1 partition failed. 2024-01-02: legacy/switch/2024-01-02.csv:8" in (
        told.description
    )
    [row] = told.metadata["failed partitions"].records
    assert row.data["partition"] == DAYS[1]
    assert "Remedy:" in row.data["reason"]
    assert events(root, "calls") == (18, 18)

    root.write_calls(DAYS[1])
    assert run(root, instance, import_key("switch", "merged"), DAYS[1:2]).success
    for stage in STAGES:
        assert colours(root, instance, stage) == [GREEN] * 4, stage
    assert events(root, "calls") == (24, 24)


def test_a_day_with_too_many_rejected_rows_is_green_up_to_where_it_failed(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    root.write_calls(DAYS[2], "7,acme,many,2024-01-03T09:00:00Z,eu", "8,acme,,2024-01-03,eu")
    assert not run(root, instance, import_key("switch", "merged"), DAYS).success
    assert colours(root, instance, "keyed") == [GREEN] * 4
    assert colours(root, instance, "merged") == [GREEN, GREEN, RED, GREEN]


def test_an_unforeseen_error_is_told_with_its_partition_and_stays_alone(
    root: SmallRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = imports.import_partition

    def full(*arguments: Any) -> Any:
        if arguments[3] == DAYS[2]:
            raise duckdb.OutOfMemoryException("disk full")
        return real(*arguments)

    monkeypatch.setattr(imports, "import_partition", full)
    monkeypatch.setattr(retries, "BACK_OFF_SECONDS", 0)
    result = run(root, instance, import_key("switch", "merged"), DAYS)
    assert colours(root, instance, "merged") == [GREEN, GREEN, RED, GREEN]
    told = failure(result)
    assert "2024-01-03: unexpected OutOfMemoryException: disk full" in told.description
    logged = [
        e for e in instance.all_logs(result.run_id) if "OutOfMemoryException" in e.user_message
    ]
    assert any("Traceback" in str(entry) for entry in logged), "the log keeps the stack trace"


def test_unchanged_days_are_told_again_and_stay_green(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    merged = import_key("switch", "merged")
    first = run(root, instance, merged, DAYS)
    assert metadata(instance, merged, DAYS[0])["unchanged"].value is False
    again = run(root, instance, merged, DAYS)
    for result in (first, again):
        assert len(result.get_asset_materialization_events()) == len(STAGES) * len(DAYS)
    assert metadata(instance, merged, DAYS[0])["unchanged"].value is True
    assert colours(root, instance, "merged") == [GREEN] * 4
    assert events(root, "calls") == (24, 24)


def test_metadata_holds_counts_to_plot_exact_quantities_and_tables(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    root.write_calls(DAYS[0], "7,acme,many,2024-01-01T09:00:00Z,eu")
    assert run(root, instance, import_key("switch", "merged"), DAYS[:1]).success
    extracted, keyed, validated, merged = (
        metadata(instance, import_key("switch", stage), DAYS[0]) for stage in STAGES
    )
    assert [m["dagster/row_count"].value for m in (extracted, keyed, validated, merged)] == [
        *(7, 7, 6, 6)
    ]
    [file] = extracted["files"].records
    assert file.data["file"] == "legacy/switch/2024-01-01.csv"
    assert len(str(file.data["sha256"])) == 64
    assert validated["rejected rows"].value == 1
    [rejected] = validated["rejected by reason"].records
    assert rejected.data["rows"] == 1
    assert merged["read rows"].value == 7
    assert merged["new rows"].value == 6
    assert merged["rejected rows"].value == 1
    [meter] = merged["by meter"].records
    assert merged["quantity"].value == "21.006 (calls)"
    assert meter.data["quantity in the lake"] == "21.006"
    assert merged[CONTROL_TOTALS].value["calls"]["new"] == {"rows": 6, "quantity": "21.006"}
    assert str(merged["import batch"].value).startswith("switch/2024-01-01/")


@pytest.mark.parametrize(
    ("bill", "severity", "passed", "told"),
    [
        ("36.008", "error", True, dg.AssetCheckSeverity.ERROR),
        ("36.009", "error", False, dg.AssetCheckSeverity.ERROR),
        ("36.009", "warn", False, dg.AssetCheckSeverity.WARN),
    ],
)
def test_the_check_says_whether_the_totals_agree(
    imported: tuple[SmallRoot, dg.DagsterInstance],
    bill: str,
    severity: str,
    passed: bool,
    told: dg.AssetCheckSeverity,
) -> None:
    root, instance = imported
    root.write_bill(acme=bill)
    root.rewrite("sources/bill.yaml", "severity: error", f"severity: {severity}")
    result = run(root, instance, REPORT)
    assert result.success, "a break is an outcome of a report, not a failure of it"
    [evaluation] = result.get_asset_check_evaluations()
    assert evaluation.check_name == CHECK
    assert evaluation.passed is passed
    assert evaluation.severity is told
    shown = metadata(instance, REPORT)
    assert shown["new total"].value == "84.024 call"
    assert shown["verdict"].value == (
        "PASS" if passed else severity.upper().replace("ERROR", "FAIL")
    )
    assert Path(shown["report"].value).is_file()
    if not passed:
        [row] = shown["biggest breaks"].records
        assert row.data["difference"] == "−0.001"


def test_usage_of_a_meter_without_events_is_empty_and_no_error(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    key = dg.AssetKey(["usage", "hits"])
    assert run(root, instance, key).success
    assert metadata(instance, key)["dagster/row_count"].value == 0


def test_usage_of_a_meter_has_its_exact_total(
    imported: tuple[SmallRoot, dg.DagsterInstance],
) -> None:
    root, instance = imported
    key = dg.AssetKey(["usage", "calls"])
    assert run(root, instance, key).success
    shown = metadata(instance, key)
    assert shown["total"].value == "84.024 call"
    assert shown["events"].value == 24
    [month] = shown["by month"].records
    assert month.data == {"month": "2024-01", "events": 24, "subjects": 3, "days with usage": 4}


def test_a_missing_bill_fails_its_report_with_a_message(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    (root.path / "legacy/bill.csv").unlink()
    result = run(root, instance, REPORT)
    assert not result.success
    assert "legacy/bill.csv" in failure(result).description


def test_a_backfill_says_what_it_did(root: SmallRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setattr("spanner_pipeline.assets.backfill.PARTITIONS_PER_RUN", 3)
    root.cut("edge", DAYS[3])
    told: list[tuple[str, int]] = []
    outcome = run_backfill(root, on_source=lambda source, count: told.append((source, count)))
    assert told == [("edge", 4), ("switch", 4)]
    assert list(outcome.failures) == [("edge", DAYS[3])]
    assert outcome.totals["switch", "calls"].new.quantity == Decimal("84.024")
    assert outcome.totals["edge", "hits"].new.rows == 12
    assert [verdict.verdict for verdict in outcome.verdicts] == ["PASS"]
    assert outcome.broken == {}
    root.write_hits(DAYS[3])
    assert run_backfill(root, ["edge"], DAYS[3], DAYS[3]).entered == 4
    assert_whole(root)


def test_runs_of_a_killed_command_line_do_not_run_for_ever(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = os.uname().nodename
    runs = {
        f"{host} {gone.pid}": dg.DagsterRunStatus.FAILURE,
        f"{host} {os.getppid()}": dg.DagsterRunStatus.STARTED,
        f"elsewhere {gone.pid}": dg.DagsterRunStatus.STARTED,
    }
    made = {}
    for process in runs:
        made[process] = instance.create_run_for_job(
            _nothing, tags={PROCESS: process}, status=dg.DagsterRunStatus.STARTED
        ).run_id
    with open_instance(root) as reopened:
        for process, status in runs.items():
            found = reopened.get_run_by_id(made[process])
            assert found is not None
            assert found.status == status, process


@dg.op
def _idle() -> None:
    """Do nothing."""


@dg.job
def _nothing() -> None:
    _idle()


def test_a_slot_of_a_pool_that_a_killed_run_held_does_not_stop_the_command_line(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    storage = instance.event_log_storage
    for pool in ("meter_calls", "meter_hits"):
        storage.initialize_concurrency_limit_to_default(pool)
        assert storage.claim_concurrency_slot(pool, "a run long gone", "a step").is_claimed
    assert run_backfill(root).failures == {}
    assert_whole(root)


def test_the_settings_of_the_instance_are_safe(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    settings = root.dagster_home / "dagster.yaml"
    assert settings.read_text(encoding="utf-8") == SETTINGS
    declared = yaml.safe_load(SETTINGS)
    assert declared["telemetry"] == {"enabled": False}
    assert declared["nux"] == {"enabled": False}
    assert declared["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert instance.telemetry_enabled is False
    assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] > 0
    settings.write_text("telemetry: {enabled: false}  # mine\n", encoding="utf-8")
    with open_instance(root):
        assert "mine" in settings.read_text(encoding="utf-8")


def test_an_instance_that_is_opened_many_times_at_once_is_made_once(root: SmallRoot) -> None:
    command = [sys.executable, "-m", "spanner_pipeline.assets.instance", str(root.path)]
    opening = [subprocess.Popen(command, stderr=subprocess.PIPE, cwd=REPO) for _ in range(4)]
    for process in opening:
        _, error = process.communicate()
        assert process.returncode == 0, error.decode()
