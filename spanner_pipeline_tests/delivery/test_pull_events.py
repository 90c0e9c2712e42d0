"""`pull-events`: what a live meter holds enters the lake once, and never goes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.pull_events import PulledEvents, pull_events
from spanner_pipeline.delivery.target import API_KEY, BASE_URL, Target, TargetError
from spanner_pipeline.errors import ConfigurationError, SourceFileError
from spanner_pipeline.importing import import_partition
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.delivery.conftest import RECENT, at, planned, tiny
from spanner_pipeline_tests.delivery.victim import SOON, deliver_all
from spanner_pipeline_tests.lake.building import REGION, Row, TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer

FIRST = RECENT.date()
LAST = FIRST + timedelta(days=3)
DIMENSIONS = [
    REGION,
    {"name": "http.status", "type": "number", "required": False},
    {"name": "hot", "type": "boolean", "required": False},
]

Send = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path, service: ContractServer, key: str) -> TinyRoot:
    """A root that has delivered two events."""
    rows = [Row("a", quantity="2", time=at(1)), Row("b", time=at(2))]
    made = tiny(tmp_path / "root", rows, dimensions=DIMENSIONS, usage={"dimensions": {}})
    deliver_all(made.path, service.base_url, key)
    return made


@pytest.fixture
def send(service: ContractServer, key: str) -> Send:
    """Events from somebody else."""

    def send(*events: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        usual = {"meter": "calls", "subject": "org_1", "quantity": 1, "timestamp": at(1)}
        body = [{**usual, **event} for event in events]
        answer = httpx.post(f"{service.base_url}/v1/usages/bulk", json=body, headers=headers)
        assert answer.json()["accepted"] == len(events), answer.text

    return send


def pulled(root: TinyRoot, service: ContractServer, key: str, **asked: Any) -> PulledEvents:
    asked = {"first": FIRST, "last": LAST} | asked
    with OpenSpanner(Target.build(service.base_url, key), SOON) as client:
        return pull_events(root.root, root.meter, client, **asked)


def files(root: TinyRoot) -> dict[str, bytes]:
    folder = root.path / "legacy" / "pulled"
    return {file.name: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def imported(root: TinyRoot, source: str = "open_spanner_calls") -> dict[str, Decimal]:
    """Import all days of a source; the lake's quantities by identity."""
    catalog = root.catalog
    day = FIRST
    while day < LAST:
        import_partition(root.root, catalog, catalog.sources[source], str(day))
        day += timedelta(days=1)
    rows = root.events().select("idempotency_key", "quantity").rows()
    return {key.rsplit(":", 1)[1]: quantity for key, quantity in rows}


LIVE = [
    {
        "idempotency_key": "live:1",
        "quantity": 0.1,
        "metadata": {"region": "eu", "http.status": 200.5, "hot": True, "note": 'é: "x"\n'},
    },
    {"quantity": 1e-7, "timestamp": at(90_000)},  # without a key
    {"idempotency_key": "edge", "timestamp": f"{FIRST + timedelta(days=1)}T00:00:00.5Z"},
]


def test_live_events_enter_once_and_ours_do_not_come_back(
    root: TinyRoot, service: ContractServer, workspace: str, key: str, send: Send
) -> None:
    send(*LIVE, {"idempotency_key": "m", "metadata": {"import_batch": "of another root"}})
    found = pulled(root, service, key)
    assert {origin: total.rows for origin, total in found.origins.items()} == {
        "live": 3,
        "ours": 2,
        "marked": 1,
    }
    assert found.origins["live"].quantity == Decimal("1.1000001")
    assert (found.new, found.kept) == (6, 0)
    lake = imported(root)
    [keyless] = [e["id"] for e in service.events(workspace) if "idempotency_key" not in e]
    assert lake == {
        "a": 2,
        "b": 1,
        "live%3A1": Decimal("0.1"),
        f"id%3A{keyless}": Decimal("0.0000001"),
        "edge": 1,
    }
    [(region, status, hot)] = (
        root.events()
        .filter(root.events()["quantity"] == Decimal("0.1"))
        .select("dim_region", "dim_http.status", "dim_hot")
        .rows()
    )
    assert (region, status, hot) == ("eu", Decimal("200.5"), True)
    plan = planned(root, service, key)
    assert (plan.fates["pulled"].rows, plan.fates["delivered"].rows, plan.to_send) == (3, 2, 0)
    other = planned(root, service, service.new_key(f"{workspace} other"))
    assert other.to_send == 5


def test_pulling_again_takes_only_what_is_new_and_loses_nothing(
    root: TinyRoot, service: ContractServer, key: str, send: Send
) -> None:
    send(*({"idempotency_key": f"live_{n}", "timestamp": at(n % 5)} for n in range(900)))
    send(*({"idempotency_key": f"more_{n}", "timestamp": at(n % 5)} for n in range(200)))
    pulled(root, service, key)
    before, versions = files(root), imported(root)
    assert len(versions) == 1102
    assert pulled(root, service, key).new == 0
    assert files(root) == before
    send({"idempotency_key": "late", "timestamp": at(3)})
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=service.base_url, headers=headers) as http:
        [meter] = http.get("/v1/meters").json()["items"]
        days = {"event_retention_days": 1}
        http.put(f"/v1/meters/{meter['id']}", json=days).raise_for_status()
        http.post("/v1/usageevents/prune").raise_for_status()
    send({"idempotency_key": "after", "timestamp": at(4)})
    again = pulled(root, service, key)
    assert (again.new, again.kept) == (1, 1102)
    assert again.origins["live"].rows == 1101
    assert imported(root).keys() == versions.keys() | {"after"}


