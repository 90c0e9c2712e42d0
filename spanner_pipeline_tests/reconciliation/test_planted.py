"""Breaks that were planted into real usage are found: the right class, to the last digit."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from spanner_pipeline_tests.benchmarks.planted.history import flights, retail
from spanner_pipeline_tests.benchmarks.planted.planting import planted
from spanner_pipeline_tests.benchmarks.planted.scoring import share


@pytest.mark.slow
def test_breaks_planted_into_flights(tmp_path: Path) -> None:
    """`make planted` is the same with more of them, and prints the table."""
    history = flights("month", date(2013, 3, 1), date(2013, 5, 1), date(2013, 5, 4))
    score = planted(tmp_path, history, seed=7, each=1, mixed=10)
    wrong = [str(v) for v in score.verdicts if not (v.right_class and v.right_amount)]
    assert share(v.right_class for v in score.single) >= 0.99, wrong
    assert all(v.right_amount for v in score.single if v.right_class), wrong
    assert share(v.right_class and v.right_amount for v in score.mixed) >= 0.9, wrong
    assert (score.falsely, score.partly, score.disturbed) == ([], [], [])
    assert score.noise
    assert score.clean


@pytest.mark.slow
def test_breaks_planted_into_the_sales_of_a_shop(tmp_path: Path, shared_data: Path) -> None:
    """Sales of a few thousand pounds have few digits, and still say what was planted."""
    folder = shared_data / "online_retail"
    history = retail(folder, date(2011, 3, 1), date(2011, 5, 1), date(2011, 5, 4))
    score = planted(tmp_path, history, seed=7, each=1, mixed=0)
    wrong = [str(v) for v in score.verdicts if not (v.right_class and v.right_amount)]
    assert share(v.right_class for v in score.single) >= 0.99, wrong
    assert all(v.right_amount for v in score.single if v.right_class), wrong
    assert score.disturbed == []
    assert score.clean
