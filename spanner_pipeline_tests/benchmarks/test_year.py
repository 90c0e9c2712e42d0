"""The made year is the same everywhere, its bill has the known break alone, and the bench runs."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.compare import reconcile
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.benchmarks.year.generate import COMPARISON, SOURCE, WRONG_BY, write_year
from spanner_pipeline_tests.eager import eager

DIGESTS = {
    "legacy/metering/2023/events-2023-01-02.csv.gz": "5be582ef09345836",
    "legacy/bill.csv": "fc1f2b1fa4770316",
}


def test_the_made_files_are_the_same_on_every_machine(tmp_path: Path) -> None:
    """Of the content: compressors differ."""
    year = write_year(tmp_path / "year", 40, 2)
    assert year.days == ("2023-01-01", "2023-01-02")
    day, bill = (year.root.path / name for name in DIGESTS)
    contents = gzip.decompress(day.read_bytes()), bill.read_bytes()
    assert [hashlib.sha256(text).hexdigest()[:16] for text in contents] == list(DIGESTS.values())


def test_the_made_bill_agrees_with_the_lake_but_for_the_known_break(tmp_path: Path) -> None:
    year = write_year(tmp_path / "year", 40, 33)
    catalog = load_catalog(year.root)
    for day in year.days:
        [done] = import_partition(year.root, catalog, catalog.sources[SOURCE], day)
        assert done.totals.new.rows == 40
    [(source, total)] = catalog.comparisons
    assert total.name == COMPARISON
    comparison = reconcile(year.root, catalog, source, total)
    assert comparison.cells.height > 100
    [found] = comparison.breaks.iter_rows(named=True)
    assert (found["subject"], found["period"]) == year.wrong
    assert found["difference"] == -WRONG_BY


@pytest.mark.slow
def test_the_bench_imports_through_a_daemon_and_verifies_it() -> None:
    command = [sys.executable, "-m", "spanner_pipeline_tests.benchmarks.year"]
    ended = subprocess.run(
        [*command, "--days", "3", "--events", "40"], capture_output=True, text=True, env=eager()
    )
    assert ended.returncode == 0, ended.stderr
    assert "verified: every event once, every partition green" in ended.stderr
    assert "3 daily partitions, 120 events" in ended.stdout
    shown = ("without Dagster, first", "while its runs execute", "a run for each partition")
    for line in (*shown, "loading"):
        assert line in ended.stdout
