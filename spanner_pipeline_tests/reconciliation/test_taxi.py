"""Real data: trip records of New York's green taxis against TLC's own monthly report."""

from __future__ import annotations

from decimal import Decimal

import pytest

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.reconciliation.report.page import render_html
from spanner_pipeline.reconciliation.spelling import percent
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.conftest import RealRoot
from spanner_pipeline_tests.reconciliation.building import balances

pytestmark = pytest.mark.slow


def compared(root: DataRoot) -> dict[str, Comparison]:
    catalog = load_catalog(root)
    for month in ("2023-12", "2024-01"):
        import_partition(root, catalog, catalog.sources["green_trips"], month)
    return {total.name: reconcile(root, catalog, s, total) for s, total in catalog.comparisons}


def test_the_mapping_that_reconciles(real_root: RealRoot) -> None:
    root = real_root("taxi")
    comparisons = compared(root)
    trips, farebox = comparisons["trips_per_day"], comparisons["farebox_per_day"]

    assert trips.verdict == "PASS"
    assert trips.cells.select("old", "new", "tolerance").rows() == [
        (2071 * 31, 64213, 15),  # half a trip a day: 15.5, and trips are whole
        (1824 * 31, 56549, 15),
    ]
    assert farebox.verdict == "PASS"
    # New minus old, as a share of the old: a real residual that no rule explains. It is shown.
    assert farebox.cells.select("old", "new", "difference", "unexplained").rows() == [
        (45896 * 31, Decimal("1422092.09"), Decimal("-683.91"), Decimal("-683.91")),
        (37028 * 31, Decimal("1148698.69"), Decimal("830.69"), Decimal("830.69")),
    ]
    rows = farebox.cells.iter_rows(named=True)
    assert [percent(row["difference"], row["old"]) for row in rows] == ["−0.048 %", "+0.072 %"]
    assert farebox.causes == ()
    assert (farebox.unexplained, farebox.residuals.height) == (Decimal("146.78"), 2)
    assert all(balances(comparison) for comparison in comparisons.values())
    page = render_html(root, farebox, {})
    assert "Unexplained: −683.91" in page
    assert "Unexplained: +830.69" in page


def test_the_plausible_mistake_breaks(real_root: RealRoot) -> None:
    comparisons = compared(real_root("taxi_naive"))
    farebox = comparisons["farebox_per_day"]

    assert comparisons["trips_per_day"].verdict == "PASS"
    assert farebox.verdict == "FAIL"
    assert farebox.causes == ()
    shares = [percent(row["difference"], row["old"]) for row in farebox.cells.rows(named=True)]
    assert shares == ["−15.24 %", "−16.6 %"]
