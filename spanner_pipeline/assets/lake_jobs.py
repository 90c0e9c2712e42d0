"""Jobs that care for the lake: maintenance, and taking one import out again.

An operation on a meter holds the pool in which the meter's imports run, so it never meets one. A
pool is of an op and fixed, so there is an op for each pool; a first one finds which of them is
meant.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from spanner_pipeline.assets.failures import readable_failures
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.resources import Lake
from spanner_pipeline.lake.maintenance import KEEP, Maintained, maintain
from spanner_pipeline.lake.records import RevertRecord
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.plan import plan_revert
from spanner_pipeline.reconciliation.spelling import grouped
from spanner_pipeline.root import Catalog

UNFED = "no_source"
"""Where meters are that no source feeds, and that no import can meet."""

PREVIEW = "preview"


class Maintenance(dg.Config):
    """What a person can say about maintenance."""

    keep_days: int = Field(
        default=KEEP.days,
        ge=0,
        description="How many days old must be what is deleted: work files of processes that died, "
        "and files that only older versions of a table need. Reverts stay possible for ever.",
    )


class RevertBatch(dg.Config):
    """What a person can say about a revert."""

    batch: str = Field(
        description="The import batch, as source/partition/digest: `import batch` in the metadata "
        "of a merged partition, or a line of `spanner-pipeline batches`."
    )
    dry_run: bool = Field(
        default=True, description="Only show what would go and come back; nothing is changed."
    )
    force: bool = Field(
        default=False,
        description="Even though later imports build on it; import their partitions again then.",
    )


def meters_by_pool(catalog: Catalog, pools: Mapping[str, str]) -> dict[str, list[str]]:
    """The meters whose imports share a pool, by the pool; those that nothing feeds come last."""
    pool_of = {
        usage.meter: pools.get(source.source, UNFED)
        for source in catalog.sources.values()
        for usage in source.usage
    }
    found: dict[str, list[str]] = {pool: [] for pool in sorted(set(pool_of.values()) - {UNFED})}
    for meter in catalog.meters:
        found.setdefault(pool_of.get(meter, UNFED), []).append(meter)
    return found


def _pool(name: str) -> str | None:
    return None if name == UNFED else name


def build_maintain_job(catalog: Catalog, pools: Mapping[str, str]) -> dg.JobDefinition:
    """The job that compacts tables and deletes leftovers, pool by pool."""
    ops = [
        _maintaining(catalog, name, meters)
        for name, meters in meters_by_pool(catalog, pools).items()
    ]

    @dg.config_mapping
    def asked(config: Maintenance) -> dg.RunConfig:
        return dg.RunConfig(ops={op.name: config for op in ops})

    return dg.GraphDefinition(name="maintain", node_defs=ops).to_job(
        description="Puts small files of the lake together, then deletes what no version and no "
        "revert needs. No event changes. Nothing is deleted while somebody changes the lake.",
        config=asked,
    )


def _maintaining(catalog: Catalog, name: str, meters: Sequence[str]) -> dg.OpDefinition:
    part = Catalog({meter: catalog.meters[meter] for meter in meters}, catalog.sources)

    @dg.op(
        name=f"maintain_{name}",
        pool=_pool(name),
        out=dg.Out(dg.Nothing),
        description=f"Maintains {', '.join(meters)}.",
    )
    def maintaining(context: dg.OpExecutionContext, config: Maintenance, lake: Lake) -> None:
        with readable_failures():
            done = maintain(lake.root, part, timedelta(days=config.keep_days))
        context.add_output_metadata(_maintained(done))

    return maintaining


def _maintained(done: Maintained) -> dict[str, Any]:
    listing = [
        dg.TableRecord({"meter": meter, "files before": before, "files after": after})
        for meter, (before, after) in done.files.items()
    ]
    return {
        "files": dg.MetadataValue.table(listing),
        "leftovers deleted": done.deleted,
        "bytes freed": done.freed,
        "outcome": "done"
        if done.alone
        else "Others are changing the lake: nothing was deleted. Run this again later.",
    }


def build_revert_job(catalog: Catalog, pools: Mapping[str, str]) -> dg.JobDefinition:
    """The job that shows what a revert would do, and does it when told to."""
    by_pool = meters_by_pool(catalog, pools)
    place = {meter: name for name, meters in by_pool.items() for meter in meters}

    @dg.op(
        name="preview_revert",
        out={
            PREVIEW: dg.Out(dg.Nothing),
            **{name: dg.Out(dict, is_required=False) for name in by_pool},
        },
        description="Rehearses the revert on a copy of the lake, and shows what it does.",
    )
    def preview(
        context: dg.OpExecutionContext, config: RevertBatch, lake: Lake
    ) -> Iterator[dg.Output[Any]]:
        batch = config.batch.strip()
        with readable_failures():
            would = plan_revert(lake.root, catalog, batch, force=config.force)
        yield dg.Output(None, PREVIEW, metadata=_reverted(would))
        told = _summary(would)
        if config.dry_run:
            context.log.info(f"Dry run, nothing was changed. A revert of {batch} would: {told}")
        else:
            asked = {"batch": batch, "force": config.force}
            yield dg.Output(asked, place[would[0].meter])

    @dg.config_mapping
    def asked(config: RevertBatch) -> dg.RunConfig:
        return dg.RunConfig(ops={preview.name: config})

    reverting = [_reverting(catalog, name) for name in by_pool]
    return dg.GraphDefinition(
        name="revert_batch",
        node_defs=[preview, *reverting],
        dependencies={
            op.name: {"asked": dg.DependencyDefinition(preview.name, name)}
            for name, op in zip(by_pool, reverting, strict=True)
        },
    ).to_job(
        description="Takes one import out of the lake again, exactly: the rows it added go, those "
        "it corrected come back. By default it only shows what it would do (dry_run). Refused "
        "where later imports build on it, unless forced.",
        config=asked,
    )


def _reverting(catalog: Catalog, name: str) -> dg.OpDefinition:
    @dg.op(
        name=f"revert_{name}",
        pool=_pool(name),
        ins={"asked": dg.In(dict)},
        out=dg.Out(dg.Nothing),
        description="Reverts while no import into these meters runs.",
    )
    def reverting(context: dg.OpExecutionContext, lake: Lake, asked: dict[str, Any]) -> None:
        batch = asked["batch"]
        with readable_failures():
            done = revert(lake.root, catalog, batch, force=asked["force"])
        context.log.info(f"Reverted {batch}: {_summary(done)}")
        source, partition, _ = batch.split("/")
        context.log_event(
            dg.AssetObservation(
                import_key(source, "merged"),
                partition=partition,
                description=f"Import batch {batch} was reverted.",
                metadata=_reverted(done),
            )
        )
        context.add_output_metadata(_reverted(done))

    return reverting


def _reverted(records: Sequence[RevertRecord]) -> dict[str, Any]:
    listing = [
        dg.TableRecord(
            {
                "meter": record.meter,
                "rows removed": record.removed.rows,
                "quantity removed": grouped(record.removed.quantity),
                "rows restored": record.restored.rows,
                "quantity restored": grouped(record.restored.quantity),
                "table version": f"{record.version_before} → {record.version_after}",
            }
        )
        for record in records
    ]
    again = "Later imports built on it: import their partitions again."
    return {
        "import batch": records[0].batch,
        "by meter": dg.MetadataValue.table(listing),
        **({"to do": again} if any(record.forced for record in records) else {}),
    }


def _summary(records: Sequence[RevertRecord]) -> str:
    return "; ".join(
        f"{record.meter}: {grouped(record.removed.rows)} rows ({grouped(record.removed.quantity)}) "
        f"removed, {grouped(record.restored.rows)} ({grouped(record.restored.quantity)}) restored"
        for record in records
    )
