"""Presets come into a data root whole, are valid there, and overwrite nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from spanner_pipeline.configuration.billing import Period
from spanner_pipeline.presets import list_presets
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.conftest import Run

NAMES = [preset.name for preset in list_presets()]


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_valid_in_an_empty_root(run: Run, tmp_path: Path, name: str) -> None:
    root = DataRoot(tmp_path / "new")
    ended = run("sources", "add", name, data=root)
    assert (ended.code, ended.err) == (0, "")
    catalog = load_catalog(root)
    assert name in catalog.sources
    used = {usage.meter for source in catalog.sources.values() for usage in source.usage}
    assert used == set(catalog.meters)
    for source in catalog.sources.values():
        file = root.path / "sources" / f"{source.source}.yaml"
        assert source.description
        assert f"files: {source.files}  # EDIT: where your files are" in file.read_text()
        assert f"files: {source.files}" in ended.out


def test_the_list_names_every_preset(run: Run) -> None:
    ended = run("sources", "presets")
    assert ended.code == 0
    assert NAMES
    assert [name for name in NAMES if f" {name} " not in ended.out] == []


def test_a_source_that_is_there_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    root = DataRoot(tmp_path)
    run("sources", "add", "orb_events", data=root)
    source = tmp_path / "sources" / "orb_events.yaml"
    source.write_text(source.read_text() + "# mine\n")
    (tmp_path / "meters" / "orb_api_requests.yaml").unlink()
    ended = run("sources", "add", "orb_events", data=root)
    assert ended.code == 2
    assert "sources/orb_events.yaml already" in ended.err
    assert source.read_text().endswith("# mine\n")
    assert not list((tmp_path / "meters").iterdir())


def test_a_meter_that_is_there_is_kept_and_named(run: Run, tmp_path: Path) -> None:
    meter = tmp_path / "meters" / "orb_api_requests.yaml"
    meter.parent.mkdir()
    meter.write_text(yaml.safe_dump({"name": "orb_api_requests", "unit": "mine"}))
    ended = run("sources", "add", "orb_events", data=DataRoot(tmp_path))
    assert ended.code == 2  # the kept meter has no dimension `region`, which the preset maps
    assert "kept your own" in ended.out
    assert "orb_api_requests has no such dimension" in ended.err
    assert yaml.safe_load(meter.read_text())["unit"] == "mine"


def test_an_unknown_preset_is_refused_with_those_that_exist(run: Run, tmp_path: Path) -> None:
    ended = run("sources", "add", "no_such", data=DataRoot(tmp_path))
    assert ended.code == 2
    assert "no preset `no_such`" in ended.err
    assert "orb_events" in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format_", ["iso8601", "epoch_seconds", "%Y-%m-%dT%H"])
def test_a_calendar_period_with_hours_is_refused_on_load(format_: str) -> None:
    with pytest.raises(ValueError, match="cannot have hours"):
        Period.model_validate({"column": "c", "grain": "month", "format": format_, "zone": "UTC"})
