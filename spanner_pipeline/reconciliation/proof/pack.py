"""The zip of an evidence pack: written so that its bytes repeat, read as if an enemy had made it.

Belongs here: members, their digests and the manifest. Not here: what an evidence pack says
(`evidence`), nor whether it is still true (`verify`). Nothing is ever unpacked to disk.
"""

from __future__ import annotations

import hashlib
import json
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.reconciliation.proof.fingerprint import PARTS, canonical, fingerprint_of
from spanner_pipeline.whole import written_whole

MANIFEST, RUN = "manifest.json", "run.json"
KIND = "evidence pack of spanner-pipeline"

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip can tell."""

_MOST_MEMBERS = 20_000
_MOST_BYTES = 2 << 30
_MOST_IN_MEMORY = 512 << 20
_MOST_RATIO = 200
_SMALL = 16 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


class NotAPackError(PipelineError):
    """A file is no evidence pack that can be trusted so far as to read it."""

    def __init__(self, path: Path, problem: str) -> None:
        """Say what is wrong with it."""
        super().__init__(
            f"{path.name}: {problem} Nothing of it was used. Remedy: fetch the pack again, or "
            "make one with `spanner-pipeline evidence`."
        )


def write_pack(
    path: Path, fingerprint: str, members: Mapping[str, bytes], run: Mapping[str, Any]
) -> None:
    """Write a pack, whole or not at all.

    Args:
        path: The zip.
        fingerprint: That of the parts among its members.
        members: What it holds, by name; the same gives the same bytes.
        run: When and by whom it is made: the one member that differs from run to run.
    """
    manifest = {
        "kind": KIND,
        "fingerprint": fingerprint,
        "members": {name: _described(data) for name, data in members.items()},
    }
    every = {**members, MANIFEST: canonical(manifest), RUN: _sealed(run)}
    with written_whole(path) as work, zipfile.ZipFile(work, "w") as archive:
        for name in sorted(every):
            member = zipfile.ZipInfo(name, _LONG_AGO)
            member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, every[name], zipfile.ZIP_DEFLATED, 9)


def _described(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _sealed(run: Any) -> bytes:
    """Run information with its own digest: in the manifest it would make that differ as well."""
    return canonical({"run": run, **_described(canonical(run))})


@dataclass(frozen=True)
class Pack:
    """A pack that was opened and looked through.

    Attributes:
        path: The zip.
        fingerprint: The fingerprint that it is for.
        damage: What in it is not as its manifest says, for a person; empty where all is.
    """

    path: Path
    fingerprint: str
    damage: tuple[str, ...]
    _members: Mapping[str, zipfile.ZipInfo] = field(repr=False)

    @property
    def names(self) -> list[str]:
        """The names of its members."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises:
            NotAPackError: When it cannot be read.
        """
        with _opened(self.path) as archive:
            return _read(self.path, archive, self._members[name])


def open_pack(path: Path) -> Pack:
    """Open a pack and check every member against the manifest.

    Raises:
        NotAPackError: When it is no zip, cut off, unsafe to read, or no evidence pack.
    """
    with _opened(path) as archive:
        members = {member.filename: member for member in _safe(path, archive)}
        if MANIFEST not in members:
            raise NotAPackError(path, f"has no {MANIFEST}, so it is no evidence pack.")
        manifest = _manifest(path, _read(path, archive, members[MANIFEST]))
        listed, damage = manifest["members"], [*_damaged(archive, members, manifest["members"])]
        if RUN in members:
            damage += _damaged_run(_read(path, archive, members[RUN]))
    digests = {name: str(listed[name].get("sha256")) for name in PARTS if name in listed}
    if fingerprint_of(digests) != manifest["fingerprint"]:
        damage.append(f"{MANIFEST} was changed: the fingerprint is not that of the parts")
    return Pack(path, manifest["fingerprint"], tuple(damage), members)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise NotAPackError(path, "is not there.") from None
    except (*_DAMAGE, ValueError) as error:
        raise NotAPackError(path, f"is no zip, or cut off ({error}).") from None
    with archive:
        yield archive


def _safe(path: Path, archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """The members, if their names and sizes are harmless."""
    listed = archive.infolist()
    if len(listed) > _MOST_MEMBERS:
        raise NotAPackError(path, f"has {len(listed):,} members, more than any pack.")
    size = path.stat().st_size
    total = sum(member.file_size for member in listed)
    if total > _MOST_BYTES or total > _SMALL + _MOST_RATIO * size:
        raise NotAPackError(path, f"would unpack to {total:,} bytes, more than a pack of its size.")
    seen: set[str] = set()
    for member in listed:
        name = member.filename
        if name in seen:
            raise NotAPackError(path, f"holds {name!r} twice.")
        if not _is_plain(member.orig_filename) or not _is_plain(name):
            raise NotAPackError(path, f"holds a member with an unsafe name: {name!r}.")
        if member.flag_bits & 1:
            raise NotAPackError(path, f"holds an encrypted member: {name!r}.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotAPackError(path, f"holds a member that is packed in another way: {name!r}.")
        seen.add(name)
        yield member


def _is_plain(name: str) -> bool:
    """Whether a name stays below where it is put, on any system."""
    parts = name.split("/")
    return (
        not PurePosixPath(name).is_absolute()
        and not any(part in ("", ".", "..") for part in parts)
        and not any(c in '\\:*?"<>|' or unicodedata.category(c) == "Cc" for c in name)
    )


def _manifest(path: Path, data: bytes) -> dict[str, Any]:
    try:
        said = json.loads(data)
        told = said["kind"] == KIND and set(said) == {"kind", "fingerprint", "members"}
        told = told and isinstance(said["fingerprint"], str)
        entries = said["members"].values() if told else ()
        told = told and all(set(entry) == {"bytes", "sha256"} for entry in entries)
        told = told and canonical(said) == data
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        told = False
    if not told:
        raise NotAPackError(path, f"its {MANIFEST} was changed, or is of something else.")
    return dict(said)


def _damaged(
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    listed: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    for name in sorted({*listed, *PARTS, RUN} - set(members)):
        yield f"{name} is missing"
    for name in sorted(set(members) - set(listed) - {MANIFEST, RUN}):
        yield f"{name} is not in the manifest"
    for name in sorted(set(members) & set(listed)):
        try:
            with archive.open(members[name]) as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        except _DAMAGE:
            yield f"{name} was changed or is damaged: its bytes cannot be read"
            continue
        if {"bytes": members[name].file_size, "sha256": digest} != listed[name]:
            yield f"{name} was changed: its digest is not that of the manifest"


def _damaged_run(data: bytes) -> Iterator[str]:
    try:
        run = json.loads(data)["run"]
        as_written = _sealed(run) == data
    except (ValueError, RecursionError, LookupError, TypeError):
        as_written = False
    if not as_written:
        yield f"{RUN} was changed: its digest is not its own"


def _read(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.file_size > _MOST_IN_MEMORY:
        raise NotAPackError(path, f"{member.filename} is too large to be read.")
    try:
        return archive.read(member)
    except _DAMAGE as error:
        raise NotAPackError(path, f"{member.filename} cannot be read ({error}).") from None
