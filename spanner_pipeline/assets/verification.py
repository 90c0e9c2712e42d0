"""What Open Spanner holds of a meter, as an asset, and the job that verifies it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import Field

from spanner_pipeline.assets.downloads import keep_for_download
from spanner_pipeline.assets.failures import readable_failures
from spanner_pipeline.assets.naming import identifier
from spanner_pipeline.assets.report_metadata import links_of, table_of
from spanner_pipeline.assets.resources import Lake, OpenSpannerTarget, Reports
from spanner_pipeline.assets.retries import retrying
from spanner_pipeline.assets.usage import feeding
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.publish import PublishedVerification, verify_and_publish
from spanner_pipeline.delivery.report import by_cause
from spanner_pipeline.delivery.three_way import ThreeWay
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.spelling import grouped, signed
from spanner_pipeline.root import Catalog, load_sound
from spanner_pipeline.selection import read_day, select_meter

CHECK = "holds_what_was_delivered"
_SHOWN = 20


class Verification(dg.Config):
    """What a person can say about a verification."""

    meter: str = Field(description="The meter.")
    from_: str = Field(
        default="", alias="from", description="The first UTC day, such as 2026-01-31; empty: all."
    )
    to: str = Field(default="", description="The UTC day after the last one; empty: all.")
    comparison: str = Field(
        default="",
        description="A comparison of the meter: old bill, lake and service, number by number.",
    )
    thorough: bool = Field(
        default=False, description="Compare every event by its key, not only where totals differ."
    )
    rehearse: bool = Field(
        default=False,
        description="In the workspace of OPEN_SPANNER_REHEARSAL_API_KEY instead.",
    )


def delivered_key(meter: Meter) -> dg.AssetKey:
    """The asset that stands for what Open Spanner holds of a meter."""
    return dg.AssetKey(["open_spanner", identifier(meter.name)])


def with_delivery_of_now(catalog: Catalog, lake: Lake) -> Catalog:
    """A catalog with the cut-overs that are declared by now: an old one would count usage twice."""
    return replace(catalog, delivery=load_sound(lake.root)[0].delivery)


def delivered_spec(catalog: Catalog, meter: Meter) -> dg.AssetSpec:
    """What Open Spanner holds of a meter; the jobs `deliver` and `verify_delivery` tell of it."""
    return dg.AssetSpec(
        delivered_key(meter),
        deps=feeding(catalog, meter),
        description=f"{meter.description} As Open Spanner holds it: job deliver sends it there, "
        "job verify_delivery compares.",
        group_name="open_spanner",
        kinds={"openspanner"},
        tags={"stage": "delivered"},
    )


def build_verify_job(catalog: Catalog) -> dg.JobDefinition:
    """The job that compares what was delivered with what Open Spanner holds."""

    @dg.op(
        name="verify_meter",
        out=dg.Out(dg.Nothing),
        description="Compares; fails where something lacks, counts twice or is not explained.",
    )
    def verify_meter(
        context: dg.OpExecutionContext,
        config: Verification,
        lake: Lake,
        reports: Reports,
        open_spanner: OpenSpannerTarget,
    ) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
        with readable_failures(), retrying(context):
            meter = select_meter(catalog, config.meter)
            days = read_day("from", config.from_), read_day("to", config.to)
            with OpenSpanner(open_spanner.target(rehearse=config.rehearse)) as client:
                done = verify_and_publish(
                    lake.root,
                    with_delivery_of_now(catalog, lake),
                    meter,
                    client,
                    *days,
                    comparison=config.comparison or None,
                    thorough=config.thorough,
                )
        links = _kept(context, done, lake, reports)
        shown = _metadata(done, links)
        if not config.rehearse:
            yield _evaluation(meter, done, shown)
        if done.fails:
            raise dg.Failure(f"{meter.name}: {_told(done)}.", metadata=shown, allow_retries=False)
        yield dg.Output(None, metadata=shown)

    @dg.config_mapping
    def asked(config: Verification) -> dg.RunConfig:
        return dg.RunConfig(ops={"verify_meter": config})

    return dg.GraphDefinition(name="verify_delivery", node_defs=[verify_meter]).to_job(
        description="Compares what was delivered of a meter with what Open Spanner holds, and with "
        "an old bill where one is named. Changes nothing there. Fails where something lacks, "
        "counts twice or is not explained.",
        config=asked,
    )


def _kept(
    context: dg.OpExecutionContext, done: PublishedVerification, lake: Lake, reports: Reports
) -> dict[str, str]:
    """Keep this run's report, and say where it can be downloaded."""
    tables = done.report.numbers or done.report.differences
    files = {"html": done.report.html, "csv": tables}
    name = f"verify_delivery_{done.verified.meter}"
    return keep_for_download(
        context.instance, context.run_id, name, files, lake.root.reports, reports.base_url
    )


