"""The merge: laws 1, 3 and 4, in one commit a meter.

The story. Days that the lake has are compared with the delivery, row by row; what is there already
needs no more thought, and what is left is `unsettled`. The lake is searched for its keys, on all
days (`existing`). A key that the lake does not hold and the delivery has once is new (`fresh`).
For the others (`contested`), number the copies, decide which payload each key keeps (`kept`) and
give each row its outcome (`settled`). Write the files, read them back, and check that every row is
accounted for. Commit only if nobody else did meanwhile; else begin again with what they wrote.

A snapshot goes through the same, and takes out what it does not mention any more (`snapshot`).

Outcomes of a row:
  new          its key was unknown; it is the copy that enters
  corrected    it replaces the lake's payload: corrections are declared, its revision is higher; or
               it is of a snapshot
  present      the kept payload says the same, or is of a higher revision; kept in quarantine where
               it is a second row of its event, not the counted one delivered again
  conflicting  the kept payload differs; both are kept in quarantine, the lake's stays
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import duckdb
from deltalake.exceptions import CommitFailedError

from spanner_pipeline.control import Replacement, Total
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import ConservationError
from spanner_pipeline.lake.change import changing, until_committed
from spanner_pipeline.lake.conflicts import write_conflicts
from spanner_pipeline.lake.incoming import Incoming
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.quarantine import quarantine_file
from spanner_pipeline.lake.repeated import write_repeated
from spanner_pipeline.lake.scopes import ScopeResult, write_scopes
from spanner_pipeline.lake.settle import OUTCOMES, settle
from spanner_pipeline.lake.snapshot import LEAVING, Statement, find_removed, results, state
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.presence import one_at_a_time
from spanner_pipeline.root import DataRoot
from spanner_pipeline.staging import ACCEPTED, Staged


@dataclass(frozen=True)
class MergeResult:
    """What a merge did.

    Attributes:
        outcomes: Rows and quantity by source file and outcome.
        builds_on: The earlier import batches whose rows it met in the lake.
        replaced: The file with the events that were corrected, as they were before.
        replacement: What a snapshot did to its scopes; None for other deliveries.
        scopes: The file that says so of each scope.
        seen: What a snapshot knew of the ledger; another import may not have come since.
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
    replacement: Replacement | None = None
    scopes: str | None = None
    seen: frozenset[tuple[str, int]] | None = None


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

    ledger = Ledger(root)

    def attempt(table: EventTable) -> MergeResult:
        with open_duckdb(staged.folder / "spill") as connection:
            parts, stated = staged.parts(ACCEPTED), None
            if staged.source.snapshot is not None:
                stated = state(connection, table, staged, ledger)
                parts = stated.parts
            incoming = Incoming(connection, staged, parts, table)
            settlement = settle(connection, table, incoming)
            outcomes, builds_on = settlement.outcomes, settlement.builds_on
            leaving, removed = "replaced", 0
            if stated is not None:
                outcomes, builds_on = _with_stale(outcomes, stated), stated.builds_on
                removed = find_removed(connection)
                leaving = "leaving"
                connection.execute(LEAVING)
            _check(staged, outcomes)
            at = (table.identity, table.version, table.version)
            result = MergeResult(outcomes, builds_on - {staged.batch}, None, *at)
            if not settlement.entering and not removed:
                result = _with_scopes(connection, table, staged, result, stated)
                describe(result)
                write_conflicts(connection, staged, conflicts)
                write_repeated(connection, staged, repeated)
                return result
            entering = partial(settlement.entering_on, incoming)
            totals = settlement.entering
            with changing(connection, table, entering, totals, leaving, keep=True) as change:
                result = replace(
                    result,
                    replaced=change.replaced,
                    table=table.identity,
                    version_after=change.version,
                )
                result = _with_scopes(connection, table, staged, result, stated)
                if result.scopes is not None:
                    change.beside.append(table.path / result.scopes)
                said = describe(result)
                write_conflicts(connection, staged, conflicts)
                write_repeated(connection, staged, repeated)
                with ExitStack() as turn:
                    if stated is not None:  # an import that commits nothing may have stated them
                        turn.enter_context(one_at_a_time(root))
                        _refuse_overtaken(ledger, staged, stated)
                    change.commit(said)
            return result

    return until_committed(root, staged.meter, attempt)


def _with_stale(
    outcomes: dict[tuple[str, str], Total], stated: Statement
) -> dict[tuple[str, str], Total]:
    """The outcomes with what is stale: present, as all that is of a lower revision."""
    added = {(file, "present"): total for file, total in stated.stale.items()}
    both = outcomes.keys() | added.keys()
    return {key: outcomes.get(key, Total()) + added.get(key, Total()) for key in both}


def _with_scopes(
    connection: duckdb.DuckDBPyConnection,
    table: EventTable,
    staged: Staged,
    result: MergeResult,
    stated: Statement | None,
) -> MergeResult:
    """Write down what a snapshot did to its scopes, and add that to the result."""
    if stated is None:
        return result
    total = Replacement()

    def counted() -> Iterator[ScopeResult]:
        nonlocal total
        for scope in results(connection, table, staged):
            total += scope.done
            yield scope

    name = write_scopes(table, counted())
    return replace(result, replacement=total, scopes=name, seen=stated.seen)


def _refuse_overtaken(ledger: Ledger, staged: Staged, stated: Statement) -> None:
    """Begin again where another import of the source was written down meanwhile."""
    if ledger.seen(staged.source.source, staged.meter.name) != stated.seen:
        raise CommitFailedError("another import stated scopes meanwhile")


def _check(staged: Staged, outcomes: Mapping[tuple[str, str], Total]) -> None:
    """Every accepted row must have exactly one outcome."""
    for file, accepted in staged.accepted.items():
        total = Total()
        for outcome in OUTCOMES:
            total += outcomes.get((file, outcome), Total())
        if total != accepted:
            raise ConservationError(
                f"{file}: {accepted} was accepted for meter {staged.meter.name}, but the merge "
                f"accounts for {total}. Nothing was committed. This is a defect; please report it."
            )
