"""Who is at work in a data root, so that maintenance deletes nothing that others still write.

Whoever changes the lake says so with a shared lock; the system drops it when the process ends,
however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

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
    """Lock the root's own folder, so that no file has to be made."""
    folder = os.open(root.lake.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, kind)
    except OSError:
        held = False
    else:
        held = True
    try:
        yield held
    finally:
        os.close(folder)
