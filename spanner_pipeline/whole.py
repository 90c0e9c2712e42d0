"""Files that are there whole or not at all, whoever is killed or writes at the same time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a work file of the caller's own, which takes the place of `path` once it is written.

    Args:
        path: The file; missing parent folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        yield work
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)
