"""Who is at work in a data root, so that nobody takes away what others just rely on.

Whoever changes the lake says so with a shared lock, and maintenance deletes nothing meanwhile. The
system drops a lock when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spanner_pipeline.root import DataRoot


@contextmanager
def at_work(root: DataRoot) -> Iterator[None]:
    """Say that the lake is being changed; waits while maintenance deletes."""
    with _lock(root.lake.parent, fcntl.LOCK_SH):
        yield


@contextmanager
def alone(root: DataRoot) -> Iterator[bool]:
    """Keep others from beginning to change the lake.

    Returns:
        Whether nobody is at it. False, too, on a file system that has no locks.
    """
    with _lock(root.lake.parent, fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
        yield held


@contextmanager
def one_at_a_time(root: DataRoot) -> Iterator[None]:
    """Wait for one's turn in what must be seen whole: for moments only."""
    root.lake.mkdir(exist_ok=True)
    with _lock(root.lake, fcntl.LOCK_EX):
        yield


@contextmanager
def _lock(folder: Path, kind: int) -> Iterator[bool]:
    """Lock a folder that is there, so that no file has to be made."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, kind)
    except OSError:
        held = False
    else:
        held = True
    try:
        yield held
    finally:
        os.close(opened)
