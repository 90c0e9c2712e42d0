"""Real legacy systems, imported by YAML alone; the numbers were measured apart from this code."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from spanner_pipeline.importing import UsageImport
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.sources.mapping import FILTERED, OUTSIDE_SCOPE
from spanner_pipeline_tests.conftest import SHARED_DATA, RealRoot, copy_family
from spanner_pipeline_tests.lake_reading import (
    events,
    everything_written,
    quarantined,
    run,
    version,
)


def by(frame: pl.DataFrame, *keys: str) -> dict[tuple[object, ...], Decimal]:
    """The sums of quantity by some columns."""
    sums = frame.group_by(keys).agg(pl.col("quantity").sum())
    return {tuple(row[:-1]): row[-1] for row in sums.iter_rows()}


Imported = tuple[DataRoot, dict[str, list[UsageImport]]]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Imported]:
    """A family's root with all its partitions imported once, for tests that only look."""
    folder = tmp_path_factory.mktemp("imported")

    @cache
    def make(family: str) -> Imported:
        root = copy_family(family, folder)
        sources = load_catalog(root).sources.values()
        return root, {
            partition: run(root, source.source, partition)
            for source in sources
            if source.usage
            for partition in source.partition_keys(date.today())
        }

    return make


class TestAccessLog:
    def test_every_line_is_a_request_but_the_one_that_is_cut_off(
        self, imported: Callable[[str], Imported]
    ) -> None:
        root, done = imported("weblogs")
        requests, _ = done["whole"]
        assert (requests.totals.read.rows, requests.totals.new.rows) == (10_000, 9_999)
        assert requests.record.rejected == {"malformed_row": 1}
        table = events(root, "api_requests")
        assert table["subject"].n_unique() == 1_753
        assert table["idempotency_key"].n_unique() == table.height == 9_999
        assert table["timestamp"].min() == datetime(2015, 5, 17, 10, 5, tzinfo=UTC)

    def test_the_rejected_line_is_kept_as_it_was(self, imported: Callable[[str], Imported]) -> None:
        root, _ = imported("weblogs")
        lines = (SHARED_DATA / "weblogs" / "apache_logs").read_text().split("\n")
        rejected = quarantined(root)
        assert rejected["meter"].to_list() == ["api_requests", "egress_bytes"]
        for row in rejected.iter_rows(named=True):
            assert (row["source_line"], row["original"]) == (8899, lines[8898])
            assert (row["reason_code"], row["reasons"]) == ("malformed_row", "malformed_row")
            assert row["source_file"] == "legacy/weblogs/apache_logs"

    def test_identical_lines_are_real_repeats_and_all_count(
        self, imported: Callable[[str], Imported]
    ) -> None:
        root, _ = imported("weblogs")
        lines = pl.read_lines(SHARED_DATA / "weblogs" / "apache_logs", name="line")
        repeats = lines.height - lines.unique().height
        table = events(root, "api_requests")
        same_content = table["idempotency_key"].str.replace(r"\|\d+$", "")
        assert repeats == table.height - same_content.n_unique() == 19

    def test_bytes_sum_exactly_and_a_dash_is_out_of_scope(
        self, imported: Callable[[str], Imported]
    ) -> None:
        root, done = imported("weblogs")
        _, egress = done["whole"]
        assert egress.totals.new.quantity == events(root, "egress_bytes")["quantity"].sum()
        assert egress.totals.new.quantity == 2_747_282_505
        assert {why: total.rows for why, total in egress.record.out_of_scope.items()} == {
            FILTERED: 669
        }

    def test_importing_again_changes_nothing(self, real_root: RealRoot) -> None:
        root = real_root("weblogs")
        run(root, "apache")
        before = everything_written(root)
        again = run(root, "apache")
        assert [done.unchanged for done in again] == [True, True]
        assert everything_written(root) == before


class TestLanguageModelTrace:
    def test_two_usages_of_one_row_sum_to_the_totals_of_each_file(
        self, imported: Callable[[str], Imported]
    ) -> None:
        root, done = imported("llm_trace")
        context, generated = done["whole"]
        assert context.totals.new.rows == generated.totals.new.rows == 8_819 + 19_366
        assert by(events(root, "ai_tokens"), "subject", "dim_kind") == {
            ("code", "context"): 18_059_974,
            ("code", "generated"): 245_896,
            ("conv", "context"): 22_361_870,
            ("conv", "generated"): 4_088_665,
        }

    def test_keys_say_which_row_and_part_they_are(
        self, imported: Callable[[str], Imported]
    ) -> None:
        root, _ = imported("llm_trace")
        last = events(root, "ai_tokens").filter(
            (pl.col("source_line") == 8_820) & (pl.col("subject") == "code")
        )
        assert sorted(last["idempotency_key"]) == [
            "azure_llm:code:ai_tokens:20231116T191419.928016|context",
            "azure_llm:code:ai_tokens:20231116T191419.928016|generated",
        ]
        assert last["timestamp"].unique().to_list() == [
            datetime(2023, 11, 16, 19, 14, 19, 928016, tzinfo=UTC)
        ]


