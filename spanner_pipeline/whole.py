"""Files that are there whole or not at all, whoever is killed or writes at the same time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a work file of the caller's own, which takes the place of `path` once it is written.

    Args:
        path: The file; missing parent folders are created.
        replace: Whether it takes the place of a file that is there already.

    Raises:
        FileExistsError: When there is one, and it may not be replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        yield work
        if replace:
            work.replace(path)
        else:
            path.hardlink_to(work)
    finally:
        work.unlink(missing_ok=True)
