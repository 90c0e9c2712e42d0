"""The package's own merge, as an import calls it after staging."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from spanner_pipeline.configuration.source import WHOLE, Source
from spanner_pipeline.control import ControlTotals, Total
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.importing import import_partition
from spanner_pipeline.lake.ledger import Ledger, batch_name, configuration_digest
from spanner_pipeline.lake.merge import MergeResult, merge
from spanner_pipeline.lake.records import FileTotals, ImportRecord
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.sources.files import find_files
from spanner_pipeline.staging import Staged
from spanner_pipeline_tests.benchmarks.deliveries import METER, Delivery

SOURCE = Source.model_validate(
    {
        "source": "legacy",
        "format": {"family": "parquet"},
        "files": "../initial/*.parquet",
        "partitions": {"grain": "whole"},
        "identity": {"native": "idempotency_key"},
        "corrections": {"revision": {"column": "revision", "type": "number"}},
        "usage": [
            {
                "meter": METER.name,
                "subject": "subject",
                "quantity": "quantity",
                "timestamp": "timestamp",
                "dimensions": {"region": "dim_region", "plan": "dim_plan"},
            }
        ],
    }
)
CATALOG = Catalog({METER.name: METER}, {SOURCE.source: SOURCE})


def root_of(folder: Path) -> DataRoot:
    """The data root of the bench."""
    return DataRoot(folder / "root")


def merging(folder: Path, name: str) -> Callable[[], None]:
    """Merge a staged delivery, with all checks."""
    delivery = Delivery(folder / name)
    batch = f"legacy/{name}/0123456789abcdef"
    staged = Staged(SOURCE, SOURCE.usage[0], METER, batch, delivery.folder)
    staged.accepted.update(delivery.totals)

    def describe(result: MergeResult) -> dict[str, str]:
        total = sum(result.outcomes.values(), Total())
        ControlTotals(read=delivery.total, new=total).check(name)
        return {"import_batch": batch}

    def step() -> None:
        merge(root_of(folder), staged, describe)

    return step


def by_digest(folder: Path, name: str) -> Callable[[], None]:
    """Import files that the ledger knows: they are digested and not read.

    The ledger is told here, because an import through all stages would measure the reading.
    """
    root = root_of(folder)
    files = find_files(root, SOURCE, WHOLE)
    table = EventTable(root, METER)
    assert table.version is not None
    record = ImportRecord(
        source=SOURCE.source,
        usage=METER.name,
        meter=METER.name,
        partition=WHOLE,
        batch=batch_name(SOURCE, WHOLE, files),
        configuration=configuration_digest(SOURCE, SOURCE.usage[0], METER),
        files=tuple(FileTotals(f.name, f.digest, f.size, ControlTotals()) for f in files),
        out_of_scope={},
        rejected={},
        ambiguous_times=0,
        table=table.identity,
        version_before=table.version - 1,
        version_after=table.version,
        imported_at=datetime.now(UTC).isoformat(),
    )
    Ledger(root).add(record)

    def step() -> None:
        (done,) = import_partition(root, CATALOG, SOURCE, WHOLE)
        assert done.unchanged, name

    return step


def held(folder: Path) -> tuple[int, int, str]:
    """Rows, distinct keys and exact quantity of the lake."""
    with open_duckdb() as connection:
        connection.execute("SET memory_limit = '4GB'")  # this is checked, not measured
        events = EventTable(root_of(folder), METER).select()
        rows, keys, quantity = connection.execute(f"""
            SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT idempotency_key
                FROM ({events}))), sum(quantity)::VARCHAR FROM ({events})""").fetchall()[0]
    return rows, keys, quantity


if __name__ == "__main__":
    import sys

    print(json.dumps(held(Path(sys.argv[1]))))
