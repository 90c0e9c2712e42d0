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

SUBJECT = "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"
"""What the service takes for a subject."""


@dataclass(frozen=True)
class Spelling:
    """Choices in how events are spelled.

    Attributes:
        whole_seconds: Leave out the fraction of a second, which the service's SQLite store sorts
            into wrong buckets at their edges.
        encode_subjects: Write what the service does not take in a subject as `X-` and two
            hexadecimal digits for each byte.
    """

    whole_seconds: bool = False
    encode_subjects: bool = False

    def subject_sql(self) -> str:
        """SQL for the subject as it is sent."""
        return encoded_sql("subject") if self.encode_subjects else "subject"


def encoded_sql(column: str) -> str:
    """SQL that encodes a text so that it breaks no rule and no two texts meet.

    What obeys the rules stays as it is, unless it has `X-40` or the like in it: then that `X` is
    encoded. So replacing each `X-` with two digits by its byte gives the text back.
    """
    marked = f"regexp_replace(url_encode({column}), 'X(-[0-9A-F]{{2}})', '%58\\1', 'g')"
    kept = f"replace(replace({marked}, '~', '%7E'), '%3A', ':')"
    for letter in "_.:-":
        kept = f"regexp_replace({kept}, '^[{letter}]', '%{ord(letter):02X}')"
    return f"replace({kept}, '%', 'X-')"


def body_sql(meter: Meter, spelling: Spelling) -> str:
    """SQL for the JSON of each event, from the columns of the lake."""
    name = literal(json.dumps(meter.name, ensure_ascii=False))
    parts = [
        """'{"idempotency_key":'""",
        "to_json(idempotency_key)::VARCHAR",
        """',"subject":'""",
        f"to_json({spelling.subject_sql()})::VARCHAR",
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
