"""The job that delivers a meter into Open Spanner, and the service as a resource."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from spanner_pipeline.assets.failures import readable_failures
from spanner_pipeline.assets.resources import Lake, OpenSpannerTarget
from spanner_pipeline.assets.verification import delivered_key, with_delivery_of_now
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.deliver import Delivered, deliver, plan_delivery
from spanner_pipeline.delivery.fates import FATES, RATE, Choices
from spanner_pipeline.delivery.payload import Spelling
from spanner_pipeline.delivery.plan import Plan
from spanner_pipeline.delivery.target import TargetError
from spanner_pipeline.reconciliation.spelling import grouped
from spanner_pipeline.root import Catalog
from spanner_pipeline.selection import read_instant, select_meter

_LOGGED_EVERY = 60


class Delivery(dg.Config):
    """What a person can say about a delivery."""

    meter: str = Field(description="The meter.")
    from_: str = Field(
        default="",
        alias="from",
        description="The first UTC day, such as 2026-01-31, or an instant with an offset; "
        "empty: all.",
    )
    to: str = Field(
        default="", description="The UTC day or instant after the last one; empty: all."
    )
    plan_only: bool = Field(
        default=True, description="Only show what would be sent; nothing is changed anywhere."
    )
    accept: bool = Field(
        default=False,
        description="The plan was read and is accepted. What is sent can never be edited or "
        "deleted in Open Spanner.",
    )
    rehearse: bool = Field(
        default=False,
        description="Into the workspace of OPEN_SPANNER_REHEARSAL_API_KEY instead.",
    )
    whole_seconds: bool = Field(default=False, description="Leave out fractions of seconds.")
    raise_retention: bool = Field(
        default=False, description="Have the service keep the events long enough first."
    )
    include_old: bool = Field(
        default=False, description="Send what the service will prune at its next pass, too."
    )
    beside_gone: bool = Field(
        default=False,
        description="Send what stands on a day of its subject of which a delivered event is gone "
        "from the lake, too: the service counts both.",
    )
    net: str = Field(
        default="",
        description="hour, day or month (UTC): take what is below 0 from events of the same one.",
    )
    rate: int = Field(default=RATE, ge=1, description="Events a minute at most.")


def build_deliver_job(catalog: Catalog) -> dg.JobDefinition:
    """The job that shows what a delivery would do, and does it when it is accepted."""

    @dg.op(
        name="deliver_meter",
        out=dg.Out(dg.Nothing),
        description="Plans the delivery; sends it when plan_only is off and accept is on.",
    )
    def deliver_meter(
        context: dg.OpExecutionContext,
        config: Delivery,
        lake: Lake,
        open_spanner: OpenSpannerTarget,
    ) -> None:
        with readable_failures():
            meter = select_meter(catalog, config.meter)
            cut_over = with_delivery_of_now(catalog, lake).cut_over(meter.name)
            choices = _choices(config, cut_over)
            target = open_spanner.target(rehearse=config.rehearse)
            with OpenSpanner(target) as client:
                plan = plan_delivery(lake.root, meter, client, choices)
                shown = {"service": target.base_url, **_planned(plan)}
                for line in plan.remarks():
                    context.log.info(line)
                if config.plan_only:
                    context.log.info(f"Only planned: {grouped(plan.to_send)} events would be sent.")
                    context.add_output_metadata({**shown, "outcome": "only planned"})
                    return
                if not config.accept:
                    raise TargetError(
                        f"{grouped(plan.to_send)} events would be sent, and the plan is not "
                        "accepted. Nothing was sent. Read it with plan_only, then set accept."
                    )
                told = _Told(context, plan.to_send)
                done = deliver(lake.root, meter, client, choices, plan, told.add)
            told_of = {**shown, **_delivered(done)}
            if not config.rehearse:
                context.log_event(dg.AssetMaterialization(delivered_key(meter), metadata=told_of))
            context.add_output_metadata(told_of)

    return dg.GraphDefinition(name="deliver", node_defs=[deliver_meter]).to_job(
        description="Sends a meter's events to Open Spanner, once each. By default it only shows "
        "what it would do (plan_only).",
        config=_asking(),
    )


def _asking() -> dg.ConfigMapping:
    @dg.config_mapping
    def asked(config: Delivery) -> dg.RunConfig:
        return dg.RunConfig(ops={"deliver_meter": config})

    return asked


class _Told:
    """Says now and then in the log how far a delivery is."""

    def __init__(self, context: dg.OpExecutionContext, rows: int) -> None:
        self._context, self._rows, self._done = context, rows, 0
        self._last = datetime.now(UTC)

    def add(self, events: int) -> None:
        self._done += events
        now = datetime.now(UTC)
        if (now - self._last).total_seconds() >= _LOGGED_EVERY:
            self._last = now
            self._context.log.info(f"{grouped(self._done)} of {grouped(self._rows)} events.")


def _choices(config: Delivery, cut_over: datetime | None) -> Choices:
    return Choices(
        start=read_instant("from", config.from_),
        end=read_instant("to", config.to),
        spelling=Spelling(whole_seconds=config.whole_seconds),
        raise_retention=config.raise_retention,
        include_old=config.include_old,
        beside_gone=config.beside_gone,
        rate=config.rate,
        cut_over=cut_over,
        net=config.net or None,
    )


def _planned(plan: Plan) -> dict[str, Any]:
    fates = [
        dg.TableRecord(
            {
                "what becomes of them": FATES[fate],
                "rows": total.rows,
                "quantity": grouped(total.quantity),
            }
        )
        for fate, total in plan.fates.items()
        if total.rows
    ]
    differences = [
        dg.TableRecord({"field": d.field, "ours": d.ours, "live": d.theirs, "stops": d.stops})
        for d in plan.differences
    ]
    shown: dict[str, Any] = {
        "meter": plan.meter,
        "live meter": "would be created" if plan.live is None else str(plan.live["id"]),
        "would be sent": plan.to_send,
        "minutes at least": plan.minutes,
        "to know": dg.MetadataValue.md("\n".join(f"- {line}" for line in plan.remarks())),
    }
    if plan.contradictions:
        shown["delivered, and otherwise in the lake now"] = dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "key": event.key,
                        "subject": event.subject,
                        "delivered": grouped(event.delivered),
                        "in the lake": "gone" if event.now is None else grouped(event.now),
                    }
                )
                for event in plan.contradictions
            ]
        )
    if fates:
        shown["events"] = dg.MetadataValue.table(fates)
    if differences:
        shown["differences"] = dg.MetadataValue.table(differences)
    return shown


def _delivered(done: Delivered) -> dict[str, Any]:
    events = done.outcome.events
    shown: dict[str, Any] = {f"events {status}": events[status] for status in sorted(events)}
    problems = [
        *(f"{key}: {code}: {message}" for key, code, message in done.outcome.failures),
        *(f"{key}: sent {s}, there is {t}" for key, s, t in done.outcome.differing),
    ]
    if problems:
        shown["problems"] = dg.MetadataValue.md("\n".join(f"- `{line}`" for line in problems))
    return {**shown, "live meter": done.meter_id, "record": dg.MetadataValue.path(done.record)}
