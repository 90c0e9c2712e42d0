"""Imports as assets: one multi-asset a source, a spec for each stage, all stages in one step.

A ranged run takes many partitions; each one's stages are reported as they are done, and a partition
that fails is red alone. Why this shape: a run per partition costs seconds of start-up each, and an
output of a ranged run would paint every partition green (dagster-io/dagster#17836).
"""

import logging
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from spanner_pipeline.assets.columns import SCHEMA, events_schema
from spanner_pipeline.assets.expectations import check_specs, evaluations, freshness_of
from spanner_pipeline.assets.failures import failure_of, reason_of
from spanner_pipeline.assets.metadata import merged_metadata, snapshot_metadata, stage_metadata
from spanner_pipeline.assets.naming import owners_of
from spanner_pipeline.assets.partitions import partitions_of
from spanner_pipeline.assets.resources import Lake
from spanner_pipeline.assets.retries import ask_for_retry, observed_failure, settled_before
from spanner_pipeline.assets.versions import import_version
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.importing import PARTITION_DONE, STAGES, UsageImport, import_partition
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.staging import Staged

PARTITIONS_PER_RUN = 100

log = logging.getLogger(__name__)

_STAGE_DESCRIPTIONS = {
    "extracted": "Rows as they stand in the legacy files.",
    "keyed": "Rows as usage events, each with its idempotency key.",
    "validated": "Events that their meter accepts; the others are in quarantine.",
    "merged": "Events in the lake, every key once.",
}
_STAGE_KINDS = {
    "extracted": {"polars"},
    "keyed": {"duckdb"},
    "validated": {"pandera"},
    "merged": {"duckdb", "deltalake"},
}


def import_key(source: str, stage: str) -> dg.AssetKey:
    """The asset of one stage of a source."""
    return dg.AssetKey([source, stage])


def _stage_columns(root: DataRoot, catalog: Catalog, source: Source, stage: str) -> dict[str, Any]:
    """The columns of events, and where the lake keeps them; nothing of stages before events."""
    if stage not in ("validated", "merged"):
        return {}
    meters = [catalog.meters[name] for name in dict.fromkeys(u.meter for u in source.usage)]
    columns = {SCHEMA: events_schema(meters, merged=stage == "merged")}
    if stage == "validated":
        return columns
    folders = [root.lake / "events" / file_name(meter.name) for meter in meters]
    if len(folders) == 1:
        return {**columns, "dagster/uri": folders[0].as_uri()}
    listing = [
        dg.TableRecord({"meter": meter.name, "delta table": folder.as_uri()})
        for meter, folder in zip(meters, folders, strict=True)
    ]
    return {**columns, "delta tables": dg.MetadataValue.table(listing)}


def build_import_assets(
    root: DataRoot, catalog: Catalog, source: Source, pool: str | None
) -> dg.AssetsDefinition:
    """The import of one source.

    Args:
        root: The data root.
        catalog: Its meters and sources.
        source: The source.
        pool: Imports in one pool run one at a time; sources that share a meter share it.
    """
    partitions, how = partitions_of(source), import_version(catalog, source)
    merged = import_key(source.source, STAGES[-1])
    specs = [
        dg.AssetSpec(
            import_key(source.source, stage),
            deps=[import_key(source.source, STAGES[index - 1])] if index else [],
            description=f"{_STAGE_DESCRIPTIONS[stage]} {source.description}".strip(),
            group_name=source.source,
            kinds=_STAGE_KINDS[stage],
            owners=owners_of(source),
            skippable=True,
            partitions_def=partitions,
            code_version=how,
            tags={"stage": stage},
            metadata={
                "files": source.files,
                "meters": ", ".join(u.name for u in source.usage),
                **_stage_columns(root, catalog, source, stage),
            },
            freshness_policy=freshness_of(source) if stage == STAGES[-1] else None,
        )
        for index, stage in enumerate(STAGES)
    ]

    @dg.multi_asset(
        name=f"import_{source.source}",
        specs=specs,
        check_specs=check_specs(source, merged),
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.multi_run(PARTITIONS_PER_RUN),
        pool=pool,
    )
    def imported(
        context: dg.AssetExecutionContext, lake: Lake
    ) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
        settled = settled_before(context, merged)
        for partition in filter(settled.is_open, context.partition_keys):
            done: list[dg.AssetMaterialization] = []

            def on_stage(
                stage: str,
                usages: Sequence[UsageImport | Staged],
                files: Sequence[SourceFile],
                partition: str = partition,
                done: list[dg.AssetMaterialization] = done,
            ) -> None:
                done.append(
                    dg.AssetMaterialization(
                        import_key(source.source, stage),
                        partition=partition,
                        metadata=stage_metadata(stage, usages, files),
                    )
                )

            try:
                usages = import_partition(lake.root, catalog, source, partition, on_stage)
                snapshots = snapshot_metadata(lake.root, catalog, usages)
                done[-1] = done[-1].with_metadata({**merged_metadata(usages), **snapshots})
            except Exception as error:  # whatever it is, the neighbours go on
                settled.add(partition, error)
                trace = "" if isinstance(error, PipelineError) else f"\n{traceback.format_exc()}"
                context.log.error(f"{source.source} {partition}: {reason_of(error)}{trace}")
                context.log_event(observed_failure(merged, partition, error))
            yield from done
            log.debug("%s %s: done", source.source, partition, extra={PARTITION_DONE: True})
        ask_for_retry(context, settled)
        failures = settled.failures
        yield from evaluations(lake.root, source, merged, context.partition_keys, failures, context)
        if failures:
            raise failure_of(source.source, failures)

    return imported
