"""Everything that a data root declares, as Dagster sees it."""

import warnings

import dagster as dg

from spanner_pipeline.assets.automation import automation
from spanner_pipeline.assets.broken import build_broken_asset, build_broken_sensor
from spanner_pipeline.assets.expectations import build_overdue_check
from spanner_pipeline.assets.imports import build_import_assets, import_key
from spanner_pipeline.assets.naming import identifier
from spanner_pipeline.assets.reconciliation import build_report_asset, old_bill_spec
from spanner_pipeline.assets.resources import build_resources
from spanner_pipeline.assets.usage import build_usage_asset
from spanner_pipeline.assets.verification import build_delivery_check, delivered_spec
from spanner_pipeline.root import Catalog, DataRoot, load_sound

# Backfill policies are beta in Dagster 1.13, checks of partitions a preview; the patterns of
# assets/imports.py, assets/expectations.py and assets/by_period.py rest on them.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


def merge_pools(catalog: Catalog) -> dict[str, str]:
    """A pool for each source: sources that share a meter, even by way of others, share a pool."""
    pools: dict[str, set[str]] = {}
    for source in catalog.sources.values():
        meters = {usage.meter for usage in source.usage}
        joined = meters.union(*(pool for pool in pools.values() if pool & meters))
        for name, pool in pools.items():
            if pool & joined:
                pools[name] = joined
        pools[source.source] = joined
    return {name: f"meter_{identifier(min(pool))}" for name, pool in pools.items() if pool}


def build_definitions(root: DataRoot, *, pooled: bool = True) -> dg.Definitions:
    """All assets and checks of a data root; what has broken YAML is one red asset each.

    Args:
        root: The data root.
        pooled: Whether imports into one meter wait for each other.
    """
    catalog, everything_broken = load_sound(root)
    pools = merge_pools(catalog) if pooled else {}
    imports = [
        build_import_assets(root, catalog, source, pools.get(source.source))
        for source in catalog.sources.values()
        if source.usage
    ]
    overdue = [
        build_overdue_check(root, source, import_key(source.source, "merged"))
        for source in catalog.sources.values()
        if source.usage
    ]
    bills = [old_bill_spec(s) for s in catalog.sources.values() if s.billing_totals]
    usage = [build_usage_asset(catalog, meter) for meter in catalog.meters.values()]
    delivered = [delivered_spec(catalog, meter) for meter in catalog.meters.values()]
    verified = [build_delivery_check(catalog, meter) for meter in catalog.meters.values()]
    reports = [build_report_asset(catalog, source, t) for source, t in catalog.comparisons]
    broken = [build_broken_asset(broken) for broken in everything_broken]
    started = automation(root, catalog, pools)
    if broken:
        started["sensors"] = [*started["sensors"], build_broken_sensor(everything_broken)]
    return dg.Definitions(
        assets=[*imports, *bills, *usage, *delivered, *reports, *broken],
        asset_checks=[*overdue, *verified],
        resources=build_resources(root),
        # A process for each step costs seconds, and outlives a run whose own process is killed.
        executor=dg.in_process_executor,
        **started,
    )
