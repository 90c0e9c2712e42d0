"""Daily usage of each meter and subject, as an asset that follows the imports."""

import hashlib

import dagster as dg
import polars as pl

from spanner_pipeline.assets.columns import LINEAGE, SCHEMA, usage_lineage, usage_schema
from spanner_pipeline.assets.failures import readable_failures
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.naming import identifier, owners_of
from spanner_pipeline.assets.resources import Lake
from spanner_pipeline.assets.versions import usage_version
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.control import exact_sum
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.spelling import plain
from spanner_pipeline.root import Catalog
from spanner_pipeline.usage.daily import daily_usage


def usage_key(meter: Meter) -> dg.AssetKey:
    """The asset of a meter's daily usage."""
    return dg.AssetKey(["usage", identifier(meter.name)])


def feeding(catalog: Catalog, meter: Meter) -> list[dg.AssetKey]:
    """The imports that feed a meter."""
    return [import_key(source.source, "merged") for source in _sources(catalog, meter)]


def _sources(catalog: Catalog, meter: Meter) -> list[Source]:
    return [
        source
        for source in catalog.sources.values()
        if any(usage.meter == meter.name for usage in source.usage)
    ]


def build_usage_asset(catalog: Catalog, meter: Meter) -> dg.AssetsDefinition:
    """Daily aggregates of one meter, by subject, in UTC days."""
    imports = feeding(catalog, meter)
    owners = [owner for source in _sources(catalog, meter) for owner in owners_of(source)]

    @dg.asset(
        key=usage_key(meter),
        deps=imports,
        group_name="usage",
        owners=list(dict.fromkeys(owners)),
        tags={"stage": "aggregated"},
        code_version=usage_version(meter),
        metadata={SCHEMA: usage_schema(meter)},
        kinds={"duckdb", "parquet"},
        description=f"{meter.description} Daily {meter.aggregation} of {meter.unit} by subject.",
    )
    def usage(lake: Lake) -> dg.MaterializeResult:  # type: ignore[type-arg]  # bare for Dagster
        with readable_failures():
            before = EventTable(lake.root, meter).version
            path, daily = daily_usage(lake.root, meter)
            after = EventTable(lake.root, meter).version
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        months = (
            daily.group_by(pl.col("bucket_start").dt.strftime("%Y-%m").alias("month"))
            .agg(
                pl.col("events").sum(),
                pl.col("subject").n_unique().alias("subjects"),
                pl.col("bucket_start").dt.date().n_unique().alias("days with usage"),
            )
            .sort("month")
        )
        listing = [dg.TableRecord(row) for row in months.iter_rows(named=True)]
        additive = meter.aggregation in ("sum", "count")
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": daily.height,
                "events": int(daily["events"].sum()),
                "subjects": daily["subject"].n_unique(),
                **(
                    {"total": f"{plain(exact_sum(daily['quantity']))} {meter.unit}"}
                    if additive
                    else {}
                ),
                **({"by month": dg.MetadataValue.table(listing)} if listing else {}),
                "table version": _version(before, after),
                "sha256": digest,
                "path": dg.MetadataValue.path(str(path)),
                LINEAGE: usage_lineage(meter, imports),
            },
            data_version=dg.DataVersion(digest),
        )

    return usage


def _version(before: int | None, after: int | None) -> str:
    """Which version of the table was read; two where an import came between."""
    if after is None:
        return "none"
    return str(after) if before == after else f"{before} or {after}: an import came between"
