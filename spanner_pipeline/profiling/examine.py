"""The story of a profile: read a file, look at its columns, prove its identity, look at its clock.

With a second export of the same period, keys must also stay what they are from one to the other.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.profiling.choice import Choice, choose
from spanner_pipeline.profiling.columns import Column, examine_columns
from spanner_pipeline.profiling.exports import Overlap, Stability, compare_exports, overlap
from spanner_pipeline.profiling.identity import Proof, prove
from spanner_pipeline.profiling.layouts import open_file
from spanner_pipeline.profiling.roles import Roles, find_roles
from spanner_pipeline.profiling.stored import Stored, store
from spanner_pipeline.profiling.zones import SkippedHours, skipped_hours


@dataclass(frozen=True)
class Profile:
    """What is known of a file.

    Attributes:
        stored: How it was read; its parts are gone.
        columns: What its columns hold.
        roles: Which of them may be subject, quantity and timestamp.
        proof: What makes its rows themselves.
        choice: The identity that is proposed.
        hours: The hours that clocks skipped, where its timestamp names no offset.
        second: How a second export was read, where one was given; its parts are gone.
        stability: What became of each key in it.
        overlap: How many whole rows it shares.
    """

    stored: Stored
    columns: tuple[Column, ...]
    roles: Roles
    proof: Proof
    choice: Choice
    hours: tuple[SkippedHours, ...] = ()
    second: Stored | None = None
    stability: tuple[Stability, ...] = ()
    overlap: Overlap | None = None

    @property
    def seems_headless(self) -> bool:
        """Whether the first line of delimited text looks like a row, not like names."""
        delimited = self.stored.layout.family == "delimited"
        return delimited and any(
            re.fullmatch(r"[+-]?\d[\d.,:/T -]*Z?", n) for n in self.stored.names
        )

    @property
    def only_first(self) -> list[str]:
        """Columns that the second export lacks."""
        other = self.second.names if self.second is not None else self.stored.names
        return [name for name in self.stored.names if name not in other]

    @property
    def only_second(self) -> list[str]:
        """Columns that only the second export has."""
        other = self.second.names if self.second is not None else ()
        return [name for name in other if name not in self.stored.names]


def examine(path: Path, second: Path | None = None) -> Profile:
    """Profile a file.

    Args:
        path: The file.
        second: A second export of the same period.

    Raises:
        SourceFileError: When a file has no known format, is damaged or holds no rows, or the second
            has no column of the first.
    """
    with tempfile.TemporaryDirectory() as made, open_duckdb() as connection:
        folder = Path(made)
        stored = store(open_file(path), folder / "first", connection)
        other = store(open_file(second), folder / "second", connection) if second else None
        if other is not None and not set(stored.names) & set(other.names):
            raise SourceFileError(
                other.file.name,
                f"has no column of {stored.file.name}.",
                "name a second export of the same data.",
            )
        columns = examine_columns(stored, connection)
        roles = find_roles(columns)
        time = roles.timestamp
        naive = time is not None and not time.kind.aware
        hours = skipped_hours(stored, time) if time is not None and naive else []
        proof, stability = prove(stored, columns, connection), list[Stability]()
        if other is not None:
            proof, stability = _over_both(stored, columns, proof, other, connection, folder)
        choice = choose(stored, proof, stability, connection)
        shared = overlap(stored, other, connection) if other is not None else None
    return Profile(
        stored,
        tuple(columns),
        roles,
        proof,
        choice,
        tuple(hours),
        other,
        tuple(stability),
        shared,
    )


def _over_both(
    first: Stored,
    columns: Sequence[Column],
    proof: Proof,
    second: Stored,
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
) -> tuple[Proof, list[Stability]]:
    """Follow each key into the second export; where ids change, search for keys without them."""
    known: dict[tuple[str, ...], Stability] = {}
    left_out = {name for name in first.names if name not in second.names}
    if any(left_out & set(key.names) for key in proof.keys):
        proof = prove(first, columns, connection, left_out)
    while True:
        for key in proof.keys:
            if key.names not in known:
                known[key.names] = compare_exports(
                    first, second, key, connection, folder, without=left_out
                )
        unstable = {name for found in known.values() for name in found.unstable}
        if unstable <= left_out:
            return proof, list(known.values())
        left_out |= unstable
        # Rows that differ in such a column alone are the same row: follow the other keys again.
        known = {names: found for names, found in known.items() if found.unstable}
        proof = prove(first, columns, connection, left_out)
