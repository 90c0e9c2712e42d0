"""Laws 1, 3 and 4: random deliveries against a lake that is a plain dictionary."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes, shuffled

TIMES = (
    "2024-01-01T00:00:00Z",
    "2024-01-01T23:59:59.999999Z",
    "2024-01-02T00:30:00+01:00",  # the first of January in UTC
    "2024-01-02T12:00:00Z",
    "2024-03-31T02:30:00Z",
    "2025-01-01T00:00:00Z",
)
ROW = st.builds(
    Row,
    id=st.sampled_from("123456"),
    quantity=st.sampled_from(["1", "2.5", "0.000000001"]),
    time=st.sampled_from(TIMES),
    region=st.sampled_from(["", "eu"]),
    rev=st.sampled_from(["1", "2", "3", "10"]),
)
FRESH = st.lists(ROW, min_size=1, max_size=9)


@dataclass(frozen=True)
class Step:
    """One delivery: fresh rows, or the rows of an earlier one in other clothes."""

    rows: tuple[Row, ...] = ()
    of: int = -1
    how: str = "fresh"
    files: int = 1


STEP = st.one_of(
    st.builds(Step, rows=FRESH.map(tuple), files=st.integers(1, 2)),
    st.builds(
        Step,
        of=st.integers(0, 5),
        how=st.sampled_from(["the same bytes", "shuffled", "gzip", "other line ends", "with more"]),
        rows=st.lists(ROW, max_size=2).map(tuple),
    ),
)


@dataclass
class Model:
    """The lake as a dictionary from identity to its row."""

    corrections: bool
    rows: dict[str, Row] = field(default_factory=dict)

    def deliver(self, files: dict[str, list[Row]]) -> tuple[Counter[str], list[tuple[Any, ...]]]:
        """Merge one delivery; gives how many rows had which outcome, and the conflicts."""
        outcomes: Counter[str] = Counter()
        conflicts: list[tuple[Any, ...]] = []
        delivered = [
            (name, line, row)
            for name in sorted(files)
            for line, row in enumerate(files[name], start=2)
        ]
        for identity in {row.id for _, _, row in delivered}:
            copies = [copy for copy in delivered if copy[2].id == identity]
            if self.corrections:
                copies.sort(key=lambda copy: -int(copy[2].rev))
            best = copies[0][2]
            if identity not in self.rows:
                outcomes["new"] += 1
                self.rows[identity] = best
                copies = copies[1:]
            elif self.corrections and int(best.rev) > int(self.rows[identity].rev):
                outcomes["corrected"] += 1
                self.rows[identity] = best
                copies = copies[1:]
            kept = self.rows[identity]
            for name, line, row in copies:
                stale = self.corrections and int(row.rev) < int(kept.rev)
                if stale or row.payload == kept.payload:
                    outcomes["present"] += 1
                else:
                    outcomes["conflicting"] += 1
                    conflicts.append((f"legacy/{name}", line, kept.payload, row.payload))
        return outcomes, conflicts


def _files(step: Step, earlier: list[dict[str, list[Row]]]) -> tuple[dict[str, list[Row]], str]:
    if step.how == "fresh" or not earlier:
        rows = list(step.rows) or [Row()]
        return {f"{n}.csv": rows[n :: step.files] for n in range(min(step.files, len(rows)))}, "\n"
    before = earlier[step.of % len(earlier)]
    rows = [row for name in sorted(before) for row in before[name]]
    if step.how == "shuffled":
        return {"shuffled.csv": shuffled(rows)}, "\n"
    if step.how == "gzip":
        return {"packed.csv.gz": rows}, "\n"
    if step.how == "other line ends":
        return {"windows.csv": rows}, "\r\n"
    if step.how == "with more":
        return {"more.csv": [*rows, *step.rows]}, "\n"
    return before, "\n"


def _conflicts_of(lake: TinyRoot, batch: str) -> list[tuple[Any, ...]]:
    def payload(row: dict[str, Any], which: str) -> tuple[Any, ...]:
        columns = ("subject", "timestamp", "quantity", "dim_region")
        return tuple(row[f"{which}_{column}"] for column in columns)

    return [
        (
            row["refused_source_file"],
            row["refused_source_line"],
            payload(row, "kept"),
            payload(row, "refused"),
        )
        for row in lake.conflicts()
        if row["refused_import_batch"] == batch
    ]


@pytest.mark.parametrize("corrections", [False, True], ids=["keep the first", "corrections"])
@given(steps=st.lists(STEP, min_size=2, max_size=5))
@settings(max_examples=25, deadline=None)
def test_after_any_deliveries_the_lake_is_what_a_dictionary_would_be(
    corrections: bool, steps: list[Step]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake, model = TinyRoot(Path(folder), corrections=corrections), Model(corrections)
        earlier: list[dict[str, list[Row]]] = []
        for step in steps:
            files, end = _files(step, earlier)
            earlier.append(files)
            version, stored = lake.version, lake.lake_files()
            lake.place({name: csv_bytes(rows, end=end) for name, rows in files.items()})
            done = lake.run()

            outcomes, conflicts = model.deliver(files)
            balance(done)
            assert lake.payloads() == {key: row.payload for key, row in model.rows.items()}
            if done.unchanged:
                assert outcomes["new"] == outcomes["corrected"] == 0
            else:
                names = ("new", "present", "corrected", "conflicting")
                found = {name: getattr(done.totals, name).rows for name in names}
                assert found == {name: outcomes[name] for name in names}
                assert sorted(_conflicts_of(lake, done.record.batch), key=repr) == sorted(
                    conflicts, key=repr
                )
            if outcomes["new"] == outcomes["corrected"] == 0:
                assert (lake.version, lake.lake_files()) == (version, stored)
            else:
                assert lake.version == (1 if version is None else version + 1)
            assert lake.run().unchanged
