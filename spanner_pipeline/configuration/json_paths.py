"""How a YAML names a value inside a JSON object: `data.tokens`, `items[0].n`, `labels["a.b"]`."""

from __future__ import annotations

import re

_STEP = re.compile(r"""(?:^|\.)([^.\[\]"']+)|\[(\d{1,9})\]|\["([^"]+)"\]|\['([^']+)'\]""")


def steps(path: str) -> tuple[str | int, ...]:
    """The keys, and places in arrays, that lead to a value.

    A path that is not spelled in one of these ways is keys with dots between them.
    """
    found: list[str | int] = []
    at = 0
    while not path.startswith(".") and (step := _STEP.match(path, at)):
        index = step[2]
        found.append(int(index) if index else step[1] or step[3] or step[4])
        at = step.end()
    return tuple(found) if path and at == len(path) else tuple(path.split("."))


def keys(path: str) -> tuple[str, ...]:
    """The keys that lead to a value, where no array is on the way; none for an empty path.

    Raises:
        ValueError: When the path has a place in an array.
    """
    found = steps(path) if path else ()
    if any(isinstance(step, int) for step in found):
        raise ValueError(f"`{path}` has a place in an array. Write keys with dots between them.")
    return tuple(str(step) for step in found)
