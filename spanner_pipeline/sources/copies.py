"""Local copies of objects and databases' answers, so that every reader reads a file.

Kept while in use, then deleted. Below `staging/objects/`, one file a version of an object, or an
answer. Whoever reads a copy holds a shared lock on it, so that no other process deletes it
meanwhile; the system drops the lock with its process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.object_store import Version, changed, download
from spanner_pipeline.whole import written_whole

if TYPE_CHECKING:
    from spanner_pipeline.sources.files import SourceFile

UNUSED_SECONDS = 3600
"""How long a copy that nobody reads is kept for an import to come."""

UNUSED_BYTES = 8 << 30
"""How much such copies may take together; the oldest go first."""


def copy_of(root: DataRoot, url: str, version: Version) -> Path:
    """Where the copy of one version of an object lies while it is needed."""
    return root.staging / "objects" / _key(url, version)


def digest_of(root: DataRoot, url: str, version: Version, *, keep: bool = True) -> str:
    """The SHA-256 of a version of an object, read once and remembered.

    Args:
        root: The data root.
        url: The object.
        version: The version that is meant.
        keep: Whether a copy is kept, because an import may follow.

    Raises:
        SourceFileError: When the object cannot be read, or is another version by now.
    """
    known = root.lake / "digests" / "objects" / _key(url, version)
    if known.is_file():
        return known.read_text(encoding="ascii")
    digest = _fetch(root, url, version) if keep else download(url, version, None)
    with written_whole(known) as work:
        work.write_text(digest, encoding="ascii")
    return digest


class Copies:
    """The copies of a delivery's objects: there from `fetch` on, deleted at the end."""

    def __init__(self, root: DataRoot, files: Sequence[SourceFile]) -> None:
        """Nothing is downloaded yet; local files need no copy."""
        self._root = root
        self._files = [file for file in files if file.copied]
        self._held: dict[Path, int] = {}

    def __enter__(self) -> Copies:
        """Begin."""
        return self

    def fetch(self) -> None:
        """Have a copy of each object, and keep others from deleting it.

        Raises:
            SourceFileError: When an object cannot be read, or is not what it was when digested.
        """
        for file in self._files:
            if file.path not in self._held:
                self._held[file.path] = self._hold(file)

    def __exit__(self, *error: object) -> None:
        """Delete them, but for those that another process reads."""
        for file in self._files:
            if (held := self._held.pop(file.path, None)) is not None:
                os.close(held)
            _delete_unused(file.path)

    def _hold(self, file: SourceFile) -> int:
        while True:
            with contextlib.suppress(FileNotFoundError):
                held = os.open(file.path, os.O_RDONLY)
                fcntl.flock(held, fcntl.LOCK_SH)
                if _still_there(held, file.path):
                    return held
                os.close(held)
            if not file.version:  # a database would have to be asked anew
                raise changed(file.name)
            if _fetch(self._root, file.name, Version(file.version, file.size)) != file.digest:
                raise changed(file.name)


def _key(url: str, version: Version) -> str:
    return hashlib.sha256(f"{url}\n{version.tag}\n{version.size}".encode()).hexdigest()


def _fetch(root: DataRoot, url: str, version: Version) -> str:
    path = copy_of(root, url, version)
    trim(path.parent)
    with written_whole(path) as work:
        return download(url, version, work)


def trim(folder: Path) -> None:
    """Delete what nobody reads and is old, or too much."""
    kept = 0
    for changed_at, size, path in sorted(_sizes(folder), reverse=True):
        kept += size
        old = time.time_ns() - changed_at > UNUSED_SECONDS * 10**9
        if old or (kept > UNUSED_BYTES and path.suffix != ".tmp"):  # one is being written
            _delete_unused(path)


def _sizes(folder: Path) -> Iterator[tuple[int, int, Path]]:
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            seen = path.stat()
            yield seen.st_mtime_ns, seen.st_size, path


def _delete_unused(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError, BlockingIOError), _opened(path) as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _still_there(held, path):
            path.unlink()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    held = os.open(path, os.O_RDONLY)
    try:
        yield held
    finally:
        os.close(held)


def _still_there(held: int, path: Path) -> bool:
    """Whether an open file still stands under its name."""
    try:
        return os.path.samestat(os.fstat(held), path.stat())
    except FileNotFoundError:
        return False
