"""Who is at work in a data root, so that maintenance deletes nothing that others still write.

Whoever changes the lake says so with a shared lock; the system drops it when the process ends,
however it ends.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spanner_pipeline.root import DataRoot


@contextmanager
def at_work(root: DataRoot) -> Iterator[None]:
    """Say that the lake is being changed; waits while maintenance deletes."""
    with _lock(root, fcntl.LOCK_SH):
        yield


@contextmanager
def alone(root: DataRoot) -> Iterator[bool]:
    """Keep others from beginning to change the lake.

    Returns:
        Whether nobody is at it. False, too, on a file system that has no locks.
    """
    with _lock(root, fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
        yield held


@contextmanager
def _lock(root: DataRoot, kind: int) -> Iterator[bool]:
    path: Path = root.lake / ".in-use"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, kind)
        except OSError:
            yield False
        else:
            yield True
