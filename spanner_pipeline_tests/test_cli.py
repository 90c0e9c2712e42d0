"""The command line keeps its word: exit codes, readable messages, nothing changed without cause."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from spanner_pipeline.assets.backfill import run_backfill
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root

COMMAND = [sys.executable, "-m", "spanner_pipeline.cli"]
REPO = Path(__file__).parent.parent
MADE = ("lake", "quarantine", "reports")


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    return small_root(tmp_path / "root")


@pytest.fixture(scope="module")
def imported_once(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    """A root that is imported and reconciled; tests copy it or only read it."""
    root = small_root(tmp_path_factory.mktemp("imported") / "root")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSTER_HOME", "")
        assert run_backfill(root).failures == {}
    return root


@pytest.fixture
def imported(imported_once: SmallRoot, tmp_path: Path) -> SmallRoot:
    shutil.copytree(imported_once.path, tmp_path / "root")
    return SmallRoot(tmp_path / "root")


def events(root: SmallRoot, meter: str) -> tuple[int, int]:
    """Events and distinct keys in the lake."""
    table = EventTable(root, load_catalog(root).meters[meter])
    with duckdb.connect() as connection:
        row = connection.execute(
            f"SELECT count(*), count(DISTINCT idempotency_key) FROM ({table.select()})"
        ).fetchone()
    assert row is not None
    return row


def versions(root: SmallRoot) -> dict[str, int | None]:
    return {m.name: EventTable(root, m).version for m in load_catalog(root).meters.values()}


def assert_whole(root: SmallRoot) -> None:
    """The lake holds all of the sound root, every key once."""
    assert events(root, "calls") == (24, 24)
    assert events(root, "hits") == (16, 16)


# What it says of itself


def test_help_lists_the_commands() -> None:
    ended = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, cwd=REPO)
    assert ended.returncode == 0
    for command in ("backfill", "reconcile", "query", "sources", "meters"):
        assert command in ended.stdout


@pytest.mark.parametrize(
    "command", ["backfill", "reconcile", "query", "sources check", "meters list"]
)
def test_every_command_has_help(run: Run, command: str) -> None:
    ended = run(*command.split(), "--help")
    assert ended.code == 0
    assert "--data" in ended.out


# backfill


def test_a_backfill_prints_the_totals_and_the_verdicts(run: Run, root: SmallRoot) -> None:
    ended = run("backfill", data=root)
    assert ended.code == 0
    for wanted in ("Rows imported", "already", "84.024", "billed_calls", "PASS", "report.html"):
        assert wanted in ended.out
    assert "Nothing changed" not in ended.out
    assert "4/4 partitions" in ended.err
    assert_whole(root)


def test_a_second_backfill_changes_nothing(run: Run, imported: SmallRoot) -> None:
    before, at = imported.written(*MADE), versions(imported)
    ended = run("backfill", data=imported)
    assert ended.code == 0
    assert "Nothing changed: all of this was in the lake already." in ended.out
    assert versions(imported) == at == {"calls": 4, "hits": 4}
    assert imported.written(*MADE) == before
    assert list((imported.path / "staging").iterdir()) == []


def test_a_comparison_that_breaks_ends_with_1(run: Run, imported: SmallRoot) -> None:
    imported.write_bill(acme="36.009")
    ended = run("backfill", data=imported)
    assert ended.code == 1
    assert "FAIL" in ended.out
    ended = run("reconcile", data=imported)
    assert ended.code == 1
    assert "−0.001" in ended.out


def test_a_comparison_declared_as_a_warning_ends_with_0(run: Run, imported: SmallRoot) -> None:
    imported.write_bill(acme="36.009")
    imported.rewrite("sources/bill.yaml", "severity: error", "severity: warn")
    ended = run("reconcile", "billed_calls", data=imported)
    assert ended.code == 0
    assert "WARN" in ended.out


def test_too_many_rejected_rows_merge_nothing_of_their_partition(run: Run, root: SmallRoot) -> None:
    root.write_calls(DAYS[1], "7,acme,many,2024-01-02T09:00:00Z,eu", "8,acme,,2024-01-02,eu")
    ended = run("backfill", "switch", data=root)
    assert ended.code == 1
    message = " ".join(ended.err.split())
    assert "FAILED switch 2024-01-02" in message
    assert "2 of 8 rows were rejected" in message
    assert "max_rejected 20%" in message
    assert "Remedy:" in message
    assert events(root, "calls") == (18, 18)
    assert list((root.path / "quarantine/switch/2024-01-02").iterdir())


def test_a_missing_and_a_cut_file_fail_alone(run: Run, root: SmallRoot) -> None:
    root.file("switch", DAYS[0]).unlink()
    root.cut("edge", DAYS[2])
    ended = run("backfill", data=root)
    assert ended.code == 1
    failed = [line for line in ended.err.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 2
    assert "legacy/edge/2024-01-03.log.gz" in failed[0]
    assert "legacy/switch/2024-01-01.csv" in failed[1]
    assert all("Remedy:" in line for line in failed)
    assert events(root, "calls") == (18, 18)
    assert events(root, "hits") == (12, 12)


def test_a_bad_line_is_named_with_its_file_line_and_remedy(run: Run, root: SmallRoot) -> None:
    root.write_calls(DAYS[3], 'x,"acme', *(f"{n},acme,1,2024-01-04,eu" for n in range(3)))
    ended = run("backfill", "switch", "--from", DAYS[2], "--to", DAYS[3], data=root)
    assert ended.code == 1
    assert "legacy/switch/2024-01-04.csv:8" in ended.err
    assert "Remedy:" in ended.err
    assert events(root, "calls") == (6, 6)


def test_an_error_of_no_kind_of_ours_is_named_and_stays_alone(
    run: Run, root: SmallRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spanner_pipeline.assets import imports, retries

    real = imports.import_partition

    def full(*arguments: object) -> object:
        if arguments[3] == DAYS[1]:
            raise duckdb.OutOfMemoryException("failed to offload data block: disk full")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(imports, "import_partition", full)
    monkeypatch.setattr(retries, "BACK_OFF_SECONDS", 0)
    ended = run("backfill", "switch", data=root)
    assert ended.code == 1
    assert "FAILED switch 2024-01-02: unexpected OutOfMemoryException" in ended.err
    assert events(root, "calls") == (18, 18)


def test_a_broken_lake_is_told_by_its_cause(run: Run, imported: SmallRoot) -> None:
    for part in (imported.path / "lake/events/hits").rglob("*.parquet"):
        part.write_bytes(b"no parquet")
    ended = run("backfill", "switch", data=imported)
    assert ended.code == 1
    assert "FAILED usage/hits" in ended.err
    assert "parquet" in ended.err
    assert "DagsterExecutionStepExecutionError" not in ended.err


# Wrong use and wrong configuration


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("backfill nope", "there is no source `nope` with usage (known: edge, switch)"),
        ("backfill bill", "there is no source `bill` with usage"),
        ("backfill switch --from 2024-01-09", "no partition `2024-01-09` (it has 2024-01-01 to"),
        ("backfill switch --from 2024-01-03 --to 2024-01-02", "exchange the two"),
        ("backfill --nope", "No such option"),
        ("nonsense", "No such command"),
        ("reconcile nope", "there is no comparison `nope` (known: billed_calls)"),
        ("query nope --from 2024-01-01 --to 2024-02-01", "no meter `nope` (known: calls, hits)"),
        ("query calls --from 2024-13-01 --to 2024-02-01", "`2024-13-01`: write a date"),
        ("query calls --from 2024-01-01 --to soon", "`soon`: write a date"),
        ("query calls --from 2024-02-01 --to 2024-01-01", "--from 2024-02-01 is not before"),
        ("query calls --from 2024-01-01", "Missing option '--to'"),
        ("query calls --from 2024 --to 2025 --bucket week", "'week'"),
        ("query calls --from 2024-01-01 --to 2024-02-01 --group-by nope", "no field `nope`"),
        ("query calls --from 2024-01-01 --to 2024-02-01 --filter nope=1", "no field `nope`"),
        ("query calls --from 2024-01-01 --to 2024-02-01 --filter eu", "write FIELD=TEXT"),
        (
            "query calls --from 2024-01-01T00:00Z --to 2024-02-01T00:00Z --zone Mars/Base",
            "--zone Mars/Base: there is no such zone",
        ),
        ("query calls --from 2024-01-01 --to 2024-02-01 --zone ../../etc", "no such zone"),
    ],
)
def test_wrong_use_ends_with_2(
    run: Run, imported_once: SmallRoot, arguments: str, says: str
) -> None:
    known = arguments.split()[0] in ("backfill", "reconcile", "query")
    ended = run(*arguments.split(), data=imported_once if known else None)
    assert ended.code == 2
    assert says in " ".join(ended.err.replace("│", " ").split())


def test_all_mistakes_in_yaml_are_told_at_once(run: Run, root: SmallRoot) -> None:
    root.rewrite("sources/switch.yaml", "quantity: amount", "quantty: amount")
    root.rewrite("sources/edge.yaml", "meter: hits", "meter: hitz")
    root.rewrite("meters/calls.yaml", "aggregation: sum", "aggregation: total")
    for command in (["backfill"], ["sources", "check"], ["meters", "list"], ["reconcile"]):
        ended = run(*command, data=root)
        assert ended.code == 2
        for place in ("meters/calls.yaml:4", "sources/edge.yaml:8", "sources/switch.yaml:11"):
            assert place in ended.err
    assert not root.lake.exists()
    assert not root.dagster_home.exists()


def test_a_missing_data_root_is_said_so(run: Run, tmp_path: Path) -> None:
    ended = run("backfill", "--data", str(tmp_path / "nowhere"))
    assert ended.code == 2
    assert "nowhere" in ended.err
    assert "no folder meters/" in ended.err
    assert not (tmp_path / "nowhere").exists()


def test_a_root_where_a_file_is_in_the_way_is_said_so(run: Run, root: SmallRoot) -> None:
    root.dagster_home.write_text("a file")
    ended = run("backfill", data=root)
    assert ended.code == 2
    assert str(root.dagster_home) in ended.err


@pytest.mark.parametrize("name", ["half %20", "which?"])
def test_a_root_that_dagster_would_misread_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    ended = run("backfill", data=small_root(tmp_path / name))
    assert ended.code == 2
    assert "Rename the folder" in ended.err


# Which root


def test_the_root_comes_from_data_then_from_the_environment(
    run: Run, imported_once: SmallRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPANNER_DATA", str(imported_once.path))
    assert run("meters", "list").code == 0
    assert run("meters", "list", "--data", str(tmp_path / "nowhere")).code == 2
    monkeypatch.setenv("SPANNER_DATA", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(imported_once.path)
    assert run("meters", "list").code == 0


def test_a_relative_root_with_a_space_and_a_quote_works(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small_root(tmp_path / "Bob's old data")
    monkeypatch.chdir(tmp_path)
    ended = run("backfill", "--data", "Bob's old data")
    assert ended.code == 0
    assert "PASS" in ended.out
    assert_whole(root)


# query, meters, sources


def test_a_query_groups_filters_and_takes_a_zone(run: Run, imported_once: SmallRoot) -> None:
    window = ["--from", "2024-01-01", "--to", "2024-01-03"]
    ended = run("query", "calls", *window, "--group-by", "subject", "--csv", data=imported_once)
    lines = ended.out.splitlines()
    assert lines[0] == "bucket_start,subject,quantity,events"
    assert len(lines) == 7
    assert lines[1].endswith(",acme,9.002,2")
    one = ["--filter", "subject=acme", "--filter", "region=eu", "--bucket", "month"]
    ended = run("query", "calls", *window, *one, data=imported_once)
    assert "18.004" in ended.out
    ended = run(
        "query", "calls", *window, "--zone", "America/New_York", "--csv", data=imported_once
    )
    assert ended.out.splitlines()[1].startswith("2024-01-01T00:00:00.000000-0500,21.006,6")


def test_meters_are_listed_with_their_events(run: Run, imported_once: SmallRoot) -> None:
    ended = run("meters", "list", data=imported_once)
    assert ended.code == 0
    rows = [line.replace("│", " ").split() for line in ended.out.splitlines()]
    assert ["calls", "sum", "call", "region", "switch", "24"] in rows


def test_a_check_of_the_sources_tells_of_missing_files(run: Run, root: SmallRoot) -> None:
    assert run("sources", "check", data=root).code == 0
    root.file("edge", DAYS[1]).unlink()
    ended = run("sources", "check", data=root)
    assert ended.code == 1
    assert "2024-01-02" in ended.out


def test_a_check_takes_sources_elsewhere_and_sources_that_begin_later(
    run: Run, root: SmallRoot
) -> None:
    absolute = root.path / "legacy/switch"
    root.rewrite("sources/switch.yaml", "legacy/switch", str(absolute))
    root.rewrite("sources/edge.yaml", "from: 2024-01-01, to: 2024-01-05", "from: 2999-01-01")
    ended = run("sources", "check", data=root)
    assert ended.code == 0


def test_a_source_that_begins_later_is_no_error(run: Run, root: SmallRoot) -> None:
    root.rewrite("sources/edge.yaml", "from: 2024-01-01, to: 2024-01-05", "from: 2999-01-01")
    ended = run("backfill", data=root)
    assert ended.code == 0
    assert events(root, "calls") == (24, 24)
