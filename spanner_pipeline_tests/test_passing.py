"""Errors that may pass are told from those that will not, above all bad data."""

from __future__ import annotations

import errno
from pathlib import Path

import duckdb
import pytest
from deltalake.exceptions import CommitFailedError

from spanner_pipeline.errors import (
    ConservationError,
    LakeBusyError,
    SourceFileError,
    TooManyRejectedError,
)
from spanner_pipeline.passing import may_pass
from spanner_pipeline.root import load_catalog
from spanner_pipeline.sources.files import find_files
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root

PASSING = [
    LakeBusyError("others won"),
    CommitFailedError("others won"),
    ConnectionResetError("reset by peer"),
    TimeoutError("no answer"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "Input/output error"),
    OSError("Generic S3 error: connection refused"),
    duckdb.OutOfMemoryException("could not offload"),
    MemoryError(),
]
LASTING = [
    SourceFileError("a.csv", "is cut off.", "fetch it again.", line=7),
    TooManyRejectedError("more than half"),
    ConservationError("one row too few"),
    FileNotFoundError(errno.ENOENT, "No such file"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError("Parquet file size is 0 bytes"),
    ValueError("not a number"),
    duckdb.ConversionException("not a number"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_nobody_has_to_mend_may_pass(error: Exception) -> None:
    assert may_pass(error)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_somebody_has_to_mend_does_not_pass(error: Exception) -> None:
    assert not may_pass(error)


@pytest.mark.parametrize("cause", [*PASSING, *LASTING], ids=repr)
def test_an_error_for_people_is_judged_by_its_cause(cause: Exception) -> None:
    told = SourceFileError("a.csv", "cannot be read.", "check it.")
    told.__cause__ = cause
    assert may_pass(told) is may_pass(cause)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    return small_root(tmp_path_factory.mktemp("passing") / "root")


def test_a_file_that_is_empty_or_missing_does_not_come_by_itself(root: SmallRoot) -> None:
    switch = load_catalog(root).sources["switch"]
    root.file("switch", DAYS[0]).write_bytes(b"")
    root.file("switch", DAYS[1]).unlink()
    for day in DAYS[:2]:
        with pytest.raises(SourceFileError) as told:
            find_files(root, switch, day)
        assert not may_pass(told.value)


def test_a_query_without_room_to_spill_may_pass(tmp_path: Path) -> None:
    settings = {"memory_limit": "16MB", "max_temp_directory_size": "1KB"}
    with (
        duckdb.connect(config={**settings, "temp_directory": str(tmp_path)}) as connection,
        pytest.raises(duckdb.Error) as told,
    ):
        connection.execute(
            "CREATE TABLE t AS SELECT hash(range) AS h FROM range(4000000) ORDER BY h"
        )
    assert may_pass(told.value)
