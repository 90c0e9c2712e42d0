"""The job `verify_delivery`: red where something lacks, its report to download, no key anywhere."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from spanner_pipeline.assets import retries
from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline.delivery import client
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.target import API_KEY, BASE_URL
from spanner_pipeline_tests.delivery.victim import deliver_all
from spanner_pipeline_tests.open_spanner import ContractServer, contract_server
from spanner_pipeline_tests.reconciliation.building import Books

KEY = dg.AssetKey(["open_spanner", "calls"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContractServer]:
    with contract_server(tmp_path_factory.mktemp("service") / "events.db") as server:
        yield server


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, service: ContractServer) -> Path:
    """A root whose usage was delivered."""
    made = Books(tmp_path_factory.mktemp("verify") / "root", meter={"event_retention_days": 3650})
    made.bill(("org", "UTC", "2024-02", 7, "")).imported(
        ("1", "org", 3, "2024-02-03T00:00:00Z"), ("2", "org", 4, "2024-02-04T00:00:00Z")
    )
    deliver_all(made.path, service.base_url, service.key, Choices(rate=10**9))
    return made.path


@pytest.fixture(scope="module")
def instance(path: Path) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", "")
        with open_instance(Books(path).root) as opened:
            yield opened


def run(path: Path, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    job = build_definitions(Books(path).root).resolve_job_def("verify_delivery")
    return job.execute_in_process(
        {"meter": "calls", **config}, instance=instance, raise_on_error=False
    )


def evaluation(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    [found] = result.get_asset_check_evaluations()
    assert (found.asset_key, found.check_name) == (KEY, "holds_what_was_delivered")
    return found


def test_it_is_green_then_red_with_what_lacks_and_keeps_the_report(
    path: Path,
    service: ContractServer,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(BASE_URL, service.base_url)
    monkeypatch.setenv(API_KEY, service.key)
    fine = run(path, instance, comparison="bill")
    assert fine.success
    told = evaluation(fine)
    assert told.passed
    assert told.metadata["verdict"].value == "PASS"
    assert told.metadata["service total"].value == "7 call"
    assert "/logs/" in str(told.metadata["download"].value)
    kept = [p for p in (path / "dagster").rglob("report.html") if fine.run_id in str(p)]
    assert "three times the same" in kept[0].read_text()
    with closing(sqlite3.connect(service.path, timeout=10)) as store, store:
        store.execute("DELETE FROM events WHERE quantity = 3")
    red = run(path, instance)
    [failure] = [e for e in red.all_events if e.is_step_failure]
    said = failure.step_failure_data.user_failure_data
    assert said.description == "calls: missing there."
    assert {"report", "download", "differences"} <= said.metadata.keys()
    assert not evaluation(red).passed
    assert not red.retry_attempts_for_node("verify_meter")
    written = capfd.readouterr()
    assert service.key not in written.out + written.err
    for folder, _, names in os.walk(path):
        for name in names:
            assert service.key.encode() not in (Path(folder) / name).read_bytes(), name


def test_the_cut_over_is_read_when_a_run_begins(
    path: Path,
    service: ContractServer,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(BASE_URL, service.base_url)
    monkeypatch.setenv(API_KEY, service.key)
    job = build_definitions(Books(path).root).resolve_job_def("deliver")
    declared = path / "delivery.yaml"

    def planned() -> dg.ExecuteInProcessResult:
        asked = {"meter": "calls"}
        return job.execute_in_process(asked, instance=instance, raise_on_error=False)

    declared.write_text("cut_over: {calls: soon}\n")
    [failure] = [e for e in planned().all_events if e.is_step_failure]
    assert "delivery.yaml is broken" in str(failure.step_failure_data.user_failure_data.description)
    declared.unlink()
    assert planned().success


def test_only_a_network_that_fails_is_tried_again(
    path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BASE_URL, "http://127.0.0.1:9")
    monkeypatch.setenv(API_KEY, "one")
    monkeypatch.setattr(retries, "BACK_OFF_SECONDS", 0)
    monkeypatch.setattr(retries, "MAX_RETRIES", 1)
    soon = client.Patience(to_reach=1, first=1, longest=1)
    monkeypatch.setattr(client, "Patience", lambda: soon)
    away = run(path, instance)
    assert not away.success
    assert away.retry_attempts_for_node("verify_meter") == 1
    wrong = run(path, instance, meter="cals")
    assert not wrong.retry_attempts_for_node("verify_meter")
    [failure] = [e for e in wrong.all_events if e.is_step_failure]
    assert "no meter `cals`" in failure.step_failure_data.user_failure_data.description
