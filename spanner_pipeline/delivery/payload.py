"""How an event of the lake is spelled for Open Spanner: SQL that makes each event's JSON.

A number's digits go into the JSON as they are; the service alone makes a double of them. The same
event gives the same bytes whenever it is sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from spanner_pipeline.delivery.meter import OUR_DIMENSIONS
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.meters import Dimension, Meter


@dataclass(frozen=True)
class Spelling:
    """Choices in how events are spelled.

    Attributes:
        whole_seconds: Leave out the fraction of a second, which the service's SQLite store sorts
            into wrong buckets at their edges.
    """

    whole_seconds: bool = False


def body_sql(meter: Meter, spelling: Spelling) -> str:
    """SQL for the JSON of each event, from the columns of the lake."""
    name = literal(json.dumps(meter.name, ensure_ascii=False))
    parts = [
        """'{"idempotency_key":'""",
        "to_json(idempotency_key)::VARCHAR",
        """',"subject":'""",
        "to_json(subject)::VARCHAR",
        """',"meter":'""",
        name,
        """',"quantity":'""",
        _number_sql("quantity", meter.decimals),
        """',"timestamp":"'""",
        _time_sql(spelling),
        """'","metadata":{'""",
        f"concat_ws(',', {', '.join([*_dimensions_sql(meter), *_origin_sql(meter)])})",
        "'}}'",
    ]
    return " || ".join(parts)


def digest_sql(meter: Meter) -> str:
    """SQL for a digest of what makes an event what it is, however it is spelled.

    Its source and import batch are no part of it: an event that came again is the same event. Nor
    is a dimension that it lacks, so that a meter can get one more.
    """
    quantity = _number_sql("quantity", meter.decimals)
    parts = ["to_json(subject)::VARCHAR", quantity, "epoch_us(timestamp)::VARCHAR"]
    return f"left(sha256(concat_ws(',', {', '.join([*parts, *_dimensions_sql(meter)])})), 16)"


def _number_sql(column: str, decimals: int) -> str:
    text = f"{column}::VARCHAR"
    return f"rtrim(rtrim({text}, '0'), '.')" if decimals else text


def _time_sql(spelling: Spelling) -> str:
    time = "timezone('UTC', timestamp)"
    seconds = f"strftime({time}, '%Y-%m-%dT%H:%M:%S')"
    fraction = f"rtrim(rtrim(strftime({time}, '.%f'), '0'), '.')"
    return f"{seconds} || 'Z'" if spelling.whole_seconds else f"{seconds} || {fraction} || 'Z'"


def _dimensions_sql(meter: Meter) -> list[str]:
    return [_pair_sql(d.name, _value_sql(d), d.column) for d in meter.dimensions]


def _origin_sql(meter: Meter) -> list[str]:
    declared = {dimension.name for dimension in meter.dimensions}
    names = [name for name in OUR_DIMENSIONS if name not in declared]
    return [_pair_sql(name, f"to_json({name})::VARCHAR", name) for name in names]


def _pair_sql(name: str, value: str, column: str) -> str:
    # The service takes no null for a dimension that it knows: what is missing is left out.
    key = literal(json.dumps(name) + ":")
    return f"""CASE WHEN "{column}" IS NOT NULL THEN {key} || {value} END"""


def _value_sql(dimension: Dimension) -> str:
    column = f'"{dimension.column}"'
    if dimension.type == "number":
        return _number_sql(column, 9)
    return f"to_json({column})::VARCHAR"
