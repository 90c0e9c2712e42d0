"""The bench runs, and what it measures is right. Its figures are never asserted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from spanner_pipeline.delivery.target import BASE_URL
from spanner_pipeline_tests.benchmarks import delivering


@pytest.mark.slow
def test_the_bench_verifies_what_it_measured() -> None:
    command = [sys.executable, "-m", "spanner_pipeline_tests.benchmarks", "2000", "--no-peers"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "verified: 2,100 rows, every key once" in done.stderr
    for step in ("first import", "rows compared", "by digest", "corrected", "late", "moved"):
        assert step in done.stdout


@pytest.mark.slow
def test_the_bench_of_an_import_verifies_what_it_measured() -> None:
    command = [sys.executable, "-m", "spanner_pipeline_tests.benchmarks.importing", "1000"]
    done = subprocess.run([*command, "--quick"], capture_output=True, text=True, check=True)
    assert "verified: 1,000 rows, every key once" in done.stderr
    for part in ("one file", "extract", "pandera", "merge"):
        assert part in done.stdout


def test_the_bench_of_deliveries_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(BASE_URL, raising=False)
    delivering.main(["1500", "--rounds", "1"])
    said = capsys.readouterr().out
    assert "1,500 events" in said and " in 2 calls" in said
    assert "| bare httpx loop" in said and "| delivery, ledger included" in said
