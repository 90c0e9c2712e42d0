"""Arrow IPC, as a file (Feather of version 2) or a stream: typed columns become texts.

Every batch is checked in full before a value is read: an offset that points outside of its buffer
would otherwise end the process. A stream must end with its own mark, because one that is cut off
between two batches looks whole to Arrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa

from spanner_pipeline.configuration.layout import Arrow
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.columns import check_columns
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.typed import typed_rows

BATCH_ROWS = 200_000
_FILE, _FEATHER_1 = b"ARROW1", b"FEA1"
_ENDS_OF_STREAM = (b"\xff\xff\xff\xff\0\0\0\0", b"\0\0\0\0")
"""How a stream ends, as now written and as written before Arrow 0.15."""
_DAMAGE = (
    pa.ArrowException,
    OSError,
    ValueError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)


def read_rows(file: SourceFile, layout: Arrow, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line` (row number), `original` (its texts as JSON), `malformed`, `raw.<name>`.

    Raises:
        SourceFileError: When the file is no whole Arrow file or stream, or columns differ.
    """
    line = 1
    try:
        for schema, batch in _batches(file):
            if batch is None:
                check_columns(file, schema.names, needed, layout.columns, optional=layout.optional)
                continue
            batch.validate(full=True)
            for start in range(0, batch.num_rows, BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                yield typed_rows(pl.DataFrame(part), line, layout.optional)
                line += part.num_rows
    except _DAMAGE as error:
        raise SourceFileError(
            file.name,
            f"is no readable Arrow file or stream, or is cut off: {error}.",
            "fetch it again from the old system.",
        ) from error


def _batches(file: SourceFile) -> Iterator[tuple[pa.Schema, pa.RecordBatch | None]]:
    """The schema alone, then each batch with it."""
    with pa.OSFile(str(file.path)) as stored:
        start = stored.read(len(_FILE))
        stored.seek(0)
        if start.startswith(_FEATHER_1):
            raise SourceFileError(
                file.name,
                "is Feather of version 1, which has been given up.",
                "write it as Feather of version 2, or as Parquet.",
            )
        if start == _FILE:
            whole = pa.ipc.open_file(stored)
            yield whole.schema, None
            for index in range(whole.num_record_batches):
                yield whole.schema, whole.get_batch(index)
            return
        stream = pa.ipc.open_stream(stored)
        yield stream.schema, None
        end = stored.tell()
        for batch in stream:
            end = stored.tell()
            yield stream.schema, batch
        stored.seek(end)
        if stored.read() not in _ENDS_OF_STREAM:
            raise pa.ArrowInvalid("it does not end with the mark that ends a stream")
