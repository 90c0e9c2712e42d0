"""How a source's YAML says which customer a legacy account is: as it is, spelled, or by a file.

Belongs here: the declaration and its checks. Not here: reading the file (`sources.customers`), nor
spelling (`sources.subjects`).
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field, field_validator, model_validator

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


class Account(Value):
    """Whose it is. `spell: escaped` spells any text so that Open Spanner takes it as a subject.

    What it does not take is written as `:` and two hexadecimal digits for each byte, as are colons,
    so that no two accounts become one and each can be read back.
    """

    spell: Literal["as_is", "escaped"] = "as_is"


class Subject(Account):
    """Who used it. With a `lookup`, the text is looked up; one that is not there is rejected."""

    lookup: Lookup | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Subject:
        if self.lookup is not None and self.spell != "as_is":
            raise ValueError("has `lookup` and `spell`; write subjects into the file as they are.")
        return self
