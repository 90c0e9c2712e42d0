"""`meters pull`: live meters become YAML that says the same, and nobody's file is written over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanner_pipeline.configuration.document import read_document
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.meter import compare
from spanner_pipeline.delivery.pull_meters import PulledMeter, live_meter, pull_meters, spelled
from spanner_pipeline.delivery.target import API_KEY, BASE_URL, Target
from spanner_pipeline.meters import Dimension, Meter
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.conftest import Ended, Run
from spanner_pipeline_tests.delivery.conftest import at, tiny
from spanner_pipeline_tests.delivery.victim import SOON, deliver_all
from spanner_pipeline_tests.lake.building import Row
from spanner_pipeline_tests.open_spanner import ContractServer

Pull = Callable[..., Ended]


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    (tmp_path / "sources").mkdir()
    return DataRoot(tmp_path)


@pytest.fixture
def pull(
    root: DataRoot, service: ContractServer, key: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> Pull:
    monkeypatch.setenv(BASE_URL, service.base_url)
    monkeypatch.setenv(API_KEY, key)
    return lambda *arguments: run("meters", "pull", *arguments, data=root)


def make(service: ContractServer, key: str, *meters: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=service.base_url, headers=headers) as http:
        for meter in meters:
            http.post("/v1/meters", json={"unit": "call", **meter}).raise_for_status()


def pulled(root: DataRoot, service: ContractServer, key: str, **asked: Any) -> list[PulledMeter]:
    with OpenSpanner(Target.build(service.base_url, key), SOON) as client:
        return pull_meters(root, client, **asked)


def test_a_live_meter_is_written_as_it_is_declared_here(
    root: DataRoot, service: ContractServer, key: str, pull: Pull
) -> None:
    dimensions = [
        {"name": "region", "type": "string"},  # required, as nobody said otherwise
        {"name": "http.status", "type": "number", "required": False, "description": "a, {b}"},
        {"name": "hot", "type": "boolean", "display_name": "Is it hot?", "deprecated": True},
    ]
    make(service, key, {"name": "calls", "aggregation": "max", "dimensions": dimensions})
    dry = pull("--dry-run")
    assert (dry.code, "written" in dry.out, (root.path / "meters").exists()) == (0, True, False)
    assert pull().code == 0
    file = root.path / "meters" / "calls.yaml"
    assert (
        file.read_text()
        == """\
name: calls
unit: call
aggregation: max
event_retention_days: 90
dimensions:
  - {name: region, type: string}
  - {name: http.status, type: number, required: false, description: 'a, {b}'}
  - {name: hot, type: boolean, display_name: 'Is it hot?', deprecated: true}
"""
    )
    meter = load_catalog(root).meters["calls"]
    with OpenSpanner(Target.build(service.base_url, key), SOON) as client:
        live = client.find_meter("calls")
    assert live is not None
    assert compare(meter, live) == []
    assert "unchanged" in pull("calls").out


def test_a_file_that_says_something_else_is_shown_and_left(
    root: DataRoot, service: ContractServer, key: str, pull: Pull
) -> None:
    make(service, key, {"name": "calls", "unit": "[call]"}, {"name": "hits"})
    file = root.path / "meters" / "mine.yaml"
    file.parent.mkdir()
    mine = "# Mine.\nname: calls\nunit: minute\ndecimals: 3\nevent_retention_days: 0\n"
    file.write_text(mine)
    ended = pull()
    assert ended.code == 1
    assert "unit: minute" in ended.out and "unit: '[call]'" in ended.out
    assert file.read_text() == mine
    assert (root.path / "meters" / "hits.yaml").exists()
    assert pull("calls", "--overwrite", "--dry-run").code == 0
    assert file.read_text() == mine
    assert pull("calls", "--overwrite").code == 0
    assert file.read_text().startswith("# Mine.\nname: calls\nunit: '[call]'\n")
    assert "decimals: 3\n" in file.read_text()  # which the service does not know
    missing = pull("calls", "nobody")
    assert (missing.code, "no meter `nobody`" in missing.err) == (2, True)


def test_names_that_are_no_file_names_and_more_meters_than_a_page(
    root: DataRoot, service: ContractServer, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["../../etc/passwd", "Calls", "calls", "a b", "null", "12", "é {x}: #y", "x" * 150]
    make(service, key, *({"name": name} for name in names))
    make(
        service,
        key,
        {"name": "y" * 201},
        {
            "name": "twice",
            "dimensions": [{"name": "a", "type": "string"}, {"name": "A", "type": "string"}],
        },
    )
    monkeypatch.setattr("spanner_pipeline.delivery.client._PAGE_OF_METERS", 3)
    found = {meter.name: meter for meter in pulled(root, service, key)}
    assert {name for name, meter in found.items() if meter.fate != "written"} == {
        "y" * 201,
        "twice",
    }
    assert "declared twice" in found["twice"].live
    files = list((root.path / "meters").iterdir())
    assert len({file.name.lower() for file in files}) == len(files) == len(names)
    assert set(load_catalog(root).meters) == set(names)
    again = [meter.fate for meter in pulled(root, service, key)]
    assert sorted(again) == ["cannot be used"] * 2 + ["unchanged"] * len(names)


def test_what_a_delivery_adds_to_a_meter_is_no_part_of_it(
    tmp_path: Path, service: ContractServer, key: str
) -> None:
    root = tiny(tmp_path / "root", [Row("a", time=at(1))])
    deliver_all(root.path, service.base_url, key)
    assert [meter.fate for meter in pulled(root.root, service, key)] == ["unchanged"]


def test_what_an_answer_does_not_say_is_what_the_service_takes_for_it() -> None:
    said = {"name": "calls", "unit": "call", "aggregation": "", "event_retention_days": 0}
    bare = {"name": "region", "type": "string", "description": None}
    meter = live_meter({**said, "description": None, "dimensions": [bare]})
    assert (meter.aggregation, meter.dimensions[0].required) == ("sum", True)
    assert "event_retention_days: 90\n" in spelled(meter)
    assert live_meter({**said, "dimensions": None}).dimensions == ()


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda text: text == text.strip()
)
DIMENSIONS = st.builds(
    Dimension,
    name=st.from_regex(r"\A[A-Za-z0-9_-]{1,4}(\.[A-Za-z0-9_-]{1,4})?\Z").filter("subject".__ne__),
    type=st.sampled_from(["string", "number", "boolean"]),
    required=st.booleans(),
    description=TEXTS,
    deprecated=st.booleans(),
)
METERS = st.builds(
    Meter,
    name=NAMES,
    description=TEXTS,
    unit=NAMES,
    event_retention_days=st.integers(1, 3650),
    decimals=st.integers(0, 18),
    dimensions=st.lists(DIMENSIONS, max_size=3, unique_by=lambda d: d.name.lower()).map(tuple),
)


@given(METERS)
def test_what_is_written_is_read_as_the_same_meter(
    tmp_path_factory: pytest.TempPathFactory, meter: Meter
) -> None:
    file = tmp_path_factory.getbasetemp() / "meter.yaml"
    file.write_text(spelled(meter), encoding="utf-8")
    assert read_document(file, "meter.yaml").read_as(Meter) == meter
