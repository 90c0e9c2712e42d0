"""Laws 1, 3 and 4: random imports, reverts and deaths against a lake that is a plain dictionary."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from hypothesis import event, given, settings
from hypothesis import strategies as st

from spanner_pipeline.configuration.source import WHOLE
from spanner_pipeline.lake import search
from spanner_pipeline.lake.ledger import Ledger, batch_name
from spanner_pipeline.lake.records import RevertRecord
from spanner_pipeline.lake.revert import RevertRefusedError, UnknownBatchError, revert
from spanner_pipeline.sources.files import find_files
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance
from spanner_pipeline_tests.properties.dying import Death, dying
from spanner_pipeline_tests.properties.model import (
    COMMITTED,
    STEPS,
    WRITTEN_DOWN,
    Delivery,
    Import,
    Model,
    Revert,
)

Result = TypeVar("Result")
PAYLOAD = ("subject", "timestamp", "quantity", "dim_region")
PLACES = ("source_file", "source_line", "first_source_file", "first_source_line")
ORIGIN = ("import_batch", "source_file", "source_line", "revision")


@dataclass
class Trial:
    """A lake and its model, put through the same steps."""

    lake: TinyRoot
    model: Model
    delivered: dict[str, Delivery] = field(default_factory=dict)
    happened: set[str] = field(default_factory=set)

    def take(self, step: Import | Revert) -> None:
        """Do one step with both, and compare them."""
        if isinstance(step, Import):
            delivery = step.delivery(list(self.delivered.values()))
            self.deliver(delivery, step.deaths)
        elif standing := self.model.standing():
            self.take_out(standing[step.of % len(standing)], step)

    def deliver(self, delivery: Delivery, deaths: tuple[str, ...] = ()) -> None:
        """Import a delivery."""
        lake = self.lake
        lake.place(delivery.contents())
        source = lake.catalog.sources["legacy"]
        batch = batch_name(source, WHOLE, find_files(lake.root, source, WHOLE))
        self.delivered[batch] = delivery

        after, known = copy.deepcopy(self.model), self.model.known(batch)
        expected = after.deliver(batch, delivery.files)
        if known:
            assert not expected.enters, "what is not read again must bring nothing"
            after = self.model
        done, committed = self._survive(deaths, lake.run, after, writes=expected.enters)
        assert done.unchanged == (known or committed)
        balance(done)
        expected = after.latest(batch)
        totals = done.record.totals
        for outcome in ("new", "present", "corrected", "conflicting"):
            assert getattr(totals, outcome).rows == expected.outcomes[outcome], outcome
        assert set(done.record.builds_on) == expected.met
        self._compare(after)
        assert lake.run().unchanged
        kind = "known" if known else "entered" if expected.enters else "brought nothing"
        self.happened.add(f"import: {kind}")

    def take_out(self, batch: str, step: Revert) -> None:
        """Revert a batch that stands."""
        built_upon = self.model.built_upon(batch)
        if built_upon and not step.force:
            files = self.lake.lake_files()
            with pytest.raises(RevertRefusedError):
                self._revert(batch)
            assert self.lake.lake_files() == files
            self._compare(self.model)
            self.happened.add("revert: refused")
            return

        def run() -> RevertRecord | None:
            try:
                return self._revert(batch, force=step.force)
            except UnknownBatchError:
                return None

        after = copy.deepcopy(self.model)
        expected = after.revert(batch)
        done, committed = self._survive(step.deaths, run, after, writes=bool(expected.removed))
        assert (done is None) == committed
        if done is not None:
            assert done.removed.rows == expected.removed
            assert done.restored.rows == expected.restored
            assert done.forced == built_upon
        self._compare(after)
        assert run() is None, "it was taken out twice"
        self.happened.add(f"revert: {'forced' if built_upon else 'done'}")
        if step.again:
            self.deliver(self.delivered[batch])

    def _revert(self, batch: str, *, force: bool = False) -> RevertRecord:
        (record,) = revert(self.lake.root, self.lake.catalog, batch, force=force)
        return record

    def _survive(
        self, deaths: tuple[str, ...], run: Callable[[], Result], after: Model, *, writes: bool
    ) -> tuple[Result, bool]:
        """Run what may die on the way until it does not; tells whether it had happened by then."""
        version, files = self._version(), self.lake.lake_files()
        committed = False
        for moment in deaths:
            try:
                with dying(moment):
                    done = run()
            except Death:
                committed |= moment in WRITTEN_DOWN or (writes and moment in COMMITTED)
                self.happened.add(f"death: {'after' if committed else 'before'} the commit")
                self._compare_rows(after if committed else self.model)
                assert self._version() == version + (writes and committed)
            else:
                self.happened.add("death: not reached")
                break
        else:
            done = run()
        assert self._version() == version + writes
        if not writes:
            assert self.lake.lake_files() == files
        return done, committed

    def _table(self) -> DeltaTable:
        return DeltaTable(self.lake.path / "lake" / "events" / self.lake.meter_name)

    def _version(self) -> int:
        """The table's version; none is as good as an empty one."""
        try:
            return self._table().version()
        except TableNotFoundError:
            return 0

    def _compare(self, model: Model) -> None:
        """The lake, its quarantine and its ledger must be what the model says."""
        self.model = model
        self._compare_rows(model)
        found = [
            (
                row["refused_import_batch"],
                row["refused_source_file"],
                row["refused_source_line"],
                *(tuple(row[f"{which}_{n}"] for n in PAYLOAD) for which in ("kept", "refused")),
            )
            for row in self.lake.conflicts()
        ]
        assert sorted(found, key=repr) == sorted(model.conflicts(), key=repr)
        listed = [
            (row["import_batch"], *(row[name] for name in PLACES)) for row in self.lake.repeated()
        ]
        must, may = model.repeated()
        assert must <= set(listed) <= may
        assert len(set(listed)) == len(listed)
        standing = {record.batch for record in Ledger(self.lake.root).standing()}
        assert standing == set(model.standing())

    def _compare_rows(self, model: Model) -> None:
        found = []
        if self._version():
            events = pl.DataFrame(self._table().to_pyarrow_table())
            assert (events["event_date"] == events["timestamp"].dt.date()).all()
            found = sorted(events.select("idempotency_key", *PAYLOAD, *ORIGIN).iter_rows())
        expected = [
            (
                f"legacy:org_1:calls:{identity}",
                *held.row.payload,
                held.batch,
                held.file,
                held.line,
                int(held.row.rev) if model.corrections else None,
            )
            for identity, (*_, held) in sorted(model.rows.items())
        ]
        assert found == expected


