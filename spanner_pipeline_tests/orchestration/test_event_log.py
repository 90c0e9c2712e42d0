"""The event log keeps the stock format and promises, and its files open."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from spanner_pipeline.assets.event_log import OpenSqliteEventLogStorage
from spanner_pipeline.assets.instance import SETTINGS, open_instance
from spanner_pipeline.root import DataRoot

REPO = Path(__file__).parent.parent.parent
KEY = dg.AssetKey("counted")
EVENTS = 60


@dg.asset(key=KEY, partitions_def=dg.StaticPartitionsDefinition([str(n) for n in range(EVENTS)]))
def counted() -> None:
    """An asset of many partitions."""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataRoot]:
    monkeypatch.setenv("DAGSTER_HOME", "")
    yield DataRoot(tmp_path / "root")


def stock(root: DataRoot) -> DataRoot:
    """The same root with the settings of one that was made before this storage was."""
    root.dagster_home.mkdir(parents=True, exist_ok=True)
    start, end = SETTINGS.index("event_log_storage:"), SETTINGS.index("run_monitoring:")
    (root.dagster_home / "dagster.yaml").write_text(SETTINGS[:start] + SETTINGS[end:])
    return root


def open_files(folder: Path) -> int:
    """How many files below a folder this process has open."""
    count = 0
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(FileNotFoundError):  # the listing itself was one
            count += Path(f"/proc/self/fd/{number}").readlink().is_relative_to(folder)
    return count


def report(instance: dg.DagsterInstance, first: int = 0, last: int = EVENTS) -> None:
    """Report partitions as done."""
    for n in range(first, last):
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=str(n)))


def test_a_root_may_go_from_one_storage_to_the_other(root: DataRoot) -> None:
    with open_instance(stock(root)) as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        report(instance, 0, 2)
    (root.dagster_home / "dagster.yaml").write_text(SETTINGS)
    with open_instance(root) as instance:
        assert type(instance.event_log_storage) is OpenSqliteEventLogStorage
        report(instance, 2, 4)
        assert instance.get_materialized_partitions(KEY) == {"0", "1", "2", "3"}
        with open_instance(stock(root)) as other:
            assert other.get_materialized_partitions(KEY) == {"0", "1", "2", "3"}
            report(other, 4, 5)
        assert "4" in instance.get_materialized_partitions(KEY)


def test_what_a_killed_process_reported_is_there(root: DataRoot) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline.root import DataRoot
from spanner_pipeline_tests.orchestration.test_event_log import report
report(open_instance(DataRoot(Path(sys.argv[1]))), 0, 3)
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run(
        [sys.executable, "-c", code, str(root.path)], cwd=Path(__file__).parents[2]
    )
    assert died.returncode == -9
    with open_instance(root) as instance:
        assert instance.get_materialized_partitions(KEY) == {"0", "1", "2"}


def test_a_page_that_watches_a_run_hears_of_its_events(root: DataRoot) -> None:
    job = dg.Definitions(assets=[counted]).resolve_implicit_global_asset_job_def()
    with open_instance(root) as instance, open_instance(root) as page:
        run = instance.create_run_for_job(job)
        heard: list[str] = []
        enough = threading.Event()

        def hear(event: object, cursor: str) -> None:
            heard.append(cursor)
            enough.set()

        instance.report_engine_event("began", run)
        cursor = page.get_records_for_run(run.run_id).cursor
        page.watch_event_logs(run.run_id, cursor, hear)
        try:
            time.sleep(0.2)
            assert heard == []
            instance.report_engine_event("went on", run)
            assert enough.wait(10), "a page would show nothing before it is loaded again"
        finally:
            page.end_watch_event_logs(run.run_id, hear)


def test_a_daemon_that_reads_of_a_failed_run_finds_it_failed(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would not try it again, and never look at it any more."""
    job = dg.Definitions(assets=[counted]).resolve_implicit_global_asset_job_def()
    with open_instance(root) as instance:
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        found: list[tuple[Any, ...]] = []
        stored = SqliteEventLogStorage.store_event

        def store(log: SqliteEventLogStorage, event: dg.EventLogEntry) -> None:
            record = instance.get_run_record_by_id(run.run_id)
            assert record is not None
            found.append((event.dagster_event_type, record.dagster_run.status, record.end_time))
            stored(log, event)

        monkeypatch.setattr(SqliteEventLogStorage, "store_event", store)
        instance.report_run_failed(run)
        [(what, status, ended)] = found
        assert what is dg.DagsterEventType.RUN_FAILURE
        assert status is dg.DagsterRunStatus.FAILURE
        after = instance.get_run_record_by_id(run.run_id)
        assert after is not None
        assert after.end_time == ended
        assert after.dagster_run.tags["dagster/will_retry"] == "true"


def test_it_goes_on_after_a_wipe_and_with_many_runs(root: DataRoot) -> None:
    with open_instance(root) as instance:
        report(instance, 0, 2)
        instance.event_log_storage.wipe()
        assert instance.get_materialized_partitions(KEY) == set()
        for n in range(20):
            assert dg.materialize([counted], instance=instance, partition_key=str(n)).success
        assert len(instance.get_materialized_partitions(KEY)) == 20
        assert open_files(root.dagster_home) < 40, "files of old runs are closed"


def test_many_events_open_no_file_but_the_first(
    root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening and closing is what makes an event dear in the stock storage."""
    opened: list[object] = []
    connect = sqlite3.dbapi2.connect

    def counting(*arguments: Any, **named: Any) -> sqlite3.Connection:
        opened.append(arguments)
        return connect(*arguments, **named)

    monkeypatch.setattr(sqlite3.dbapi2, "connect", counting)
    with open_instance(stock(DataRoot(tmp_path / "stock"))) as instance:
        report(instance, 0, 1)
        opened.clear()
        report(instance)
        assert len(opened) >= EVENTS, "the stock storage has learned it, and ours can go"
    with open_instance(root) as instance:
        report(instance, 0, 1)
        opened.clear()
        report(instance)
        assert opened == []
