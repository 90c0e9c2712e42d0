"""A broken YAML costs what it declares and nothing else: one red asset, beside all that loads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from spanner_pipeline.assets.broken import YAML_IS_SOUND
from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.instance import open_instance, prepare_home
from spanner_pipeline.errors import ConfigurationError
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.small_root import DAYS, METERS, SOURCES, SmallRoot

REPO = Path(__file__).parent.parent.parent
SWITCH = dg.AssetKey(["switch", "broken"])


def keys(root: SmallRoot) -> set[str]:
    graph = build_definitions(root).resolve_asset_graph()
    return {key.to_user_string() for key in graph.get_all_asset_keys()}


def described(root: SmallRoot, key: dg.AssetKey) -> str:
    return build_definitions(root).resolve_asset_graph().get(key).description or ""


SOUND = {f"edge/{stage}" for stage in ("extracted", "keyed", "validated", "merged")} | {
    "usage/hits",
    "open_spanner/hits",
}
"""What has nothing to do with `switch` and its meter."""
REST = {"bill/billing_totals", "reports/billed_calls", "usage/calls", "open_spanner/calls"}


def unbalanced(root: SmallRoot) -> None:
    root.rewrite("sources/switch.yaml", "{native: id}", "{native: id")


def two_mistakes(root: SmallRoot) -> None:
    root.rewrite("sources/switch.yaml", "identity:", "identty:")
    root.rewrite("sources/switch.yaml", "region: region", "area: region")


def no_text(root: SmallRoot) -> None:
    (root.path / "sources/switch.yaml").write_bytes(b"source: switch\ndescription: \xff\n")


def unreadable(root: SmallRoot) -> None:
    (root.path / "sources/switch.yaml").unlink()
    (root.path / "sources/switch.yaml").mkdir()


def inside_itself(root: SmallRoot) -> None:
    root.rewrite("sources/switch.yaml", "usage:\n", "usage: &all\n  - *all\n")


def other_file_name(root: SmallRoot) -> None:
    unbalanced(root)
    (root.path / "sources/switch.yaml").rename(root.path / "sources/old.yaml")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (unbalanced, ["sources/switch.yaml:7: not valid YAML", "Check indentation"]),
        (two_mistakes, ["sources/switch.yaml:6: identty: is not a known key. Did you mean"]),
        (no_text, ["sources/switch.yaml:1: not UTF-8. Save it as UTF-8."]),
        (unreadable, ["sources/switch.yaml:1: cannot be read: Is a directory. Check it."]),
        (inside_itself, ["sources/switch.yaml:1: an alias stands inside its own anchor."]),
        (other_file_name, ["sources/old.yaml:7: not valid YAML"]),
    ],
)
def test_a_broken_source_is_one_asset_and_the_others_load(
    root: SmallRoot, spoil: Callable[[SmallRoot], None], told: list[str]
) -> None:
    spoil(root)
    assert keys(root) == SOUND | REST | {"switch/broken"}
    node = build_definitions(root).resolve_asset_graph().get(SWITCH)
    assert node.group_name == "switch"
    assert "broken" in node.kinds
    first, *_ = (node.description or "").splitlines()
    assert first.startswith("BROKEN: ")
    for text in told:
        assert text in (node.description or "")
    with pytest.raises(ConfigurationError) as error:
        load_catalog(root)
    assert told[0] in str(error.value), "the command line says the same, and goes no further"


def test_all_mistakes_are_told_at_once(root: SmallRoot) -> None:
    root.rewrite("sources/switch.yaml", "{region: region}", "{area: region, shift: region}")
    text = described(root, SWITCH)
    assert "3 mistakes in sources/switch.yaml" in text
    for name in ("area", "shift"):
        assert f"sources/switch.yaml:13: usage[0].dimensions.{name}: meter calls has no" in text
    assert "meter calls requires `region`" in text


def test_it_fails_with_its_mistakes_and_its_check_is_red(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    two_mistakes(root)
    asset = build_definitions(root).get_assets_def(SWITCH)
    result = dg.materialize([asset], instance=instance, raise_on_error=False)
    assert not result.success
    [event] = [e for e in result.all_events if e.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    assert "sources/switch.yaml:6: identty: is not a known key" in (failure.description or "")
    [evaluation] = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert "Did you mean `identity`?" in (evaluation.description or "")


def test_the_neighbours_of_a_broken_source_can_be_imported_and_reconciled(
    root: SmallRoot, instance: dg.DagsterInstance
) -> None:
    unbalanced(root)
    for key in (import_key("edge", "merged"), dg.AssetKey(["reports", "billed_calls"])):
        first, last = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
        definitions = build_definitions(root)
        result = dg.materialize(
            [definitions.get_assets_def(key)],
            resources=definitions.resources,
            selection=[key],
            instance=instance,
            tags={first: DAYS[0], last: DAYS[-1]} if key.path[0] == "edge" else {},
        )
        assert result.success


def test_what_needs_a_broken_meter_is_broken_and_says_which(root: SmallRoot) -> None:
    root.rewrite("meters/calls.yaml", "aggregation: sum", "aggregation: summ")
    assert keys(root) == SOUND | {"meters/calls/broken", "switch/broken", "bill/broken"}
    meter = described(root, dg.AssetKey(["meters", "calls", "broken"]))
    assert "meters/calls.yaml:4: aggregation: " in meter
    for source, path in (("switch", "usage[0].meter"), ("bill", "billing_totals[0].meter")):
        text = described(root, dg.AssetKey([source, "broken"]))
        assert f"{path}: meter `calls` is broken. Mend meters/calls.yaml first." in text
    with pytest.raises(ConfigurationError) as error:
        load_catalog(root)
    assert [p.file for p in error.value.problems] == ["meters/calls.yaml"], "no mistake twice"


def test_a_meter_that_is_not_there_breaks_its_sources_only(root: SmallRoot) -> None:
    (root.path / "meters/calls.yaml").unlink()
    assert keys(root) == SOUND | {"switch/broken", "bill/broken"}
    assert "`calls` is not in meters/ (known: hits)" in described(root, SWITCH)


def test_of_two_files_of_one_name_none_is_used(root: SmallRoot) -> None:
    """A copy must not take the place of the source whose history is in the lake."""
    (root.path / "sources/copy.yaml").write_text(SOURCES["switch"])
    assert keys(root) == SOUND | REST | {"switch/broken"}
    text = described(root, SWITCH)
    assert "in sources/copy.yaml and sources/switch.yaml" in text
    assert "`switch` is declared in sources/copy.yaml too" in text
    (root.path / "sources/copy.yaml").unlink()
    (root.path / "meters/twin.yaml").write_text(METERS["calls"])
    assert keys(root) == SOUND | {"meters/calls/broken", "switch/broken", "bill/broken"}


def test_comparisons_of_one_name_break_both_sources(root: SmallRoot) -> None:
    text = SOURCES["bill"].replace("source: bill", "source: bill_two")
    (root.path / "sources/bill_two.yaml").write_text(text)
    found = keys(root)
    assert {"bill/broken", "bill_two/broken"} <= found
    assert "reports/billed_calls" not in found
    assert "switch/merged" in found


def test_a_root_without_its_folders_shows_what_is_missing(tmp_path: Path) -> None:
    root = SmallRoot(tmp_path / "empty root")
    root.path.mkdir()
    [key] = build_definitions(root).resolve_asset_graph().get_all_asset_keys()
    text = described(root, key)
    assert "no folder meters/" in text
    assert "no folder sources/" in text


def environment(root: SmallRoot) -> dict[str, str]:
    return {
        **os.environ,
        "SPANNER_DATA": str(root.path),
        "DAGSTER_HOME": str(root.dagster_home),
        "PYTHONPATH": str(REPO),
    }


def test_the_workspace_loads_with_broken_files(root: SmallRoot) -> None:
    unbalanced(root)
    root.rewrite("meters/hits.yaml", "unit:", "unti:")
    prepare_home(root)
    ended = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        capture_output=True,
        text=True,
        cwd=REPO,
        env=environment(root),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_the_daemon_turns_it_red_before_anybody_asks(root: SmallRoot) -> None:
    two_mistakes(root)
    with open_instance(root) as instance:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
            cwd=REPO,
            env=environment(root),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        try:
            key = dg.AssetCheckKey(SWITCH, YAML_IS_SOUND)
            deadline, found = time.monotonic() + 150, None
            while found is None and time.monotonic() < deadline:
                time.sleep(1)
                storage = instance.event_log_storage
                found = storage.get_latest_asset_check_execution_by_key([key]).get(key)
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(60)
    assert found is not None
    assert found.status is AssetCheckExecutionRecordStatus.FAILED
    assert found.evaluation is not None
    assert "Did you mean `identity`?" in (found.evaluation.description or "")