def test_a_pull_that_breaks_off_leaves_whole_files_and_goes_on(
    root: TinyRoot, service: ContractServer, key: str, send: Send
) -> None:
    send(*({"idempotency_key": f"live_{n}", "timestamp": at(90_000 * n)} for n in range(2)))
    service.faults.add("status", status=403, times=None, path="/v1/usageevents")
    with pytest.raises(TargetError):
        pulled(root, service, key)
    assert not files(root)
    service.faults.clear()
    service.faults.add("cut_answer", times=2, path="/v1/usageevents")
    assert pulled(root, service, key).new == 4
    assert imported(root).keys() == {"a", "b", "live_0", "live_1"}


LINE = '{"origin": "live", "identity": "x", "quantity": true, "timestamp": "2026-01-01T00:00:00Z"}'


@pytest.mark.parametrize(
    "broken",
    ["not JSON", '{"origin": "live"}', '{"identity": "x", "quantity": "1"}', "[]", '{"a":', LINE],
)
def test_a_file_that_somebody_broke_is_named_with_its_line_and_left(
    root: TinyRoot, service: ContractServer, key: str, broken: str
) -> None:
    pulled(root, service, key, last=FIRST + timedelta(days=1))
    [file] = (root.path / "legacy" / "pulled").rglob("*.jsonl")
    text = file.read_text() + broken + "\n"
    file.write_text(text)
    with pytest.raises(
        SourceFileError, match=r"^legacy/pulled/.*\.jsonl:3: holds what no pull wrote"
    ):
        pulled(root, service, key)
    assert file.read_text() == text


def test_the_source_is_made_once_and_then_only_made_wider(
    root: TinyRoot, service: ContractServer, workspace: str, key: str
) -> None:
    pulled(root, service, key, last=FIRST + timedelta(days=1))
    file = root.path / "sources" / "open_spanner_calls.yaml"
    text = file.read_text() + "# mine\n"
    file.write_text(text)
    [note] = pulled(root, service, key, first=FIRST - timedelta(days=2)).notes
    assert f"covers {FIRST - timedelta(days=2)} to {LAST}" in note
    changed = [line for line in file.read_text().splitlines() if line not in text.splitlines()]
    assert [line.split(":")[0] for line in changed] == ["partitions"]
    assert not pulled(root, service, key).notes
    another = service.new_key(f"{workspace} another")
    make = {"Authorization": f"Bearer {another}"}
    meter = {"name": "calls", "unit": "call", "dimensions": DIMENSIONS}
    httpx.post(f"{service.base_url}/v1/meters", json=meter, headers=make).raise_for_status()
    with pytest.raises(ConfigurationError, match=r"open_spanner_calls.yaml:9: files: .*--source"):
        pulled(root, service, another)
    assert pulled(root, service, another, source="another").source == "another"
    file.write_text(file.read_text().replace("grain: day, ", "grain: day,"))
    assert "see that its partitions cover" in pulled(root, service, key).notes[0]


def test_a_dimension_that_would_be_lost_stops_it(
    root: TinyRoot, service: ContractServer, key: str
) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=service.base_url, headers=headers) as http:
        [meter] = http.get("/v1/meters").json()["items"]
        more = [*meter["dimensions"], {"name": "plan", "type": "string", "required": False}]
        http.put(f"/v1/meters/{meter['id']}", json={"dimensions": more}).raise_for_status()
    with pytest.raises(TargetError, match=r"dimension plan .* meters pull calls"):
        pulled(root, service, key)
    with httpx.Client(base_url=service.base_url, headers=headers) as http:
        more.append({"name": "Plan", "type": "string", "required": False})
        http.put(f"/v1/meters/{meter['id']}", json={"dimensions": more}).raise_for_status()
    with pytest.raises(TargetError, match=r"calls cannot be used here: .*declared twice"):
        pulled(root, service, key)


def test_the_command_says_what_came_and_what_to_do_next(
    root: TinyRoot,
    service: ContractServer,
    key: str,
    send: Send,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(BASE_URL, service.base_url)
    monkeypatch.setenv(API_KEY, key)
    send({"idempotency_key": "live"})
    span = ("--from", str(FIRST), "--to", str(LAST))
    ended = run("pull-events", "calls", *span, data=root.root)
    assert ended.code == 0, ended.err
    assert "3 events were not in the files before" in ended.out
    next_ = ended.out.split("spanner-pipeline ")[-1].split()
    assert run(*next_, data=root.root).code == 0
    assert len(root.events()) == 3
    for wrong, told in (
        (("calls", "--from", "2999-01-01"), "up to today"),
        (("calls", "--from", "January"), "write a UTC day"),
        (("nothing", *span), "meters pull"),
    ):
        refused = run("pull-events", *wrong, data=root.root)
        assert (refused.code, told in refused.err) == (2, True), refused.err
    line = json.loads(next(iter(files(root).values())).splitlines()[0])
    assert line["origin"] in ("live", "ours")
