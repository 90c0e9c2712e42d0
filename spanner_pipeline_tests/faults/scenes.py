"""What is in a lake, what is delivered then, and what is in the lake after."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from deltalake import DeltaTable

from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.maintenance import maintain
from spanner_pipeline_tests.lake.building import (
    REGION,
    Row,
    TinyRoot,
    balance,
    csv_bytes,
    exact_total,
)

OLD = [
    Row(str(n), quantity=f"{n}.000000001", time=f"2024-01-{1 + n % 5:02}T05:00:00Z")
    for n in range(1, 300)
]
CORRECTED = [row.but(quantity="7", rev="2") for row in OLD[::10]]
MOVED = [row.but(time="2024-03-01T00:00:00Z", rev="2") for row in OLD[5::10]]
LATE = [Row(f"late-{n}", time=f"2024-01-{1 + n % 5:02}T06:00:00Z") for n in range(50)]
CONFLICTING = [row.but(quantity="1000000") for row in OLD[7::50]]
BAD = [Row("bad", quantity="many")]

State = dict[str, object]


def expected(*deliveries: list[Row]) -> State:
    """What the lake holds after these, of which each corrects those before it."""
    return {row.id: row.payload for rows in deliveries for row in rows}


@dataclass(frozen=True)
class Scene:
    """A lake, a delivery, and how the delivery ends.

    What is held was imported while the meter had no dimension yet, if it `evolves`.
    """

    name: str
    corrections: bool
    held: list[Row]
    delivered: list[Row]
    new: State
    corrected: int = 0
    checkpoints: bool = False
    evolves: bool = False

    @property
    def old(self) -> State:
        """What the lake holds before."""
        return expected(self.held)

    def build(self, path: Path, templates: Path) -> TinyRoot:
        """Make a data root where the delivery is in place, not yet imported."""
        template = templates / self.name
        if not template.exists():
            dimensions = [] if self.evolves else [REGION]
            lake = TinyRoot(template, corrections=self.corrections, dimensions=dimensions)
            if self.held:
                lake.deliver(self.held)
            if self.checkpoints:
                lake.delta.alter.set_table_properties({"delta.checkpointInterval": "1"})
            lake.place({"delivery.csv": csv_bytes(self.delivered)})
        shutil.copytree(template, path, dirs_exist_ok=True)
        return TinyRoot(path, corrections=self.corrections)

    def converges(self, lake: TinyRoot, *, committed: bool) -> None:
        """Run again, and check that the delivery counts once and is known from then on."""
        version = lake.version
        done = lake.run()
        balance(done)
        totals = done.record.totals
        assert done.unchanged == committed, "the rerun must know an import by its commit"
        if committed:
            assert lake.version == version
        assert lake.payloads() == self.new
        assert exact_total(lake.quantities().values()) == exact_total(
            row[2]  # type: ignore[index]
            for row in self.new.values()
        )
        assert (totals.new.rows, totals.corrected.rows, totals.present.rows) == (
            len(self.new) - len(self.old),
            self.corrected,
            0,
        )
        assert len(lake.conflicts()) == totals.conflicting.rows == len(CONFLICTING)
        assert len(lake.rejected()) == totals.rejected.rows == len(BAD)
        (record,) = lake.records()
        assert record == done.record
        again, files = lake.version, lake.lake_files()
        assert lake.run().unchanged
        assert (lake.version, lake.lake_files()) == (again, files)


CORRECTING = Scene(
    "correcting",
    corrections=True,
    held=OLD,
    delivered=[*CORRECTED, *MOVED, *LATE, *CONFLICTING, *BAD],
    new=expected(OLD, CORRECTED, MOVED, LATE),
    corrected=len(CORRECTED) + len(MOVED),
)
APPENDING = Scene(
    "appending",
    corrections=False,
    held=OLD,
    delivered=[*LATE, *CONFLICTING, *BAD],
    new=expected(OLD, LATE),
)
CHECKPOINTING = Scene(
    "checkpointing",
    corrections=False,
    held=OLD,
    delivered=[*LATE, *CONFLICTING, *BAD],
    new=expected(OLD, LATE),
    checkpoints=True,
)
IN_EUROPE = [row.but(region="eu") for row in (*CORRECTED, *MOVED, *LATE)]
EVOLVING = Scene(
    "evolving",
    corrections=True,
    held=OLD,
    delivered=[*IN_EUROPE, *CONFLICTING, *BAD],
    new=expected(OLD, IN_EUROPE),
    corrected=len(CORRECTED) + len(MOVED),
    evolves=True,
)
FIRST = Scene(
    "first",
    corrections=False,
    held=[],
    delivered=[*OLD, *CONFLICTING, *BAD],
    new=expected(OLD),
)


def leftovers(lake: TinyRoot) -> set[str]:
    """Files and folders that nothing names: work files, and data files outside the table."""
    table, root = lake.table, lake.path
    named = {file.location for file in table.files()}
    records = Ledger(lake.root).imports()
    named |= {table.path / name for r in records for name in (r.replaced, r.scopes) if name}
    left = {path for path in table.path.rglob("*.parquet") if path.parent.name != "_delta_log"}
    left -= named
    for folder in ("lake", "quarantine"):
        left |= {path for path in (root / folder).rglob("*") if _is_work_file(path)}
    left |= set((root / "staging").glob("*"))
    return {str(path.relative_to(root)) for path in left}


def _is_work_file(path: Path) -> bool:
    """Ours end in `.tmp`, those of delta-rs in a number."""
    return path.is_file() and (path.suffix == ".tmp" or "#" in path.name)


def maintenance_tidies(lake: TinyRoot) -> None:
    """Check that `maintain` deletes what nothing names, and changes no event."""
    before = lake.events().sort("idempotency_key")
    maintain(lake.root, lake.catalog, timedelta(0))
    assert leftovers(lake) == set()
    assert lake.events().sort("idempotency_key").equals(before)
    if lake.version is not None:
        assert DeltaTable(lake.table.path).to_pyarrow_table().num_rows == before.height
