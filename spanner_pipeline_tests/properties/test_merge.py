"""Laws 1, 3 and 4: random imports, reverts and deaths against a lake that is a plain dictionary."""

from __future__ import annotations

import copy
import functools
import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import event, given, settings

from spanner_pipeline import staging
from spanner_pipeline.configuration.source import WHOLE
from spanner_pipeline.lake import change
from spanner_pipeline.lake.ledger import Ledger, RevertRecord, batch_name
from spanner_pipeline.lake.revert import RevertRefusedError, UnknownBatchError, revert
from spanner_pipeline.sources.files import find_files
from spanner_pipeline_tests.faults import victim
from spanner_pipeline_tests.lake.building import TinyRoot, balance
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
ORIGIN = ("import_batch", "source_file", "source_line", "revision")


class Death(BaseException):
    """The process is dead: nothing of it runs any more."""


@contextmanager
def _dying(moment: str) -> Iterator[None]:
    """Die before or after a step, in this process; what would clean up is dead too."""
    when, name = moment.split(" ")
    owner, attribute = victim.STEPS[name]
    step: Callable[..., Any] = getattr(owner, attribute)

    @functools.wraps(step)
    def deadly(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            raise Death
        done = step(*arguments, **named)
        if inspect.isgenerator(done):
            list(done)
        raise Death

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, attribute, deadly)
        patch.setattr(change, "_delete_unless_committed", lambda change: None)
        patch.setattr(staging.WorkFolder, "__exit__", lambda *arguments: None)
        yield


@dataclass
class Trial:
    """A lake and its model, put through the same steps."""

    lake: TinyRoot
    model: Model
    delivered: dict[str, Delivery] = field(default_factory=dict)

    def take(self, step: Import | Revert) -> None:
        """Do one step with both, and compare them."""
        if isinstance(step, Import):
            delivery = step.delivery(list(self.delivered.values()))
            self.deliver(delivery, step.deaths)
        elif standing := self.model.standing():
            self.take_out(standing[-1 - step.of % len(standing)], step)

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
        event(f"import: {kind}")

    def take_out(self, batch: str, step: Revert) -> None:
        """Revert a batch that stands."""
        built_upon = self.model.built_upon(batch)
        if built_upon and not step.force:
            files = self.lake.lake_files()
            with pytest.raises(RevertRefusedError):
                self._revert(batch)
            assert self.lake.lake_files() == files
            self._compare(self.model)
            event("revert: refused")
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
        event(f"revert: {'forced' if built_upon else 'done'}")
        if step.again:
            self.deliver(self.delivered[batch])

    def _revert(self, batch: str, *, force: bool = False) -> RevertRecord:
        (record,) = revert(self.lake.root, self.lake.catalog, batch, force=force)
        return record

    def _survive(
        self, deaths: tuple[str, ...], run: Callable[[], Result], after: Model, *, writes: bool
    ) -> tuple[Result, bool]:
        """Run what may die on the way until it does not; tells whether it had happened by then."""
        version, files = self.lake.version or 0, self.lake.lake_files()
        committed = False
        for moment in deaths:
            try:
                with _dying(moment):
                    done = run()
            except Death:
                committed |= moment in WRITTEN_DOWN or (writes and moment in COMMITTED)
                event(f"death: {'after' if committed else 'before'} the commit")
                self._compare_rows(after if committed else self.model)
                assert (self.lake.version or 0) == version + (writes and committed)
            else:
                event("death: not reached")
                break
        else:
            done = run()
        assert (self.lake.version or 0) == version + writes
        if not writes:
            assert self.lake.lake_files() == files
        return done, committed

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
        standing = {record.batch for record in Ledger(self.lake.root).standing()}
        assert standing == set(model.standing())

    def _compare_rows(self, model: Model) -> None:
        stood = {identity: stood[-1] for identity, stood in model.rows.items()}
        assert self.lake.payloads() == {key: held.row.payload for key, held in stood.items()}
        events = self.lake.events().select("idempotency_key", *ORIGIN)
        origins = {key.rsplit(":", 1)[1]: tuple(origin) for key, *origin in events.iter_rows()}
        assert origins == {
            key: (held.batch, held.file, held.line, int(held.row.rev) if model.corrections else None)
            for key, held in stood.items()
        }


@pytest.mark.parametrize("corrections", [False, True], ids=["keep the first", "corrections"])
@given(steps=STEPS)
@settings(max_examples=25, deadline=None)
def test_after_any_steps_the_lake_is_what_a_dictionary_would_be(
    corrections: bool, steps: list[Import | Revert]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(TinyRoot(Path(folder), corrections=corrections), Model(corrections))
        for step in steps:
            trial.take(step)
