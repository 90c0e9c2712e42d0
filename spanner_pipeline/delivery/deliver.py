"""A delivery from beginning to end: plan, make the meter ready, send, say what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.fates import Choices, choosing
from spanner_pipeline.delivery.ledger import DeliveryLedger
from spanner_pipeline.delivery.live import LiveMeter, can_be_marked
from spanner_pipeline.delivery.meter import OUR_DIMENSIONS, as_request, compare, retention_of
from spanner_pipeline.delivery.plan import Plan, make_plan
from spanner_pipeline.delivery.seam import Seam, look_at_seam
from spanner_pipeline.delivery.send import GROUP, Outcome, Progress, Sender
from spanner_pipeline.delivery.sent import reading_sent
from spanner_pipeline.delivery.target import TargetError
from spanner_pipeline.errors import ConservationError
from spanner_pipeline.lake.ledger import whoever
from spanner_pipeline.meters import Meter
from spanner_pipeline.presence import at_work
from spanner_pipeline.root import DataRoot
from spanner_pipeline.whole import written_whole


@dataclass(frozen=True)
class Delivered:
    """What came of a delivery.

    Attributes:
        meter: The meter's name.
        meter_id: The live meter.
        outcome: What the service answered.
        record: The file with the plan, the choices and the outcome.
    """

    meter: str
    meter_id: str
    outcome: Outcome
    record: Path


def plan_delivery(root: DataRoot, meter: Meter, client: OpenSpanner, choices: Choices) -> Plan:
    """Say what a delivery would do; nothing is changed, here or there.

    Raises:
        TargetError: When the service refuses, cannot be reached, or events cannot be netted so.
    """
    live = client.find_meter(meter.name)
    differences = [] if live is None else compare(meter, live)
    ledger = None if live is None else DeliveryLedger(root, client.target, live)
    now = datetime.now(UTC)
    choices = _netting_as_before(choices, ledger)
    with at_work(root):
        seam = _seam(root, meter, client, ledger, choices.cut_over, now)
        return make_plan(root, meter, live, differences, ledger, choices, now, seam)


def _seam(
    root: DataRoot,
    meter: Meter,
    client: OpenSpanner,
    ledger: DeliveryLedger | None,
    cut_over: datetime | None,
    now: datetime,
) -> Seam | None:
    if cut_over is None:
        return None
    if ledger is None:
        return look_at_seam(root, meter, None, None, cut_over, now)
    marked = can_be_marked([dimension.name for dimension in meter.dimensions])
    reader = LiveMeter(client, meter.name, marked=marked)
    with reading_sent(root, meter, ledger, cut_over, now) as sent:
        return look_at_seam(root, meter, reader, sent, cut_over, now)


def deliver(
    root: DataRoot,
    meter: Meter,
    client: OpenSpanner,
    choices: Choices,
    plan: Plan,
    progress: Progress = lambda events: None,
) -> Delivered:
    """Do what a plan says.

    Args:
        root: The data root.
        meter: The meter.
        client: The service.
        choices: What the plan was made with.
        plan: What was accepted.
        progress: Told of events that were answered.

    Raises:
        TargetError: When the live meter is another one, the lake changed since the plan, another
            delivery is at work, or the service refuses. What was sent until then is written down.
    """
    if plan.stops:
        raise TargetError(
            f"the live meter {meter.name} is another one than ours; nothing was sent. Change the "
            "one that is wrong, and plan again."
        )
    live = _made_ready(meter, client, plan)
    ledger = DeliveryLedger(root, client.target, live)
    with at_work(root), ledger.alone():
        ledger = DeliveryLedger(root, client.target, live)  # another may have written meanwhile
        choices = _netting_as_before(choices, ledger)
        with choosing(root, meter, ledger, choices, plan.retention) as chosen:
            if chosen.table.version != plan.lake_version or chosen.count() != plan.fates:
                raise TargetError(
                    f"the lake's {meter.name} changed since it was planned; nothing was sent. "
                    "Plan again."
                )
            if choices.net is not None:
                ledger.keep_netting(choices.net)
            ignored = OUR_DIMENSIONS.keys() - {d.name for d in meter.dimensions}
            sender = Sender(client, ledger, choices.rate, ignored, progress)
            outcome = sender.send(chosen.stream(GROUP))
        if outcome.events.total() != plan.to_send:
            raise ConservationError(
                f"meter {meter.name}: {plan.to_send} events were to be sent, "
                f"{outcome.events.total()} were answered. This is a defect; please report it."
            )
        return Delivered(
            meter.name, live["id"], outcome, _record(ledger, client, choices, plan, outcome)
        )


def _netting_as_before(choices: Choices, ledger: DeliveryLedger | None) -> Choices:
    """The choices, with the rule for netting that the ledger keeps."""
    before = ledger.netting if ledger is not None else None
    if before is None:
        return choices
    if choices.net not in (None, before):
        raise TargetError(
            f"this meter is netted by {before}, and two rules would mix. Leave out `net`."
        )
    return replace(choices, net=before)


def _made_ready(meter: Meter, client: OpenSpanner, plan: Plan) -> Mapping[str, Any]:
    if plan.live is None:
        days = plan.retention.raised_to or retention_of(meter)
        live = client.create_meter(as_request(meter, days))
        if any(difference.stops for difference in compare(meter, live)):
            raise TargetError(
                f"somebody made another meter {meter.name} meanwhile; nothing was sent. Plan again."
            )
        return live
    if plan.retention.raised_to is not None:
        client.raise_retention(plan.live["id"], plan.retention.raised_to)
    return plan.live


def _record(
    ledger: DeliveryLedger, client: OpenSpanner, choices: Choices, plan: Plan, outcome: Outcome
) -> Path:
    now = datetime.now(UTC)
    said = {
        "delivered_at": now.isoformat(),
        "delivered_by": whoever(),
        "base_url": client.target.base_url,
        "choices": asdict(choices),
        "plan": asdict(plan),
        "outcome": {
            "events": dict(outcome.events),  # which asdict would mangle
            "failures": outcome.failures,
            "differing": outcome.differing,
        },
    }
    path = ledger.path.with_name(f"{ledger.path.name}.runs") / f"{now:%Y%m%dT%H%M%S.%fZ}.json"
    with written_whole(path) as work:
        work.write_text(json.dumps(said, indent=1, default=str) + "\n", encoding="utf-8")
    return path
