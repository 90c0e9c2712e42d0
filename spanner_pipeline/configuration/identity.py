"""What makes a row itself, and which delivery of it wins, as declared."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator, model_validator

from spanner_pipeline.configuration.values import IdentityPart, Strict


class Identity(Strict):
    """What makes a row itself: its own id, several columns together, or content and occurrence."""

    native: IdentityPart | None = None
    composite: tuple[IdentityPart, ...] = ()
    multiset: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"multiset": True} if given == "multiset" else given

    @model_validator(mode="after")
    def _one_kind(self) -> Identity:
        if (self.native is not None) + bool(self.composite) + self.multiset != 1:
            raise ValueError("needs exactly one of native, composite and multiset.")
        return self

    @property
    def parts(self) -> tuple[IdentityPart, ...]:
        """The declared parts; none for a multiset."""
        return (self.native,) if self.native else self.composite


class Corrections(Strict):
    """That a later delivery may correct a row: the higher `revision` wins."""

    revision: IdentityPart

    @field_validator("revision")
    @classmethod
    def _ordered(cls, revision: IdentityPart) -> IdentityPart:
        if revision.type == "text":
            raise ValueError("needs `type: number` or `type: time`; texts have no order to trust.")
        return revision
