"""Where a JSON document has its rows: the array with the most objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.lines import open_text

LARGEST = 64 << 20
"""Characters of a document that are held at once to look for its rows."""

_PLAIN = re.compile(r"""[^.\[\]"']+""")


def find_rows(file: SourceFile, encoding: str) -> str | None:
    """The path of the array of rows, as `rows` names it; None where the text is no such document.

    A document of more than `LARGEST` characters is not looked into.

    Raises:
        SourceFileError: When the file is cut off, or its text is not in this encoding.
    """
    with open_text(file, encoding) as stream:
        text = stream.read(LARGEST + 1)
    if len(text) > LARGEST:
        return None
    try:
        document = json.loads(text.removeprefix("\ufeff"), parse_float=str, parse_int=str)
    except (json.JSONDecodeError, RecursionError):
        return None
    found = list(_arrays(document, ()))
    if not found:
        return None
    path, _ = max(found, key=lambda array: array[1])
    return ".".join(path) if all(map(_PLAIN.fullmatch, path)) else _in_brackets(path)


def _arrays(value: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(value, list) and (objects := sum(isinstance(row, dict) for row in value)):
        yield above, objects
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _arrays(below, (*above, key))


def _in_brackets(path: tuple[str, ...]) -> str:
    return "".join(f"['{key}']" if '"' in key else f'["{key}"]' for key in path)
