"""Daemons that look every second whether there is something to do.

Dagster's look for backfills every 30 seconds, and let a sensor wait as long as it says itself; no
setting says otherwise. A test of one would wait for nothing most of the time. Every Python that
gets this environment imports `sitecustomize` when it starts; it changes the daemon alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def eager(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment whose daemons are eager."""
    paths = [str(Path(__file__).parent), environment.get("PYTHONPATH", "")]
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "1",
    }
