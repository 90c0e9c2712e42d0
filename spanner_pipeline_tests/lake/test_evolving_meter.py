"""Meters evolve: a new optional dimension appears without rewriting history.

That old files stay as they are, and that a correction may bring the dimension: `test_table.py`.
That no column is lost when two import at once, or one dies: `faults/`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanner_pipeline.configuration.source import WHOLE
from spanner_pipeline.errors import PipelineError, SourceFileError
from spanner_pipeline.lake.maintenance import maintain
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.plan import plan
from spanner_pipeline.usage.filters import parse_filters
from spanner_pipeline.usage.query import query_usage
from spanner_pipeline_tests.lake.building import REGION, Row, TinyRoot, balance, csv_bytes

OLD = [Row("1", quantity="1.5"), Row("2"), Row("3", time="2024-01-02T00:00:00Z")]
NEW = [Row("4", quantity="4", region="eu"), Row("5", time="2024-01-03T00:00:00Z", region="us")]


@pytest.fixture
def lake(tmp_path: Path) -> TinyRoot:
    """Holds old rows of a meter without dimensions."""
    return old_lake(tmp_path)


def old_lake(path: Path, **declared: Any) -> TinyRoot:
    lake = TinyRoot(path, dimensions=[], **{"corrections": True, **declared})
    assert lake.deliver(OLD).totals.new.rows == len(OLD)
    return lake


def declare(lake: TinyRoot, *dimensions: dict[str, Any], **columns: str) -> None:
    """Declare these dimensions and no others, and where the source has them."""
    lake.dimensions = [*dimensions]
    lake.usage = {"dimensions": columns} if columns else {}
    lake.declare()


def values(lake: TinyRoot, name: str = "region") -> dict[str, Any]:
    """The dimension of each identity, read by Polars, which knows nothing of the meter."""
    events = pl.read_delta(str(lake.table.path)).sort("idempotency_key")
    identities = events["idempotency_key"].str.split(":").list.last()
    return dict(zip(identities, events[f"dim_{name}"], strict=True))


def used(lake: TinyRoot, by: str, *filters: str) -> dict[str, Decimal]:
    """What a query over all time says by a dimension."""
    ends = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    where = parse_filters(filters)
    answer = query_usage(lake.root, lake.meter, *ends, bucket="month", group_by=[by], where=where)
    return dict(answer.select(by, "quantity").iter_rows())


@pytest.mark.parametrize(
    ("kind", "given", "answer"), [("string", "eu", "eu"), ("number", "1.50", "1.5")]
)
def test_a_query_groups_old_events_under_nil(
    lake: TinyRoot, kind: str, given: str, answer: str
) -> None:
    declare(lake, {**REGION, "type": kind})
    assert used(lake, "region") == {"<nil>": Decimal("3.5")}
    balance(lake.deliver([NEW[0].but(region=given), NEW[1].but(region="")]))
    assert used(lake, "region") == {"<nil>": Decimal("4.5"), answer: Decimal(4)}
    assert used(lake, "region", f"region={answer}") == {answer: Decimal(4)}
    assert used(lake, "subject") == {"org_1": Decimal("8.5")}


def test_two_dimensions_with_dots_may_come_at_once(lake: TinyRoot) -> None:
    names = ["user.region", "event_date.-.0"]
    both = ({**REGION, "name": name} for name in names)
    declare(lake, *both, **dict(zip(names, ["region", "subject"], strict=True)))
    balance(lake.deliver(NEW))
    balance(lake.deliver([OLD[0].but(region="ap", rev="2")]))
    assert values(lake, names[0]) == {"1": "ap", "2": None, "3": None, "4": "eu", "5": "us"}
    assert used(lake, names[0])["<nil>"] == 2
    assert used(lake, names[1]) == {"<nil>": Decimal(2), "org_1": Decimal("6.5")}


@pytest.mark.parametrize(
    ("identity", "corrections"),
    [("id", False), ("id", True), (["id", "time"], False), ("multiset", False)],
)
def test_a_replay_under_the_new_declaration_changes_nothing(
    tmp_path: Path, identity: Any, corrections: bool
) -> None:
    lake = old_lake(tmp_path, identity=identity, corrections=corrections)
    files = lake.lake_files()
    declare(lake, REGION)
    replay = lake.run()
    balance(replay)
    assert (replay.unchanged, replay.totals.present.rows) == (False, len(OLD))
    assert lake.run().unchanged
    assert lake.lake_files() == files, "not even a version with the column"


def test_an_old_file_without_the_new_column_is_refused_and_changes_nothing(lake: TinyRoot) -> None:
    files = lake.lake_files()
    declare(lake, REGION)
    lake.place({"old.csv": csv_bytes(OLD, ("id", "subject", "quantity", "time", "rev"))})
    with pytest.raises(SourceFileError, match="it misses region"):
        lake.run()
    assert lake.lake_files() == files


def test_plans_queries_and_maintenance_make_no_column(lake: TinyRoot) -> None:
    version = lake.version
    declare(lake, REGION)
    lake.place({"new.csv": csv_bytes(NEW)})
    planned = plan(lake.root, lake.catalog, [(lake.catalog.sources["legacy"], [WHOLE])])
    assert (planned.changes, planned.failures) == (len(NEW), {})
    used(lake, "region")
    maintain(lake.root, lake.catalog)
    assert lake.version == version
    assert "dim_region" not in pl.scan_delta(str(lake.table.path)).collect_schema()


def test_a_replay_that_says_more_is_a_conflict_and_changes_nothing(lake: TinyRoot) -> None:
    files = lake.lake_files()
    declare(lake, REGION)
    replay = lake.deliver([row.but(region="eu") for row in OLD])
    balance(replay)
    assert replay.totals.conflicting.rows == len(lake.conflicts()) == len(OLD)
    assert {tuple(c["fields_that_differ"]) for c in lake.conflicts()} == {("dim_region",)}
    assert lake.lake_files() == files


def test_a_revert_takes_back_the_dimension_that_a_correction_brought(lake: TinyRoot) -> None:
    declare(lake, REGION)
    lake.deliver(NEW)
    before = lake.events().sort("idempotency_key")
    moved = OLD[1].but(region="us", rev="2", time="2024-01-05T00:00:00Z")
    done = lake.deliver([OLD[0].but(region="eu", rev="2"), moved])
    assert done.totals.corrected.rows == 2
    assert values(lake) == {"1": "eu", "2": "us", "3": None, "4": "eu", "5": "us"}
    revert(lake.root, lake.catalog, done.record.batch)
    assert values(lake) == {"1": None, "2": None, "3": None, "4": "eu", "5": "us"}
    assert lake.events().sort("idempotency_key").equals(before)


def test_a_correction_from_before_the_dimension_can_still_be_reverted(lake: TinyRoot) -> None:
    done = lake.deliver([OLD[0].but(quantity="9", rev="2")])
    declare(lake, REGION)
    lake.deliver(NEW)
    revert(lake.root, lake.catalog, done.record.batch)
    assert values(lake) == {"1": None, "2": None, "3": None, "4": "eu", "5": "us"}
    assert lake.quantities()["1"] == Decimal("1.5")


def compact(lake: TinyRoot) -> None:
    files = len(lake.table.files())
    maintain(lake.root, lake.catalog, timedelta(0))
    assert len(lake.table.files()) < files


def correct_another(lake: TinyRoot) -> None:
    balance(lake.deliver([Row("6", quantity="7", rev="2")]))


def correct_and_revert(lake: TinyRoot) -> None:
    done = lake.deliver([NEW[0].but(quantity="7", rev="2", time="2024-01-09T00:00:00Z")])
    assert values(lake)["4"] is None
    revert(lake.root, lake.catalog, done.record.batch)


@pytest.mark.parametrize("rewrite", [compact, correct_another, correct_and_revert])
def test_a_dimension_that_is_not_declared_any_more_survives_when_files_are_written_anew(
    lake: TinyRoot, rewrite: Callable[[TinyRoot], None]
) -> None:
    declare(lake, REGION)
    lake.deliver([*NEW, Row("6")])
    declare(lake)
    held = {"1": None, "2": None, "3": None, "4": "eu", "5": "us", "6": None}
    rewrite(lake)
    assert values(lake) == held
    balance(lake.deliver([Row("7")]))
    declare(lake, REGION)
    assert values(lake) == {**held, "7": None}
    assert used(lake, "region", "region=eu") == {"eu": Decimal(4)}


def test_a_former_name_in_another_case_is_refused_in_words(lake: TinyRoot) -> None:
    """Delta and SQL take `dim_Region` and `dim_region` for one column."""
    declare(lake, REGION)
    lake.deliver(NEW)
    files = lake.lake_files()
    declare(lake, {**REGION, "name": "Region"}, Region="region")
    with pytest.raises(PipelineError, match=r"Region.*Remedy"):
        lake.deliver([Row("6", region="ap")])
    assert lake.lake_files() == files
