"""A plan names, in rows and quantity, what the service would take, refuse, lose or round."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from spanner_pipeline.control import Total
from spanner_pipeline.delivery.client import UnsettledError
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.payload import Spelling
from spanner_pipeline.delivery.target import TargetError
from spanner_pipeline_tests.delivery.conftest import RECENT, at, planned, tiny
from spanner_pipeline_tests.delivery.victim import deliver_all
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer

OLD = f"{RECENT - timedelta(days=400):%Y-%m-%d}T00:00:00Z"

KEEP = {"quantity": {"column": "quantity", "nonpositive": "keep"}}
ROWS = [
    Row("plain", "org_1", "2", at(1)),
    Row("zero", "org_1", "0", at(2)),
    Row("credit", "org_1", "-3.5", at(3)),
    Row("old", "org_1", "11", OLD),
    Row("long", "org_1", "12345678901234567.123456789", at(5)),
    Row("late", "org_1", "1", at(6, ".25")),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> TinyRoot:
    return tiny(tmp_path_factory.mktemp("plan") / "root", ROWS, usage=KEEP)


def test_every_event_has_one_fate(root: TinyRoot, service: ContractServer, key: str) -> None:
    plan = planned(root, service, key)
    assert plan.live is None
    assert {fate: total for fate, total in plan.fates.items() if total.rows} == {
        "send": Total(3, Decimal("12345678901234570.123456789")),
        "not positive": Total(2, Decimal("-3.5")),
        "older": Total(1, Decimal(11)),
    }
    assert (plan.rounded, plan.largest_rounding) == (1, Decimal("0.876543211"))
    assert plan.fractional == 1
    assert service.count() == 0
    assert not (root.path / "deliveries").exists()


def test_choices_change_the_fates(root: TinyRoot, service: ContractServer, key: str) -> None:
    spelling = Spelling(whole_seconds=True)
    plan = planned(root, service, key, spelling=spelling, raise_retention=True, rate=2)
    assert plan.to_send == 4
    assert (plan.fractional, plan.minutes) == (0, 2)
    assert plan.retention.raised_to is not None
    assert 420 < plan.retention.raised_to < 470
    windowed = planned(root, service, key, start=RECENT, end=RECENT + timedelta(seconds=3))
    assert sum(total.rows for total in windowed.fates.values()) == 2


def test_what_is_sent_is_what_the_choices_say(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    root = tiny(tmp_path / "root", ROWS, usage=KEEP)
    choices = Choices(spelling=Spelling(whole_seconds=True), raise_retention=True, rate=10**9)
    deliver_all(root.path, service.base_url, key, choices)
    there = {e["idempotency_key"].rsplit(":", 1)[1]: e for e in service.events(workspace)}
    assert there.keys() == {"plain", "old", "long", "late"}
    assert there["old"]["quantity"] == 11
    assert there["late"]["timestamp"] == at(6)
    assert there["plain"]["metadata"]["source"] == "legacy"
    assert there["plain"]["metadata"]["import_batch"].startswith("legacy/")


def test_another_live_meter_stops_it_and_is_shown(
    root: TinyRoot, service: ContractServer, workspace: str, key: str
) -> None:
    live = {"name": "calls", "unit": "minute", "dimensions": [{"name": "plan", "type": "string"}]}
    headers = {"Authorization": f"Bearer {key}"}
    httpx.post(f"{service.base_url}/v1/meters", json=live, headers=headers).raise_for_status()
    plan = planned(root, service, key)
    stops = {d.field: (d.ours, d.theirs) for d in plan.differences if d.stops}
    assert stops == {
        "unit": ("call", "minute"),
        "dimension region": ("string, optional", "missing"),
        "dimension plan": ("missing", "string, required"),
    }
    with pytest.raises(TargetError, match="another one than ours"):
        deliver_all(root.path, service.base_url, key)
    assert service.count(workspace) == 0


def test_an_old_event_without_an_answer_is_held_back(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    root = tiny(tmp_path / "root", [Row("old", time=OLD), Row("new", time=at(1))])
    old = Choices(rate=10**9, include_old=True)
    service.faults.add("drop_after_commit", times=None, path="/v1/usages/bulk")
    with pytest.raises(UnsettledError):
        deliver_all(root.path, service.base_url, key, old)
    service.faults.clear()
    plan = planned(root, service, key)
    assert (plan.fates["unsettled"].rows, plan.fates["send again"].rows) == (1, 1)
    deliver_all(root.path, service.base_url, key)
    assert planned(root, service, key).fates["unsettled"].rows == 1
    assert planned(root, service, key, include_old=True).fates["send again"].rows == 1
    # In truth the service had it all the time.
    assert deliver_all(root.path, service.base_url, key, old).outcome.events == {"duplicate": 1}
    assert service.count(workspace) == 2


def test_an_event_that_was_pruned_before_retention_was_raised_is_held_back(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    """Whoever raised it: the ledger knows what retention it was sent under."""
    root = tiny(tmp_path / "root", [Row("old", time=OLD), Row("new", time=at(1))])
    service.faults.add("drop_after_commit", times=None, path="/v1/usages/bulk")
    with pytest.raises(UnsettledError):
        deliver_all(root.path, service.base_url, key, Choices(rate=10**9, include_old=True))
    service.faults.clear()
    with httpx.Client(
        base_url=service.base_url, headers={"Authorization": f"Bearer {key}"}
    ) as http:
        http.post("/v1/usageevents/prune").raise_for_status()
        assert service.count(workspace) == 1
        raising = planned(root, service, key, raise_retention=True)
        assert raising.retention.raised_to is not None
        assert (raising.fates["unsettled"].rows, raising.fates["send again"].rows) == (1, 1)
        assert raising.live is not None
        days = {"event_retention_days": 3650}
        http.put(f"/v1/meters/{raising.live['id']}", json=days).raise_for_status()
    for _ in range(2):
        deliver_all(root.path, service.base_url, key)
        assert planned(root, service, key).fates["unsettled"].rows == 1
    assert service.count(workspace) == 1


@pytest.mark.parametrize("aggregation", ["first", "last", "max"])
def test_ties_are_named_where_they_matter(
    tmp_path: Path, service: ContractServer, key: str, aggregation: str
) -> None:
    rows = [
        Row("a", quantity="1", time=at(1)),
        Row("b", quantity="2", time=at(1)),
        Row("same", "org_2", "3", at(1)),
        Row("again", "org_2", "3", at(1)),
        Row("early", "org_3", "1", at(9, ".25")),
        Row("late", "org_3", "2", at(9, ".75")),
    ]
    root = tiny(tmp_path / "root", rows)
    meter = root.path / "meters" / "one.yaml"
    said = f'"aggregation": "{aggregation}", "unit"'
    meter.write_text(meter.read_text().replace('"unit"', said))
    ties, cut = (0, 0) if aggregation == "max" else (1, 2)
    assert planned(root, service, key).ties == ties
    assert planned(root, service, key, spelling=Spelling(whole_seconds=True)).ties == cut


def test_numbers_booleans_and_dotted_dimensions_arrive_as_they_are(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    dimensions = [
        {"name": "region", "type": "string"},
        {"name": "http.rev", "type": "number"},
        {"name": "hot", "type": "boolean"},
        {"name": "none", "type": "number", "required": False},
    ]
    columns = {"region": "region", "http.rev": "rev", "hot": {"constant": "TRUE"}}
    rows = [
        Row("a", region="007", rev="200.50", time=at(1)),
        Row("b", region='é"\\, {x}', rev="-1E-7", time=at(2)),
    ]
    declared = {"dimensions": dimensions, "usage": {"dimensions": columns}}
    root = tiny(tmp_path / "root", rows, **declared)
    deliver_all(root.path, service.base_url, key)
    there = [event["metadata"] for event in service.events(workspace)]
    for metadata in there:
        assert metadata.pop("source") + metadata.pop("import_batch")[:7] == "legacylegacy/"
    assert there == [
        {"region": "007", "http": {"rev": 200.5}, "hot": True},
        {"region": 'é"\\, {x}', "http": {"rev": -1e-7}, "hot": True},
    ]
    same = tiny(tmp_path / "same", [*rows, Row("c", region="x", time=at(3))], **declared)
    told = deliver_all(same.path, service.base_url, key).outcome.events
    assert told == {"duplicate": 2, "accepted": 1}
    other = tiny(tmp_path / "other", [rows[0].but(rev="200.5001")], **declared)
    told = deliver_all(other.path, service.base_url, key).outcome.events
    assert told == {"duplicate_differs": 1}
