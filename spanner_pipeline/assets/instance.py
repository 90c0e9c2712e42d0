"""The Dagster instance of a data root, with the settings that the pipeline needs."""

import fcntl
import os
import socket
import sys
from pathlib import Path

import dagster as dg

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.root import DataRoot
from spanner_pipeline.whole import written_whole

PROCESS = "spanner_pipeline/process"
"""The tag of a run that the command line executes in its own process: host and process id."""

SETTINGS = """\
# Written by spanner_pipeline where it is missing; yours to change.
telemetry: {enabled: false}
nux: {enabled: false}
# Crashed runs are tried again; runs that failed for bad data are not.
run_retries: {enabled: true, max_retries: 1, retry_on_asset_or_op_failure: false}
event_log_storage:
  module: spanner_pipeline.assets.event_log
  class: OpenSqliteEventLogStorage
  config: {home: {env: DAGSTER_HOME}}
run_monitoring: {enabled: true, poll_interval_seconds: 10, free_slots_after_run_end_seconds: 10}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {dequeue_interval_seconds: 1}
# Merges into one meter run one at a time.
concurrency:
  runs: {max_concurrent_runs: 2}
  pools: {granularity: op, default_limit: 1}
python_logs:
  managed_python_loggers: [spanner_pipeline]
"""


class UnusableRootError(PipelineError):
    """Dagster cannot keep its records in this data root."""


def prepare_home(root: DataRoot) -> None:
    """Create the instance folder and its settings where missing, and point Dagster to it.

    Raises:
        UnusableRootError: When Dagster would take a part of the folder's name for something else.
    """
    home = root.dagster_home
    for sign in "%?":  # Dagster makes a URL of the path, and does not quote it
        if sign in str(home):
            raise UnusableRootError(
                f"{home}: Dagster cannot keep its records below a folder with `{sign}` in its "
                "name. Rename the folder, or choose another data root."
            )
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        with written_whole(settings) as work:
            work.write_text(SETTINGS, encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(home)


def open_instance(root: DataRoot) -> dg.DagsterInstance:
    """The persistent instance of a data root; the web server and daemon share it.

    Raises:
        UnusableRootError: When Dagster cannot keep its records there.
    """
    prepare_home(root)
    with (root.dagster_home / "opening.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes may not both create the tables
        instance = dg.DagsterInstance.from_config(str(root.dagster_home))
        _settle(instance)
    return instance


def this_process() -> str:
    """This process, as a run is tagged with it."""
    return f"{socket.gethostname()} {os.getpid()}"


_UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED]


def _settle(instance: dg.DagsterInstance) -> None:
    """Fail the runs of killed processes: they would be shown, and counted, as running for ever."""
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        host, _, process = run.tags.get(PROCESS, "").partition(" ")
        if host == socket.gethostname() and not _lives(int(process)):
            instance.report_run_failed(run, "The process of this run was killed. Run it again.")


def _lives(process: int) -> bool:
    if process == os.getpid():  # this process has begun no run yet; it got the id of a dead one
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    try:
        open_instance(DataRoot.locate(Path(sys.argv[1]))).dispose()
    except PipelineError as error:
        sys.exit(str(error))
