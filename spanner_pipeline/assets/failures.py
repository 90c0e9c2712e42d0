"""How what goes wrong looks in Dagster: a `Failure` that a person can act on, never tried again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from spanner_pipeline.errors import PipelineError

FAILED_PARTITIONS = "failed partitions"
"""The metadata entry with the partitions of a run that failed, and the reason of each."""


def reason_of(error: Exception) -> str:
    """What a person reads: our messages as they are, another's with its kind."""
    if isinstance(error, PipelineError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}"


def failure_of(source: str, failures: dict[str, str]) -> dg.Failure:
    """One failure for the partitions of a run that failed, with the reason of each."""
    listing: Any = dg.MetadataValue.table(
        [dg.TableRecord({"partition": p, "reason": why}) for p, why in failures.items()]
    )
    first = next(iter(failures))
    noun = "partition" if len(failures) == 1 else "partitions"
    return dg.Failure(
        description=f"{source}: {len(failures)} {noun} failed. {first}: {failures[first]}",
        metadata={FAILED_PARTITIONS: listing},
        allow_retries=False,
    )


@contextmanager
def readable_failures() -> Iterator[None]:
    """Turn an error that a user can act on into a `Failure` with its message."""
    try:
        yield
    except PipelineError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
