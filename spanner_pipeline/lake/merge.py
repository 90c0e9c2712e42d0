"""The merge: laws 1, 3 and 4, in one commit a meter.

The story. Days that the lake has are compared with the delivery, row by row; what is there already
needs no more thought, and what is left is `unsettled`. The lake is searched for its keys, on all
days (`existing`). A key that the lake does not hold and the delivery has once is new (`fresh`).
For the others (`contested`), number the copies, decide which payload each key keeps (`kept`) and
give each row its outcome (`settled`). Write the files, read them back, and check that every row is
accounted for. Commit only if nobody else did meanwhile; else begin again with what they wrote.

Outcomes of a row:
  new          its key was unknown; it is the copy that enters
  corrected    it replaces the lake's payload: corrections are declared, its revision is higher
  present      the kept payload says the same, or is of a higher revision; kept in quarantine where
               it is a second row of its event, not the counted one delivered again
  conflicting  the kept payload differs; both are kept in quarantine, the lake's stays
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from spanner_pipeline.control import Total
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import ConservationError
from spanner_pipeline.lake.change import changing, until_committed
from spanner_pipeline.lake.conflicts import write_conflicts
from spanner_pipeline.lake.incoming import Incoming
from spanner_pipeline.lake.quarantine import quarantine_file
from spanner_pipeline.lake.repeated import write_repeated
from spanner_pipeline.lake.settle import OUTCOMES, Settlement, settle
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.root import DataRoot
from spanner_pipeline.staging import Staged


@dataclass(frozen=True)
class MergeResult:
    """What a merge did.

    Attributes:
        outcomes: Rows and quantity by source file and outcome.
        builds_on: The earlier import batches whose rows it met in the lake.
        replaced: The file with the events that were corrected, as they were before.
        table: Identity of the table, None when there is none.
        version_before: The table's Delta version before, None when there was no table.
        version_after: The version after; the same where nothing changed.
    """

    outcomes: dict[tuple[str, str], Total]
    builds_on: set[str]
    replaced: str | None
    table: str | None
    version_before: int | None
    version_after: int | None


def merge(
    root: DataRoot, staged: Staged, describe: Callable[[MergeResult], Mapping[str, str]]
) -> MergeResult:
    """Merge staged events into the table of their meter.

    Conflicts and repeated rows are put into quarantine, if there are any.

    Args:
        root: The data root.
        staged: The validated events.
        describe: Called with what is about to be committed; raises to stop it. What it returns is
            said in the commit.

    Raises:
        ConservationError: When rows are not accounted for. Nothing was committed.
        LakeBusyError: When other processes won every commit.
    """
    conflicts, repeated = (
        quarantine_file(root, staged.batch, staged.usage.name, kind)
        for kind in ("conflicts", "repeated")
    )

    def attempt(table: EventTable) -> MergeResult:
        with open_duckdb(staged.folder / "spill") as connection:
            incoming = Incoming(connection, staged, table.empty())
            settlement = settle(connection, table, incoming)
            _check(staged, settlement)
            builds_on = settlement.builds_on - {staged.batch}
            at = (table.identity, table.version, table.version)
            result = MergeResult(settlement.outcomes, builds_on, None, *at)
            if not settlement.entering:
                describe(result)
                write_conflicts(connection, staged, conflicts)
                write_repeated(connection, staged, repeated)
                return result
            entering = partial(settlement.entering_on, incoming)
            totals = settlement.entering
            with changing(connection, table, entering, totals, "replaced", keep=True) as change:
                result = replace(
                    result,
                    replaced=change.replaced,
                    table=table.identity,
                    version_after=change.version,
                )
                said = describe(result)
                write_conflicts(connection, staged, conflicts)
                write_repeated(connection, staged, repeated)
                change.commit(said)
            return result

    return until_committed(root, staged.meter, attempt)


def _check(staged: Staged, settlement: Settlement) -> None:
    """Every accepted row must have exactly one outcome."""
    for file, accepted in staged.accepted.items():
        total = Total()
        for outcome in OUTCOMES:
            total += settlement.outcomes.get((file, outcome), Total())
        if total != accepted:
            raise ConservationError(
                f"{file}: {accepted} was accepted for meter {staged.meter.name}, but the merge "
                f"accounts for {total}. Nothing was committed. This is a defect; please report it."
            )
