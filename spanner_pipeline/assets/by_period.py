"""A comparison's periods as partitions of an asset: each with its numbers and its own check."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)

from spanner_pipeline.assets.checks import newest_materializations, severity_of
from spanner_pipeline.assets.report_metadata import period_metadata
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.periods import split_by_period

CHECK = "totals_agree"

NOT_BILLED = (
    "The old bill has no number for this period, so nothing was compared. If it was never billed "
    "there, say so with `from` and `to` of the comparison's `period`."
)
_NOT_COMPARED = {"why": NOT_BILLED, "numbers compared": 0}


def period_events(
    context: dg.AssetExecutionContext, key: dg.AssetKey, comparison: Comparison
) -> Iterator[dg.AssetMaterialization | AssetCheckEvaluation]:
    """Tell Dagster of each period of this run, one materialization and one check each.

    Args:
        context: The run, which says which periods are asked for; and whether for their checks
            alone, which then speak of what was materialized before.
        key: The asset of the periods.
        comparison: The whole comparison, done.
    """
    parts = split_by_period(comparison)
    partitions = context.assets_def.specs_by_key[key].partitions_def
    assert partitions is not None
    # Who runs the checks alone in the UI is not asked for periods, and means all.
    limited = context.has_partition_key or context.has_partition_key_range
    asked = list(context.partition_keys if limited else partitions.get_partition_keys())
    if key in context.selected_asset_keys:
        for period in asked:
            part = parts.get(period)
            shown: Any = _NOT_COMPARED if part is None else period_metadata(part)
            yield dg.AssetMaterialization(key, partition=period, metadata=shown)
    targets = newest_materializations(context.instance, key, asked)
    for period in asked:
        yield _evaluation(key, period, parts.get(period), comparison, targets.get(period))
    _tell_of_the_rest(context, partitions, parts)


def _evaluation(
    key: dg.AssetKey,
    period: str,
    part: Comparison | None,
    whole: Comparison,
    target: AssetCheckEvaluationTargetMaterializationData | None,
) -> AssetCheckEvaluation:
    if part is None:
        passed, severity, said = False, dg.AssetCheckSeverity.WARN, NOT_BILLED
    else:
        passed, severity = not part.broke, severity_of(whole.total.severity)
        said = "; ".join(part.failings) or "Everything agrees."
    beyond = 0 if part is None else part.breaks.height
    return AssetCheckEvaluation(
        asset_key=key,
        check_name=CHECK,
        passed=passed,
        metadata={"numbers beyond tolerance": dg.MetadataValue.int(beyond)},
        target_materialization_data=target,
        severity=severity,
        description=said,
        partition=period,
    )


def _tell_of_the_rest(
    context: dg.AssetExecutionContext,
    partitions: dg.PartitionsDefinition,
    parts: Mapping[str, Comparison],
) -> None:
    """Say in the log which periods of the bill are no partitions: nobody would see them here."""
    beyond = [period for period in parts if not partitions.has_partition_key(period)]
    if beyond:
        context.log.warning(
            f"{len(beyond)} periods of the old bill are outside of the partitions, such as "
            f"{beyond[0]}: see the report of the whole. Remedy: declare `from` and `to` of the "
            "comparison's `period`."
        )
