"""Real legacy files: what was measured apart from this code is found; the proposals import."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from spanner_pipeline.profiling.examine import Profile, examine
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.conftest import SHARED_DATA
from spanner_pipeline_tests.lake_reading import run
from spanner_pipeline_tests.profiling.choosing import root_of

LLM = "llm_trace/AzureLLMInferenceTrace_code.csv"
TAXI = "taxi/green_tripdata_2023-12.parquet"
CUR = "cloud_bills/aws_cur_sample.csv"
CHOICES: dict[str, dict[str, str]] = {
    LLM: {"zone": "UTC", "subject": '{column: source_file, extract: "Trace_([a-z]+)"}'},
    TAXI: {"zone": "America/New_York", "quantity": "1"},
    CUR: {},
    "weblogs/apache_logs": {},
    "cloud_bills/oci_cost_report.no_tags.csv": {},
    "focus/focus_sample.csv": {"zone": "UTC"},
    "online_retail/online_retail.parquet": {"zone": "Europe/London"},
    "weblogs/nginxplus_json_logs": {"subject": "{constant: nginx}"},
}


Look = Callable[[str], Profile]


@pytest.fixture(scope="module")
def look() -> Look:
    """The profile of a real file; each is looked at once."""

    @cache
    def profile(name: str) -> Profile:
        return examine(SHARED_DATA / name)

    return profile


@pytest.fixture(autouse=True)
def _real(shared_data: Path) -> None:
    """Skip where there is no real data."""


def identity(profile: Profile) -> tuple[str, ...] | None:
    return profile.choice.key.names if profile.choice.key else None


@pytest.mark.parametrize("name", CHOICES)
def test_a_proposal_loads_with_the_choices_made(look: Look, tmp_path: Path, name: str) -> None:
    root = root_of(tmp_path, look(name), CHOICES[name])
    assert list(load_catalog(root).sources) == ["unknown"]


def test_requests_of_a_model_are_told_apart_by_a_naive_time(look: Look, tmp_path: Path) -> None:
    found = look(LLM)
    assert identity(found) == ("TIMESTAMP",)
    assert found.columns[0].kind.label == "time, ISO 8601 without offset"
    assert found.columns[0].finer == 0  # seven digits, of which the last is 0
    (done,) = run(root_of(tmp_path, found, CHOICES[LLM]), "unknown", "whole")
    assert (done.totals.new.rows, done.totals.new.quantity) == (8_819, 18_059_974)


def test_taxi_trips_have_no_id_and_come_with_their_voids(look: Look, tmp_path: Path) -> None:
    found = look(TAXI)
    assert found.proof.repeats.extra == 0
    assert found.proof.nearest is not None
    assert found.proof.nearest.repeats == 187
    assert "total_amount" in found.proof.nearest.cancelling
    assert found.choice.key is not None
    assert found.choice.key.with_amounts
    (done,) = run(root_of(tmp_path, found, CHOICES[TAXI]), "unknown", "whole")
    assert done.totals.new.rows == 64_215


def test_two_files_of_the_same_trips_in_other_types_agree(shared_data: Path) -> None:
    taxi = shared_data / "taxi"
    found = examine(
        taxi / "green_tripdata_2024-01.parquet", taxi / "green_tripdata_2024-01.int64.parquet"
    )
    assert found.overlap is not None
    assert (found.overlap.both, found.overlap.only_first, found.overlap.only_second) == (
        56_551,
        0,
        0,
    )
    assert all(key.holds and key.same == 56_551 for key in found.stability)
    assert found.proof.nearest is not None
    assert found.proof.nearest.repeats == 181


@pytest.mark.slow
def test_sales_that_are_alike_are_a_multiset(look: Look, tmp_path: Path) -> None:
    found = look("online_retail/online_retail.parquet")
    assert (found.proof.repeats.extra, identity(found)) == (5_268, None)
    customer = next(c for c in found.columns if c.name == "CustomerID")
    assert customer.nulls == 135_080
    choices = {
        "zone": "Europe/London",
        "quantity": "{column: Quantity, nonpositive: keep}",
        "subject": "CustomerID",
    }
    (done,) = run(root_of(tmp_path, found, choices), "unknown", "whole")
    assert done.totals.new.rows == 541_909 - 135_080


def test_a_line_item_is_itself_only_with_its_interval(look: Look, tmp_path: Path) -> None:
    found = look(CUR)
    ids = next(c for c in found.columns if c.name == "identity/LineItemId")
    assert ids.distinct == 388
    assert identity(found) == ("identity/LineItemId", "identity/TimeInterval")
    (done,) = run(root_of(tmp_path, found, CHOICES[CUR]), "unknown", "whole")
    assert done.totals.read.rows == 1_281
    assert done.totals.new.rows + sum(done.record.rejected.values()) == 1_281


def test_lines_of_a_log_are_a_multiset(look: Look, tmp_path: Path) -> None:
    found = look("weblogs/apache_logs")
    assert (found.stored.rows, found.stored.malformed, found.stored.first_malformed) == (
        9_999,
        1,
        8_899,
    )
    assert (found.proof.repeats.extra, identity(found)) == (19, None)
    (done,) = run(root_of(tmp_path, found, {}), "unknown", "whole")
    assert done.totals.new.rows == 9_999
    assert done.record.rejected == {"malformed_row": 1}


def test_null_words_and_ids_of_a_cloud_bill(look: Look) -> None:
    found = look("focus/focus_sample.csv")
    assert {word for c in found.columns for word in c.words} == {"NULL"}
    assert identity(found) == ("Id",)


def test_thousands_and_dashes_of_a_monthly_report(look: Look) -> None:
    found = look("taxi/data_reports_monthly.csv")
    columns = {c.name: c for c in found.columns}
    assert columns["Trips Per Day"].kind.label == "number, thousands `,`"
    assert not columns["Trips Per Day"].others
    assert columns["Farebox Per Day"].words == {"-": 489}
    assert identity(found) == ("Month/Year", "License Class")
