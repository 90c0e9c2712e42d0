"""Processes that are forked from a server which has only imported modules.

So each starts at once, and no thread of an engine is lost in the fork.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

_IMPORTED = (
    "spanner_pipeline_tests.faults.pairs",
    "spanner_pipeline_tests.faults.victim",
    # What an import loads only when it runs, a quarter of its time:
    "pandera.backends.polars.register",
    "pandera.backends.polars.container",
    "pandera.strategies.base_strategies",
    "pyarrow.pandas_compat",
)


def forked() -> ForkServerContext:
    """What starts them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_IMPORTED])
    return context
