"""What makes a row itself, and which delivery of it wins, as declared."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from spanner_pipeline.configuration.locations import file_location
from spanner_pipeline.configuration.values import IdentityPart, Strict

PARTITIONS: Literal["partitions"] = "partitions"
"""The order of deliveries by the periods that they were delivered for."""


class Identity(Strict):
    """What makes a row itself: its own id, several columns together, or content and occurrence.

    With `across_subjects` no two subjects share an id: a row that comes again under another subject
    is the same event with another payload.
    """

    native: IdentityPart | None = None
    composite: tuple[IdentityPart, ...] = ()
    multiset: bool = False
    across_subjects: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"multiset": True} if given == "multiset" else given

    @model_validator(mode="after")
    def _one_kind(self) -> Identity:
        if (self.native is not None) + bool(self.composite) + self.multiset != 1:
            raise ValueError("needs exactly one of native, composite and multiset.")
        if self.multiset and self.across_subjects:
            raise ValueError("a multiset has no ids; remove `across_subjects`.")
        return self

    @property
    def parts(self) -> tuple[IdentityPart, ...]:
        """The declared parts; none for a multiset."""
        return (self.native,) if self.native else self.composite


def _known_order(given: Any) -> Any:
    patterns = list(given) if isinstance(given, list | tuple) else []
    if given != PARTITIONS and not (patterns and all(isinstance(p, str) and p for p in patterns)):
        raise ValueError("must be `partitions`, or a list of file patterns, oldest first.")
    if any("{" in pattern for pattern in patterns):
        raise ValueError("takes no placeholders; write `*` in their place.")
    for pattern in patterns:
        file_location(pattern)
    return given


class Corrections(Strict):
    """That a later delivery may correct a row, and what makes it later; never arrival or file time.

    The higher `revision` of a row wins, a number or time out of its columns or its file's name. Or
    `order` says which delivery wins: that of the later period (`partitions`), or the file whose
    pattern stands later in a list.
    """

    revision: IdentityPart | None = None
    order: Annotated[
        Literal["partitions"] | tuple[str, ...] | None, BeforeValidator(_known_order)
    ] = None

    @field_validator("revision")
    @classmethod
    def _ordered(cls, revision: IdentityPart | None) -> IdentityPart | None:
        if revision is not None and revision.type == "text":
            raise ValueError("needs `type: number` or `type: time`; texts have no order to trust.")
        return revision

    @model_validator(mode="after")
    def _one_kind(self) -> Corrections:
        if (self.revision is None) == (self.order is None):
            raise ValueError("needs exactly one of revision and order.")
        return self

    @property
    def columns(self) -> list[str]:
        """The source columns that the revision is read from."""
        return self.revision.columns if self.revision is not None else []
