"""Where the CPU of an import goes: its parts, measured as they are called.

A part does not count what another part does inside it. Parts may run in threads of their own:
those wait for each other, so that the CPU seconds between two marks belong to one part.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pandera.polars as pa
from pandera.backends.polars.register import register_polars_backends

from spanner_pipeline import importing, staging
from spanner_pipeline.lake import change, merge, settle
from spanner_pipeline.sources import files

OF_MERGE: dict[str, list[tuple[Any, str]]] = {
    "count": [(merge, "Incoming")],
    "compare": [(settle, "_compare")],
    "search": [(settle, "find_existing")],
    "repeats": [(settle, "_find_repeated")],
    "decide": [(settle, "_decide")],
    "write": [
        (change, name) for name in ("take_over", "write_day", "write_frames", "write_without")
    ],
    "check": [(change, "_expected"), (change, "_check")],
}
"""What each part of a merge is called here, and the functions that do it."""

OF_IMPORT: dict[str, list[tuple[Any, str]]] = {
    "digest": [(files, "_digest")],
    "extract": [(staging, "read_rows")],
    "map": [(staging, "map_usage")],
    "key": [(staging, "_keyed")],
    "validate": [(staging, "_split")],
    "pandera": [(pa.DataFrameSchema, "validate")],
    "write": [(staging, "write_day_file")],
    "merge": [(importing, "merge")],
}
"""The parts of a whole import; of validation, what pandera does is a part of its own."""


def watch(parts: dict[str, list[tuple[Any, str]]]) -> Counter[str]:
    """Measure parts from now on; CPU seconds are added to what is given."""
    register_polars_backends()  # else the first check would, and load a second of modules
    spent: Counter[str] = Counter()
    inside: list[str] = []
    marked = 0.0

    def mark() -> None:
        """Give what was spent since the last mark to the part that is at work."""
        nonlocal marked
        now = time.process_time()
        if inside:
            spent[inside[-1]] += now - marked  # type: ignore[assignment]
        marked = now

    def within(part: str, work: Callable[[], Any]) -> Any:
        mark()
        inside.append(part)
        try:
            return work()
        finally:
            mark()
            inside.pop()

    def each(part: str, rows: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while (row := within(part, lambda: next(rows, end))) is not end:
            yield row

    def measured(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            done = within(part, lambda: function(*arguments, **named))
            return each(part, done) if inspect.isgenerator(done) else done

        return call

    for part, functions in parts.items():
        for owner, name in functions:
            setattr(owner, name, measured(part, getattr(owner, name)))
    return spent
