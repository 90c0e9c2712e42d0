"""Daemons that look after backfills every second.

Dagster's look every 30 seconds, and no setting says otherwise: a test of a backfill would wait for
nothing most of the time. Python imports `sitecustomize` when it starts, of every process that gets
this environment; it changes the daemon alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def eager(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment whose daemons are eager."""
    paths = [str(Path(__file__).parent), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
