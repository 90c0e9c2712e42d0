"""Checks of imports: whether each partition has the data that it should have, and as of now, all.

Two are partitioned and told by the run that imports; the third looks at the whole source, so that
what nobody imported is found as well. None of them stops an import.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from spanner_pipeline.assets.checks import newest_materializations, severity_of
from spanner_pipeline.assets.failures import readable_failures
from spanner_pipeline.assets.partitions import partitions_of
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.lake.expected import (
    Finding,
    arrived,
    completeness,
    near_neighbours,
    overdue,
)
from spanner_pipeline.root import DataRoot

COMPLETENESS = "completeness"
NEAR_NEIGHBOURS = "row_count_near_neighbours"
NOTHING_OVERDUE = "nothing_overdue"

_LONGEST = {"day": 1, "month": 31, "year": 366}
"""Days of the longest period of each grain."""


def check_specs(source: Source, merged: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The partitioned checks that the import of a source tells of."""
    partitions = partitions_of(source)
    completeness_spec = dg.AssetCheckSpec(
        COMPLETENESS,
        asset=merged,
        partitions_def=partitions,
        description="Whether a partition that should have data has some.",
    )
    bounds = source.expect.rows
    if bounds is None:
        return [completeness_spec]
    limits = [f"{bounds.min} times or more"] if bounds.min is not None else []
    limits += [f"{bounds.max} times or less"] if bounds.max is not None else []
    near_neighbours_spec = dg.AssetCheckSpec(
        NEAR_NEIGHBOURS,
        asset=merged,
        partitions_def=partitions,
        description=f"Whether a partition has {' and '.join(limits)} the median rows of the "
        f"{bounds.of} partitions nearest to it.",
    )
    return [completeness_spec, near_neighbours_spec]


def freshness_of(source: Source) -> dg.FreshnessPolicy | None:
    """How old the last import of a source without an end may be; Dagster shows it by itself."""
    partitions = source.partitions
    if partitions.from_ is None or partitions.to is not None:
        return None
    longest = timedelta(days=_LONGEST[partitions.grain])
    return dg.FreshnessPolicy.time_window(longest + source.expect.delivered_within)


def evaluations(
    root: DataRoot,
    source: Source,
    merged: dg.AssetKey,
    partitions: Sequence[str],
    failures: Mapping[str, str],
    context: dg.AssetExecutionContext,
) -> Iterator[dg.AssetCheckEvaluation]:
    """What the partitioned checks say of the partitions of a run, once all of them are through.

    Neighbours that the same run imports count, and the ledger is read once.
    """
    wanted = {key.name for key in context.selected_asset_check_keys}
    if not wanted:
        return
    known, now = arrived(root, source), datetime.now(UTC)
    targets = newest_materializations(context.instance, merged, partitions)
    for partition in partitions:
        why = failures.get(partition, "")
        found = {
            COMPLETENESS: completeness(root, source, partition, known, now, why),
            NEAR_NEIGHBOURS: near_neighbours(source, partition, known),
        }
        for name, finding in found.items():
            if finding is not None and name in wanted:
                yield dg.AssetCheckEvaluation(
                    merged,
                    name,
                    passed=finding.passed,
                    partition=partition,
                    severity=severity_of(source.expect.severity),
                    description=finding.message,
                    metadata={"rows": known[partition].rows if partition in known else 0},
                    target_materialization_data=targets.get(partition),
                )


def build_overdue_check(
    root: DataRoot, source: Source, merged: dg.AssetKey
) -> dg.AssetChecksDefinition:
    """The check of a whole source: partitions that should have data by now, and have none."""

    @dg.asset_check(
        asset=merged,
        name=NOTHING_OVERDUE,
        description="Whether all partitions that should have data by now have some: imported or "
        f"not. Files are due {_spelled(source.expect.delivered_within)} after a partition ends.",
    )
    def nothing_overdue() -> dg.AssetCheckResult:
        with readable_failures():
            finding: Finding = overdue(source, arrived(root, source), datetime.now(UTC))
        return dg.AssetCheckResult(
            passed=finding.passed,
            severity=severity_of(source.expect.severity),
            description=finding.message,
        )

    return nothing_overdue


def _spelled(window: timedelta) -> str:
    days, rest = divmod(window, timedelta(days=1))
    return f"{days} days" if not rest else f"{window // timedelta(hours=1)} hours"
