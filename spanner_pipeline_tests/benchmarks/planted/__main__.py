"""`make planted`: plant breaks of every class into real usage, and count the right answers."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import date
from pathlib import Path

from spanner_pipeline_tests.benchmarks.planted.history import flights
from spanner_pipeline_tests.benchmarks.planted.planting import planted
from spanner_pipeline_tests.benchmarks.planted.scoring import table
from spanner_pipeline_tests.benchmarks.table import say


def main() -> None:
    """Plant, ask and count."""
    parser = argparse.ArgumentParser(prog="make planted", description=__doc__)
    parser.add_argument("each", type=int, nargs="?", default=10, help="plants of each variant")
    parser.add_argument("mixes", type=int, nargs="?", default=100, help="mixes of three classes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    history = flights("month", date(2013, 3, 1), date(2013, 5, 1), date(2013, 5, 4))
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        say("importing the usage, printing the bills ...")
        score = planted(Path(folder), history, options.seed, options.each, options.mixes)
    for verdict in score.verdicts:
        if not (verdict.right_class and verdict.right_amount):
            say(str(verdict))
    for told in (*score.falsely, *score.partly, *score.disturbed):
        say(told)
    sys.stdout.write(table(score) + "\n")


if __name__ == "__main__":
    main()