@pytest.mark.parametrize("corrections", [False, True], ids=["keep the first", "corrections"])
@given(steps=STEPS, large=st.booleans())
@settings(max_examples=20, deadline=None)
def test_after_any_steps_the_lake_is_what_a_dictionary_would_be(
    corrections: bool, steps: list[Import | Revert], large: bool
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        if large:  # as if each delivery were too large to be searched at once
            patched.setattr(search, "_MANY", 0)
        for what in _try(corrections, steps):
            event(what)


def test_copies_in_one_delivery_are_not_rows_that_it_met() -> None:
    copies = Import((Row("2"), Row("2")))
    _try(True, [Import((Row("1"),)), copies, Revert()])


def test_an_import_that_is_read_again_still_has_what_it_brought_at_first() -> None:
    first, second = Import((Row("1"),)), Import((Row("2"),))
    correcting = Import((Row("1", rev="2"), Row("2", quantity="2.5", rev="2")))
    again = Import(how="the same bytes")
    _try(True, [first, second, correcting, Revert(force=True), again, Revert(of=1)])


def _try(corrections: bool, steps: list[Import | Revert]) -> set[str]:
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(TinyRoot(Path(folder), corrections=corrections), Model(corrections))
        for step in steps:
            trial.take(step)
    return trial.happened