class TestFocusBill:
    def test_the_bill_sums_to_its_last_digit(self, imported: Callable[[str], Imported]) -> None:
        root, done = imported("focus")
        cost, _ = done["whole"]
        table = events(root, "billed_cost_usd")
        assert cost.totals.new.rows == table.height == 1_000
        assert table["quantity"].sum() == Decimal("20.52022672899")
        assert by(table, "dim_provider").keys() == {("AWS",), ("Microsoft",), ("Oracle",)}

    def test_credits_and_lines_of_zero_are_part_of_the_bill(
        self, imported: Callable[[str], Imported]
    ) -> None:
        root, _ = imported("focus")
        quantity = events(root, "billed_cost_usd")["quantity"]
        assert ((quantity < 0).sum(), (quantity == 0).sum()) == (13, 329)

    def test_each_provider_s_account_is_a_subject(
        self, imported: Callable[[str], Imported]
    ) -> None:
        root, _ = imported("focus")
        accounts = events(root, "billed_cost_usd").group_by("dim_provider").agg("subject")
        spelled = dict(accounts.iter_rows())
        assert "64e355d7-997c-491d-b0c1-8414dccfcf42" in spelled["Microsoft"]
        assert all(account.startswith("ocid6.tenancy.") for account in spelled["Oracle"])
        assert all(account.isdigit() for account in spelled["AWS"])

    def test_the_text_null_is_null(self, imported: Callable[[str], Imported]) -> None:
        root, _ = imported("focus")
        assert events(root, "billed_cost_usd")["dim_region"].null_count() == 7

    def test_a_filter_makes_a_meter_of_one_unit(self, imported: Callable[[str], Imported]) -> None:
        _, done = imported("focus")
        _, requests = done["whole"]
        assert requests.totals.new.rows == 42
        assert requests.totals.new.quantity == 1_248
        assert requests.record.out_of_scope[FILTERED].rows == 958


METERS = ("trips", "fare_usd")
TRIP = pl.col("idempotency_key").str.replace(r"\|[^|]*$", "")
"""The identity of a trip without its last part, the total: what a charge and its void share."""


def deliver_january(root: DataRoot, name: str) -> None:
    """Put one of the two files of January in the place where the month is looked for."""
    folder = root.path / "legacy" / "taxi"
    if (root.path / "legacy").is_symlink():
        (root.path / "legacy").unlink()
        folder.mkdir(parents=True)
    place = folder / "green_tripdata_2024-01.parquet"
    place.unlink(missing_ok=True)
    place.symlink_to(SHARED_DATA / "taxi" / name)


class TestTaxi:
    def test_trips_of_other_months_are_named_out_of_scope(
        self, imported: Callable[[str], Imported]
    ) -> None:
        root, done = imported("taxi")
        (december, _), (january, _) = done["2023-12"], done["2024-01"]
        assert (december.totals.new.rows, january.totals.new.rows) == (64_215 - 4, 56_551)
        outside = {why: total.rows for why, total in december.record.out_of_scope.items()}
        assert outside == {OUTSIDE_SCOPE: 4}
        assert january.record.out_of_scope == {}
        start = events(root, "trips")["timestamp"].min()
        assert isinstance(start, datetime)
        assert start >= datetime(2023, 12, 1, 5, tzinfo=UTC)

    def test_a_charge_and_its_void_are_two_rows_that_sum_to_zero(
        self, imported: Callable[[str], Imported]
    ) -> None:
        root, done = imported("taxi")
        for partition, repeated in (("2023-12", 187), ("2024-01", 181)):
            _, fares = done[partition]
            assert fares.totals.conflicting.rows == fares.totals.present.rows == 0
            batch = pl.col("import_batch") == fares.record.batch
            trips = events(root, "fare_usd").filter(batch).group_by(TRIP).agg("quantity")
            pairs = trips.filter(pl.col("quantity").list.len() > 1)["quantity"].to_list()
            assert len(pairs) == repeated
            assert all(len(pair) == 2 and sum(pair) == 0 and min(pair) < 0 for pair in pairs)

    def test_the_farebox_is_summed_exactly_from_six_columns(
        self, imported: Callable[[str], Imported]
    ) -> None:
        _, done = imported("taxi")
        _, fares = done["2024-01"]
        assert fares.totals.new.quantity == Decimal("1148733.49")

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_integers_exported_again_as_doubles_are_the_same_rows(
        self, real_root: RealRoot, order: tuple[int, int]
    ) -> None:
        root = real_root("taxi")
        names = ["green_tripdata_2024-01.parquet", "green_tripdata_2024-01.int64.parquet"]
        deliver_january(root, names[order[0]])
        run(root, "green_trips", "2024-01")
        before = {meter: (version(root, meter), events(root, meter)) for meter in METERS}
        deliver_january(root, names[order[1]])
        for again in run(root, "green_trips", "2024-01"):
            assert not again.unchanged
            assert (again.totals.read.rows, again.totals.present.rows) == (56_551, 56_551)
        for meter, (old_version, old_events) in before.items():
            assert version(root, meter) == old_version
            assert (
                events(root, meter)
                .sort("idempotency_key")
                .equals(old_events.sort("idempotency_key"))
            )

    def test_a_trip_of_2009_is_out_of_scope_and_counted(
        self, real_root: RealRoot, tmp_path: Path
    ) -> None:
        root = real_root("taxi")
        real = pl.read_parquet(SHARED_DATA / "taxi" / "green_tripdata_2024-01.parquet")
        stray = real.head(1).with_columns(
            pl.lit(datetime(2009, 1, 1, 0, 30)).alias("lpep_pickup_datetime")
        )
        deliver_january(root, "green_tripdata_2024-01.parquet")
        place = root.path / "legacy" / "taxi" / "green_tripdata_2024-01.parquet"
        place.unlink()
        pl.concat([real.head(9), stray]).write_parquet(place)
        trips, fares = run(root, "green_trips", "2024-01")
        assert trips.record.out_of_scope[OUTSIDE_SCOPE].rows == 1
        assert fares.totals.out_of_scope.rows == 1
        assert trips.totals.new.rows == 9

    def test_the_old_totals_load(self, real_root: RealRoot) -> None:
        for family in ("taxi", "taxi_naive"):
            names = [total.name for _, total in load_catalog(real_root(family)).comparisons]
            assert names == ["trips_per_day", "farebox_per_day"]
