"""Daily usage of each meter and subject, as an asset that follows the imports."""

import dagster as dg
import polars as pl

from spanner_pipeline.assets.failures import readable_failures
from spanner_pipeline.assets.imports import import_key
from spanner_pipeline.assets.naming import identifier
from spanner_pipeline.control import exact_sum
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.spelling import plain
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.usage.daily import daily_usage


def usage_key(meter: Meter) -> dg.AssetKey:
    """The asset of a meter's daily usage."""
    return dg.AssetKey(["usage", identifier(meter.name)])


def feeding(catalog: Catalog, meter: Meter) -> list[dg.AssetKey]:
    """The imports that feed a meter."""
    return [
        import_key(source.source, "merged")
        for source in catalog.sources.values()
        if any(usage.meter == meter.name for usage in source.usage)
    ]


def build_usage_asset(root: DataRoot, catalog: Catalog, meter: Meter) -> dg.AssetsDefinition:
    """Daily aggregates of one meter, by subject, in UTC days."""

    @dg.asset(
        key=usage_key(meter),
        deps=feeding(catalog, meter),
        group_name="usage",
        kinds={"duckdb", "parquet"},
        description=f"{meter.description} Daily {meter.aggregation} of {meter.unit} by subject.",
    )
    def usage() -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster wants it bare
        with readable_failures():
            path, daily = daily_usage(root, meter)
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
                "path": dg.MetadataValue.path(str(path)),
            }
        )

    return usage
