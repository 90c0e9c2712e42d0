"""Each preset reads files of its system: rows, sum of the usage, and the old total, exactly."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from spanner_pipeline.presets import add_preset, list_presets
from spanner_pipeline.reconciliation.compare import reconcile
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.lake_reading import events, run
from spanner_pipeline_tests.presets.cases import CASES, Case
from spanner_pipeline_tests.presets.test_real_files import REAL


def test_every_preset_has_files_that_it_is_tried_on() -> None:
    assert {preset.name for preset in list_presets()} == CASES.keys() | REAL


EXPORTED_AGAIN = {
    "focus_1_1": ("focus_1_1", "focus/2026-01/part.csv", "focus_cost_usd"),
    "focus_1_2": ("focus_1_2", "focus/2026-01/part.csv", "focus_cost_usd"),
    "azure_cost_export": ("azure_cost_export", "azure/202601_1.csv", "azure_cost_usd"),
}


@pytest.mark.parametrize("name", EXPORTED_AGAIN)
def test_a_month_that_is_exported_again_replaces_the_old_one(tmp_path: Path, name: str) -> None:
    source, file, meter = EXPORTED_AGAIN[name]
    root = DataRoot(tmp_path)
    text = CASES[name].files[file]
    path = tmp_path / "legacy" / file
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    add_preset(root, name)
    run(root, source, "2026-01")
    first = events(root, meter)
    head, *rows = text.splitlines(keepends=True)
    path.write_text("".join([head, *reversed(rows), rows[0]]), encoding="utf-8")
    done = run(root, source, "2026-01")[0].replacement
    assert done is not None
    assert (done.added.rows, done.removed.rows) == (1, 0)
    now = events(root, meter)
    assert now.height == first.height + 1
    assert set(first["idempotency_key"]) < set(now["idempotency_key"])


@pytest.mark.parametrize("name", CASES)
def test_a_preset_gives_the_usage_and_the_old_total_of_its_files(tmp_path: Path, name: str) -> None:
    case: Case = CASES[name]
    root = DataRoot(tmp_path)
    for file, text in case.files.items():
        path = tmp_path / "legacy" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert add_preset(root, name).problems == ()
    imports = [
        done
        for source, partitions in case.partitions.items()
        for partition in partitions
        for done in run(root, source, partition)
    ]
    left_out: Counter[str] = Counter()
    rejected: Counter[tuple[str, str]] = Counter()
    for done in imports:
        meter = done.record.meter
        left_out[meter] += done.totals.out_of_scope.rows
        for reason, rows in done.record.rejected.items():
            rejected[meter, reason] += rows
    lake = {m: (e.height, e["quantity"].sum()) for m in case.usage for e in [events(root, m)]}
    assert lake == {meter: (rows, Decimal(total)) for meter, (rows, total) in case.usage.items()}
    assert {m: rows for m, rows in left_out.items() if rows} == case.left_out
    assert rejected == case.rejected
    catalog = load_catalog(root)
    found = {total.name: reconcile(root, catalog, s, total) for s, total in catalog.comparisons}
    old = {n: (c.old_total, c.verdict) for n, c in found.items()}
    assert old == {n: (Decimal(total), verdict) for n, (total, verdict) in case.old.items()}
