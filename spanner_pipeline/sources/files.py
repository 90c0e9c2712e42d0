"""The files of a partition: found by the declared pattern, known by their digests."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from spanner_pipeline.configuration.source import WHOLE, Source
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.root import DataRoot


@dataclass(frozen=True)
class SourceFile:
    """One legacy file as it was read.

    Attributes:
        name: How rows and messages name it, relative to the data root.
        path: Where it is.
        digest: SHA-256 of its bytes, in hexadecimal.
        size: Its bytes.
    """

    name: str
    path: Path
    digest: str
    size: int


def file_pattern(source: Source, partition: str) -> str:
    """The source's file pattern with the partition's dates filled in."""
    names = ("year", "month", "day")
    dates = dict(zip(names, partition.split("-"), strict=False)) if partition != WHOLE else {}
    return re.sub(r"\{(\w+)\}", lambda match: dates[match[1]], source.files)


def find_files(root: DataRoot, source: Source, partition: str) -> list[SourceFile]:
    """Find and digest the files of one partition, in name order.

    Raises:
        SourceFileError: When there is none, or one is empty or unreadable.
    """
    pattern = file_pattern(source, partition)
    paths = sorted(path for path in root.path.glob(pattern) if path.is_file())
    if not paths:
        raise SourceFileError(
            pattern,
            f"no file for partition {partition} of source {source.source}.",
            f"put the file there, or correct `files` or `partitions` in sources/ ({root.path}).",
        )
    return [_read(root, path) for path in paths]


def _read(root: DataRoot, path: Path) -> SourceFile:
    name = root.relative(path)
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = path.stat().st_size
    except OSError as error:
        raise SourceFileError(name, f"cannot be read: {error.strerror}.", "check it.") from error
    if size == 0:
        raise SourceFileError(name, "is empty.", "fetch it again from the old system.")
    return SourceFile(name, path, digest, size)
