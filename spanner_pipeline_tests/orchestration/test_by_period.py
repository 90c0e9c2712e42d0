"""Each period of a comparison has its own colour, numbers and severity, out of one comparison."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import AssetCheckKey

from spanner_pipeline.assets import reconciliation
from spanner_pipeline.assets.backfill import run_backfill
from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.by_period import CHECK
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline.assets.partitions import periods_of
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root

REPORT = dg.AssetKey(["reports", "billed_calls"])
PERIODS = dg.AssetKey(["reports", "billed_calls", "by_period"])
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

BILL = f"""\
account,day,calls
acme,2023-12-31,5
acme,{DAYS[0]},9.002
globex,{DAYS[0]},5.002
initech,{DAYS[0]},7.002
acme,{DAYS[1]},9.002
globex,{DAYS[1]},5.001
initech,{DAYS[1]},7.002
acme,{DAYS[3]},9.002
globex,{DAYS[3]},5.002
initech,{DAYS[3]},7.002
"""
"""By day: the first agrees, the second does not, the third was never billed, the last agrees."""


def by_day(path: Path, severity: str = "error") -> SmallRoot:
    root = small_root(path)
    root.rewrite(
        "sources/bill.yaml",
        "column: month, grain: month",
        "column: day, grain: day, format: '%Y-%m-%d'",
    )
    root.rewrite("sources/bill.yaml", "severity: error", f"severity: {severity}")
    (root.path / "legacy/bill.csv").write_text(BILL, encoding="utf-8")
    return root


def run(
    root: SmallRoot,
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    days: tuple[str, ...] = (),
    selection: Any = None,
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(root)
    return dg.materialize(
        [definitions.get_assets_def(key)],
        resources=definitions.resources,
        instance=instance,
        selection=selection,
        tags=dict(zip(RANGE, (days[0], days[-1]), strict=True)) if days else {},
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    return by_day(tmp_path_factory.mktemp("by_period") / "root")


@pytest.fixture(scope="module")
def instance(root: SmallRoot) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        with open_instance(root) as opened:
            run(root, opened, import_key("switch", "merged"), DAYS)
            yield opened


@pytest.fixture(scope="module")
def done(root: SmallRoot, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """All days in one run, of the periods alone."""
    with pytest.MonkeyPatch.context() as patch:
        compared = []
        real = reconciliation.reconcile
        patch.setattr(reconciliation, "reconcile", lambda *a: (compared.append(1), real(*a))[1])
        result = run(root, instance, PERIODS, DAYS, [PERIODS])
    assert len(compared) == 1, "one comparison for all days of a run"
    return result


def colours(instance: dg.DagsterInstance) -> dict[str | None, str]:
    """What Dagster knows of the check of each partition, where it is of the newest numbers."""
    found = instance.event_log_storage.get_asset_check_partition_info(
        [AssetCheckKey(PERIODS, CHECK)]
    )
    assert all(info.is_current for info in found if info.partition_key is not None)
    return {info.partition_key: info.latest_execution_status.value for info in found}


def shown(result: dg.ExecuteInProcessResult, day: str) -> Any:
    told = result.asset_materializations_for_node("report_billed_calls")
    [found] = [one.metadata for one in told if one.partition == day]
    return found


def test_each_day_has_a_colour_of_its_own(
    instance: dg.DagsterInstance, done: dg.ExecuteInProcessResult
) -> None:
    assert done.success, "a break is an outcome, not a failure"
    known = colours(instance)
    assert {day: known[day] for day in DAYS} == {
        DAYS[0]: "SUCCEEDED",
        DAYS[1]: "FAILED",
        DAYS[2]: "FAILED",
        DAYS[3]: "SUCCEEDED",
    }


def test_a_red_day_says_why_and_how_severe_it_is(done: dg.ExecuteInProcessResult) -> None:
    said = {e.partition: e for e in done.get_asset_check_evaluations()}
    assert said[DAYS[1]].description == "1 number beyond tolerance"
    assert said[DAYS[1]].severity is dg.AssetCheckSeverity.ERROR
    assert said[DAYS[2]].severity is dg.AssetCheckSeverity.WARN, "no bill is no break"
    assert "has no number for this period" in str(said[DAYS[2]].description)
    assert "`from` and `to`" in str(said[DAYS[2]].description)


def test_a_day_shows_its_own_numbers_exactly_and_to_plot(
    done: dg.ExecuteInProcessResult,
) -> None:
    day = shown(done, DAYS[1])
    assert day["verdict"].value == "FAIL"
    assert day["old total"].value == "21.005 call"
    assert day["new total"].value == "21.006 call"
    assert day["difference"].value == "+0.001 call (+0.0048 %)"
    assert day["numbers beyond tolerance"].value == 1
    assert day["plot: difference"].value == pytest.approx(0.001)
    [row] = day["biggest breaks"].records
    assert (row.data["subject"], row.data["difference"]) == ("globex", "+0.001")
    steps = [r.data for r in day["from old to new"].records]
    assert (steps[0]["step"], steps[0]["total so far"]) == ("old bill", "21.005")
    assert (steps[-1]["step"], steps[-1]["total so far"]) == ("lake", "21.006")
    assert shown(done, DAYS[0])["verdict"].value == "PASS"


def test_numbers_of_no_partition_are_told_in_the_log(
    instance: dg.DagsterInstance, done: dg.ExecuteInProcessResult
) -> None:
    logged = [entry.user_message for entry in instance.all_logs(done.run_id)]
    assert any("1 periods of the old bill" in m and "2023-12-31" in m for m in logged)


def test_mending_one_day_and_running_it_alone_turns_it_green(tmp_path: Path) -> None:
    mended = by_day(tmp_path / "root", severity="warn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        with open_instance(mended) as instance:
            run(mended, instance, import_key("switch", "merged"), DAYS)
            first = run(mended, instance, PERIODS, DAYS)
            said = {e.partition: e for e in first.get_asset_check_evaluations()}
            assert set(said) == {None, *DAYS}, "report and periods of one run"
            assert said[DAYS[1]].severity is dg.AssetCheckSeverity.WARN
            mended.rewrite("legacy/bill.csv", "5.001", "5.002")
            again = run(mended, instance, PERIODS, DAYS[1:2], [PERIODS])
            assert [e.partition for e in again.get_asset_check_evaluations()] == [DAYS[1]]
            assert colours(instance)[DAYS[1]] == "SUCCEEDED"
            checks = dg.AssetSelection.checks(AssetCheckKey(PERIODS, CHECK))
            alone = run(mended, instance, PERIODS, DAYS[:1], checks)
            assert [e.partition for e in alone.get_asset_check_evaluations()] == [DAYS[0]]
            assert colours(instance)[DAYS[0]] == "SUCCEEDED", "a check that is run alone"
            every = run(mended, instance, PERIODS, (), checks)
            assert [e.partition for e in every.get_asset_check_evaluations()] == list(DAYS)


def test_the_command_line_brings_the_periods_up_to_date(tmp_path: Path) -> None:
    root = by_day(tmp_path / "root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        outcome = run_backfill(root, ["switch"])
        assert [verdict.verdict for verdict in outcome.verdicts] == ["FAIL"]
        assert outcome.broken == {}
        with open_instance(root) as instance:
            assert colours(instance)[DAYS[1]] == "FAILED"
            runs = {
                record.run_id
                for key in (REPORT, PERIODS)
                for record in instance.fetch_materializations(key, limit=100).records
            }
            assert len(runs) == 1, "report and periods of one run, compared once"


@pytest.mark.parametrize(
    ("period", "switch", "keys"),
    [
        ("column: d, grain: day, zone: UTC", "from: 2024-01-01, to: 2024-01-05", DAYS),
        ("column: d, grain: month, zone: UTC", "from: 2024-01-30, to: 2024-03-02", 3),
        ("column: d, grain: year, zone: UTC", "from: 2023-05-01, to: 2024-03-02", 2),
        (
            "column: d, grain: month, zone: UTC, from: 2024-02-01, to: 2024-04-01",
            "from: 2024-01-01, to: 2025-01-01",
            ("2024-02", "2024-03"),
        ),
        ("start: d, end: e, zone: UTC", "from: 2024-01-01, to: 2024-01-05", None),
    ],
)
def test_the_periods_are_those_that_the_declarations_say(
    tmp_path: Path, period: str, switch: str, keys: Any
) -> None:
    root = small_root(tmp_path / "root")
    root.rewrite("sources/bill.yaml", "column: month, grain: month, zone: UTC", period)
    root.rewrite("sources/switch.yaml", "from: 2024-01-01, to: 2024-01-05", switch)
    catalog = load_catalog(root)
    [(_, total)] = catalog.comparisons
    found = periods_of(catalog, total)
    names = None if found is None else tuple(found.get_partition_keys())
    assert names == keys if not isinstance(keys, int) else len(names or ()) == keys
    known = build_definitions(root).resolve_asset_graph().get_all_asset_keys()
    assert (PERIODS in known) is (keys is not None)
