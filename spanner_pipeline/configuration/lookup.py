"""How a source's YAML says which customer a legacy account is: a file of pairs.

Belongs here: the declaration and its checks. Not here: reading the file (`sources.customers`).
"""

from __future__ import annotations

from pathlib import PurePosixPath

from pydantic import Field, field_validator

from spanner_pipeline.configuration.values import Strict, Value


class Lookup(Strict):
    """A CSV file below the data root, and its columns with the legacy id and with the customer."""

    file: str = Field(min_length=1)
    key: str = Field(min_length=1)
    value: str = Field(min_length=1)

    @field_validator("file")
    @classmethod
    def _below_the_root(cls, file: str) -> str:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or "://" in file:
            raise ValueError("must be the path of a CSV file below the data root.")
        return file


class Subject(Value):
    """Who used it. With a `lookup`, the text is looked up; one that is not there is rejected."""

    lookup: Lookup | None = None
