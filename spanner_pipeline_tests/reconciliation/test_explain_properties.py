"""Whatever the books hold: causes and what is unexplained sum to the difference, exactly."""

from __future__ import annotations

import tempfile
from decimal import ROUND_CEILING, Decimal, localcontext
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spanner_pipeline_tests.reconciliation.building import Books, balances, found
from spanner_pipeline_tests.usage.events import Event

PHASES = (
    Phase.explicit,
    Phase.reuse,
    Phase.generate,
)  # each example is a lake: shrinking takes minutes

quantities = st.decimals("-1e19", "1e19", places=9) | st.sampled_from(
    [Decimal(n) for n in ("1", "1000", "0.000000001", "123456.5")]
)
times = st.builds(
    "2024-{:02}-{:02}T{:02}:30:00Z".format,
    st.integers(1, 3),
    st.integers(1, 28),
    st.sampled_from((0, 3, 12, 23)),
)
subjects = st.sampled_from("abc")
events = st.lists(st.builds(Event, times, quantities, subjects), max_size=12)
rejected = st.lists(st.tuples(subjects, quantities, times), max_size=4)
zones = {"a": "UTC", "b": "Asia/Tokyo", "c": "America/New_York"}
months = st.sampled_from(("2024-01", "2024-02", "2024-03"))
lines = st.builds(lambda who, *rest: (who, zones[who], *rest), subjects, months, quantities)
bills = st.lists(lines.map(lambda line: (*line, "")), max_size=8)


@settings(
    max_examples=12, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow]
)
@given(events=events, rejected=rejected, bill=bills, count=st.booleans())
def test_causes_and_the_unexplained_sum_to_the_difference(
    events: list[Event],
    rejected: list[tuple[str, Decimal, str]],
    bill: list[tuple[str, str, str, Decimal, str]],
    count: bool,
) -> None:
    rows = [(i, e.subject, f"{e.exact:f}", e.time) for i, e in enumerate(events)]
    bad = [("", who, f"{quantity:f}", time) for who, quantity, time in rejected]
    with tempfile.TemporaryDirectory() as folder:
        books = Books(Path(folder), meter={"aggregation": "count"} if count else {})
        books.imported(("ok", "z", 1, "2024-01-01T00:00:00Z"), *rows, *bad)
        comparison = books.bill(("z", "UTC", "2024-01", 1, ""), *bill).compare()

    with localcontext() as context:
        context.prec = 60
        assert balances(comparison)
        spread = sum(comparison.cells["unexplained"], Decimal(0))
        spread += sum((cause.quantity for cause in comparison.causes), Decimal(0))
        assert spread == comparison.difference == comparison.new_total - comparison.old_total
        assert comparison.unexplained == sum(comparison.cells["unexplained"], Decimal(0))
        within = comparison.new_total + comparison.outside.quantity
        assert within == (len(events) + 1 if count else 1 + sum(e.exact for e in events))
    assert all(cause.quantity for cause in comparison.causes)


@settings(
    max_examples=12, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    days=st.lists(st.integers(10**6, 10**7), min_size=3, max_size=8, unique=True),
    noise=st.integers(-(10**6) + 1, 10**6 - 1).filter(lambda n: n % 100 and abs(n) > 1000),
)
def test_a_difference_without_a_cause_gets_none(days: list[int], noise: int) -> None:
    """Smaller than any day, not round, and the whole of the usage at noon."""
    events = [Event(f"2024-01-{d:02}T12:00:00Z", n, "a") for d, n in enumerate(days, 1)]
    billed = sum(days) + noise
    if billed % 100 == 0:
        billed += 1
    with tempfile.TemporaryDirectory() as folder:
        books = Books(Path(folder)).lake(*events)
        comparison = books.bill(("a", "Asia/Tokyo", "2024-01", billed, "")).compare()
    assert found(comparison) == []
    assert comparison.unexplained == sum(days) - billed


@settings(
    max_examples=12, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    days=st.lists(st.decimals("1e5", "1e9", places=2), min_size=3, max_size=8, unique=True),
    fault=st.sampled_from(("twice", "missing", "utc", "rounded")),
)
def test_a_planted_fault_is_explained_in_full(days: list[Decimal], fault: str) -> None:
    events = [Event(f"2024-01-{d:02}T12:00:00Z", n, "a") for d, n in enumerate(days, 1)]
    # Half past midnight in Tokyo on the 1st, still December in UTC.
    events.append(Event("2023-12-31T15:30:00Z", "77.77", "a"))
    true = sum((e.exact for e in events), Decimal(0))
    billed = {
        "twice": true + days[1],
        "missing": true - days[1],
        "utc": true - Decimal("77.77"),
        "rounded": (true / 1000).to_integral_value(ROUND_CEILING) * 1000 + 10**6,
    }[fault]
    if fault == "rounded":
        events.append(Event("2024-01-28T12:00:00Z", 10**6, "a"))
        true += 10**6
    with tempfile.TemporaryDirectory() as folder:
        books = Books(Path(folder), meter={"decimals": 2}).lake(*events)
        comparison = books.bill(("a", "Asia/Tokyo", "2024-01", billed, "")).compare()
    assert comparison.difference == true - billed
    assert comparison.unexplained == 0
    assert sum(c.quantity for c in comparison.causes) == true - billed
