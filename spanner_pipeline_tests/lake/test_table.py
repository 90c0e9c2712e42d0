"""A meter's table: any engine reads it, any name and place is safe, dimensions may be added."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanner_pipeline.errors import PipelineError
from spanner_pipeline_tests.lake.building import REGION, Row, TinyRoot, balance


@pytest.mark.parametrize(
    "folder",
    [
        "with space",
        "it's",
        "100%",
        "Größe é",
        "a#b?c&d",
        "a+b=c;d",
        "star*",
        "{x}",
        '"<`>"',
        "~$@!,",
    ],
)
def test_any_data_root_path_works(tmp_path: Path, folder: str) -> None:
    lake = TinyRoot(tmp_path / folder, corrections=True)
    balance(lake.deliver([Row("1"), Row("2"), Row("2", quantity="4")]))
    balance(lake.deliver([Row("1", quantity="3", time="2024-02-01T00:00:00Z", rev="2")]))
    assert lake.quantities() == {"1": Decimal(3), "2": Decimal(1)}
    assert len(lake.conflicts()) == 1
    assert [path.name for path in tmp_path.iterdir()] == [folder]


def test_a_data_root_beside_one_that_its_name_matches_as_a_glob_stays_alone(tmp_path: Path) -> None:
    plain, odd = TinyRoot(tmp_path / "ab"), TinyRoot(tmp_path / "a*")
    plain.deliver([Row("1"), Row("2")])
    odd.deliver([Row("1")])
    odd.deliver([Row("3")])
    assert set(odd.payloads()) == {"1", "3"}
    assert set(plain.payloads()) == {"1", "2"}


@pytest.mark.parametrize(
    "folder",
    [
        "a%20b",
        "x[1]",
        "back\\slash",
        "a^b",
        "a|b",
        "a\tb",
        "source=crm",
        "subject=",
        "event_date=1",
    ],
)
def test_a_path_that_an_engine_would_misread_is_refused_before_anything_is_written(
    tmp_path: Path, folder: str
) -> None:
    lake = TinyRoot(tmp_path / folder)
    with pytest.raises(PipelineError, match="Remedy: rename the folder"):
        lake.deliver([Row("1")])
    assert not (lake.path / "lake").exists()


@pytest.mark.parametrize(
    "name",
    ["two words", "a/b", "../../../escape", "..", ".", "a.b", "it's 100 %", "%2F", "Größe", "CON"],
)
def test_a_meter_stays_in_its_folder_whatever_its_name(tmp_path: Path, name: str) -> None:
    lake = TinyRoot(tmp_path / "root", meter_name=name, corrections=True)
    balance(lake.deliver([Row("1"), Row("2"), Row("2", quantity="4"), Row("3", quantity="x")]))
    balance(lake.deliver([Row("1", quantity="3", rev="2")]))
    assert lake.quantities() == {"1": Decimal(3), "2": Decimal(1)}
    assert pl.read_delta(str(lake.delta.table_uri))["quantity"].sum() == 4
    assert len(list((tmp_path / "root" / "lake" / "events").iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert len(lake.conflicts()) == len(lake.rejected()) == 1
    assert lake.run().unchanged


def test_the_longest_meter_name_that_open_spanner_takes_works(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, meter_name="m/" * 100)
    lake.deliver([Row("1"), Row("1", quantity="2"), Row("3", quantity="x")])
    assert lake.quantities() == {"1": Decimal(1)}


@pytest.mark.parametrize("name", ["user.region", "a-b.c_d.e", "quantity", "timestamp", "source"])
def test_dimensions_with_dots_and_taken_names_hold_and_can_be_corrected(
    tmp_path: Path, name: str
) -> None:
    dimension = {**REGION, "name": name}
    usage = {"dimensions": {name: "region"}}
    lake = TinyRoot(tmp_path, dimensions=[dimension], usage=usage, corrections=True)
    lake.deliver([Row("1", region="eu"), Row("2")])
    lake.deliver([Row("1", region="us", rev="2", time="2024-01-02T00:00:00Z"), Row("3")])
    balance(lake.deliver([Row("1", region="ap", rev="2")]))
    events = lake.events().sort("idempotency_key")
    assert events[f"dim_{name}"].to_list() == ["us", None, None]
    assert pl.read_delta(str(lake.delta.table_uri)).sort("idempotency_key")[
        f"dim_{name}"
    ].to_list() == ["us", None, None]
    (conflict,) = lake.conflicts()
    assert f"dim_{name}" in conflict["fields_that_differ"]


def test_typed_dimensions_keep_their_values(tmp_path: Path) -> None:
    types = [
        {"name": "size", "type": "number", "required": False},
        {"name": "paid", "type": "boolean", "required": False},
    ]
    usage = {"dimensions": {"size": "region", "paid": "rev"}}
    lake = TinyRoot(tmp_path, dimensions=types, usage=usage)
    lake.deliver([Row("1", region="1.10", rev="true"), Row("2", region="", rev="")])
    done = lake.deliver([Row("1", region="1.1", rev="TRUE"), Row("2", rev="false")])
    assert (done.totals.present.rows, done.totals.conflicting.rows) == (1, 1)
    events = lake.events().sort("idempotency_key")
    assert events.select("dim_size", "dim_paid").rows() == [(Decimal("1.1"), True), (None, None)]


PLAN: dict[str, Any] = {"name": "plan", "type": "string", "required": False}


def _with_plan(lake: TinyRoot) -> None:
    lake.dimensions = [REGION, PLAN]
    lake.usage = {"dimensions": {"region": "region", "plan": "subject"}}
    lake.declare()


@pytest.mark.parametrize("corrections", [False, True])
def test_a_meter_that_gains_an_optional_dimension_imports_on(
    tmp_path: Path, corrections: bool
) -> None:
    lake = TinyRoot(tmp_path, corrections=corrections)
    lake.deliver([Row("1"), Row("2", time="2024-02-01T00:00:00Z")])
    history = lake.lake_files()
    _with_plan(lake)
    balance(lake.deliver([Row("3"), Row("4", time="2024-03-01T00:00:00Z")]))
    plans = dict(lake.events().select("idempotency_key", "dim_plan").rows())
    assert plans == {
        "legacy:org_1:calls:1": None,
        "legacy:org_1:calls:2": None,
        "legacy:org_1:calls:3": "org_1",
        "legacy:org_1:calls:4": "org_1",
    }
    assert history.items() <= lake.lake_files().items()
    live = {uri.rsplit("/lake/events/", 1)[1] for uri in lake.delta.file_uris()}
    assert {name for name in history if name.endswith(".parquet")} <= live


def test_a_correction_may_bring_the_new_dimension_of_its_meter(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver([Row("1"), Row("2")])
    _with_plan(lake)
    balance(lake.deliver([Row("1", rev="2", time="2024-02-01T00:00:00Z")]))
    rows = lake.events().sort("idempotency_key")
    assert rows["dim_plan"].to_list() == ["org_1", None]
    assert lake.quantities() == {"1": Decimal(1), "2": Decimal(1)}


def test_a_dimension_that_its_meter_lost_stays_in_the_history(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    _with_plan(lake)
    lake.deliver([Row("1"), Row("2")])
    lake.dimensions, lake.usage = [REGION], {}
    lake.declare()
    balance(lake.deliver([Row("1", quantity="2", rev="2"), Row("3", region="eu")]))
    assert lake.quantities() == {"1": Decimal(2), "2": Decimal(1), "3": Decimal(1)}
    held = pl.read_delta(str(lake.delta.table_uri)).sort("idempotency_key")
    assert held["dim_plan"].to_list() == [None, "org_1", None]


@pytest.mark.parametrize("decimals", [2, 12])
def test_other_decimals_of_a_meter_are_refused_and_never_round(
    tmp_path: Path, decimals: int
) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver([Row("1", quantity="1.111111111")])
    before = lake.lake_files()
    lake.decimals = decimals
    lake.declare()
    expected = rf"declares quantity as DECIMAL\(38, {decimals}\), but the lake holds DECIMAL\(38, 9"
    with pytest.raises(PipelineError, match=expected):
        lake.deliver([Row("1", quantity="2.22", rev="2"), Row("2", quantity="2.22")])
    assert lake.lake_files() == before


def test_another_type_of_a_dimension_is_refused(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    lake.deliver([Row("1", region="7")])
    lake.dimensions = [{**REGION, "type": "number"}]
    lake.declare()
    with pytest.raises(PipelineError, match="declares dim_region as DECIMAL"):
        lake.deliver([Row("2", region="7")])
