"""A snapshot replaces what was said of its scopes: exactly, never by accident, and revertibly."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.configuration.source import WHOLE
from spanner_pipeline.control import Total
from spanner_pipeline.errors import SnapshotRefusedError, SourceFileError
from spanner_pipeline.importing import UsageImport
from spanner_pipeline.keys import idempotency_key, multiset_identity
from spanner_pipeline.lake.maintenance import maintain
from spanner_pipeline.lake.revert import RevertRefusedError, revert
from spanner_pipeline.plan import plan
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.lake.building import REGION, Row, TinyRoot, balance, csv_bytes, shuffled

MONTH = {"column": "time", "extract": "^(.{7})"}
JANUARY = [Row(str(n), "acme", "10", f"2024-01-{n:02}T05:00:00Z") for n in range(1, 11)]
FEBRUARY = [Row("1", "acme", "3", "2024-02-01T05:00:00Z")]
GLOBEX = [Row("1", "globex", "7", "2024-01-01T05:00:00Z")] * 2

Make = Callable[..., TinyRoot]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(scope: Any = ("subject", MONTH), **declared: Any) -> TinyRoot:
        snapshot = {
            "scope": scope,
            **{k: declared.pop(k) for k in ("row", "shrink") & declared.keys()},
        }
        return TinyRoot(tmp_path, identity={"snapshot": snapshot}, **declared)

    return make


def of(rows: int, quantity: str | int) -> Total:
    return Total(rows, Decimal(quantity))


def outcome(done: UsageImport) -> tuple[Total, ...]:
    balance(done)
    assert done.replacement is not None
    r = done.replacement
    return r.added, r.changed, r.removed, r.after


def standing(lake: TinyRoot) -> Any:
    return lake.events().sort("idempotency_key")


def test_a_delivery_replaces_its_scopes_and_leaves_the_others(make: Make) -> None:
    lake = make()
    lake.deliver([*JANUARY, *FEBRUARY, *GLOBEX])
    done = lake.deliver([*JANUARY[:9], JANUARY[9].but(quantity="12")])
    assert outcome(done) == (of(1, 12), Total(), of(1, 10), of(10, 102))
    assert lake.events()["quantity"].sum() == 102 + 3 + 14
    assert lake.version == 2


def test_what_says_the_same_in_other_clothes_changes_nothing(make: Make) -> None:
    lake = make()
    lake.deliver(JANUARY)
    version, files = lake.version, lake.lake_files().keys()
    lake.place(
        {
            "a.csv": csv_bytes(shuffled(JANUARY)[:4]),
            "b.csv": csv_bytes(shuffled(JANUARY)[4:], end="\r\n"),
        }
    )
    done = lake.run()
    assert outcome(done) == (Total(), Total(), Total(), of(10, 100))
    assert lake.version == version
    assert {file for file in lake.lake_files() if "_scopes" not in file} == {
        file for file in files if "_scopes" not in file
    }
    assert lake.run().unchanged


def test_columns_that_are_not_of_the_event_make_no_other_event(make: Make) -> None:
    lake = make()
    lake.deliver(JANUARY)
    done = lake.deliver([row.but(id=f"line {row.id}", quantity="10.000") for row in JANUARY])
    assert outcome(done) == (Total(), Total(), Total(), of(10, 100))


def test_a_key_is_its_scope_what_the_event_says_and_which_occurrence(make: Make) -> None:
    lake = make()
    lake.deliver([row.but(region="eu") for row in GLOBEX])
    said = "20240101T050000.000000 7 6:region:2:eu"
    assert set(lake.events()["idempotency_key"]) == {
        idempotency_key(
            "legacy", "globex", "calls", ("globex", "2024-01", *multiset_identity(said, copy))
        )
        for copy in (1, 2)
    }


def test_a_dimension_that_rows_lack_makes_no_other_event(make: Make) -> None:
    lake = make()
    lake.deliver(JANUARY)
    lake.dimensions = [REGION, {"name": "zone", "type": "string", "required": False}]
    lake.usage = {"dimensions": {"region": "region"}}
    lake.declare()
    done = lake.run()
    assert not done.unchanged
    assert outcome(done) == (Total(), Total(), Total(), of(10, 100))


def test_rows_with_ids_change_and_keep_their_keys(make: Make) -> None:
    lake = make(row="id")
    lake.deliver(JANUARY)
    keys = set(lake.events()["idempotency_key"])
    done = lake.deliver([JANUARY[0].but(quantity="11"), *JANUARY[1:]])
    assert outcome(done) == (Total(), of(1, 11), Total(), of(10, 101))
    assert done.replacement is not None
    assert done.replacement.replaced == of(1, 10)
    assert set(lake.events()["idempotency_key"]) == keys
    assert "legacy:acme:calls:acme|2024-01|1" in keys


def test_a_scope_whose_rows_were_all_left_out_is_empty_now(make: Make) -> None:
    lake = make(shrink="100%")
    lake.usage = {"where": {"region": {"not": ["us"]}}}
    lake.declare()
    lake.deliver([*JANUARY, *FEBRUARY])
    done = lake.deliver([row.but(region="us") for row in JANUARY])
    assert outcome(done) == (Total(), Total(), of(10, 100), Total())
    assert lake.events()["quantity"].to_list() == [Decimal(3)]


def test_in_the_scope_of_a_partition_what_is_not_mentioned_is_removed(make: Make) -> None:
    lake = make("partition", shrink="60%")
    lake.deliver([*JANUARY, *FEBRUARY, *GLOBEX])
    done = lake.deliver(JANUARY)
    assert outcome(done) == (Total(), Total(), of(3, 17), of(10, 100))


class TestShrinking:
    def test_it_is_refused_before_anything_changes(self, make: Make) -> None:
        lake = make(shrink="20%")
        lake.deliver([*JANUARY, *FEBRUARY])
        files = lake.lake_files()
        with pytest.raises(SnapshotRefusedError) as refused:
            lake.deliver(JANUARY[:7])
        text = str(refused.value)
        assert "by more than 20%" in text
        assert (
            "subject acme, time 2024-01: 10 rows with 100.000000000 before, 7 rows with "
            "70.000000000 now" in text
        )
        assert "raise `identity.snapshot.shrink`" in text
        assert lake.lake_files() == files

    def test_quantity_counts_as_well_as_rows_and_credits_too(self, make: Make) -> None:
        lake = make(usage={"quantity": {"column": "quantity", "nonpositive": "keep"}})
        lake.deliver([*JANUARY, Row("1", "globex", "-50")])
        with pytest.raises(SnapshotRefusedError, match="acme"):
            lake.deliver([row.but(quantity="8.9") for row in JANUARY])
        with pytest.raises(SnapshotRefusedError, match="globex"):
            lake.deliver([Row("1", "globex", "-44.9")])
        lake.deliver([Row("1", "globex", "-45")])

    def test_what_may_shrink_is_no_part_of_how_rows_are_mapped(self, make: Make) -> None:
        lake = make()
        lake.deliver(JANUARY)
        lake.place({"cut.csv": csv_bytes(JANUARY[:5])})
        with pytest.raises(SnapshotRefusedError):
            lake.run()
        assert lake.identity["snapshot"]
        lake.identity["snapshot"]["shrink"] = "100%"
        lake.declare()
        assert outcome(lake.run())[2] == of(5, 50)
        lake.identity["snapshot"]["shrink"] = "10%"
        lake.declare()
        assert lake.run().unchanged


class TestWhichIsLater:
    def test_a_lower_revision_never_undoes_a_higher_one(self, make: Make) -> None:
        lake = make(corrections=True)
        new = [row.but(rev="5", quantity="11") for row in JANUARY]
        lake.deliver([row.but(rev="4") for row in JANUARY])
        lake.deliver(new)
        version = lake.version
        done = lake.deliver([row.but(rev="3") for row in [*JANUARY, *FEBRUARY]])
        assert done.replacement is not None
        assert (done.replacement.scopes, done.replacement.stale) == (2, 1)
        assert outcome(done)[0] == of(1, 3)
        assert done.totals.present == of(10, 100)
        assert lake.events()["quantity"].sum() == 110 + 3
        assert lake.version == version + 1  # type: ignore[operator]

    def test_an_emptied_scope_stays_empty(self, make: Make) -> None:
        lake = make(corrections=True, shrink="100%", usage={"where": {"region": {"not": ["us"]}}})
        lake.deliver([row.but(rev="1") for row in JANUARY])
        lake.deliver([row.but(rev="2", region="us") for row in JANUARY])
        lake.deliver([row.but(rev="1") for row in JANUARY[:5]])
        assert lake.events().is_empty()

    def test_a_month_that_grows_day_by_day_is_its_latest_day(self, make: Make) -> None:
        lake = make(daily=True, corrections={"order": "partitions"})
        whole = {f"2024-01-{day:02}.csv": csv_bytes(JANUARY[:day]) for day in (1, 2, 3)}
        lake.place(whole)
        for day in (2, 3, 1, 2, 3):
            lake.run(f"2024-01-{day:02}")
        assert lake.events()["quantity"].sum() == 30
        assert lake.version == 2

    def test_without_an_order_two_partitions_of_a_scope_are_refused(self, make: Make) -> None:
        lake = make(daily=True)
        lake.place({f"2024-01-0{day}.csv": csv_bytes(JANUARY[:day]) for day in (1, 2)})
        lake.run("2024-01-01")
        told = r"(?s)subject acme, time 2024-01: legacy/2024-01-01/.*corrections"
        with pytest.raises(SnapshotRefusedError, match=told):
            lake.run("2024-01-02")

    def test_bytes_that_come_back_count_again(self, make: Make) -> None:
        lake = make()
        old, new = JANUARY, [row.but(quantity="11") for row in JANUARY]
        batches = [lake.deliver(rows).record.batch for rows in (old, new, old, new)]
        assert len(set(batches)) == 4
        assert lake.events()["quantity"].sum() == 110
        for total in (100, 110, 100, 0):
            revert(lake.root, lake.catalog, batches.pop())
            assert lake.events()["quantity"].sum() == total

    def test_two_revisions_of_a_scope_in_one_file_are_refused(self, make: Make) -> None:
        lake = make(corrections=True)
        with pytest.raises(SourceFileError, match=r"delivery.csv:11: has two revisions of subject"):
            lake.deliver([*JANUARY[:9], JANUARY[9].but(rev="2")])


class TestAnotherIdentity:
    def test_rows_that_were_imported_under_another_one_do_not_count_again(
        self, tmp_path: Path
    ) -> None:
        lake = TinyRoot(tmp_path, identity="multiset")
        batch = lake.deliver(JANUARY).record.batch
        lake.identity = {"snapshot": {"scope": "partition"}}
        lake.declare()
        with pytest.raises(SnapshotRefusedError, match=f"another identity .{batch}"):
            lake.run()
        revert(lake.root, lake.catalog, batch)
        assert outcome(lake.run())[0] == of(10, 100)

    def test_nor_do_those_of_other_scopes(self, make: Make) -> None:
        lake = make()
        lake.deliver(JANUARY)
        lake.identity["snapshot"]["scope"] = "partition"
        lake.declare()
        with pytest.raises(SnapshotRefusedError, match="imported under another identity"):
            lake.run()


class TestRevert:
    def test_removed_rows_come_back_as_they_were(self, make: Make) -> None:
        lake = make(shrink="100%")
        lake.deliver([*JANUARY, *GLOBEX])
        before = standing(lake)
        done = lake.deliver(JANUARY[:4])
        (record,) = revert(lake.root, lake.catalog, done.record.batch)
        assert (record.removed, record.restored) == (Total(), of(6, 60))
        assert standing(lake).equals(before)
        assert not lake.run().unchanged

    def test_what_a_later_delivery_replaced_is_not_undone(self, make: Make) -> None:
        lake = make(shrink="100%")
        first = lake.deliver(JANUARY)
        second = lake.deliver(JANUARY[:4])
        with pytest.raises(RevertRefusedError, match=second.record.batch):
            revert(lake.root, lake.catalog, first.record.batch)

    def test_by_force_it_is_as_if_it_had_never_been(self, make: Make) -> None:
        lake = make(shrink="100%", row="id")
        lake.deliver(JANUARY[:6])
        before = standing(lake)
        middle = lake.deliver([row.but(quantity="11") for row in [*JANUARY[:2], *JANUARY[6:8]]])
        last = lake.deliver([JANUARY[0].but(quantity="12"), JANUARY[8]])
        revert(lake.root, lake.catalog, middle.record.batch, force=True)
        assert lake.events()["quantity"].sum() == 22
        revert(lake.root, lake.catalog, last.record.batch)
        assert standing(lake).equals(before)

    def test_a_row_that_was_removed_before_does_not_come_back(self, make: Make) -> None:
        lake = make(shrink="100%")
        lake.deliver(JANUARY[:2])
        lake.deliver(JANUARY[:1])
        again = lake.deliver([*JANUARY[:2], JANUARY[4]])
        revert(lake.root, lake.catalog, again.record.batch)
        assert lake.events()["quantity"].sum() == 10

    def test_maintenance_keeps_what_it_needs(self, make: Make) -> None:
        lake = make(shrink="100%")
        lake.deliver(JANUARY)
        before = standing(lake)
        done = lake.deliver(JANUARY[:4])
        maintain(lake.root, lake.catalog, timedelta(0))
        revert(lake.root, lake.catalog, done.record.batch)
        assert standing(lake).equals(before)


def test_the_plan_shows_what_would_be_removed(make: Make) -> None:
    lake = make(shrink="50%")
    lake.deliver([*JANUARY, *GLOBEX])
    lake.place(
        {"next.csv": csv_bytes([*JANUARY[:5], Row("x", "acme", "60", "2024-01-31T00:00:00Z")])}
    )
    made = plan(lake.root, lake.catalog, [(lake.catalog.sources["legacy"], [WHOLE])])
    (effect,) = made.effects.values()
    assert (effect.removed, effect.new, effect.duplicate) == (of(5, 50), of(1, 60), of(5, 50))
    assert effect.delta == of(-4, 10)
    assert lake.version == 1


def test_the_commands_tell_it(make: Make, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    lake = make(shrink="50%")
    lake.place({"one.csv": csv_bytes([*JANUARY, *GLOBEX])})
    assert run("backfill", data=lake.root).code == 0
    lake.place({"two.csv": csv_bytes(JANUARY[:6])})
    told = run("backfill", data=lake.root)
    assert "What snapshots did to their scopes" in told.out
    assert "Nothing changed" not in told.out
    rows = list(csv.DictReader(io.StringIO(run("batches", "--scopes", data=lake.root).out)))
    newest = rows[0]
    assert (newest["scope"], newest["before_rows"], newest["removed_rows"]) == (
        "acme | 2024-01",
        "10",
        "4",
    )
    assert (newest["removed_quantity"], newest["after_quantity"]) == ("40", "60")
    lake.place({"three.csv": csv_bytes(JANUARY[:1])})
    refused = run("backfill", data=lake.root)
    assert refused.code == 1
    assert "6 rows with 60.000000000 before, 1 rows with 10.000000000 now" in refused.err
