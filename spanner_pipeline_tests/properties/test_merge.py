"""Laws 1, 3 and 4: random deliveries, reverts and deaths against a lake that is a dictionary."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from spanner_pipeline.configuration.source import WHOLE
from spanner_pipeline.lake import change
from spanner_pipeline.lake.ledger import Ledger, batch_name
from spanner_pipeline.lake.revert import RevertRefusedError, UnknownBatchError, revert
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.sources.files import find_files
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes, shuffled
from spanner_pipeline_tests.properties.model import STEP, Delivery, Model, Revert

OUTCOMES = ("new", "present", "corrected", "conflicting")


def _files(step: Delivery, earlier: list[dict[str, list[Row]]]) -> tuple[dict[str, list[Row]], str]:
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


class Died(BaseException):
    """The process ended here; nothing that follows was done, cleaning up neither."""


@contextmanager
def dying(death: str | None) -> Iterator[None]:
    """Die in what is done, once, at this moment, if it comes to that."""

    def deadly(step: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
        def die(*arguments: Any, **named: Any) -> Any:
            if after:
                step(*arguments, **named)
            raise Died

        return die

    moments: dict[str | None, list[tuple[Any, str]]] = {
        None: [],
        "before writing": [(change, "write_day")],
        "before the commit": [(EventTable, "commit")],
        "after the commit": [(EventTable, "commit")],
        "before the ledger": [(Ledger, "add"), (Ledger, "add_revert")],
    }
    with pytest.MonkeyPatch.context() as patched:
        if death is not None:
            patched.setattr(change, "_delete_unless_committed", lambda change: None)
        for owner, name in moments[death]:
            step = deadly(getattr(owner, name), after=death == "after the commit")
            patched.setattr(owner, name, step)
        yield


def deliver(
    lake: TinyRoot, model: Model, step: Delivery, earlier: list[dict[str, list[Row]]]
) -> str:
    """One import, and again after it died, against the model; gives its batch."""
    files, end = _files(step, earlier)
    earlier.append(files)
    version, stored = lake.version, lake.lake_files()
    lake.place({name: csv_bytes(rows, end=end) for name, rows in files.items()})
    source = lake.catalog.sources["legacy"]
    batch = batch_name(source, WHOLE, find_files(lake.root, source, WHOLE))
    known, before = model.knows(batch), model.rows
    outcomes, conflicts = model.deliver(batch, files) if not known else ({}, [])
    entering = sum(outcomes.get(name, 0) for name in ("new", "corrected"))
    died = False
    try:
        with dying(step.death):
            done = lake.run()
    except Died:
        died = True
        committed = step.death in ("after the commit", "before the ledger") and bool(entering)
        event(f"an import died {step.death}")
        expected = model.rows if committed else before
        assert lake.payloads() == {key: row.payload for key, row in expected.items()}
        done = lake.run()
        assert done.unchanged == committed
    else:
        assert done.unchanged == known
    balance(done)
    assert lake.payloads() == {key: row.payload for key, row in model.rows.items()}
    if not known:
        found = {name: getattr(done.record.totals, name).rows for name in OUTCOMES}
        assert found == {name: outcomes.get(name, 0) for name in OUTCOMES}
        assert sorted(_conflicts_of(lake, batch), key=repr) == sorted(conflicts, key=repr)
    if not entering:
        assert lake.version == version
    elif not died:
        assert lake.version == (1 if version is None else version + 1)
    if not entering and not died:
        assert lake.lake_files() == stored
    assert lake.run().unchanged
    return batch


def take_out(lake: TinyRoot, model: Model, step: Revert, batches: list[str]) -> None:
    """One revert, and again after it died, against the model."""
    batch = batches[step.of % len(batches)]
    version, before = lake.version, model.rows
    if not model.stands(batch):
        event("a revert of what does not stand")
        with pytest.raises(UnknownBatchError):
            revert(lake.root, lake.catalog, batch, force=step.force)
    elif model.built_upon(batch) and not step.force:
        event("a revert refused")
        with pytest.raises(RevertRefusedError):
            revert(lake.root, lake.catalog, batch)
    else:
        event(f"a revert {'forced' if model.built_upon(batch) else 'done'}")
        changes = any(stack[-1][1] == batch for stack in model.versions.values())
        model.revert(batch)
        try:
            with dying(step.death):
                revert(lake.root, lake.catalog, batch, force=step.force)
        except Died:
            event(f"a revert died {step.death}")
            committed = changes and step.death in ("after the commit", "before the ledger")
            expected = model.rows if committed else before
            assert lake.payloads() == {key: row.payload for key, row in expected.items()}
            try:
                revert(lake.root, lake.catalog, batch, force=step.force)
            except UnknownBatchError:
                assert committed
        assert _conflicts_of(lake, batch) == []
    if model.rows == before:
        assert lake.version == version or step.death
    assert lake.payloads() == {key: row.payload for key, row in model.rows.items()}


@pytest.mark.parametrize("corrections", [False, True], ids=["keep the first", "corrections"])
@given(steps=st.lists(STEP, min_size=2, max_size=6))
@settings(max_examples=25, deadline=None)
def test_after_anything_the_lake_is_what_a_dictionary_would_be(
    corrections: bool, steps: list[Delivery | Revert]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake, model = TinyRoot(Path(folder), corrections=corrections), Model(corrections)
        earlier: list[dict[str, list[Row]]] = []
        batches: list[str] = []
        for step in steps:
            if isinstance(step, Delivery):
                batches.append(deliver(lake, model, step, earlier))
            elif batches:
                take_out(lake, model, step, batches)
