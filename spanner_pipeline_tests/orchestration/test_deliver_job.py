"""The job `deliver`: it shows what it would do, does it when accepted, and never shows a key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline.delivery.target import API_KEY, BASE_URL
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer, contract_server


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> TinyRoot:
    made = TinyRoot(tmp_path_factory.mktemp("deliver") / "root")
    made.deliver([Row("1", quantity="2.5"), Row("2", time="2024-01-02T00:00:00Z")])
    return made


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContractServer]:
    with contract_server(tmp_path_factory.mktemp("service") / "events.db") as server:
        yield server


@pytest.fixture(scope="module")
def instance(root: TinyRoot) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", "")
        with open_instance(root.root) as opened:
            yield opened


def run(root: TinyRoot, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    job = build_definitions(root.root).resolve_job_def("deliver")
    return job.execute_in_process(
        {"meter": "calls", **config}, instance=instance, raise_on_error=False
    )


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [event] = [e for e in result.all_events if e.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def reason(result: dg.ExecuteInProcessResult) -> str:
    [event] = [e for e in result.all_events if e.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)


def test_without_the_variables_the_definitions_load_and_a_run_says_what_to_set(
    root: TinyRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(BASE_URL, raising=False)
    monkeypatch.delenv(API_KEY, raising=False)
    assert "OPEN_SPANNER_BASE_URL is not set" in reason(run(root, instance))


def test_it_plans_then_waits_for_acceptance_then_sends_and_shows_no_key(
    root: TinyRoot,
    service: ContractServer,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(BASE_URL, service.base_url)
    monkeypatch.setenv(API_KEY, service.key)
    old = {"include_old": True, "to": "2024-01-02"}
    planned = shown(run(root, instance, **old))
    assert (planned["would be sent"], planned["outcome"]) == (1, "only planned")
    assert "not accepted" in reason(run(root, instance, plan_only=False, **old))
    assert service.count() == 0
    done = shown(run(root, instance, plan_only=False, accept=True, **old))
    assert done["events accepted"] == 1
    [event] = service.events()
    assert event["quantity"] == 2.5
    wrong = service.key[:-1]
    monkeypatch.setenv(API_KEY, wrong)
    assert "OPEN_SPANNER_API_KEY" in reason(run(root, instance))
    said = capfd.readouterr()
    assert wrong not in said.out + said.err
    for folder, _, names in os.walk(root.path):
        for name in names:
            assert wrong.encode() not in (Path(folder) / name).read_bytes(), name


def test_a_rehearsal_with_the_real_key_is_refused(
    root: TinyRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BASE_URL, "http://127.0.0.1:9")
    monkeypatch.setenv(API_KEY, "one")
    monkeypatch.setenv("OPEN_SPANNER_REHEARSAL_API_KEY", "one")
    assert "the same key" in reason(run(root, instance, rehearse=True))
