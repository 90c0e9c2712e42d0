"""What makes a row itself, and which delivery of it wins, as declared."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from spanner_pipeline.configuration.locations import file_location
from spanner_pipeline.configuration.values import IdentityPart, Share, Strict

PARTITIONS: Literal["partitions"] = "partitions"
"""The order of deliveries by the periods that they were delivered for."""


PARTITION: Literal["partition"] = "partition"
"""The scope that is the whole partition."""


class Snapshot(Strict):
    """That each delivery replaces its scopes: what it does not say of them any more is removed.

    A scope is told by columns, such as customer and month, or is the whole partition. Within it a
    row is itself by its `row` columns, or by what it says and which occurrence of that it is. A
    delivery that leaves a scope with less than `shrink` allows, in rows or in quantity, is refused.
    """

    scope: Literal["partition"] | tuple[IdentityPart, ...]
    row: tuple[IdentityPart, ...] = ()
    shrink: Share = Decimal("0.1")

    @field_validator("scope", "row", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return given if given == PARTITION or isinstance(given, list | tuple) else [given]

    @model_validator(mode="after")
    def _has_scope(self) -> Snapshot:
        if not self.scope:
            raise ValueError("`scope` names no column. List some, or write `partition`.")
        return self

    @property
    def depth(self) -> int:
        """How many parts of a key tell the scope."""
        return 1 if self.scope == PARTITION else len(self.scope)


class Identity(Strict):
    """What makes a row itself: its own id, several columns together, or content and occurrence.

    Where rows are not the same from one delivery to the next, a `snapshot` replaces what was said.
    With `across_subjects` no two subjects share an id: a row that comes again under another subject
    is the same event with another payload.
    """

    native: IdentityPart | None = None
    composite: tuple[IdentityPart, ...] = ()
    multiset: bool = False
    snapshot: Snapshot | None = None
    across_subjects: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if given == "snapshot":
            raise ValueError("a snapshot needs its scope: `{snapshot: {scope: partition}}`.")
        return {"multiset": True} if given == "multiset" else given

    @model_validator(mode="after")
    def _one_kind(self) -> Identity:
        kinds = (self.native, self.composite, self.multiset, self.snapshot)
        if sum(map(bool, kinds)) != 1:
            raise ValueError("needs exactly one of native, composite, multiset and snapshot.")
        if self.by_content and self.across_subjects:
            what = "a multiset" if self.multiset else "a snapshot without `row`"
            raise ValueError(f"{what} has no ids; remove `across_subjects`.")
        return self

    @property
    def parts(self) -> tuple[IdentityPart, ...]:
        """The declared parts, those of a scope first; none for a multiset."""
        if self.snapshot is not None:
            scope = () if self.snapshot.scope == PARTITION else self.snapshot.scope
            return (*scope, *self.snapshot.row)
        return (self.native,) if self.native else self.composite

    @property
    def by_content(self) -> bool:
        """Whether rows have no ids, so that each row of a delivery counts."""
        return self.multiset or (self.snapshot is not None and not self.snapshot.row)


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
