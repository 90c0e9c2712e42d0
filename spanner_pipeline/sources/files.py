"""The files of a partition: found by the declared pattern, known by their digests.

The declared order of deliveries is one of files: each carries its place to its rows.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path

from spanner_pipeline.configuration.identity import PARTITIONS
from spanner_pipeline.configuration.locations import is_url
from spanner_pipeline.configuration.source import WHOLE, Source, with_dates
from spanner_pipeline.configuration.values import SOURCE_FILE, complete_date
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources import tables
from spanner_pipeline.sources.copies import copy_of, digest_of
from spanner_pipeline.sources.object_store import changed, list_objects, version_of


@dataclass(frozen=True)
class SourceFile:
    """One legacy file as it was read.

    Attributes:
        name: How rows and messages name it: relative to the data root, or its URL.
        path: Where it is; of an object, where its copy is while `Copies` holds it.
        digest: SHA-256 of its bytes, in hexadecimal.
        size: Its bytes.
        revision: Its place in the declared order of deliveries; None where none is declared, or the
            order does not say.
        repair: The rows of it that a person mended, if there are any.
        repair_digest: SHA-256 of `repair`, in hexadecimal; empty without one.
        version: Which version of an object or a Delta table it is; empty for others.
        copied: Whether `path` is a copy of it, which `Copies` holds and deletes.
    """

    name: str
    path: Path
    digest: str
    size: int
    revision: int | None = None
    repair: Path | None = None
    repair_digest: str = ""
    version: str = ""
    copied: bool = False

    @property
    def content(self) -> str:
        """What was delivered, by digest: the file and its mended rows."""
        return f"{self.digest} {self.repair_digest}" if self.repair is not None else self.digest


@dataclass(frozen=True)
class ListedFile:
    """One legacy file as its folder or bucket shows it, unread.

    Attributes:
        name: As `SourceFile.name`.
        size: Its bytes.
        changed: When its content or its place last changed, in nanoseconds since 1970; of objects
            in whole seconds; of what a database server holds 0, for nobody can say.
    """

    name: str
    size: int
    changed: int


def list_files(
    root: DataRoot, source: Source, partitions: Collection[str]
) -> dict[str, list[ListedFile]]:
    """List the files of partitions, in name order; a partition without files is left out.

    However many partitions there are, each folder or bucket is listed once. So a name in which a
    wildcard could stand for the dates of several partitions is listed for one of them only.
    """
    if source.is_table:
        return {
            key: [ListedFile(name, size, touched)]
            for key, name, size, touched in tables.listed(root, source, partitions)
        }
    any_date = _PLACEHOLDER.sub(lambda found: "[0-9]" * _DIGITS[found[1]], source.files)
    reading = _reading(source.files)
    found: dict[str, list[ListedFile]] = {}
    for name, file in _listed(root, any_date):
        dates = reading.fullmatch(name)
        groups = dates.groupdict() if dates else {}
        key = "-".join(groups[part] for part in _DIGITS if part in groups) or WHOLE
        if dates is not None and key in partitions:
            found.setdefault(key, []).append(file)
    return found


def _listed(root: DataRoot, pattern: str) -> Iterator[tuple[str, ListedFile]]:
    """The files that a pattern matches, in name order, and how the pattern spells their names."""
    if is_url(pattern):
        for url, size, written in sorted(list_objects(pattern)):
            yield url, ListedFile(url, size, written)
        return
    # `Path.glob` takes no absolute pattern.
    for name in sorted(set(glob(pattern, root_dir=root.path, recursive=True))):  # noqa: PTH207
        if (file := listed_file(root, name)) is not None:
            yield name, file


def listed_file(root: DataRoot, name: str) -> ListedFile | None:
    """One local file as its folder shows it; None where there is no file of this name."""
    path = root.path / name
    try:
        seen = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(seen.st_mode):
        return None
    touched = max(seen.st_mtime_ns, seen.st_ctime_ns)
    return ListedFile(root.relative(path), seen.st_size, touched)


_DIGITS = {"year": 4, "month": 2, "day": 2}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_WILDCARD = re.compile(r"(\{\w+\}|\*\*/|\*+|\?|\[!?\]?[^\]]*\])")


def _reading(pattern: str) -> re.Pattern[str]:
    """What reads the dates in a name that a file pattern matches."""
    wildcards = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    text, named = "", set()
    for piece in _WILDCARD.split(pattern):
        if date := _PLACEHOLDER.fullmatch(piece):
            name = date[1]
            text += f"(?P={name})" if name in named else f"(?P<{name}>[0-9]{{{_DIGITS[name]}}})"
            named.add(name)
        elif piece.startswith("[") and piece.endswith("]"):
            text += "[^/]"  # glob has matched it already
        else:
            text += wildcards.get(piece, re.escape(piece))
    return re.compile(text, re.DOTALL)


def file_pattern(source: Source, partition: str) -> str:
    """The source's file pattern with the partition's dates filled in."""
    return with_dates(source.files, partition)


def find_files(root: DataRoot, source: Source, partition: str) -> list[SourceFile]:
    """Find and digest the files of one partition, in name order.

    Objects are read under `Copies`; what was digested before is not downloaded here.

    Raises:
        SourceFileError: When there is none, one is empty or unreadable, or one is a copy that would
            count twice.
    """
    if source.is_table:
        return [_with_repair(root, source, partition, _read_table(root, source, partition))]
    pattern = file_pattern(source, partition)
    listed = present_files(root, source, partition)
    if not listed:
        raise SourceFileError(
            pattern,
            f"no file for partition {partition} of source {source.source}.",
            f"put the file there, or correct `files` or `partitions` in sources/ ({root.path}).",
        )
    revisions = _revisions(root, source, partition, listed)
    files = [_read(root, file, revisions.get(file.name)) for file in listed]
    files = [_with_repair(root, source, partition, file) for file in files]
    if _would_count_copies(source):
        _refuse_copies(files)
    return files


def repair_file(root: DataRoot, source: Source, partition: str, file: SourceFile) -> Path:
    """Where the mended rows of a file are kept; other bytes under its name have none."""
    return root.repairs / source.source / partition / f"{file.digest[:16]}.parquet"


def _with_repair(root: DataRoot, source: Source, partition: str, file: SourceFile) -> SourceFile:
    repair = repair_file(root, source, partition, file)
    if not repair.is_file():
        return file
    return replace(file, repair=repair, repair_digest=_digest(repair))


def present_files(root: DataRoot, source: Source, partition: str) -> list[ListedFile]:
    """The files of one partition that are there, in name order; none is opened."""
    if source.is_table:
        return list_files(root, source, {partition}).get(partition, [])
    return [file for _, file in _listed(root, file_pattern(source, partition))]


def digest_now(root: DataRoot, name: str, sources: Mapping[str, Source]) -> str | None:
    """SHA-256 of what has this name now, as `SourceFile.digest`; None where there is nothing.

    Raises:
        SourceFileError: When an object store or a database gives no answer or refuses.
    """
    if (of_table := tables.of_name(name, sources)) is not None:
        part = tables.find(root, *of_table)
        if part is not None and part.copied:
            part.path.unlink(missing_ok=True)
        return None if part is None else part.digest
    if is_url(name):
        version = version_of(name)
        return None if version is None else digest_of(root, name, version, keep=False)
    path = root.path / name
    return _digest(path) if path.is_file() else None


def _revisions(
    root: DataRoot, source: Source, partition: str, files: list[ListedFile]
) -> dict[str, int]:
    """The place of files in the declared order of deliveries."""
    order = source.corrections.order if source.corrections is not None else None
    if order is None:
        return {}
    if order == PARTITIONS:
        return {file.name: place_of(partition) for file in files}
    matches = [(f.name, n) for n, pattern in enumerate(order, 1) for _, f in _listed(root, pattern)]
    counts = Counter(name for name, _ in matches)
    return {name: place for name, place in matches if counts[name] == 1}


def place_of(partition: str) -> int:
    """The place of a partition among all; its revision, where they are the order of deliveries."""
    return int(complete_date(partition).replace("-", ""))


def _would_count_copies(source: Source) -> bool:
    """Whether the same bytes under two names would be taken for two deliveries.

    Ids find the copy of a row; without them only a subject or the like out of the file's name can.
    """
    named = any(SOURCE_FILE in usage.columns for usage in source.usage)
    return not named and (source.identity is None or source.identity.by_content)


def _refuse_copies(files: list[SourceFile]) -> None:
    first: dict[str, str] = {}
    for file in files:
        if first.setdefault(file.digest, file.name) != file.name:
            raise SourceFileError(
                file.name,
                f"has the same bytes as {first[file.digest]}, and would count twice.",
                "remove the copy, or narrow `files`.",
            )


def _read(root: DataRoot, listed: ListedFile, revision: int | None) -> SourceFile:
    if is_url(listed.name):
        return _read_object(root, listed, revision)
    name = listed.name
    path = root.path / name
    try:
        digest = _digest(path)
        size = path.stat().st_size
    except OSError as error:
        raise SourceFileError(name, f"cannot be read: {error.strerror}.", "check it.") from error
    if size == 0:
        raise _empty(name)
    return SourceFile(name, path, digest, size, revision)


def _read_table(root: DataRoot, source: Source, partition: str) -> SourceFile:
    part = tables.find(root, source, partition)
    if part is None:
        raise SourceFileError(
            tables.name_of(root, source, partition),
            f"holds nothing for partition {partition} of source {source.source}.",
            "correct `files`, `format` or `partitions`, or leave the partition out.",
        )
    place = source.corrections.order if source.corrections is not None else None
    revision = place_of(partition) if place == PARTITIONS else None
    return SourceFile(
        part.name,
        part.path,
        part.digest,
        part.size,
        revision,
        version=part.version,
        copied=part.copied,
    )


def _read_object(root: DataRoot, listed: ListedFile, revision: int | None) -> SourceFile:
    url = listed.name
    if listed.size == 0:
        raise _empty(url)
    version = version_of(url)
    if version is None or version.size != listed.size:
        raise changed(url)
    digest = digest_of(root, url, version)
    path = copy_of(root, url, version)
    return SourceFile(url, path, digest, version.size, revision, version=version.tag, copied=True)


def _empty(name: str) -> SourceFileError:
    return SourceFileError(name, "is empty.", "fetch it again from the old system.")


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
