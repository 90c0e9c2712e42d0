"""Negative quantities are taken from events of the same bucket, exactly, and are never sent."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanner_pipeline.control import Total
from spanner_pipeline.delivery import netting
from spanner_pipeline.delivery.client import OpenSpanner, UnsettledError
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.plan import Plan
from spanner_pipeline.delivery.target import API_KEY, BASE_URL, Target, TargetError
from spanner_pipeline.delivery.verify import Verified, verify_delivery
from spanner_pipeline.meters import Dimension, Meter
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.delivery.conftest import RECENT, planned, tiny
from spanner_pipeline_tests.delivery.victim import SOON, deliver_all
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer

KEEP = {"quantity": {"column": "quantity", "nonpositive": "keep"}}
NETTED = Choices(rate=10**9, net="day")
DAY = RECENT.date()


def row(name: str, quantity: str, hour: int = 1, subject: str = "org_1", region: str = "eu") -> Row:
    """A row of the day, or (from hour 24) of the next."""
    time = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(hours=hour)
    return Row(name, subject, quantity, f"{time:%Y-%m-%dT%H:%M:%SZ}", region)


ROWS = [
    row("big", "10.25", 1),
    row("small", "2", 2),
    row("credit", "-4", 20),
    row("other region", "3", 1, region="us"),
    row("next day", "5", 30),
    row("void", "-5", 31),
    row("debt", "-7", 1, "org_2"),
    row("paid", "6.5", 1, "org_2"),
    row("zero", "0", 3),
]


def told(plan: Plan) -> dict[str, Total]:
    return {fate: total for fate, total in plan.fates.items() if total.rows}


def there(service: ContractServer, workspace: str) -> dict[str, Decimal]:
    events = service.events(workspace)
    return {e["idempotency_key"].rsplit(":", 1)[1]: Decimal(str(e["quantity"])) for e in events}


def verified(root: TinyRoot, service: ContractServer, key: str) -> Verified:
    with OpenSpanner(Target.build(service.base_url, key), SOON) as client:
        return verify_delivery(root.root, root.meter, client)


def test_what_is_below_zero_is_taken_from_the_largest_of_its_bucket(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    root = tiny(tmp_path / "root", ROWS, usage=KEEP)
    plan = planned(root, service, key, net="day")
    assert told(plan) == {
        "send": Total(2, Decimal(5)),
        "net": Total(1, Decimal("10.25")),
        "netted": Total(1, Decimal(-4)),
        "cancelled": Total(2, Decimal(0)),
        "below zero": Total(2, Decimal("-0.5")),
        "not positive": Total(1, Decimal(0)),
    }
    assert any("1 events would be sent with 6.25" in line for line in plan.remarks())
    assert deliver_all(root.path, service.base_url, key, NETTED).outcome.events == {"accepted": 3}
    arrived = {"big": Decimal("6.25"), "small": Decimal(2), "other%20region": Decimal(3)}
    assert there(service, workspace) == arrived
    found = verified(root, service, key)
    assert (found.differences, found.delivered) == ([], Total(3, Decimal("11.25")))
    assert found.beside_lake["netted"] == Total(1, Decimal(-4))
    assert found.beside_lake["not delivered"].rows == 3  # of that day
    for net in ("day", None):  # what was netted is known, whatever is asked for later
        again = planned(root, service, key, net=net)
        assert (again.fates["delivered"].rows, again.to_send) == (4, 0)
    assert deliver_all(root.path, service.base_url, key, NETTED).outcome.events.total() == 0
    with pytest.raises(TargetError, match="netted by day"):
        planned(root, service, key, net="hour")


def test_what_comes_after_its_counterpart_was_sent_is_named(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    root = tiny(tmp_path / "root", ROWS[:3], usage=KEEP)
    deliver_all(root.path, service.base_url, key, NETTED)
    root.deliver([*ROWS[:3], row("late", "-1", 5), row("later", "-2", 5, "org_9")])
    assert told(planned(root, service, key, net="day")) == {
        "delivered": Total(3, Decimal("8.25")),
        "too late": Total(1, Decimal(-1)),
        "below zero": Total(1, Decimal(-2)),
    }
    # More usage of that day takes it up.
    root.deliver([*ROWS[:3], row("late", "-1", 5), row("more", "3", 6)])
    deliver_all(root.path, service.base_url, key, NETTED)
    assert there(service, workspace) == {
        "big": Decimal("6.25"),
        "small": Decimal(2),
        "more": Decimal(2),
    }
    assert not verified(root, service, key).differences


@pytest.mark.parametrize("fault", ["drop_before_commit", "drop_after_commit"])
def test_what_was_announced_together_stays_together(
    tmp_path: Path, service: ContractServer, workspace: str, key: str, fault: str
) -> None:
    root = tiny(tmp_path / "root", ROWS[:3], usage=KEEP)
    service.faults.add(fault, times=None, path="/v1/usages/bulk")
    with pytest.raises(UnsettledError):
        deliver_all(root.path, service.base_url, key, NETTED)
    service.faults.clear()
    more = [row("fresh", "5", 6, "org_7"), row("credit", "-2", 7, "org_7")]
    root.deliver([*ROWS[:3], row("late", "-1", 5), *more])
    plan = planned(root, service, key, net="day")
    assert told(plan) == {
        "send again": Total(2, Decimal("12.25")),
        "net": Total(1, Decimal(5)),
        "netted": Total(2, Decimal(-6)),
        "too late": Total(1, Decimal(-1)),
    }
    remarks = " ".join(plan.remarks())
    assert "1 events would be sent with 3, which is what netting leaves of 2." in remarks
    outcome = deliver_all(root.path, service.base_url, key).outcome  # without being told to net
    assert outcome.events.total() == 3
    assert not outcome.differing
    sent = {"big": Decimal("6.25"), "small": Decimal(2), "fresh": Decimal(3)}
    assert there(service, workspace) == sent
    found = verified(root, service, key)
    assert not found.differences
    assert found.beside_lake["not delivered"] == Total(1, Decimal(-1))


def test_only_sums_and_whole_buckets_can_be_netted(
    tmp_path: Path, service: ContractServer, key: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tiny(tmp_path / "root", ROWS[:3], usage=KEEP)
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
    for net, told_ in (("day", "inside a day"), ("month", "inside a month"), ("week", "hour, day")):
        with pytest.raises(TargetError, match=told_):
            planned(root, service, key, net=net, start=noon)
    assert planned(root, service, key, net="hour", start=noon).fates["below zero"].rows == 1
    meter = root.path / "meters" / "one.yaml"
    meter.write_text(meter.read_text().replace('"unit"', '"aggregation": "count", "unit"'))
    monkeypatch.setenv(BASE_URL, service.base_url)
    monkeypatch.setenv(API_KEY, key)
    refused = run("deliver", "calls", "--net", "day", "--plan", data=root.root)
    assert (refused.code, "its aggregation is count" in refused.err) == (2, True)


METER = Meter(name="m", unit="u", dimensions=(Dimension(name="d", type="string", required=False),))
CENTS = st.integers(-400, 400).map(lambda n: Decimal(n) / 100)
EVENTS = st.lists(
    st.tuples(CENTS, st.sampled_from("ab"), st.sampled_from(["x", None]), st.integers(0, 71)),
    max_size=24,
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET threads = 1")
        yield connection


@settings(max_examples=50, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_every_bucket_keeps_its_total_and_no_more_is_touched_than_needed(
    connection: duckdb.DuckDBPyConnection,
    events: list[tuple[Decimal, str, str | None, int]],
    chance: random.Random,
) -> None:
    first = datetime(2026, 1, 30, tzinfo=UTC)  # so that a month ends within
    rows = [
        (f"k{n}", "digest", subject, quantity, first + timedelta(hours=hour), region)
        for n, (quantity, subject, region, hour) in enumerate(events)
    ]
    chance.shuffle(rows)  # whatever order they are read in
    by_key = {row[0]: row for row in rows}
    names = ("idempotency_key", "digest", "subject", "quantity", "timestamp", "dim_d")
    kinds = {**dict.fromkeys(names, pl.String), "timestamp": pl.Datetime("us", "UTC")}
    kinds["quantity"] = pl.Decimal(38, METER.decimals)
    connection.register("made", pl.DataFrame(rows, schema=kinds, orient="row"))
    connection.execute("""CREATE OR REPLACE TEMP TABLE known AS
        SELECT *, NULL::VARCHAR AS net, NULL::VARCHAR AS standing, false AS pulled,
            false AS live FROM made""")
    for bucket, spelled in (("hour", "%Y-%m-%dT%H"), ("day", "%Y-%m-%d"), ("month", "%Y-%m")):
        sql = netting.table_sql(METER, bucket, announced=False)
        found = connection.execute(
            f"SELECT idempotency_key, net, rest, verdict FROM ({sql})"
        ).fetchall()
        touched = {key for key, *_ in found}
        assert len(touched) == len(found)
        sent = {key: row_[3] for key, row_ in by_key.items() if key not in touched}
        sent = {key: quantity for key, quantity in sent.items() if quantity > 0}
        sent |= {net: rest for key, net, rest, verdict in found if key == net and not verdict}
        totals: dict[object, Decimal] = defaultdict(Decimal)
        arrived: dict[object, Decimal] = defaultdict(Decimal)
        for key, _, subject, quantity, time, region in rows:
            totals[subject, region, time.strftime(spelled)] += quantity
            arrived[subject, region, time.strftime(spelled)] += sent.get(key, Decimal(0))
        assert all(quantity > 0 for quantity in sent.values())
        assert {b: max(total, Decimal(0)) for b, total in totals.items()} == arrived
        for head in {net for key, net, rest, verdict in found if not verdict}:
            parts = sorted(by_key[key][3] for key, net, *_ in found if net == head)
            positive = [quantity for quantity in parts if quantity > 0]
            assert sum(parts) - positive[0] < 0  # without the least of them it would not do