def _evaluation(
    meter: Meter, done: PublishedVerification, shown: Mapping[str, Any]
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=delivered_key(meter),
        check_name=CHECK,
        passed=not done.fails,
        metadata=shown,
        description=_told(done),
    )


def build_delivery_check(catalog: Catalog, meter: Meter) -> dg.AssetChecksDefinition:
    """The check of what Open Spanner holds of a meter; job `verify_delivery` settles it, too."""

    @dg.asset_check(
        asset=delivered_key(meter),
        name=CHECK,
        description="Open Spanner holds what was delivered, by subject and day.",
    )
    def holds(lake: Lake, open_spanner: OpenSpannerTarget) -> dg.AssetCheckResult:
        with readable_failures(), OpenSpanner(open_spanner.target()) as client:
            now = with_delivery_of_now(catalog, lake)
            done = verify_and_publish(lake.root, now, meter, client)
        return dg.AssetCheckResult(
            passed=not done.fails, description=_told(done), metadata=_metadata(done, {})
        )

    return holds


def _told(done: PublishedVerification) -> str:
    return "; ".join(_failings(done)) or "The service holds what was delivered"


def _failings(done: PublishedVerification) -> Sequence[str]:
    if done.three is not None:
        return done.three.failings
    return list(dict.fromkeys(one.cause for one in done.verified.differences if one.fails))


def _metadata(done: PublishedVerification, links: Mapping[str, str]) -> dict[str, Any]:
    found = done.verified
    differences = [
        {
            "cause": row["cause"],
            "what it means": row["meaning"],
            "fails": row["fails"],
            "places": row["places"],
            "events": row["events"],
            "theirs less ours": signed(row["quantity"]),
        }
        for row in by_cause(found.differences)
    ]
    remarks = found.seam.remarks() if found.seam is not None else []
    return {
        "meter": found.meter,
        "days": f"{found.start} to {found.end}",
        **({"download": links_of(links)} if links else {}),
        "report": dg.MetadataValue.path(str(done.report.html)),
        "events in the ledger": found.delivered.rows,
        "events there": found.there,
        "events there without our mark": found.beside,
        "compared": f"{found.how}, in {found.calls:,} calls",
        **table_of("differences", differences),
        **({"seam": dg.MetadataValue.md("\n".join(f"- {r}" for r in remarks))} if remarks else {}),
        **(_three_ways(done.three) if done.three is not None else {}),
    }


def _three_ways(three: ThreeWay) -> dict[str, Any]:
    numbers = [
        {
            "subject": number.row["subject"] or "all",
            "period": number.row["period"],
            "old bill": grouped(number.row["old"]),
            "lake": grouped(number.row["new"]),
            "service": grouped(number.service),
            "why": "; ".join(f"{part.cause}: {signed(part.quantity)}" for part in number.parts),
            "verdict": number.verdict,
        }
        for number in three.differing[:_SHOWN]
    ]
    unit = three.comparison.unit
    return {
        "verdict": three.verdict,
        "old total": f"{grouped(three.comparison.old_total)} {unit}",
        "lake total": f"{grouped(three.comparison.new_total)} {unit}",
        "service total": f"{grouped(three.service_total)} {unit}",
        **table_of("numbers that differ", numbers),
    }
