"""`make bench-dagster`: a year of daily files, imported by a real daemon and without Dagster."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.reconciliation.compare import reconcile
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.benchmarks.table import aligned, run_module, say
from spanner_pipeline_tests.benchmarks.year.backfill import Ran, daemon, green, run_backfill
from spanner_pipeline_tests.benchmarks.year.generate import WRONG_BY, Year, write_year
from spanner_pipeline_tests.benchmarks.year.loading import write_many

PACKAGE = "spanner_pipeline_tests.benchmarks.year"
GOAL_SECONDS = Decimal("0.2")
"""What Dagster may add to a partition."""

GOAL_LOADING_SECONDS = 3
APART = 3
"""How many partitions get a run of their own, for the ratio."""


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="make bench-dagster", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--events", type=int, default=2000, help="a day")
    given = parser.parse_args()
    os.environ["DAGSTER_HOME"] = ""
    with tempfile.TemporaryDirectory(prefix="bench-dagster-") as name:
        folder = Path(name)
        year = write_year(folder / "year", given.events, given.days)
        say(f"{given.days} files with {year.events:,} events are made")
        shutil.copytree(year.root.path, folder / "plain")
        plain = [_plain(folder / "plain", what) for what in ("first", "again")]
        ran, apart = _with_dagster(year)
        write_many(folder / "many")
        loading = run_module(f"{PACKAGE}.loading", str(folder / "many"))
    libraries = ", ".join(f"{n} {version(n)}" for n in ("dagster", "duckdb", "polars", "deltalake"))
    sys.stdout.write(
        f"{given.days} daily partitions, {year.events:,} events, {os.cpu_count()} cores, "
        f"{libraries}; wall seconds\n\n"
        f"{_partitions(len(year.days), plain, ran, apart)}\n\n{_loading(loading)}\n"
    )


def _plain(folder: Path, what: str) -> float:
    took: float = run_module(f"{PACKAGE}.plain", str(folder))["wall"]
    say(f"without Dagster, {what}: {took:.1f} s")
    return took


def _with_dagster(year: Year) -> tuple[list[Ran], Ran]:
    """The backfill of the year twice, then a few partitions in a run each; all are checked."""
    days, root = year.days, year.root
    with open_instance(root) as instance, daemon(root):
        first = run_backfill(root, instance, days)
        say(f"with Dagster, first: {first.executing:.1f} s in {first.runs} runs")
        before = _bytes(root)
        _verify(year)
        again = run_backfill(root, instance, days)
        say(f"with Dagster, again: {again.executing:.1f} s in {again.runs} runs")
        if _bytes(root) != before:
            raise AssertionError("the second backfill changed the lake")
        # Days that are not neighbours cannot share a run.
        apart = run_backfill(root, instance, days[: 2 * APART : 2])
        if green(root, instance) != len(days):
            raise AssertionError("not every partition is shown as imported")
    say("verified: every event once, every partition green, the second backfill changed nothing,")
    say("the comparison finds the known break and no other")
    return [first, again], apart


def _bytes(root: DataRoot) -> dict[str, str]:
    """Every file of the lake and of the quarantine with its digest."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in (root.lake, root.quarantine)
        for path in folder.rglob("*")
        if path.is_file()
    }


def _verify(year: Year) -> None:
    """The lake holds every event once, and the bill differs by the known break alone."""
    catalog = load_catalog(year.root)
    [(source, total)] = catalog.comparisons
    events = EventTable(year.root, catalog.meters[total.meter]).select()
    with open_duckdb() as connection:
        counts = f"SELECT count(*), count(DISTINCT idempotency_key) FROM ({events})"
        assert connection.execute(counts).fetchall() == [(year.events, year.events)]
    comparison = reconcile(year.root, catalog, source, total)
    [found] = comparison.breaks.iter_rows(named=True)
    assert (found["subject"], found["period"]) == year.wrong
    assert found["difference"] == -WRONG_BY


def _partitions(days: int, plain: list[float], ran: list[Ran], apart: Ran) -> str:
    """What a partition costs with Dagster and without, first and when nothing changed."""
    header = ["", "runs", "s", "s a partition", "beyond the work", "goal"]
    body = []
    for what, alone, with_dagster in zip(("first", "again"), plain, ran, strict=True):
        body.append([f"without Dagster, {what}", "", f"{alone:.1f}", f"{alone / days:.3f}", "", ""])
        for how, took in (
            ("while its runs execute", with_dagster.executing),
            ("from launch to the last run's end", with_dagster.launched),
            ("until the daemon says so", with_dagster.completed),
        ):
            beyond = (took - alone) / days
            goal = f"{'met' if beyond <= GOAL_SECONDS else 'missed'}: <= {GOAL_SECONDS}"
            body.append(
                [
                    f"  backfill, {how}",
                    str(with_dagster.runs),
                    f"{took:.1f}",
                    f"{took / days:.3f}",
                    f"{beyond:.3f}",
                    goal if took == with_dagster.executing else "",
                ]
            )
    each, ranged = apart.executing / apart.runs, ran[1].executing / days
    body.append(
        [
            "again, a run for each partition",
            str(apart.runs),
            f"{apart.executing:.1f}",
            f"{each:.3f}",
            f"{each - plain[1] / days:.3f}",
            f"{each / ranged:.0f} times the ranged run",
        ]
    )
    return aligned(header, body)


def _loading(took: dict[str, float]) -> str:
    """How long the definitions of 50 sources and 10 meters take to load."""
    ours = took["code"] + took["definitions"]
    goal = f"{'met' if ours <= GOAL_LOADING_SECONDS else 'missed'}: <= {GOAL_LOADING_SECONDS}"
    body = [
        ["import of dagster", f"{took['dagster']:.2f}", ""],
        ["import of polars, duckdb, pyarrow, deltalake", f"{took['libraries']:.2f}", ""],
        ["import of our modules", f"{took['code']:.2f}", ""],
        ["definitions of 50 sources and 10 meters", f"{took['definitions']:.2f}", ""],
        ["our part: the last two", f"{ours:.2f}", goal],
    ]
    return aligned(["loading", "s", "goal"], body)


if __name__ == "__main__":
    main()
