"""The Dagster instance of a data root, with the settings that the pipeline needs."""

import os
import sys
from pathlib import Path

import dagster as dg

from spanner_pipeline.root import DataRoot

SETTINGS = """\
# Written by spanner_pipeline where it is missing; yours to change.
telemetry: {enabled: false}
nux: {enabled: false}
# Crashed runs are tried again; runs that failed for bad data are not.
run_retries: {enabled: true, max_retries: 1, retry_on_asset_or_op_failure: false}
run_monitoring: {enabled: true, poll_interval_seconds: 10}
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


def prepare_home(root: DataRoot) -> None:
    """Create the instance folder and its settings where missing, and point Dagster to it."""
    home = root.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        work = home / f"dagster.{os.getpid()}.tmp"
        work.write_text(SETTINGS, encoding="utf-8")
        work.replace(settings)
    os.environ["DAGSTER_HOME"] = str(home)


def open_instance(root: DataRoot) -> dg.DagsterInstance:
    """The persistent instance of a data root; the web server and daemon share it."""
    prepare_home(root)
    return dg.DagsterInstance.from_config(str(root.dagster_home))


if __name__ == "__main__":
    prepare_home(DataRoot.locate(Path(sys.argv[1])))
