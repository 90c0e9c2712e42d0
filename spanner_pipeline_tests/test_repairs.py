"""Rejected rows go out in their source's format, are mended, and only they are taken."""

from __future__ import annotations

import csv
import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanner_pipeline.assets.backfill import run_backfill
from spanner_pipeline.repairs.take import Repaired, take_repairs
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.conftest import MakeRoot, Run, write_root
from spanner_pipeline_tests.lake_reading import events, everything_written
from spanner_pipeline_tests.lake_reading import run as import_partition

METER = {"name": "m", "description": "", "unit": "u", "aggregation": "sum"}
CSV = """at,customer,n,note
2026-01-01T00:00:00Z,acme,1,fine
2026-01-01T01:00:00Z,acme,two,"a ""word"", quoted"
2026-01-01T02:00:00Z,,3,no customer
2026-01-01T03:00:00Z,acme
2026-01-01T04:00:00Z,zeta,5,fine
"""


def source(**changed: Any) -> dict[str, Any]:
    declared = {
        "source": "old",
        "format": {"family": "delimited"},
        "files": "legacy/old.*",
        "partitions": {"grain": "whole"},
        "identity": "multiset",
        "usage": [{"meter": "m", "subject": "customer", "quantity": "n", "timestamp": "at"}],
    }
    return declared | changed


def repair_file(root: DataRoot) -> Path:
    [path] = (root.quarantine / "old").rglob("*.repair.*")
    return path


def read(path: Path, separator: str = ",") -> list[dict[str, str]]:
    lines = path.read_text("utf-8-sig").splitlines()
    return list(csv.DictReader(lines, delimiter=separator))


