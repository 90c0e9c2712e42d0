"""The live meter beside ours: create it, use it as it is, or stop and show how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from spanner_pipeline.meters import Meter

OUR_DIMENSIONS = {
    "source": "The legacy system that a backfilled event came from.",
    "import_batch": "The import that a backfilled event came with.",
}
"""Optional dimensions that tell backfilled events from live ones; a meter may have its own."""

LONGEST_RETENTION = 3650
"""Days; the service keeps no raw event longer."""

_UNSET_RETENTION = 90


@dataclass(frozen=True)
class Difference:
    """Something that the two meters say otherwise.

    Attributes:
        field: What.
        ours: What is declared in the data root.
        theirs: What the live meter says.
        stops: Whether nothing may be sent before it is settled.
    """

    field: str
    ours: str
    theirs: str
    stops: bool


@dataclass(frozen=True)
class Retention:
    """How long the service keeps raw events.

    Attributes:
        now: When it was asked.
        days: How many days.
        raised_to: What a delivery raises that to first; None where it does not.
    """

    now: datetime
    days: int
    raised_to: int | None = None

    @property
    def kept_from(self) -> datetime:
        """What is older is pruned once it is there."""
        return self.now - timedelta(days=self.raised_to or self.days)

    @property
    def known_from(self) -> datetime:
        """What is older may have been pruned since it was sent."""
        return self.now - timedelta(days=self.days)


def retention_of(meter: Meter) -> int:
    """Days that the service would keep raw events of a meter that is declared so."""
    return meter.event_retention_days or _UNSET_RETENTION


def as_request(meter: Meter, retention_days: int) -> dict[str, Any]:
    """The body that creates a meter, with the dimensions that tell our events apart."""
    dimensions: list[dict[str, Any]] = [d.model_dump(mode="json") for d in meter.dimensions]
    declared = {dimension.name for dimension in meter.dimensions}
    dimensions += [
        {"name": name, "type": "string", "required": False, "description": said}
        for name, said in OUR_DIMENSIONS.items()
        if name not in declared
    ]
    return {
        "name": meter.name,
        "description": meter.description,
        "unit": meter.unit,
        "aggregation": meter.aggregation,
        "dimensions": dimensions,
        "event_retention_days": retention_days,
    }


def compare(meter: Meter, live: Mapping[str, Any]) -> list[Difference]:
    """How the live meter differs from ours; descriptions do not count."""
    found = [
        Difference(name, getattr(meter, name), str(live.get(name)), True)
        for name in ("unit", "aggregation")
        if getattr(meter, name) != live.get(name)
    ]
    theirs = {dimension["name"]: dimension for dimension in live.get("dimensions") or []}
    for dimension in meter.dimensions:
        said = f"{dimension.type}, {'required' if dimension.must_be_present else 'optional'}"
        there = theirs.pop(dimension.name, None)
        if there is None:
            found.append(Difference(f"dimension {dimension.name}", said, "missing", True))
        elif said != (says := _spelled(there)):
            demands = _required(there) and not dimension.must_be_present
            stops = there.get("type") != dimension.type or demands
            found.append(Difference(f"dimension {dimension.name}", said, says, stops))
    for name, dimension in theirs.items():
        ours_too = name in OUR_DIMENSIONS and dimension.get("type") == "string"
        if not ours_too:
            stops = _required(dimension) or name in OUR_DIMENSIONS
            found.append(Difference(f"dimension {name}", "missing", _spelled(dimension), stops))
    days = live.get("event_retention_days")
    if days != retention_of(meter):
        ours = str(retention_of(meter))
        found.append(Difference("event_retention_days", ours, str(days), False))
    return found


def _required(dimension: Mapping[str, Any]) -> bool:
    return bool(dimension.get("required")) and not dimension.get("deprecated")


def _spelled(dimension: Mapping[str, Any]) -> str:
    return f"{dimension.get('type')}, {'required' if _required(dimension) else 'optional'}"
