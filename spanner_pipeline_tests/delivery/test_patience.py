"""What a service that is busy asks for is done: waiting as long as it says, smaller batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.delivery.client import OpenSpanner, Patience
from spanner_pipeline.delivery.deliver import deliver, plan_delivery
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.send import Outcome
from spanner_pipeline.delivery.target import Target
from spanner_pipeline_tests.delivery.conftest import assert_arrived, at, tiny
from spanner_pipeline_tests.delivery.victim import SOON
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer


@pytest.fixture(scope="module")
def hundreds(tmp_path_factory: pytest.TempPathFactory) -> TinyRoot:
    rows = [Row(str(n), quantity="0.5", time=at(n)) for n in range(700)]
    return tiny(tmp_path_factory.mktemp("patience") / "root", rows)


@pytest.fixture
def limits(service: ContractServer) -> Iterator[Any]:
    """The service's limits, as they were afterwards."""
    before = dict(vars(service.limits))
    yield service.limits
    vars(service.limits).update(before)


def delivered(root: TinyRoot, service: ContractServer, key: str, patience: Patience) -> Outcome:
    choices = Choices(rate=10**9)
    with OpenSpanner(Target.build(service.base_url, key), patience) as client:
        plan = plan_delivery(root.root, root.meter, client, choices)
        return deliver(root.root, root.meter, client, choices, plan).outcome


@pytest.mark.parametrize(("seconds", "waited"), [(7, [7]), (90_000, [3600])])
def test_it_waits_as_many_seconds_as_it_is_told(
    tmp_path: Path, service: ContractServer, workspace: str, key: str, seconds: int, waited: Any
) -> None:
    root = tiny(tmp_path / "root", [Row("a", time=at(1))])
    waits: list[int | float] = []
    service.faults.add("status", status=429, seconds=seconds, path="/v1/usages/bulk")
    outcome = delivered(root, service, key, replace(SOON, sleep=waits.append))
    assert (outcome.events, waits) == ({"accepted": 1}, waited)
    assert_arrived(root, service, workspace)


@pytest.mark.parametrize("limit", [300, 1])
def test_a_rate_limit_below_a_batch_makes_batches_smaller(
    hundreds: TinyRoot, service: ContractServer, workspace: str, key: str, limits: Any, limit: int
) -> None:
    now = iter(range(0, 10**6, 60))
    limits.events, limits.clock = limit, lambda: next(now)  # a new window with every call
    sizes: list[int] = []
    charge = limits.charge
    limits.charge = lambda space, events: (charge(space, events), sizes.append(events))
    outcome = delivered(hundreds, service, key, replace(SOON, sleep=lambda seconds: None))
    assert outcome.events == {"accepted": 700}
    assert limit // 2 < max(sizes) <= limit
    assert_arrived(hundreds, service, workspace)


def test_one_event_beyond_the_limit_for_bytes_is_named_and_the_others_arrive(
    tmp_path: Path, service: ContractServer, workspace: str, key: str, limits: Any
) -> None:
    rows = [Row(str(n), region="x" * (5000 if n == 3 else 10), time=at(n)) for n in range(8)]
    root = tiny(tmp_path / "root", rows)
    limits.body_bytes = 1000
    outcome = delivered(root, service, key, SOON)
    assert outcome.events == {"accepted": 7, "failed": 1}
    [(name, code, _)] = outcome.failures
    assert (name.rsplit(":", 1)[1], code) == ("3", "request_too_large")
