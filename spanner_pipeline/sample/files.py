"""Writing files whole or not at all, and always the same bytes for the same content."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Written:
    """One data file of the sample.

    Attributes:
        path: Where it is.
        rows: Its lines, without a header.
    """

    path: Path
    rows: int


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path`; a killed run leaves the old file or the new one, never half of it.

    A file that already holds `content` is left alone, so that a second run changes no time stamp.

    Args:
        path: The file; missing parent folders are created.
        content: All of it.

    Raises:
        OSError: The folder cannot be written.
    """
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two runs at once out of each other's unfinished file.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    r"""Write text lines as UTF-8, each ended by `\n`; see `write`."""
    write(path, "".join(f"{line}\n" for line in lines).encode())


def write_gzip(path: Path, content: bytes) -> None:
    """Write `content` compressed, without the time or name that would make each run differ."""
    write(path, gzip.compress(content, compresslevel=4, mtime=0))
