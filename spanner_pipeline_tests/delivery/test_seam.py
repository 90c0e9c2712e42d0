"""History ends and live traffic begins at a declared cut-over; what counts twice or lacks shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.control import Total
from spanner_pipeline.delivery.causes import BEYOND, OVERLAP
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.plan import Plan
from spanner_pipeline.delivery.target import API_KEY, BASE_URL, Target
from spanner_pipeline.delivery.verify import Verified, verify_delivery
from spanner_pipeline.errors import ConfigurationError, PipelineError
from spanner_pipeline.root import load_catalog, load_sound
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.delivery.conftest import planned, tiny
from spanner_pipeline_tests.delivery.victim import SOON, deliver_all
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer

CUT = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=10)
HOUR = timedelta(hours=1)


def spelled(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def hourly(subject: str, hours: range) -> list[Row]:
    """An event in each of so many hours, counted from the cut-over."""
    return [Row(f"{subject}{n}", subject, "2", spelled(CUT + n * HOUR)) for n in hours]


def declare(
    root: TinyRoot, cut_over: str = f"{CUT:%Y-%m-%dT%H:%M:%SZ}", meter: str = "calls"
) -> None:
    text = f"# When live traffic begins.\ncut_over:\n  {meter}: {cut_over}\n"
    (root.path / "delivery.yaml").write_text(text)


def live(service: ContractServer, key: str, subject: str, *times: datetime) -> None:
    """Live events of a subject."""
    events: list[dict[str, Any]] = [
        {"meter": "calls", "subject": subject, "quantity": 2, "timestamp": spelled(time)}
        for time in times
    ]
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{service.base_url}/v1/usages/bulk"
    httpx.post(url, json=events, headers=headers).raise_for_status()


def verified(root: TinyRoot, service: ContractServer, key: str) -> Verified:
    cut_over = root.catalog.cut_over("calls")
    with OpenSpanner(Target.build(service.base_url, key), SOON) as client:
        return verify_delivery(root.root, root.meter, client, cut_over=cut_over)


def plan_of(root: TinyRoot, service: ContractServer, key: str) -> Plan:
    return planned(root, service, key, cut_over=root.catalog.cut_over("calls"))


def test_nothing_is_delivered_from_the_cut_over_on(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    root = tiny(tmp_path, hourly("org_1", range(-2, 3)))
    declare(root)
    fates = plan_of(root, service, key).fates
    assert (fates["send"], fates["after the cut-over"]) == (Total(2, 4), Total(3, 6))  # type: ignore[arg-type]
    deliver_all(root.path, service.base_url, key, Choices(rate=10**9, cut_over=CUT))
    assert service.count(workspace) == 2
    found = verified(root, service, key)
    assert not found.fails
    assert found.beside_lake["same"].rows == 2
    assert "not delivered" not in found.beside_lake, "it was never meant to be"


def test_what_either_side_has_beyond_the_cut_over_counts_twice_and_fails(
    tmp_path: Path, service: ContractServer, key: str
) -> None:
    root = tiny(tmp_path, hourly("org_1", range(-2, 1)))
    deliver_all(root.path, service.base_url, key)
    assert not verified(root, service, key).fails, "no cut-over is declared"
    half = timedelta(milliseconds=500)
    live(service, key, "org_1", CUT - HOUR / 2, CUT + half, CUT + HOUR)
    live(service, key, "org_2", CUT + half)  # sorted before the cut-over by SQLite, and after it
    declare(root)
    found = verified(root, service, key)
    assert [(o.subject, o.cause, o.events, o.quantity) for o in found.differences if o.fails] == [
        ("org_1", BEYOND, 1, 2),
        ("org_1", OVERLAP, 1, 2),
    ]
    told = "\n".join(plan_of(root, service, key).remarks())
    assert "1 event counts twice, live traffic before the cut-over" in told
    assert "1 event counts twice, delivered at or after the cut-over" in told


def test_a_silence_at_the_seam_is_named_where_it_is_longer_than_any_before(
    tmp_path: Path, service: ContractServer, key: str
) -> None:
    every = range(-48, 0)
    rows = [
        *hourly("steady", every),
        *hourly("ends_early", range(-60, -10)),
        *hourly("begins_late", every),
        *hourly("pauses", range(-60, -30)),
        *hourly("pauses", range(-4, 0)),
        *hourly("new", range(-3, -1)),  # too few to know its rhythm
    ]
    root = tiny(tmp_path, rows)
    declare(root)
    before = plan_of(root, service, key)
    assert before.seam is not None
    assert [(s.subject, s.side) for s in before.seam.silences] == [("ends_early", "history")]
    deliver_all(root.path, service.base_url, key, Choices(rate=10**9, cut_over=CUT))
    live(service, key, "steady", CUT)
    live(service, key, "ends_early", CUT + HOUR / 2)
    live(service, key, "begins_late", CUT + 2 * HOUR)
    live(service, key, "pauses", CUT + 20 * HOUR)
    found = verified(root, service, key)
    assert found.seam is not None
    silences = {s.subject: (s.side, s.end - s.start, s.usual) for s in found.seam.silences}
    assert silences == {
        "ends_early": ("history", 11 * HOUR, HOUR),
        "begins_late": ("live", HOUR, HOUR),
    }
    assert not found.fails, "a silence is named, and is no proof"


@pytest.mark.parametrize(
    ("meter", "cut_over", "told"),
    [
        ("calls", "2026-03-01", "must be an instant with an offset"),
        ("calls", "2026-03-01T00:30:00Z", "must be a whole hour of UTC"),
        ("callz", "2026-03-01T00:00:00Z", "`callz` is not in meters/ (known: calls)"),
    ],
)
def test_a_mistake_in_the_cut_over_is_told_with_its_line_and_nothing_is_delivered(
    tmp_path: Path, meter: str, cut_over: str, told: str
) -> None:
    root = TinyRoot(tmp_path)
    declare(root, cut_over, meter)
    with pytest.raises(ConfigurationError) as raised:
        load_catalog(root.root)
    assert f"delivery.yaml:3: cut_over.{meter}" in str(raised.value)
    assert told in str(raised.value)
    catalog, [broken] = load_sound(root.root)
    assert (broken.kind, broken.files) == ("delivery", ("delivery.yaml",))
    with pytest.raises(PipelineError, match=r"delivery\.yaml is broken"):
        catalog.cut_over("calls")
    keys = build_definitions(root.root).resolve_asset_graph().get_all_asset_keys()
    assert ["delivery", "broken"] in [list(key.path) for key in keys]


def test_the_commands_keep_to_the_cut_over(
    tmp_path: Path,
    service: ContractServer,
    workspace: str,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    monkeypatch.setenv(BASE_URL, service.base_url)
    monkeypatch.setenv(API_KEY, key)
    root = tiny(tmp_path / "root", hourly("org_1", range(-2, 1)))
    declare(root)
    sent = run("deliver", "calls", "--yes", data=root.root)
    assert sent.code == 0, sent.err
    assert "left out: at or after the cut-over, where live traffic counts" in sent.out
    assert service.count(workspace) == 2
    assert run("verify-delivery", "calls", data=root.root).code == 0
    live(service, key, "org_1", CUT - HOUR)
    twice = run("verify-delivery", "calls", data=root.root)
    assert twice.code == 1
    assert "live traffic before the cut-over" in twice.err
