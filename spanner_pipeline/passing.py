"""Which errors may pass by themselves, and are worth another try; the only place that says so.

Trying again is safe for all of them: an import that failed left the lake as it was.
"""

from __future__ import annotations

import errno

import duckdb
from deltalake.exceptions import CommitFailedError

from spanner_pipeline.errors import LakeBusyError, PipelineError

_PASSING = (
    LakeBusyError,
    CommitFailedError,
    duckdb.IOException,  # disk, network
    duckdb.OutOfMemoryException,  # memory, and the disk that it is spilled to
    MemoryError,
    ConnectionError,
    TimeoutError,
)

_PASSING_NUMBERS = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EDEADLK,
    errno.EDQUOT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,
    errno.EMFILE,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
    errno.ENFILE,
    errno.ENOLCK,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.ESTALE,
    errno.ETXTBSY,
}

_OBJECT_STORE = "Generic "
"""How the object stores of delta-rs and Polars begin what they raise as a plain `OSError`."""


def may_pass(error: BaseException) -> bool:
    """Whether another try may succeed though nobody mends anything: a lock, a network, a full disk.

    An error that a person reads is judged by what caused it. Whatever is not known to pass is taken
    for lasting, bad data above all.
    """
    if isinstance(error, _PASSING):
        return True
    if isinstance(error, OSError):
        return error.errno in _PASSING_NUMBERS or str(error).startswith(_OBJECT_STORE)
    return isinstance(error, PipelineError) and (
        error.__cause__ is not None and may_pass(error.__cause__)
    )
