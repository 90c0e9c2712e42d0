"""Physical lines of a text file, with their numbers, in batches.

Belongs here: bytes to lines. Not here: what a line means. A line ends at a line feed, with or
without a carriage return before it; blank lines, NUL bytes and lone carriage returns are kept, so
that line numbers stay true and no byte is lost. Blocks are read one by one in this thread: Polars'
own lazy reader ends early and silently when one of its threads panics.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import polars as pl
import pyarrow as pa

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.files import SourceFile

BLOCK_SIZE = 8 << 20
"""Bytes, or characters of a text, that are read at once."""

LONGEST_LINE = 16 << 20
"""Bytes, or characters of a text, of a line or record that is no usage event."""

_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException)


def _open_zstandard(path: Path) -> Any:
    return pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")


def _open_zip(path: Path) -> Any:
    archive = zipfile.ZipFile(path)
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise _UnreadableZipError(
            f"is a zip archive of {len(members)} files.", "unpack it, or pack each file alone."
        )
    if members[0].flag_bits & 1:
        raise _UnreadableZipError("is an encrypted zip archive.", "unpack it first.")
    try:
        return archive.open(members[0])
    except NotImplementedError as error:
        raise _UnreadableZipError(f"is a zip archive: {error}.", "unpack it first.") from error


class _UnreadableZipError(Exception):
    """A zip archive that is whole, and yet no one file: what it is, and the remedy."""


_COMPRESSIONS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _open_zstandard,
    b"PK\x03\x04": _open_zip,
}


def read_lines(file: SourceFile, encoding: str) -> Iterator[pl.DataFrame]:
    """Yield frames of `line` (1-based) and `original` (text without its line end).

    Raises:
        SourceFileError: When the file is cut off or not in the declared encoding.
    """
    first = 1
    with _telling_damage(file, encoding), _open(file.path) as binary:
        for block in _whole_lines(file, _as_utf_8(binary, encoding)):
            try:
                batch = pl.read_lines(io.BytesIO(block), name="original").slice(1)
            except pl.exceptions.ComputeError as error:
                raise UnicodeError(str(error)) from None
            numbers = pl.int_range(first, first + batch.height, dtype=pl.Int64, eager=True)
            yield batch.select(numbers.alias("line"), "original")
            first += batch.height


def _as_utf_8(binary: IO[bytes], encoding: str) -> Iterator[bytes]:
    """The bytes of a file as UTF-8, without a byte order mark; what is UTF-8 is not looked at."""
    if encoding == "utf-8":
        yield binary.read(BLOCK_SIZE).removeprefix(codecs.BOM_UTF8)
        yield from iter(partial(binary.read, BLOCK_SIZE), b"")
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    for stored in iter(partial(binary.read, BLOCK_SIZE), b""):
        yield decoder.decode(stored).encode()
    yield decoder.decode(b"", final=True).encode()


def _whole_lines(file: SourceFile, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, cut behind line ends, each piece behind an empty line of its own.

    Polars would take a piece that begins with the letter x and certain others for an archive.
    """
    rest, lines = b"", 1
    for block in blocks:
        if end := block.rfind(b"\n") + 1:
            whole = b"".join((b"\n", rest, memoryview(block)[:end]))
            lines += whole.count(b"\n") - 1
            yield whole
        rest = block[end:] if end else rest + block
        if len(rest) >= LONGEST_LINE:
            raise _too_long(file, lines)
    if rest:
        yield b"\n" + rest


@contextmanager
def open_text(file: SourceFile, encoding: str) -> Iterator[IO[str]]:
    """Open a file for its plain text; line ends stay as they are.

    Raises:
        SourceFileError: When the file is cut off or not in the declared encoding.
    """
    with (
        _telling_damage(file, encoding),
        _open(file.path) as binary,
        io.TextIOWrapper(binary, _codec(encoding), newline="\n") as text,
    ):
        yield text


@contextmanager
def _telling_damage(file: SourceFile, encoding: str) -> Iterator[None]:
    """Say what is wrong with a file that cannot be read to its end."""
    try:
        yield
    except UnicodeError as error:
        raise SourceFileError(
            file.name,
            f"is not {encoding} text.",
            "declare its `encoding` under `format`, or convert the file.",
            line=_first_undecodable_line(file, encoding),
        ) from error
    except _UnreadableZipError as error:
        raise SourceFileError(file.name, *error.args) from None
    except _DAMAGE as error:
        raise SourceFileError(
            file.name,
            f"is cut off or damaged: {error}.",
            "fetch it again from the old system.",
        ) from error


def _too_long(file: SourceFile, line: int) -> SourceFileError:
    """The error of a line or record that is longer than any usage event."""
    return SourceFileError(
        file.name,
        f"has a line of more than {LONGEST_LINE:,} characters.",
        "split it into one row a line, or declare another `format`.",
        line=line,
    )


def ends_with(file: SourceFile, encoding: str, text: str) -> bool:
    """Whether the last bytes of a plain file are the end of this text: no line end follows it."""
    tail = text.encode(encoding).removeprefix(codecs.BOM_UTF16)[-64:]
    with file.path.open("rb") as stream:
        stream.seek(max(0, file.size - len(tail)))
        return stream.read() == tail


def _codec(encoding: str) -> str:
    return "utf-8-sig" if encoding == "utf-8" else encoding


def _open(path: Path) -> IO[bytes]:
    """Open a file for its plain bytes; compression shows in the first bytes, not in the name."""
    with path.open("rb") as stream:
        start = stream.read(8)
    for magic, opener in _COMPRESSIONS.items():
        if start.startswith(magic):
            plain: IO[bytes] = opener(path)
            return plain
    return path.open("rb")


def _first_undecodable_line(file: SourceFile, encoding: str) -> int:
    decoder = codecs.getincrementaldecoder(_codec(encoding))()
    line = 1
    with _open(file.path) as stream:
        while block := stream.read(1 << 20):
            try:
                line += decoder.decode(block).count("\n")
            except UnicodeDecodeError as error:
                readable = error.object[: error.start]
                return line + readable.decode(encoding, errors="replace").count("\n")
    return line