def write(path: Path, rows: list[dict[str, str]], separator: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, rows[0], lineterminator="\n", delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def quantity(root: DataRoot) -> Decimal:
    total = events(root, "m")["quantity"].sum()
    assert isinstance(total, Decimal)
    return total


def control(root: DataRoot) -> dict[str, int]:
    """Rows of the newest import, by outcome."""
    records = [json.loads(p.read_text()) for p in (root.lake).rglob("imports/**/*.json")]
    newest = max(records, key=lambda record: record["imported_at"])
    [file] = newest["files"]
    return {outcome: total["rows"] for outcome, total in file["totals"].items()}


@pytest.fixture(scope="module")
def imported_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose import rejected three rows; tests copy it."""
    path = tmp_path_factory.mktemp("rejected") / "root"
    root = write_root(path, {"m": METER}, {"old": source()}, {"old.csv": CSV})
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", "")
        assert run_backfill(root).failures == {}
    assert quantity(root) == 6
    return path


@pytest.fixture
def rejected(imported_once: Path, tmp_path: Path) -> DataRoot:
    return DataRoot(shutil.copytree(imported_once, tmp_path / "root"))


def test_the_file_to_mend_has_the_source_s_columns_and_why(rejected: DataRoot) -> None:
    rows = read(repair_file(rejected))
    assert [row["reason_code"] for row in rows] == [
        "quantity_not_a_number",
        "subject_missing",
        "malformed_row",
    ]
    assert [row["field"] for row in rows] == ["quantity", "subject", "row"]
    assert all(row["hint"] for row in rows)
    assert (rows[0]["n"], rows[0]["note"]) == ("two", 'a "word", quoted')
    assert (rows[2]["n"], rows[2]["original_row"]) == ("", "2026-01-01T03:00:00Z,acme")


def test_only_mended_rows_are_taken_and_the_counts_close(rejected: DataRoot, run: Run) -> None:
    path = repair_file(rejected)
    rows = read(path)
    rows[0]["n"] = "2"
    rows[2] |= {"at": "2026-01-01T03:00:00Z", "customer": "acme", "n": "4", "note": ""}
    write(path, rows)
    before = (rejected.path / "legacy" / "old.csv").read_bytes()
    done = run("backfill", "old", "--from-quarantine", str(path), data=rejected)
    assert "2 mended rows of whole; 1 are as they were and stay rejected." in done.out
    assert quantity(rejected) == 6 + 2 + 4
    counted = control(rejected)
    assert (counted["read"], counted["new"], counted["present"], counted["rejected"]) == (
        5,
        2,
        2,
        1,
    )
    assert (rejected.path / "legacy" / "old.csv").read_bytes() == before

    again = read(repair_file_of(rejected, "subject_missing"))
    again[0]["customer"] = "beta"
    second = rejected.path / "second.csv"
    write(second, again)
    assert run("backfill", "old", "--from-quarantine", str(second), data=rejected).code == 0
    assert quantity(rejected) == 15
    assert control(rejected)["rejected"] == 0

    written = everything_written(rejected)
    assert "Nothing changed" in run("backfill", data=rejected).out
    assert everything_written(rejected) == written
    table = events(rejected, "m")
    assert sorted(table["source_line"]) == [2, 3, 4, 5, 6]
    assert table["idempotency_key"].n_unique() == 5


def repair_file_of(root: DataRoot, only: str) -> Path:
    for path in (root.quarantine / "old").rglob("*.repair.*"):
        if [row["reason_code"] for row in read(path)] == [only]:
            return path
    raise AssertionError(f"no file with {only} alone")


def test_a_mended_row_that_equals_another_counts_as_well(rejected: DataRoot, run: Run) -> None:
    """In a multiset: the same content twice is two events, wherever the second comes from."""
    path = repair_file(rejected)
    rows = read(path)
    rows[0] |= {"at": "2026-01-01T00:00:00Z", "customer": "acme", "n": "1", "note": "fine"}
    write(path, rows)
    run("backfill", "old", "--from-quarantine", str(path), data=rejected)
    assert quantity(rejected) == 7
    assert events(rejected, "m")["idempotency_key"].n_unique() == 3


def test_taking_the_same_file_twice_takes_it_once(rejected: DataRoot, run: Run) -> None:
    path = rejected.path / "mended.csv"
    rows = read(repair_file(rejected))[:1]
    rows[0]["n"] = "2"
    write(path, rows)
    assert run("backfill", "old", "--from-quarantine", str(path), data=rejected).code == 0
    again = run("backfill", "old", "--from-quarantine", str(path), data=rejected)
    assert again.code == 2
    assert "mended.csv:2: row whole/" in again.err
    assert "is not rejected now" in again.err
    assert quantity(rejected) == 8


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows[0].update(rejected_row="12"), "does not say which row it is"),
        (lambda rows: rows[0].update(rejected_row=rows[1]["rejected_row"]), "stands twice"),
        (lambda rows: [row.pop("rejected_row") for row in rows], "has no column `rejected_row`"),
        (lambda rows: [row.pop("n") for row in rows], "misses n"),
        (lambda rows: [row.update(m="") for row in rows], "also has m"),
    ],
)
def test_a_spoiled_file_is_refused_and_says_what_to_do(
    rejected: DataRoot, run: Run, spoil: Any, said: str
) -> None:
    path = rejected.path / "mended.csv"
    rows = read(repair_file(rejected))
    rows[0]["n"] = "2"
    spoil(rows)
    write(path, rows)
    ended = run("backfill", "old", "--from-quarantine", str(path), data=rejected)
    assert ended.code == 2
    assert said in ended.err
    assert "Remedy: " in ended.err
    assert quantity(rejected) == 6


def test_another_delivery_under_the_name_refuses_old_repairs(rejected: DataRoot, run: Run) -> None:
    path = repair_file(rejected)
    (rejected.path / "legacy" / "old.csv").write_text(CSV + "2026-01-01T05:00:00Z,zeta,9,late\n")
    ended = run("backfill", "old", "--from-quarantine", str(path), data=rejected)
    assert ended.code == 2
    assert "has the bytes that these rows came from" in ended.err


def test_json_rows_keep_their_digits_and_keys(make_root: MakeRoot, run: Run) -> None:
    lines = [
        '{"at": "2026-01-01T00:00:00Z", "customer": "acme", "n": 0.100000000000001}',
        '{"at": "2026-01-01T01:00:00Z", "customer": "a{c}me", "n": 1.10, "deep": {"x": 1E2}}',
        '{"at": "2026-01-01T02:00:00Z", "customer": "acme", "n": ',
    ]
    meter = METER | {"decimals": "15"}
    declared = source(format={"family": "json_lines"}, identity={"native": "at"})
    root = make_root({"m": meter}, {"old": declared}, {"old.json": "\n".join([*lines, ""])})
    assert run("backfill", data=root).code == 0
    path = repair_file(root)
    shown = path.read_text().splitlines()
    assert json.loads(shown[0])["quarantine"]["reason_code"] == "subject_pattern"
    assert shown[0].startswith(lines[1].removesuffix("}"))
    assert json.loads(shown[1])["quarantine"]["original_row"] == lines[2]
    mended = shown[0].replace("a{c}me", "acme")
    path.write_text(mended + "\n" + shown[1] + "\n")
    done = run("backfill", "old", "--from-quarantine", str(path), data=root)
    assert "1 mended rows of whole; 1 are as they were" in done.out
    assert quantity(root) == Decimal("1.200000000000001")


def test_a_blank_before_the_last_brace_is_no_repair(make_root: MakeRoot, run: Run) -> None:
    line = '{"at": "2026-01-01T00:00:00Z", "customer": "acme", "n": "x" }\n'
    declared = source(format={"family": "json_lines"})
    root = make_root({"m": METER}, {"old": declared}, {"old.json": line})
    run("backfill", data=root)
    done = run("backfill", "old", "--from-quarantine", str(repair_file(root)), data=root)
    assert "0 mended rows of no partition; 1 are as they were" in done.out


def test_an_unchanged_delivery_is_not_read_again_for_its_repairs(
    rejected: DataRoot, run: Run
) -> None:
    path = repair_file(rejected)
    before = path.stat()
    run("backfill", data=rejected)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_rows_of_an_indented_json_document_are_mended_on_one_line(
    make_root: MakeRoot, run: Run
) -> None:
    rows = [
        {"at": "2026-01-01T00:00:00Z", "customer": "acme", "n": 1},
        {"at": "2026-01-01T01:00:00Z", "customer": "a{c}me", "n": 2},
    ]
    declared = source(format={"family": "json", "rows": "Records"}, identity={"native": "at"})
    content = json.dumps({"Records": rows}, indent=2)
    root = make_root({"m": METER}, {"old": declared}, {"old.json": content})
    assert run("backfill", data=root).code == 0
    path = repair_file(root)
    [shown] = path.read_text().splitlines()
    path.write_text(shown + "\n")
    untouched = run("backfill", "old", "--from-quarantine", str(path), data=root)
    assert "1 are as they were" in untouched.out
    path.write_text(shown.replace("a{c}me", "acme") + "\n")
    assert run("backfill", "old", "--from-quarantine", str(path), data=root).code == 0
    assert quantity(root) == 3


def test_typed_files_are_mended_as_text(make_root: MakeRoot, run: Run, tmp_path: Path) -> None:
    table = {"at": ["2026-01-01T00:00:00Z"] * 2, "customer": ["acme", None], "n": [1.5, 2.5]}
    pl.DataFrame(table).write_parquet(tmp_path / "old.parquet")
    content = (tmp_path / "old.parquet").read_bytes()
    declared = source(format={"family": "parquet"})
    root = make_root({"m": METER | {"decimals": "2"}}, {"old": declared}, {"old.parquet": content})
    run("backfill", data=root)
    path = repair_file(root)
    rows = read(path)
    assert rows[0]["n"] == "2.5"
    rows[0]["customer"] = "zeta"
    write(path, rows)
    assert run("backfill", "old", "--from-quarantine", str(path), data=root).code == 0
    assert quantity(root) == 4


LOGS = {
    "fixed_width": (
        {
            "family": "fixed_width",
            "columns": [
                {"name": "at", "start": "1", "width": "20"},
                {"name": "customer", "start": "22", "width": "8"},
                {"name": "n", "start": "30", "width": "4"},
            ],
        },
        "2026-01-01T00:00:00Z acme       1\n2026-01-01T01:00:00Z acme\n"
        "2026-01-01T02:00:00Z acme     two\n",
    ),
    "delimited": (
        {
            "family": "delimited",
            "header": "false",
            "columns": ["at", "customer", "n"],
            "separator": ";",
            "preamble": "1",
            "footer": {"starts_with": "Sum"},
        },
        "Usage\n2026-01-01T00:00:00Z;acme;1\n2026-01-01T01:00:00Z;acme\n"
        "2026-01-01T02:00:00Z;acme;two\nSum;;3\n",
    ),
    "pattern": (
        {"family": "pattern", "pattern": r"(?<at>\S+) (?<customer>\w+):(?<n>\w+)(?: (?<note>.*))?"},
        "2026-01-01T00:00:00Z acme:1\n2026-01-01T01:00:00Z acme\n2026-01-01T02:00:00Z acme:two x\n",
    ),
    "extended_log": (
        {"family": "extended_log", "separator": " "},
        "#Fields: at customer n\n2026-01-01T00:00:00Z acme 1\n2026-01-01T01:00:00Z acme\n"
        "#Fields: at n note customer\n2026-01-01T02:00:00Z two - acme\n",
    ),
}


def test_lines_of_every_family_are_mended_as_csv(make_root: MakeRoot) -> None:
    sources = {
        name: source(source=name, format=format_, files=f"legacy/{name}")
        for name, (format_, _) in LOGS.items()
    }
    root = make_root({"m": METER}, sources, {name: text for name, (_, text) in LOGS.items()})
    known = load_catalog(root).sources
    for name in LOGS:
        import_partition(root, name, "whole")
        [path] = (root.quarantine / name).rglob("*.repair.csv")
        separator = sources[name]["format"].get("separator", ",").replace(" ", ",")
        rows = read(path, separator)
        assert [row["reason_code"] for row in rows] == ["malformed_row", "quantity_not_a_number"]
        assert (rows[1]["n"], rows[1]["customer"]) == ("two", "acme")
        assert take_repairs(root, known[name], path) == Repaired({}, 2)
        # The same as another row: in a multiset it is a second event.
        rows[0] |= {"at": "2026-01-01T00:00:00Z", "customer": "acme", "n": "1"}
        rows[1]["n"] = "2"
        write(path, rows, separator)
        assert take_repairs(root, known[name], path) == Repaired({"whole": 2}, 0)
        [mended] = import_partition(root, name, "whole")
        assert (mended.totals.new.rows, mended.totals.rejected.rows) == (2, 0)
    assert quantity(root) == 4 * len(LOGS)
    keys = events(root, "m")["idempotency_key"]
    assert keys.n_unique() == 3 * len(LOGS)
    assert keys.str.split("|").list.first().n_unique() == 2 * len(LOGS)


def test_columns_of_the_source_keep_their_names(make_root: MakeRoot, run: Run) -> None:
    content = "at,customer,n,field\n2026-01-01T00:00:00Z,acme,x,theirs\n"
    root = make_root({"m": METER}, {"old": source()}, {"old.csv": content})
    run("backfill", data=root)
    path = repair_file(root)
    [row] = read(path)
    assert (row["field"], row["quarantine_field"]) == ("theirs", "quantity")
    write(path, [row | {"n": "7"}])
    assert run("backfill", "old", "--from-quarantine", str(path), data=root).code == 0
    assert quantity(root) == 7


def test_formulas_are_harmless_in_a_spreadsheet_and_come_back_as_they_were(
    make_root: MakeRoot, run: Run
) -> None:
    notes = ["=cmd|' /C calc'!A0", "'=1", "@x", "-2", "+x", "'quoted'"]
    lines = [f"2026-01-01T0{n}:00:00Z,acme,x,{note}" for n, note in enumerate(notes)]
    content = "\n".join(["at,customer,n,note", *lines, ""])
    root = make_root({"m": METER}, {"old": source()}, {"old.csv": content})
    run("backfill", data=root)
    path = repair_file(root)
    rows = read(path)
    assert [row["note"] for row in rows] == [
        "'=cmd|' /C calc'!A0",
        "''=1",
        "'@x",
        "-2",
        "'+x",
        "'quoted'",
    ]
    untouched = run("backfill", "old", "--from-quarantine", str(path), data=root)
    assert "Nothing was mended" in untouched.out
    write(path, [row | {"n": "1"} for row in rows])
    assert run("backfill", "old", "--from-quarantine", str(path), data=root).code == 0
    [kept] = root.repairs.rglob("*.parquet")
    assert pl.read_parquet(kept)["raw.note"].to_list() == notes


def test_it_needs_the_one_source(rejected: DataRoot, run: Run) -> None:
    ended = run("backfill", "--from-quarantine", str(repair_file(rejected)), data=rejected)
    assert ended.code == 2
    assert "needs the one source" in ended.err
