"""Laws 1, 3 and 4 as examples: what each kind of row becomes, and what the lake holds after."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from spanner_pipeline.lake import search
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes, shuffled

OLD = [Row(str(i), quantity=f"{i}.5", time=f"2024-01-{1 + i % 9:02}T05:00:00Z") for i in range(90)]


@pytest.fixture
def plain(tmp_path: Path) -> TinyRoot:
    """A source that never corrects."""
    return TinyRoot(tmp_path)


@pytest.fixture
def correcting(tmp_path: Path) -> TinyRoot:
    """A source whose rows carry a revision."""
    return TinyRoot(tmp_path, corrections=True)


def test_new_rows_enter_with_their_payload(plain: TinyRoot) -> None:
    done = plain.deliver(OLD)
    balance(done)
    assert done.totals.new.rows == 90
    assert plain.payloads() == {row.id: row.payload for row in OLD}


def test_replay_of_known_files_writes_nothing(plain: TinyRoot) -> None:
    plain.deliver(OLD)
    before, ledger = plain.lake_files(), plain.records()
    done = plain.run()
    balance(done)
    assert done.unchanged
    assert done.totals.present.rows == 90
    assert plain.lake_files() == before
    assert plain.records() == ledger


@pytest.mark.parametrize("corrections", [False, True])
def test_reexport_in_other_order_and_bytes_writes_nothing(
    tmp_path: Path, corrections: bool
) -> None:
    lake = TinyRoot(tmp_path, corrections=corrections)
    lake.deliver(OLD)
    before = lake.lake_files()
    lake.place({"other.csv.gz": csv_bytes(shuffled(OLD), end="\r\n")})
    done = lake.run()
    balance(done)
    assert not done.unchanged
    assert (done.totals.present.rows, done.totals.new.rows) == (90, 0)
    assert lake.lake_files() == before


def test_reexport_in_another_format_writes_nothing(plain: TinyRoot) -> None:
    plain.deliver(OLD)
    before = plain.lake_files()
    source = plain.path / "sources" / "one.yaml"
    declared = source.read_text(encoding="utf-8")
    source.write_text(declared.replace('"delimited"', '"parquet"'), encoding="utf-8")
    export = io.BytesIO()
    pl.read_csv(csv_bytes(shuffled(OLD)), infer_schema=False).write_parquet(export)
    plain.place({"other.parquet": export.getvalue()})
    done = plain.run()
    balance(done)
    assert (done.totals.present.rows, done.totals.new.rows) == (90, 0)
    assert plain.lake_files() == before


def test_every_digit_of_a_large_quantity_goes_through(correcting: TinyRoot) -> None:
    large, larger = f"{10**28}.000000001", f"{10**28}.999999999"
    done = correcting.deliver([Row("1", quantity=large), Row("2", quantity=f"1{'0' * 29}")])
    balance(done)
    assert done.totals.rejected.rows == 1
    assert correcting.rejected()[0]["reason_code"] == "quantity_does_not_fit"
    balance(correcting.deliver([Row("1", quantity=larger, rev="2"), Row("3", quantity=large)]))
    assert correcting.quantities() == {"1": Decimal(larger), "3": Decimal(large)}


def test_identical_copies_in_one_delivery_count_once(plain: TinyRoot) -> None:
    done = plain.deliver([Row("1"), Row("2"), Row("1"), Row("1")])
    balance(done)
    assert (done.totals.new.rows, done.totals.present.rows) == (2, 2)
    assert plain.conflicts() == []
    assert set(plain.payloads()) == {"1", "2"}


def test_differing_copies_in_one_delivery_keep_the_first_and_record_the_rest(
    plain: TinyRoot,
) -> None:
    rows = [Row("1", quantity="1"), Row("2"), Row("1", quantity="7", region="eu"), Row("1")]
    done = plain.deliver(rows)
    balance(done)
    assert (done.totals.new.rows, done.totals.present.rows) == (2, 1)
    assert (done.totals.conflicting.rows, done.totals.conflicting.quantity) == (1, Decimal(7))
    assert plain.quantities() == {"1": Decimal(1), "2": Decimal(1)}
    (conflict,) = plain.conflicts()
    assert sorted(conflict["fields_that_differ"]) == ["dim_region", "quantity"]


def test_a_conflict_keeps_both_payloads_both_files_and_lines_and_the_rule(plain: TinyRoot) -> None:
    plain.deliver([Row("0"), Row("1", quantity="1.25", region="eu")], "first.csv")
    done = plain.deliver([Row("1", quantity="2.5", time="2024-02-03T04:05:06.000007Z")], "next.csv")
    balance(done)
    assert (done.totals.new.rows, done.totals.conflicting.rows) == (0, 1)
    (conflict,) = plain.conflicts()
    differing = conflict.pop("fields_that_differ")
    assert sorted(differing) == ["dim_region", "quantity", "timestamp"]
    batches = conflict.pop("kept_import_batch"), conflict.pop("refused_import_batch")
    assert batches[1] == done.record.batch != batches[0]
    first, refused = Row("1", quantity="1.25", region="eu"), Row("1", quantity="2.5")
    assert conflict == {
        "idempotency_key": "legacy:org_1:calls:1",
        "meter": "calls",
        "kept_subject": "org_1",
        "refused_subject": "org_1",
        "kept_timestamp": first.payload[1],
        "refused_timestamp": refused.but(time="2024-02-03T04:05:06.000007Z").payload[1],
        "kept_quantity": Decimal("1.25"),
        "refused_quantity": Decimal("2.5"),
        "kept_dim_region": "eu",
        "refused_dim_region": None,
        "kept_revision": None,
        "refused_revision": None,
        "kept_source_file": "legacy/first.csv",
        "refused_source_file": "legacy/next.csv",
        "kept_source_line": 3,
        "refused_source_line": 2,
        "rule": "keep the first",
    }
    assert plain.quantities() == {"0": Decimal(1), "1": Decimal("1.25")}


def test_without_declared_corrections_a_higher_revision_replaces_nothing(plain: TinyRoot) -> None:
    plain.deliver([Row("1", rev="1")])
    before = plain.lake_files()
    done = plain.deliver([Row("1", quantity="2", rev="9")])
    assert done.totals.conflicting.rows == 1
    assert plain.lake_files() == before


@pytest.mark.parametrize(
    ("rev", "outcome", "kept"),
    [("3", "corrected", 9), ("2", "conflicting", 5), ("1", "present", 5)],
    ids=["higher corrects", "equal conflicts", "lower is stale"],
)
def test_only_a_higher_revision_corrects(
    correcting: TinyRoot, rev: str, outcome: str, kept: int
) -> None:
    correcting.deliver([Row("1", quantity="5", rev="2"), Row("other")])
    done = correcting.deliver([Row("1", quantity="9", rev=rev)])
    balance(done)
    assert getattr(done.totals, outcome).rows == 1
    assert correcting.quantities() == {"1": Decimal(kept), "other": Decimal(1)}
    assert len(correcting.conflicts()) == (outcome == "conflicting")


def test_of_several_revisions_in_one_delivery_the_highest_enters(correcting: TinyRoot) -> None:
    rows = [Row("1", quantity=str(10 * rev), rev=str(rev)) for rev in (2, 10, 9)]
    done = correcting.deliver([*rows, Row("1", quantity="7", rev="10"), rows[1]])
    balance(done)
    totals = done.totals
    assert (totals.new.rows, totals.present.rows, totals.conflicting.rows) == (1, 3, 1)
    assert correcting.quantities() == {"1": Decimal(100)}
    (conflict,) = correcting.conflicts()
    assert (conflict["kept_quantity"], conflict["refused_quantity"]) == (100, 7)
    assert conflict["rule"] == "the higher revision wins; equal revisions keep the first"


@pytest.mark.parametrize("moment", ["2024-01-02", "2024-07-01", "2031-01-01"])
def test_a_corrected_timestamp_moves_the_event_and_counts_it_once(
    correcting: TinyRoot, moment: str
) -> None:
    correcting.deliver([Row("1"), Row("stays"), Row("there", time=f"{moment}T01:00:00Z")])
    done = correcting.deliver([Row("1", time=f"{moment}T00:00:00Z", quantity="2", rev="2")])
    balance(done)
    assert done.totals.corrected.rows == 1
    payloads = correcting.payloads()
    assert set(payloads) == {"1", "stays", "there"}
    assert payloads["1"] == Row("1", time=f"{moment}T00:00:00Z", quantity="2").payload


def test_without_corrections_a_moved_event_stays_and_is_a_conflict(plain: TinyRoot) -> None:
    plain.deliver([Row("1")])
    done = plain.deliver([Row("1", time="2024-03-01T00:00:00Z")])
    assert done.totals.conflicting.rows == 1
    assert plain.payloads() == {"1": Row("1").payload}
    assert plain.conflicts()[0]["fields_that_differ"] == ["timestamp"]


def test_a_stale_export_never_undoes_corrections(correcting: TinyRoot) -> None:
    correcting.deliver(OLD)
    fixed = [row.but(quantity="1000", rev="2") for row in OLD[::10]]
    moved = [row.but(time="2024-05-05T00:00:00Z", rev="2") for row in OLD[5::10]]
    done = correcting.deliver([*fixed, *moved])
    assert done.totals.corrected.rows == 18
    before, payloads = correcting.lake_files(), correcting.payloads()
    correcting.place({"old again.csv": csv_bytes(OLD[::-1], end="\r\n")})
    done = correcting.run()
    balance(done)
    assert (done.totals.present.rows, done.totals.conflicting.rows) == (90, 0)
    assert correcting.lake_files() == before
    expected = {row.id: row.payload for row in [*OLD, *fixed, *moved]}
    assert payloads == correcting.payloads() == expected


def test_a_stale_export_without_corrections_changes_nothing_back(plain: TinyRoot) -> None:
    plain.deliver(OLD)
    before = plain.lake_files()
    plain.deliver([row.but(quantity="1000") for row in OLD[::10]])
    plain.place({"old again.csv": csv_bytes(OLD[::-1])})
    done = plain.run()
    assert done.totals.present.rows == 90
    assert plain.lake_files() == before


def test_corrections_declared_later_replace_rows_that_had_no_revision(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    lake.deliver([Row("1", rev="4"), Row("2", rev="4")])
    lake.corrections = True
    lake.declare()
    done = lake.deliver([Row("1", quantity="3", rev="5")])
    assert done.totals.corrected.rows == 1
    done = lake.deliver([Row("1", quantity="8", rev="4")])
    assert done.totals.present.rows == 1
    assert lake.quantities() == {"1": Decimal(3), "2": Decimal(1)}


def test_late_rows_of_known_days_are_added_beside_the_old(plain: TinyRoot) -> None:
    plain.deliver(OLD)
    files = set(plain.lake_files())
    late = [Row(f"late {i}", time="2024-01-01T00:00:00Z") for i in range(5)]
    done = plain.deliver([*late, *OLD[:3]])
    balance(done)
    assert (done.totals.new.rows, done.totals.present.rows) == (5, 3)
    assert plain.payloads().keys() == {row.id for row in OLD} | {f"late%20{i}" for i in range(5)}
    assert files <= set(plain.lake_files())


def test_totals_hold_for_each_file_alone(plain: TinyRoot) -> None:
    plain.deliver([Row("known")])
    plain.place(
        {
            "a.csv": csv_bytes([Row("known"), Row("1", quantity="0.1"), Row("2", quantity="x")]),
            "b.csv": csv_bytes([Row("1", quantity="0.1"), Row("1", quantity="0.3"), Row("3")]),
        }
    )
    done = plain.run()
    balance(done)
    first, second = (file.totals for file in done.record.files)
    assert (first.read.rows, first.new.rows, first.present.rows, first.rejected.rows) == (
        3,
        1,
        1,
        1,
    )
    assert (second.new.rows, second.present.rows, second.conflicting.rows) == (1, 1, 1)
    assert second.conflicting.quantity == Decimal("0.3")


def test_a_delivery_with_only_rejected_rows_makes_no_table(plain: TinyRoot) -> None:
    done = plain.deliver([Row("1", quantity="x"), Row("2", quantity="-1")])
    balance(done)
    assert done.totals.rejected.rows == 2
    assert plain.version is None
    assert len(plain.rejected()) == 2
    assert plain.run().unchanged


def test_events_of_a_day_are_sorted_by_subject_and_time(plain: TinyRoot) -> None:
    rows = [
        Row(f"{n} {hour}", subject=f"org_{n}", time=f"2024-01-01T{hour:02}:00:00Z")
        for n in (3, 1, 2)
        for hour in (5, 1, 9)
    ]
    plain.deliver(rows)
    events = plain.events()
    order = events.select("subject", "timestamp").rows()
    assert order == sorted(order)


@pytest.mark.parametrize("many", [0, 1000])
def test_a_large_delivery_is_searched_for_on_all_days_too(
    correcting: TinyRoot, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(search, "_MANY", many)
    correcting.deliver(OLD)
    moved = OLD[0].but(time="2024-06-01T00:00:00Z", rev="3")
    rows = [*(row.but(quantity="7", rev="2") for row in OLD), moved, Row("new")]
    done = correcting.deliver(rows)
    balance(done)
    totals = done.totals
    assert (totals.corrected.rows, totals.new.rows, totals.present.rows) == (90, 1, 1)
    expected = {row.id: row.payload for row in rows[1:90]} | {"0": moved.payload}
    assert correcting.payloads() == {**expected, "new": Row("new").payload}
