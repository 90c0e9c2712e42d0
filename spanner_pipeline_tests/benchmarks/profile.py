"""Where the CPU of a merge goes: its parts, measured as they are called."""

from __future__ import annotations

import functools
import inspect
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from spanner_pipeline.lake import change, merge, settle

PARTS: dict[str, list[tuple[Any, str]]] = {
    "count": [(merge, "Incoming")],
    "compare": [(settle, "_compare")],
    "search": [(settle, "find_existing")],
    "repeats": [(settle, "_find_repeated")],
    "decide": [(settle, "_decide")],
    "write": [(change, "write_day"), (change, "write_without")],
    "check": [(change, "_expected"), (change, "_check")],
}
"""What each part of a merge is called here, and the functions that do it."""


def watch() -> Counter[str]:
    """Measure all parts from now on; CPU seconds are added to what is given."""
    spent: Counter[str] = Counter()

    def measured(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            before = time.process_time()
            done = function(*arguments, **named)
            if inspect.isgenerator(done):
                done = list(done)
            spent[part] += time.process_time() - before  # type: ignore[assignment]
            return done

        return call

    for part, functions in PARTS.items():
        for owner, name in functions:
            setattr(owner, name, measured(part, getattr(owner, name)))
    return spent
