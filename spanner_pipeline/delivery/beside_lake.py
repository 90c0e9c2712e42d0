"""What of the lake the service was never sent, or has otherwise, number by number of an old bill.

Exact, from lake and ledger alone: every event that the two do not both have alike takes what it
adds out of the number that it is in, or puts it in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.control import Total
from spanner_pipeline.delivery import netting
from spanner_pipeline.delivery.fates import BESIDE_GONE, NET, RESEND, SEND, Chosen
from spanner_pipeline.delivery.ledger import SETTLED
from spanner_pipeline.delivery.payload import digest_sql
from spanner_pipeline.lake.sums import literal, totals_by
from spanner_pipeline.meters import Meter
from spanner_pipeline.usage.filters import group_sql

CHANGED, GONE = "changed", "gone"

FATES = {
    SEND: "not delivered yet",
    NET: "not delivered yet, to be netted",
    RESEND: "sent without an answer, or refused",
    "unsettled": "sent without an answer, and too old to send again",
    CHANGED: "changed in the lake since it was delivered",
    GONE: "delivered, and gone from the lake since",
    "not positive": "left out, as the service takes no quantity of 0 or less",
    "older": "left out, as the service would prune it",
    "pulled": "pulled from the service, which has it as live traffic",
    BESIDE_GONE: "held back, as an event of its day was delivered and is gone from the lake",
    netting.CANCELLED: "cancels out to 0 with others of its hour, day or month",
    netting.BELOW: "left out, as its hour, day or month is below 0",
    netting.LATE: "left out, as its counterpart is there already",
    "netted": "netted into another event of its hour, day or month",
    "after the cut-over": "in the lake at or after the cut-over, where live traffic counts",
}
"""Why an event is not in lake and service alike."""

LACKING = frozenset({SEND, NET, RESEND, "unsettled", CHANGED, GONE})
"""Of these, what nobody chose."""

LEFT_OUT = frozenset({"not positive", "older", BESIDE_GONE, netting.BELOW, netting.LATE})
"""Of these, what was chosen, and leaves the service without what the lake counts."""


@dataclass(frozen=True)
class Moved:
    """What the service has more of a number than the lake, by what the ledger says.

    Attributes:
        fate: One of `FATES`.
        events: How many.
        quantity: As the meter adds up; negative where the service has less.
    """

    fate: str
    events: int
    quantity: Decimal


def not_alike(
    chosen: Chosen, meter: Meter, total: BillingTotal, cells: pl.DataFrame
) -> dict[int, list[Moved]]:
    """Find the events that lake and ledger do not both have alike, by number.

    Args:
        chosen: The lake with the fate of each event.
        meter: The meter; it adds up.
        total: What the old bill's numbers are.
        cells: The numbers, as of a comparison.
    """
    names = [f"dim_{name}" for name in total.dimensions]
    connection = chosen.connection
    connection.register("cells", cells.select("cell", "subject", *names, "start", "end"))
    subject = "subject" if total.subject is not None else "'' AS subject"
    groups = [f'{group_sql(meter, name)} AS "group_{name}"' for name in total.dimensions]
    where = [
        f"{group_sql(meter, name)} IN ({', '.join(map(literal, values))})"
        for name, values in total.only.items()
    ]
    settled = ", ".join(map(literal, SETTLED))
    value = "1" if meter.aggregation == "count" else "quantity"
    own = ", ".join([subject, *groups, "timestamp"])
    only = " AND ".join(["true", *where])
    # What went with others and is gone, or another event now.
    connection.execute(f"""CREATE OR REPLACE TEMP VIEW part AS
        SELECT word.* FROM word SEMI JOIN (SELECT idempotency_key AS net FROM word
            WHERE status IN ({settled})) USING (net)
        LEFT JOIN (SELECT idempotency_key, {digest_sql(meter)} AS now FROM window_) AS l
            USING (idempotency_key)
        WHERE status = 'netted' AND l.now IS DISTINCT FROM word.digest""")
    connection.execute(f"""CREATE OR REPLACE TEMP VIEW lacking AS
        SELECT {own}, if(fate = 'delivered', 'netted', fate) AS fate,
            -({value})::{meter.quantity_type} AS quantity
        FROM chosen WHERE (fate <> 'delivered' OR status = 'netted') AND {only}
        UNION ALL SELECT {own}, 'netted', word.sent - ({value}) - coalesce(other.took, 0)
        FROM chosen JOIN (SELECT idempotency_key, quantity::{meter.quantity_type} AS sent FROM word)
            AS word USING (idempotency_key)
        LEFT JOIN (SELECT net AS idempotency_key, sum(quantity::{meter.quantity_type}) AS took
            FROM part GROUP BY net) AS other USING (idempotency_key)
        WHERE fate = 'delivered' AND known_net = idempotency_key AND {only}""")
    # What the service has of an event that the lake has otherwise, where the ledger says it is.
    known = f"""SELECT idempotency_key, subject, timestamp, digest, quantity::{meter.quantity_type}
        AS quantity FROM (SELECT * FROM word WHERE status IN ({settled})
            UNION ALL SELECT * FROM part)"""
    dimensions = "".join(f', l."dim_{name}"' for name in [*total.dimensions, *total.only])
    connection.execute(f"""CREATE OR REPLACE TEMP VIEW extra AS
        SELECT {own}, fate, ({value})::{meter.quantity_type} AS quantity FROM (
            SELECT s.subject, s.timestamp, s.quantity, CASE WHEN l.idempotency_key IS NULL
                THEN '{GONE}' ELSE '{CHANGED}' END AS fate{dimensions}
            FROM ({known}) AS s LEFT JOIN (SELECT *, {digest_sql(meter)} AS now FROM window_) AS l
            USING (idempotency_key) WHERE l.now IS DISTINCT FROM s.digest) WHERE {only}""")
    same = " AND ".join(
        [
            "e.subject = c.subject",
            *(f'e."group_{n}" IS NOT DISTINCT FROM c."dim_{n}"' for n in total.dimensions),
            'e.timestamp >= c.start AND e.timestamp < c."end"',
        ]
    )
    events = f"""SELECT c.cell, e.fate, e.quantity FROM
        (SELECT * FROM lacking UNION ALL SELECT * FROM extra) AS e JOIN cells AS c ON {same}"""
    found: dict[int, list[Moved]] = defaultdict(list)
    totals: Mapping[tuple[int, str], Total] = totals_by(
        connection, events, ("cell", "fate"), meter.decimals
    )
    for fate in FATES:
        for (cell, of), total_ in totals.items():
            if of == fate:
                found[cell].append(Moved(fate, total_.rows, total_.quantity))
    return found
