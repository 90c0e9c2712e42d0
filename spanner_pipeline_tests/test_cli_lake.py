"""What a user does with imports: list them, take one out, rehearse one, see conflicts, maintain."""

from __future__ import annotations

import csv
import hashlib
import io
from decimal import Decimal
from pathlib import Path

import pytest

from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.lake.building import Row, TinyRoot, csv_bytes

FIRST = csv_bytes([Row("1"), Row("2")])
SECOND = csv_bytes([Row("1", quantity="5.5", rev="2"), Row("2", quantity="7"), Row("3")])


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


@pytest.fixture
def lake(tmp_path: Path) -> TinyRoot:
    """Two imports, of which the second builds on the first."""
    lake = TinyRoot(tmp_path, corrections=True)
    for name, content in (("first.csv", FIRST), ("second.csv", SECOND)):
        lake.place({name: content})
        lake.run()
    return lake


def batch_of(content: bytes) -> str:
    digest = hashlib.sha256(hashlib.sha256(content).hexdigest().encode()).hexdigest()
    return f"legacy/whole/{digest[:16]}"


def as_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_batches_lists_imports_the_newest_first(run: Run, lake: TinyRoot) -> None:
    ended = run("batches", data=lake.root)
    assert ended.code == 0
    lines = [line for line in ended.out.splitlines() if "legacy/whole" in line]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    assert [row[:9] for row in cells] == [
        [batch_of(SECOND), "calls", "1", "3", "1", "1", "0", "6.5", "1 → 2"],
        [batch_of(FIRST), "calls", "1", "2", "2", "0", "0", "2", "- → 1"],
    ]
    assert all("@" in row[10] and row[11] == "stands" for row in cells)


def test_batches_as_csv_has_every_file_with_its_digest_and_totals(run: Run, lake: TinyRoot) -> None:
    newest, oldest = as_rows(run("batches", "--csv", data=lake.root).out)
    assert newest["file"] == "legacy/second.csv"
    assert newest["sha256"] == hashlib.sha256(SECOND).hexdigest()
    assert int(newest["bytes"]) == len(SECOND)
    assert (newest["corrected_rows"], newest["corrected_quantity"]) == ("1", "5.5")
    assert (newest["conflicting_rows"], newest["conflicting_quantity"]) == ("1", "7")
    assert newest["builds_on"] == oldest["import_batch"] == batch_of(FIRST)
    assert newest["imported_at"] > oldest["imported_at"]


def test_one_batch_is_shown_with_its_files(run: Run, lake: TinyRoot) -> None:
    ended = run("batches", batch_of(SECOND), data=lake.root)
    assert hashlib.sha256(SECOND).hexdigest() in ended.out
    assert f"It met rows of: {batch_of(FIRST)}" in ended.out
    assert hashlib.sha256(FIRST).hexdigest() not in ended.out
    assert run("batches", "legacy/whole/0", data=lake.root).code == 2


def test_a_revert_takes_one_import_out_and_says_what_it_did(run: Run, lake: TinyRoot) -> None:
    ended = run("revert", batch_of(SECOND), data=lake.root)
    assert ended.code == 0
    assert "2 → 3" in ended.out
    assert lake.quantities() == {"1": 1, "2": 1}
    newest, oldest = as_rows(run("batches", "--csv", data=lake.root).out)
    assert newest["state"].startswith("reverted 20")
    assert oldest["state"] == "stands"
    again = run("revert", batch_of(SECOND), data=lake.root)
    assert again.code == 2
    assert "spanner-pipeline batches" in again.err


def test_a_revert_that_others_build_on_is_refused_and_names_them(run: Run, lake: TinyRoot) -> None:
    before = lake.lake_files()
    ended = run("revert", batch_of(FIRST), data=lake.root)
    assert ended.code == 1
    assert batch_of(SECOND) in ended.err
    assert lake.lake_files() == before


def test_a_forced_revert_says_what_to_import_again(run: Run, lake: TinyRoot) -> None:
    ended = run("revert", batch_of(FIRST), "--force", data=lake.root)
    assert ended.code == 0
    assert "import their partitions again" in ended.out
    assert lake.quantities() == {"1": Decimal("5.5"), "3": 1}


def test_conflicts_are_shown_with_both_sides_and_where_they_stand(run: Run, lake: TinyRoot) -> None:
    shown = run("conflicts", data=lake.root).out
    for text in ("legacy:org_1:calls:2", "quantity", "first.csv:3", "second.csv:3", "higher"):
        assert text in shown
    (conflict,) = as_rows(run("conflicts", "--csv", data=lake.root).out)
    assert conflict["fields_that_differ"] == "quantity"
    assert (conflict["kept_quantity"], conflict["refused_quantity"]) == (
        "1.000000000",
        "7.000000000",
    )
    assert conflict["refused_import_batch"] == batch_of(SECOND)
    assert "no conflicts" in run("conflicts", "--meter", "others", data=lake.root).out


def test_plan_shows_what_would_change_and_changes_nothing(run: Run, lake: TinyRoot) -> None:
    lake.place({"third.csv": csv_bytes([Row("3", quantity="2", rev="9"), Row("4"), Row("1")])})
    before = lake.lake_files()
    ended = run("plan", data=lake.root)
    assert ended.code == 0
    assert "2024-01" in ended.out
    (row,) = as_rows(run("plan", "--csv", data=lake.root).out)
    found = {name: row[f"{name}_rows"] for name in ("before", "after", "delta", "new", "corrected")}
    assert found == {"before": "3", "after": "4", "delta": "1", "new": "1", "corrected": "1"}
    assert (row["before_quantity"], row["after_quantity"]) == ("7.5", "9.5")
    assert row["duplicate_rows"] == "1"
    assert lake.lake_files() == before


def test_plan_of_what_is_there_says_so(run: Run, lake: TinyRoot) -> None:
    ended = run("plan", data=lake.root)
    assert "Nothing would change." in ended.out
    assert "Imported before: 1 of the deliveries, with 3 rows." in ended.out


def test_plan_fails_as_the_import_would(run: Run, lake: TinyRoot) -> None:
    lake.place({"empty.csv": b""})
    ended = run("plan", data=lake.root)
    assert ended.code == 1
    assert "FAILED legacy whole" in ended.err
    assert "empty.csv" in ended.err


def test_maintain_says_what_it_did(run: Run, lake: TinyRoot) -> None:
    ended = run("maintain", "--keep", "0d", data=lake.root)
    assert ended.code == 0
    assert "leftovers deleted" in ended.out
    assert lake.quantities() == {"1": Decimal("5.5"), "2": 1, "3": 1}
    ended = run("maintain", "--keep", "soon", data=lake.root)
    assert ended.code == 2
    assert "7d" in ended.err
