"""What Dagster sees of a data root: assets, groups, kinds, partitions, pools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import date, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from spanner_pipeline.assets.build import build_definitions, merge_pools
from spanner_pipeline.assets.instance import prepare_home
from spanner_pipeline.assets.naming import identifier, owners_of
from spanner_pipeline.assets.partitions import partitions_of
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.small_root import METERS, SOURCES, SmallRoot, small_root

REPO = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).parent / "definitions.json"


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    return small_root(tmp_path / "root")


def described(definitions: dg.Definitions) -> dict[str, Any]:
    """Assets by key with group, kinds and dependencies; checks; pools; what starts them."""
    graph = definitions.resolve_asset_graph()
    assets = {
        key.to_user_string(): {
            "group": graph.get(key).group_name,
            "kinds": sorted(graph.get(key).kinds),
            "after": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "partitioned": graph.get(key).is_partitioned,
            "executable": graph.get(key).is_executable,
            "stage": graph.get(key).tags.get("stage"),
            "owners": list(graph.get(key).owners),
            "columns": columns_of(graph.get(key).metadata),
        }
        for key in sorted(graph.get_all_asset_keys())
    }
    checks = sorted(f"{k.asset_key.to_user_string()}: {k.name}" for k in graph.asset_check_keys)
    pools = {
        node.op.name: node.op.pool
        for node in definitions.assets or []
        if isinstance(node, dg.AssetsDefinition) and node.is_executable and node.op.pool
    }
    started = {
        "jobs": sorted(job.name for job in definitions.jobs or []),
        "schedules": {s.name: s.job_name for s in definitions.schedules or []},
        "sensors": {s.name: s.job_name for s in definitions.sensors or []},
    }
    return {"assets": assets, "checks": checks, "pools": pools, **started}


def columns_of(metadata: Any) -> list[str]:
    schema = dict(metadata).get("dagster/column_schema")
    return [] if schema is None else [column.name for column in schema.columns]


def test_every_asset_says_what_it_is_in_words_of_the_yaml() -> None:
    catalog = load_catalog(DataRoot.locate(REPO / "data"))
    graph = build_definitions(DataRoot.locate(REPO / "data")).resolve_asset_graph()
    for source in catalog.sources.values():
        for key in graph.get_all_asset_keys():
            if key.path[0] == source.source:
                assert source.description in str(graph.get(key).description)
    for _, total in catalog.comparisons:
        report = graph.get(dg.AssetKey(["reports", total.name]))
        assert total.description in str(report.description)


def test_what_decides_how_an_asset_is_made_is_in_its_version(root: SmallRoot) -> None:
    def versions() -> dict[str, str | None]:
        graph = build_definitions(root).resolve_asset_graph()
        return {k.to_user_string(): graph.get(k).code_version for k in graph.get_all_asset_keys()}

    def changed(before: dict[str, str | None]) -> set[str]:
        after = versions()
        return {key for key, version in after.items() if version != before[key]}

    before = versions()
    root.rewrite("sources/switch.yaml", "old telephone switch", "telephone switch")
    assert changed(before) == set(), "a description changes no number"
    root.rewrite("sources/switch.yaml", "dimensions: {region: region}", "dimensions: {region: id}")
    stages = ("extracted", "keyed", "validated", "merged")
    assert changed(before) == {f"switch/{stage}" for stage in stages}
    before = versions()
    root.rewrite("sources/bill.yaml", "severity: error", "severity: warn")
    assert changed(before) == {"reports/billed_calls", "reports/billed_calls/by_period"}


def test_the_data_in_the_box_gives_the_agreed_assets() -> None:
    found = described(build_definitions(DataRoot.locate(REPO / "data")))
    if "UPDATE_GOLDEN" in os.environ:
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_workspace_loads(root: SmallRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    prepare_home(root)
    ended = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        capture_output=True,
        text=True,
        cwd=REPO,
        env={
            **os.environ,
            "SPANNER_DATA": str(root.path),
            "DAGSTER_HOME": str(root.dagster_home),
            "PYTHONPATH": str(REPO),
        },
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "spanner_pipeline" in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    ("grain", "placeholders", "begin", "end", "count"),
    [
        ("day", "{year}-{month}-{day}", "2024-02-27", "2024-03-02", 4),
        ("month", "{year}-{month}", "2023-11", "2024-02", 3),
        ("month", "{year}-{month}", "2023-11", "2024-02-15", 4),
        ("year", "{year}", "2020", "2024", 4),
        ("year", "{year}", "2020", "2024-07-01", 5),
        ("whole", "all", None, None, 1),
    ],
)
def test_dagster_has_the_partitions_of_the_source(
    grain: str, placeholders: str, begin: str | None, end: str | None, count: int
) -> None:
    keys = partitions_of(made(grain, placeholders, begin, end)).get_partition_keys()
    assert list(keys) == made(grain, placeholders, begin, end).partition_keys(date(2030, 1, 1))
    assert len(keys) == count


@pytest.mark.parametrize(
    ("grain", "placeholders"),
    [("day", "{year}-{month}-{day}"), ("month", "{year}-{month}"), ("year", "{year}")],
)
def test_an_open_end_reaches_as_far_as_the_command_line_does(grain: str, placeholders: str) -> None:
    source = made(grain, placeholders, "2022-01-01", None)
    for now in (datetime(2024, 3, 2, 0, 1), datetime(2024, 5, 31, 23, 59), datetime(2024, 12, 31)):
        keys = partitions_of(source).get_partition_keys(current_time=now)
        assert list(keys) == source.partition_keys(now.date())


def made(grain: str, placeholders: str, begin: str | None, end: str | None) -> Source:
    bounds = {"from": begin, "to": end} if begin else {}
    return Source.model_validate(
        {
            "source": "old",
            "format": {"family": "delimited"},
            "files": f"legacy/{placeholders}.csv",
            "partitions": {"grain": grain, **bounds},
            "identity": {"native": "id"},
            "usage": [{"meter": "calls", "subject": "account", "quantity": "n", "timestamp": "at"}],
        }
    )


SHARING = {"s1": ["a"], "s2": ["b"], "s3": ["a", "b"], "s4": ["c"], "s5": ["d", "c"], "s6": ["e"]}


@pytest.mark.parametrize("order", list(permutations(SHARING))[::60])
def test_sources_that_share_a_meter_share_a_pool(tmp_path: Path, order: tuple[str, ...]) -> None:
    root = DataRoot(tmp_path)
    for folder in ("meters", "sources"):
        (tmp_path / folder).mkdir()
    for meter in "abcde":
        text = METERS["calls"].replace("name: calls", f"name: {meter}")
        (tmp_path / f"meters/{meter}.yaml").write_text(text)
    for place, source in enumerate(order):
        head, usage = (
            SOURCES["switch"].replace("source: switch", f"source: {source}").split("usage:\n")
        )
        usages = "".join(usage.replace("meter: calls", f"meter: {m}") for m in SHARING[source])
        (tmp_path / f"sources/{place}.yaml").write_text(f"{head}usage:\n{usages}")
    pools = merge_pools(load_catalog(root))
    assert list(pools) == list(order)
    assert pools["s1"] == pools["s2"] == pools["s3"]
    assert pools["s4"] == pools["s5"]
    assert len({pools["s1"], pools["s4"], pools["s6"]}) == 3


def test_names_that_dagster_does_not_take_are_spelled_otherwise(root: SmallRoot) -> None:
    names = ("API calls (EU)/größe", "c-a", "c_a", "x" * 200)
    for number, name in enumerate(names):
        text = METERS["calls"].replace("name: calls", f'name: "{name}"')
        (root.path / f"meters/{number}.yaml").write_text(text)
    root.rewrite("sources/switch.yaml", "identity:", "owner: data platform\nidentity:")
    root.rewrite("sources/edge.yaml", "identity:", "owner: ops@example.com\nidentity:")
    definitions = build_definitions(root)
    assert definitions.resolve_implicit_global_asset_job_def()
    assert len({identifier(name) for name in names}) == len(names)
    assert identifier("c_a") == "c_a"
    sources = load_catalog(root).sources
    assert owners_of(sources["switch"]) == ["team:data platform"]
    assert owners_of(sources["edge"]) == ["ops@example.com"]


def test_a_source_without_an_end_loads(root: SmallRoot) -> None:
    root.rewrite("sources/switch.yaml", ", to: 2024-01-05", "")
    root.rewrite("sources/edge.yaml", "from: 2024-01-01, to: 2024-01-05", "from: 2999-01-01")
    graph = build_definitions(root).resolve_asset_graph()
    switch = graph.get(dg.AssetKey(["switch", "merged"])).partitions_def
    edge = graph.get(dg.AssetKey(["edge", "merged"])).partitions_def
    assert switch is not None
    assert edge is not None
    assert switch.has_partition_key("2024-01-05")
    assert list(edge.get_partition_keys()) == []


def test_fifty_sources_load_quickly(tmp_path: Path) -> None:
    for folder in ("meters", "sources"):
        (tmp_path / folder).mkdir()
    for number in range(10):
        text = METERS["calls"].replace("name: calls", f"name: meter_{number}")
        (tmp_path / f"meters/{number}.yaml").write_text(text)
    for number in range(50):
        text = SOURCES["switch"].replace("source: switch", f"source: source_{number}")
        text = text.replace("meter: calls", f"meter: meter_{number % 10}")
        (tmp_path / f"sources/{number}.yaml").write_text(text)
    begin = time.monotonic()
    graph = build_definitions(DataRoot(tmp_path)).resolve_asset_graph()
    took = time.monotonic() - begin
    print(f"50 sources and 10 meters: {took:.2f} s")
    assert len(graph.get_all_asset_keys()) == 50 * 4 + 10 + 10
    assert took < 10
