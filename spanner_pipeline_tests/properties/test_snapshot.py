"""Snapshots: the lake is the last delivery of each scope, whatever came, died or was taken out."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from spanner_pipeline.control import Total
from spanner_pipeline.importing import UsageImport
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.lake.scopes import read_scopes
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes, shuffled
from spanner_pipeline_tests.properties.dying import Death, dying

MONTH = {"column": "time", "extract": "^(.{7})"}
BY_CONTENT = {"snapshot": {"scope": ["subject", MONTH], "shrink": "100%"}}
BY_ROW = {"snapshot": {"scope": ["subject", MONTH], "row": "id", "shrink": "100%"}}

Scope = tuple[str, str]
Said = Counter[tuple[Any, ...]]
"""Rows of a scope, as often as they stand there: payloads, behind their ids if they have any."""

UNCOMMITTED = ("after stage", "after write_without", "after write_scopes", "before write_day")
COMMITTED = ("after create_write_transaction", "before Ledger.add")


@dataclass(frozen=True)
class Deliver:
    """Fresh rows, or those of an earlier delivery, in any order and number of files."""

    rows: tuple[Row, ...] = (Row(),)
    of: int | None = None
    files: int = 1
    seed: int = 0
    revision: int = 1
    death: str = ""


@dataclass(frozen=True)
class TakeOut:
    """The last import is reverted."""


@dataclass
class Model:
    """What each import that stands said of each scope, oldest first."""

    by_row: bool
    ordered: bool
    said: list[tuple[str, int, dict[Scope, Said]]] = field(default_factory=list)

    def holds(self) -> dict[Scope, Said]:
        """What the lake must hold."""
        held: dict[Scope, Said] = {}
        newest: dict[Scope, int] = {}
        for _, revision, scopes in self.said:
            for scope, rows in scopes.items():
                if not self.ordered or revision >= newest.get(scope, 0):
                    held[scope], newest[scope] = rows, revision
        return {scope: rows for scope, rows in held.items() if rows}

    def scopes_of(self, rows: Iterable[Row]) -> dict[Scope, Said]:
        """What rows say; a row that is rejected mentions its scope all the same."""
        scopes: dict[Scope, Said] = defaultdict(Counter)
        for row in rows:
            said = scopes[row.subject, row.time[:7]]
            if row.quantity != "many":
                said[(row.id, *row.payload) if self.by_row else row.payload] += 1
        return dict(scopes)


def total(rows: Said) -> Total:
    return Total(rows.total(), sum((row[-2] * n for row, n in rows.items()), Decimal(0)))


def ids(rows: Said) -> set[str]:
    return {row[0] for row in rows}


def held_by(lake: TinyRoot, model: Model) -> dict[Scope, Said]:
    held: dict[Scope, Said] = defaultdict(Counter)
    events = lake.events()
    assert events["idempotency_key"].n_unique() == events.height, "a key stands twice"
    columns = ("idempotency_key", "subject", "timestamp", "quantity", "dim_region")
    for key, *payload in events.select(columns).iter_rows():
        subject, month, identity, *_ = key.split(":")[3].split("|")
        held[subject, month][(identity, *payload) if model.by_row else tuple(payload)] += 1
    return dict(held)


def compare_outcome(
    lake: TinyRoot, model: Model, done: UsageImport, before: dict[Scope, Said], said: Any
) -> None:
    """What an import tells of each scope must be the difference of sets."""
    after = model.holds()
    found = {s.scope: s.done for s in read_scopes(lake.table, done.record)}
    assert found.keys() == {"|".join(scope) for scope in said}
    for scope in said:
        did, was, is_ = found["|".join(scope)], before.get(scope, Counter()), after.get(scope)
        now = is_ or Counter()
        if did.stale:
            assert was == now
            assert (did.added, did.changed, did.removed) == (Total(), Total(), Total())
            continue
        entering, leaving = now - was, was - now
        changed = ids(entering) & ids(leaving) if model.by_row else set()
        kept = [
            Counter({row: n for row, n in rows.items() if row[0] in changed})
            for rows in (entering, leaving)
        ]
        assert (did.changed, did.replaced) == (total(kept[0]), total(kept[1]))
        assert did.added == total(entering - kept[0])
        assert did.removed == total(leaving - kept[1])
        assert (did.before, did.after) == (total(was), total(now))


def take(lake: TinyRoot, model: Model, step: Deliver | TakeOut, earlier: list[Deliver]) -> None:
    if isinstance(step, TakeOut):
        if model.said:
            batch = model.said.pop()[0]
            revert(lake.root, lake.catalog, batch)
            event("reverted")
            assert held_by(lake, model) == model.holds()
        return
    if step.of is not None and earlier:
        old = earlier[-1 - step.of % len(earlier)]
        step = Deliver(old.rows, files=step.files, seed=step.seed, revision=old.revision)
    earlier.append(step)
    rows = [row.but(rev=str(step.revision)) for row in shuffled(step.rows, step.seed)]
    if model.by_row:  # one row an id, or they would be in conflict
        told = {(row.subject, row.time[:7], row.id): row for row in sorted(rows, key=str)}
        rows = list(told.values())
    number = min(step.files, len(rows))
    files = {f"{n}.csv": csv_bytes(rows[n::number]) for n in range(number)}
    if len(set(files.values())) < number:
        files = {"one.csv": csv_bytes(rows)}  # two files with the same bytes are refused
    lake.place(files)
    before, said = model.holds(), model.scopes_of(rows)
    if step.death:
        try:
            with dying(step.death):
                lake.run()
        except Death:
            event(f"died {step.death}")
            committed = step.death in COMMITTED
            after = [*model.said, ("", step.revision, said)] if committed else model.said
            assert held_by(lake, model) == Model(model.by_row, model.ordered, after).holds()
    done = lake.run()
    balance(done)
    batches = [batch for batch, *_ in model.said]
    if done.record.batch in batches:
        assert done.unchanged or step.death
        since = model.said[batches.index(done.record.batch) + 1 :]
        assert model.ordered or all(said.keys().isdisjoint(later) for *_, later in since)
    else:
        model.said.append((done.record.batch, step.revision, said))
        compare_outcome(lake, model, done, before, said)
    assert held_by(lake, model) == model.holds()
    version = lake.version
    assert lake.run().unchanged
    assert lake.version == version


ROW = st.builds(
    Row,
    id=st.sampled_from("12"),
    subject=st.sampled_from("ab"),
    quantity=st.sampled_from(["1", "2.50", "1.0", "many"]),
    time=st.sampled_from(["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-02-01T00:00:00Z"]),
    region=st.sampled_from(["", "eu"]),
)
DELIVER = st.builds(
    Deliver,
    rows=st.lists(ROW, min_size=1, max_size=8).map(tuple),
    of=st.none() | st.none() | st.integers(0, 2),
    files=st.integers(1, 2),
    seed=st.integers(0, 9),
    revision=st.integers(1, 3),
    death=st.just("") | st.just("") | st.sampled_from([*UNCOMMITTED, *COMMITTED]),
)
STEPS = st.lists(DELIVER | DELIVER | DELIVER | st.builds(TakeOut), min_size=2, max_size=5)


@pytest.mark.parametrize("by_row", [False, True], ids=["by content", "by row"])
@given(ordered=st.booleans(), steps=STEPS)
@settings(max_examples=8, deadline=None)
def test_the_lake_is_the_last_delivery_of_each_scope(
    by_row: bool, ordered: bool, steps: Sequence[Deliver | TakeOut]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = TinyRoot(
            Path(folder), identity=BY_ROW if by_row else BY_CONTENT, corrections=ordered
        )
        model, earlier = Model(by_row, ordered), list[Deliver]()
        for step in steps:
            take(lake, model, step, earlier)
