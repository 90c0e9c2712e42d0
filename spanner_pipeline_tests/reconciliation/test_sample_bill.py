"""The sample's old bill: every planted fault is explained, with its amount, and nothing else."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation import causes
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.sample import saas
from spanner_pipeline.sample.bill import PLANTED_FAULTS, BillRow
from spanner_pipeline_tests.reconciliation.building import balances

pytestmark = pytest.mark.slow
DATA = Path(__file__).parents[2] / "data"
DAILY = "{grain: day, from: 2026-01-01, to: 2026-04-01}"
MONTHLY = "{grain: month, from: 2026-01, to: 2026-04}"
CAUSES = {
    "day_billed_twice": causes.TWICE,
    "day_missing": causes.MISSING,
    "month_in_utc": causes.BOUNDARY,
    "rounded_up_to_thousand": causes.ROUNDING,
}


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Comparison], list[BillRow]]:
    """Generate, import and compare the whole sample; and what its bill ought to say.

    The same daily files are imported by month: a thirtieth of the merges.
    """
    root = DataRoot(tmp_path_factory.mktemp("sample"))
    for folder in ("meters", "sources"):
        shutil.copytree(DATA / folder, root.path / folder)
    for file in root.path.glob("sources/flights*.yaml"):
        file.unlink()
    for file in root.path.glob("sources/saas_a*.yaml"):
        daily = file.read_text(encoding="utf-8")
        monthly = daily.replace("-{day}", "-*").replace(DAILY, MONTHLY)
        assert monthly.count(MONTHLY) == monthly.count("-*") == 1
        file.write_text(monthly, encoding="utf-8")
    bills: list[list[BillRow]] = []
    with pytest.MonkeyPatch.context() as patch:
        written = saas.old_bill
        patch.setattr(saas, "old_bill", lambda usage: bills.append(written(usage)) or bills[0])
        saas.write_saas(root.path)
    catalog = load_catalog(root)
    for source in catalog.sources.values():
        if source.usage:
            for key in source.partition_keys(today=None):  # type: ignore[arg-type]  # has an end
                import_partition(root, catalog, source, key)
    compared = {total.meter: reconcile(root, catalog, s, total) for s, total in catalog.comparisons}
    return compared, bills[0]


def test_every_planted_fault_is_explained_and_nothing_else_breaks(
    sample: tuple[dict[str, Comparison], list[BillRow]],
) -> None:
    comparisons, bill = sample
    true = {(row.customer.slug, row.month, row.product): row for row in bill}
    expected = sorted(
        (f.product, f.customer, f.month, CAUSES[f.kind], row.true_units - row.units)
        for f in PLANTED_FAULTS
        for row in [true[f.customer, f.month, f.product]]
    )
    found = sorted(
        (meter, row["subject"], row["period"], cause.cause, cause.quantity)
        for meter, comparison in comparisons.items()
        for row in comparison.cells.iter_rows(named=True)
        for cause in comparison.causes_of(row["cell"])
    )
    assert len(expected) == 8
    assert found == expected
    for fault in PLANTED_FAULTS[:2]:
        comparison = comparisons[fault.product]
        assert [c.detail.split()[-1] for c in comparison.causes] == [fault.detail]


def test_the_new_side_is_the_truth(sample: tuple[dict[str, Comparison], list[BillRow]]) -> None:
    comparisons, bill = sample
    for row in bill:
        cells = comparisons[row.product].cells
        (cell,) = [
            c
            for c in cells.iter_rows(named=True)
            if (c["subject"], c["period"]) == (row.customer.slug, row.month)
        ]
        assert (cell["new"], cell["old"]) == (row.true_units, row.units)
    for comparison in comparisons.values():
        assert comparison.unexplained == Decimal(0)
        assert comparison.residuals.is_empty()
        assert comparison.old.unreadable.is_empty()
        assert comparison.verdict == "WARN"
        assert balances(comparison)
        assert comparison.breaks.height == len(comparison.causes)
