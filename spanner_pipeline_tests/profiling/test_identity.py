"""What identifies rows is proven over the whole file, and over two exports of one period."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.profiling.examine import Profile, examine
from spanner_pipeline_tests.profiling.choosing import write

HOURS = [f"2024-01-{day:02}T{hour:02}:00:00Z" for day in range(1, 11) for hour in range(24)]


def export(path: Path, rows: list[tuple[object, ...]], *names: str) -> Path:
    lines = [",".join(names), *(",".join(map(str, row)) for row in rows)]
    return write(path, "\n".join(lines) + "\n")


def keys(profile: Profile) -> list[tuple[str, ...]]:
    return [key.names for key in profile.proof.keys]


def proposed(profile: Profile) -> tuple[str, ...] | None:
    return profile.choice.key.names if profile.choice.key else None


def usage(prefix: str = "u", units: int = 1) -> list[tuple[object, ...]]:
    """An id, a customer, an hour and units: each customer has one row an hour."""
    return [
        (f"{prefix}{c}-{n}", f"customer-{c}", hour, (n * 7 + c) % 5 + units)
        for n, hour in enumerate(HOURS)
        for c in range(3)
    ]


NAMES = ("event_id", "customer", "hour", "units")


class TestOneFile:
    def test_an_id_comes_before_all_else(self, tmp_path: Path) -> None:
        found = examine(export(tmp_path / "f", usage(), *NAMES))
        assert proposed(found) == ("event_id",)
        assert keys(found) == [("event_id",)]

    def test_an_id_that_one_late_row_repeats_is_none(self, tmp_path: Path) -> None:
        rows = [*usage(), ("u0-0", "customer-9", "2024-02-01T00:00:00Z", 3)]
        found = examine(export(tmp_path / "f", rows, *NAMES))
        assert ("event_id",) not in keys(found)
        assert ("customer", "hour") in keys(found)

    def test_an_id_that_a_row_lacks_is_none(self, tmp_path: Path) -> None:
        rows = [*usage()[:-1], ("", *usage()[-1][1:])]
        assert proposed(examine(export(tmp_path / "f", rows, *NAMES))) == ("customer", "hour")

    def test_a_repeat_beyond_the_sample_is_found(self, tmp_path: Path) -> None:
        count = 60_000
        frame = pl.DataFrame(
            {
                "region": [f"r{n % 300}" for n in range(count)],
                "shard": [f"s{n // 300}" for n in range(count)],
                "tag": ["x"] * (count - 1) + ["y"],
            }
        )
        late = frame.with_columns(
            shard=pl.when(pl.int_range(count) == count - 1).then(pl.lit("s0")).otherwise("shard"),
        )
        for name, rows in (("good", frame), ("late", late)):
            rows.write_parquet(tmp_path / name)
        assert proposed(examine(tmp_path / "good")) == ("region", "shard")
        found = examine(tmp_path / "late")
        assert ("region", "shard") not in keys(found)
        assert proposed(found) == ("region", "shard", "tag")

    def test_an_amount_that_differs_everywhere_is_no_id(self, tmp_path: Path) -> None:
        rows = [(c, hour, f"{n}.{n + 1}") for n, (_, c, hour, _) in enumerate(usage())]
        found = examine(export(tmp_path / "f", rows, "customer", "hour", "cost"))
        assert keys(found) == [("customer", "hour")]

    def test_rows_that_are_alike_are_a_multiset_and_counted(self, tmp_path: Path) -> None:
        rows = [row[1:] for row in usage()]
        found = examine(export(tmp_path / "f", [*rows, *rows[:5], rows[0]], *NAMES[1:]))
        repeats = found.proof.repeats
        assert (repeats.extra, repeats.affected, repeats.most) == (6, 11, 3)
        assert proposed(found) is None
        assert "6 rows of 726 repeat an earlier row to the last field" in found.choice.reasons[0]

    def test_copies_of_rows_with_an_id_keep_the_id(self, tmp_path: Path) -> None:
        found = examine(export(tmp_path / "f", [*usage(), *usage()[:7]], *NAMES))
        assert proposed(found) == ("event_id",)
        assert "copies of each other" in found.choice.reasons[0]
        assert found.proof.repeats.extra == 7

    def test_json_rows_that_differ_only_in_the_order_of_keys(self, tmp_path: Path) -> None:
        lines = ['{"id": "a", "n": 1}', '{"id": "b", "n": 1}', '{"id": "a", "n": 1}']
        found = examine(write(tmp_path / "f", "\n".join(lines) + "\n"))
        assert (found.proof.repeats.extra, proposed(found)) == (1, ("id",))

    def test_charges_and_their_voids_are_told_apart_by_the_amount(self, tmp_path: Path) -> None:
        rows = [(c, hour, f"{units}.5") for _, c, hour, units in usage()]
        voids = [(c, hour, f"-{amount}") for c, hour, amount in rows[:9]]
        found = examine(export(tmp_path / "f", rows + voids, "customer", "hour", "amount"))
        nearest = found.proof.nearest
        assert nearest is not None
        assert (nearest.names, nearest.repeats) == (("customer", "hour"), 9)
        assert nearest.cancelling == ("amount",)
        assert proposed(found) == ("customer", "hour", "amount")

    def test_one_void_that_does_not_cancel_denies_it(self, tmp_path: Path) -> None:
        rows = [(c, hour, f"{units}.5") for _, c, hour, units in usage()]
        voids = [(c, hour, f"-{amount}") for c, hour, amount in rows[:9]]
        voids[3] = (*voids[3][:2], "-0.25")
        found = examine(export(tmp_path / "f", rows + voids, "customer", "hour", "amount"))
        assert found.proof.nearest is not None
        assert found.proof.nearest.cancelling == ()


class TestTwoExports:
    def test_ids_that_change_are_named_and_left_out(self, tmp_path: Path) -> None:
        first = export(tmp_path / "a", usage("u"), *NAMES)
        found = examine(first, export(tmp_path / "b", usage("v"), *NAMES))
        by_key = {one.key.names: one for one in found.stability}
        ids = by_key["event_id",]
        assert (ids.unstable, ids.renamed) == (["event_id"], {"event_id": 720})
        assert (ids.same, ids.corrected, ids.only_first, ids.only_second) == (0, 0, 0, 0)
        assert proposed(found) == ("customer", "hour")
        rest = by_key["customer", "hour"]
        assert rest.holds
        assert (rest.same, rest.corrected) == (720, 0)
        assert any("event_id changes between exports" in r for r in found.choice.reasons)

    def test_another_id_alone_is_no_correction(self, tmp_path: Path) -> None:
        def numbered(prefix: str) -> list[tuple[object, ...]]:
            return [(*row, f"tx{n}") for n, row in enumerate(usage(prefix))]

        found = examine(
            export(tmp_path / "a", numbered("u"), *NAMES, "tx"),
            export(tmp_path / "b", numbered("v"), *NAMES, "tx"),
        )
        by_key = {one.key.names: one for one in found.stability}
        assert by_key["event_id",].unstable == ["event_id"]
        assert (by_key["tx",].same, by_key["tx",].corrected) == (720, 0)
        assert proposed(found) == ("tx",)

    def test_corrections_and_rows_of_one_export_only(self, tmp_path: Path) -> None:
        rows = usage()
        other = [(*row[:3], 99) if n in (3, 4) else row for n, row in enumerate(rows[10:])]
        other.append(("new", "customer-7", "2024-01-20T00:00:00Z", 2))
        found = examine(
            export(tmp_path / "a", rows, *NAMES), export(tmp_path / "b", other[::-1], *NAMES)
        )
        (ids,) = found.stability
        assert ids.holds
        assert (ids.same, ids.corrected, ids.changes) == (708, 2, {"units": 2})
        assert (ids.only_first, ids.only_second) == (10, 1)
        assert found.overlap is not None
        assert (found.overlap.both, found.overlap.only_first) == (708, 12)
        assert proposed(found) == ("event_id",)

    def test_a_key_that_the_second_export_repeats_is_none(self, tmp_path: Path) -> None:
        rows = usage()
        again = [*rows, (rows[0][0], "customer-5", "2024-03-01T00:00:00Z", 1)]
        found = examine(export(tmp_path / "a", rows, *NAMES), export(tmp_path / "b", again, *NAMES))
        assert found.stability[0].repeats_in_second == 1
        assert proposed(found) != ("event_id",)

    def test_columns_in_another_order_are_the_same(self, tmp_path: Path) -> None:
        turned = [row[::-1] for row in usage()]
        found = examine(
            export(tmp_path / "a", usage(), *NAMES), export(tmp_path / "b", turned, *NAMES[::-1])
        )
        assert found.stability[0].same == 720

    def test_a_column_that_the_second_lacks_is_no_key(self, tmp_path: Path) -> None:
        without = [row[1:] for row in usage()]
        found = examine(
            export(tmp_path / "a", usage(), *NAMES), export(tmp_path / "b", without, *NAMES[1:])
        )
        assert found.only_first == ["event_id"]
        assert proposed(found) == ("customer", "hour")

    def test_a_file_of_something_else_is_refused(self, tmp_path: Path) -> None:
        first = export(tmp_path / "a", usage(), *NAMES)
        other = export(tmp_path / "b", [(1, 2)], "x", "y")
        with pytest.raises(SourceFileError, match="has no column of"):
            examine(first, other)
