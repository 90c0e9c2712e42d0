"""The columns of a usage event on its way from a legacy row to the lake.

Belongs here: names, types and order of columns, shared by all stages. No I/O.
"""

from __future__ import annotations

from spanner_pipeline.meters import Meter

ORIGIN = ("source_file", "source_line")
"""Where an event's row stands."""


def payload_columns(meter: Meter) -> list[str]:
    """The columns that make an event what it is; another value under the same key is a conflict."""
    return ["subject", "timestamp", "quantity", *(d.column for d in meter.dimensions)]


def aside_columns(meter: Meter) -> list[str]:
    """The columns of a legacy row that counts elsewhere or nowhere, as quarantine keeps it."""
    dimensions = (d.column for d in meter.dimensions)
    return ["subject", "quantity", "timestamp", *dimensions, *ORIGIN, "source", "import_batch"]


def event_columns(meter: Meter) -> list[str]:
    """The columns of a meter's table in the lake, in order, without the partition column."""
    return [
        "idempotency_key",
        *payload_columns(meter),
        "revision",
        "source",
        "import_batch",
        *ORIGIN,
    ]
