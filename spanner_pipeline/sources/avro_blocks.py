"""The blocks of Avro object container files, unpacked within bounds.

fastavro unpacks a block whole, whatever it grows to. So it is given the same file with plain
blocks, unpacked here one by one, and with its schema as we want it read. Belongs here: the frame
of the file. Not here: its records.
"""

from __future__ import annotations

import bz2
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import fastavro

LARGEST_BLOCK = 16 << 20
"""Bytes of a block beyond which it is no usage, and would fill the memory; usual are 64,000."""

_MOST_MEMORY_OF_XZ = 128 << 20
_MAGIC = b"Obj\x01"
_HEADER = fastavro.parse_schema(
    {
        "type": "record",
        "name": "org.apache.avro.file.Header",
        "fields": [
            {"name": "magic", "type": {"type": "fixed", "name": "Magic", "size": 4}},
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "Sync", "size": 16}},
        ],
    }
)


class UnreadableBlockError(Exception):
    """What is wrong with a block or the frame of the file."""


class PlainBlocks:
    """A stream of an Avro file whose blocks are not packed; holds one block at a time."""

    def __init__(self, stored: IO[bytes], respell: Callable[[Any], Any]) -> None:
        """Begin at the start of a file.

        Args:
            stored: The file.
            respell: Gives the schema, as JSON holds it, that its records are to be read by.
        """
        self._pieces = _pieces(stored, respell)
        self._held = io.BytesIO()
        self._before = 0

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than asked for at the end of the file or of a piece.

        No value reaches beyond its piece, so what is cut off there is damaged.

        Raises:
            UnreadableBlockError: When the next block cannot be unpacked within bounds.
        """
        if found := self._held.read(size):
            return found
        self._before += self._held.tell()
        self._held = io.BytesIO(next(self._pieces, b""))
        return self._held.read(size)

    def tell(self) -> int:
        """How many bytes were read."""
        return self._before + self._held.tell()


def _pieces(stored: IO[bytes], respell: Callable[[Any], Any]) -> Iterator[bytes]:
    header: Any = fastavro.schemaless_reader(stored, _HEADER, None)
    if header["magic"] != _MAGIC:
        raise UnreadableBlockError("it does not begin as one")
    meta = header["meta"]
    codec = meta.get("avro.codec", b"null").decode()
    if codec not in _CODECS:
        raise UnreadableBlockError(f"its codec is {codec}")
    schema = respell(json.loads(meta["avro.schema"]))
    plain = {"avro.schema": json.dumps(schema).encode(), "avro.codec": b"null"}
    yield _spelled(_HEADER, {**header, "meta": plain})
    while stored.peek(1):  # type: ignore[attr-defined]
        records, size = (fastavro.schemaless_reader(stored, "long", None) for _ in range(2))
        assert isinstance(records, int)
        assert isinstance(size, int)
        if not 0 <= size <= LARGEST_BLOCK:
            raise _too_large()
        block = _CODECS[codec](stored.read(size))
        if len(block) > LARGEST_BLOCK:
            raise _too_large()
        if not 0 <= records <= len(block):  # no row of a source is empty
            raise UnreadableBlockError(f"a block of {len(block):,} bytes holds {records:,} records")
        sync = stored.read(len(header["sync"]))
        yield _spelled("long", records) + _spelled("long", len(block)) + block + sync


def _too_large() -> UnreadableBlockError:
    return UnreadableBlockError(f"a block takes more than {LARGEST_BLOCK:,} bytes, or is damaged")


def _spelled(schema: Any, value: Any) -> bytes:
    written = io.BytesIO()
    fastavro.schemaless_writer(written, schema, value)
    return written.getvalue()


def _unpacked(unpacker: Any, packed: bytes) -> bytes:
    block: bytes = unpacker.decompress(packed, LARGEST_BLOCK + 1)
    if len(block) <= LARGEST_BLOCK and not unpacker.eof:
        raise UnreadableBlockError("a block is cut off")
    return block


_CODECS: dict[str, Callable[[bytes], bytes]] = {
    "null": lambda stored: stored,
    "deflate": lambda stored: _unpacked(zlib.decompressobj(-zlib.MAX_WBITS), stored),
    "bzip2": lambda stored: _unpacked(bz2.BZ2Decompressor(), stored),
    "xz": lambda stored: _unpacked(lzma.LZMADecompressor(memlimit=_MOST_MEMORY_OF_XZ), stored),
}
