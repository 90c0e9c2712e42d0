"""A revert of a delivery at a chosen moment of its import, or the other way round."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from spanner_pipeline import importing
from spanner_pipeline.importing import UsageImport
from spanner_pipeline.lake import revert
from spanner_pipeline.lake.change import Change
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.records import RevertRecord
from spanner_pipeline.lake.revert import UnknownBatchError
from spanner_pipeline_tests.faults.pairs import Import, Revert
from spanner_pipeline_tests.faults.scenes import expected
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes

GOOD, BAD = [Row("1"), Row("2")], Row("bad", quantity="many")


@pytest.fixture
def lake(tmp_path: Path) -> TinyRoot:
    lake = TinyRoot(tmp_path)
    lake.place({"delivery.csv": csv_bytes([*GOOD, BAD])})
    return lake


def _once(
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    step: str,
    *,
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
) -> None:
    """Do something before or after the next call of a step."""
    called = getattr(owner, step)

    def overtaken(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(owner, step, called)
        if before:
            before()
        done = called(*arguments, **named)
        if after:
            after()
        return done

    monkeypatch.setattr(owner, step, overtaken)


def _stands(lake: TinyRoot) -> None:
    """The import stands, with all that it brought and rejected."""
    assert lake.payloads() == expected(GOOD)
    assert len(Ledger(lake.root).standing()) == 1
    assert len(lake.rejected()) == 1, "a rejected row is nowhere"


def test_a_revert_of_an_unknown_batch_leaves_the_rejected_rows_of_its_new_import(
    lake: TinyRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = lake.run().record.batch
    assert isinstance(Revert(lake.root, batch).do(), RevertRecord)
    said: list[object] = []
    _once(
        monkeypatch,
        importing,
        "write_rejected",
        after=lambda: said.append(Revert(lake.root, batch).do()),
    )
    balance(lake.run())
    assert [type(one) for one in said] == [UnknownBatchError]
    _stands(lake)


def test_an_import_that_comes_before_a_revert_has_cleaned_up_keeps_its_rejected_rows(
    lake: TinyRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = lake.run().record.batch
    again = Import(lake.root)
    _once(monkeypatch, revert, "quarantine_file", before=lambda: balance(again.do()))
    assert isinstance(Revert(lake.root, batch).do(), RevertRecord)
    _stands(lake)


def test_a_delivery_that_is_reverted_before_its_import_has_returned_stays_out(
    lake: TinyRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []

    def take_out() -> None:
        said.append(Revert(lake.root, lake.events()["import_batch"][0]).do())

    _once(monkeypatch, importing, "merge", after=take_out)
    balance(lake.run())
    assert [type(one) for one in said] == [RevertRecord]
    assert lake.payloads() == {}
    assert Ledger(lake.root).standing() == []
    assert lake.rejected() == []


def test_rows_that_a_revert_is_about_to_take_are_not_found_present(
    lake: TinyRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = lake.run().record.batch
    lake.place({"again.csv": csv_bytes([*GOOD, BAD.but(quantity="few")])})
    imports: list[UsageImport] = []
    imported = Thread(target=lambda: imports.append(Import(lake.root).do()))

    def begin() -> None:
        imported.start()
        imported.join(timeout=2)  # time enough, were it not to wait for the revert

    _once(monkeypatch, Change, "commit", before=begin)
    assert isinstance(Revert(lake.root, batch).do(), RevertRecord)
    imported.join()
    (record,) = Ledger(lake.root).standing()
    assert [done.record for done in imports] == [record]
    assert record.totals.new.rows == len(GOOD)
    _stands(lake)
