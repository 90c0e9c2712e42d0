"""A backfill through Dagster's own machinery, in this process, on the root's instance.

What the web server would launch, for the terminal: ranged runs of the import assets, then usage
and reports. The UI shows these runs like any other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.failures import FAILED_PARTITIONS
from spanner_pipeline.assets.imports import PARTITIONS_PER_RUN, import_key
from spanner_pipeline.assets.instance import PROCESS, open_instance, this_process
from spanner_pipeline.assets.metadata import (
    CONTROL_TOTALS,
    REPLACEMENTS,
    from_json,
    replacement_from_json,
)
from spanner_pipeline.assets.ranges import range_tags
from spanner_pipeline.assets.reconciliation import periods_key, report_key
from spanner_pipeline.assets.report_metadata import REPORT, VERDICT
from spanner_pipeline.assets.usage import usage_key
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.control import ControlTotals, Replacement
from spanner_pipeline.root import Catalog, DataRoot, load_catalog
from spanner_pipeline.selection import select_partitions, select_sources

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Verdict:
    """The outcome of one comparison: its verdict and where its report is."""

    comparison: str
    verdict: str
    report: str


@dataclass
class BackfillOutcome:
    """What a backfill did.

    Attributes:
        totals: Control totals by source and usage.
        replacements: What snapshots did, by source and usage.
        failures: Why partitions failed, by source and partition.
        verdicts: The comparisons, in the order declared.
        broken: Why assets other than imports failed.
    """

    totals: dict[tuple[str, str], ControlTotals] = field(default_factory=dict)
    replacements: dict[tuple[str, str], Replacement] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def entered(self) -> int:
        """Rows that changed the lake."""
        removed = sum(done.removed.rows for done in self.replacements.values())
        return removed + sum((t.new + t.corrected).rows for t in self.totals.values())


OnSource = Callable[[str, int], None]


def run_backfill(
    root: DataRoot,
    sources: Sequence[str] = (),
    first: str | None = None,
    last: str | None = None,
    on_source: OnSource = lambda source, partitions: None,
) -> BackfillOutcome:
    """Import partitions of sources, then bring usage and reports up to date.

    Args:
        root: The data root.
        sources: Names of sources; all that have usage when empty.
        first: First partition key, inclusive; the source's first when None.
        last: Last partition key, inclusive; the source's last when None.
        on_source: Told of each source before it begins, with its number of partitions.

    Raises:
        ConfigurationError: When the root's YAML has mistakes.
        UnknownNameError: When a source or partition does not exist.
    """
    catalog = load_catalog(root)
    chosen = [(s, select_partitions(s, first, last)) for s in select_sources(catalog, sources)]
    # No pools: a process that is killed would keep its slot, and all that follow would wait for it.
    # The check of each commit guards the lake.
    definitions = build_definitions(root, pooled=False)
    outcome = BackfillOutcome()
    with open_instance(root) as instance:
        for source, keys in chosen:
            on_source(source.source, len(keys))
            for index in range(0, len(keys), PARTITIONS_PER_RUN):
                run_keys = keys[index : index + PARTITIONS_PER_RUN]
                _import(definitions, instance, source, run_keys, outcome)
        _refresh(definitions, instance, catalog, outcome)
    return outcome


def _import(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    source: Source,
    keys: list[str],
    outcome: BackfillOutcome,
) -> None:
    merged = import_key(source.source, "merged")
    result = dg.materialize(
        [definitions.get_assets_def(merged)],
        resources=definitions.resources,
        instance=instance,
        run_config=_QUIET,
        tags={**range_tags(keys), PROCESS: this_process()},
        raise_on_error=False,
    )
    done = set()
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        if materialization.asset_key != merged:
            continue
        done.add(materialization.partition)
        totals: Any = materialization.metadata[CONTROL_TOTALS].value
        for usage, stored in totals.items():
            key = (source.source, usage)
            outcome.totals[key] = outcome.totals.get(key, ControlTotals()) + from_json(stored)
        if REPLACEMENTS in materialization.metadata:
            replaced: Any = materialization.metadata[REPLACEMENTS].value
            for usage, stored in replaced.items():
                before = outcome.replacements.get((source.source, usage), Replacement())
                done_here = before + replacement_from_json(stored)
                outcome.replacements[source.source, usage] = done_here
    if not result.success:
        reasons = _reasons(result)
        for partition in keys:
            if partition not in done:
                why = reasons.get(partition) or reasons.get("", "the run ended early.")
                outcome.failures[source.source, partition] = why


def _reasons(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Why partitions of a failed run failed; under the empty key, why the run did."""
    reasons: dict[str, str] = {}
    for event in result.all_events:
        if not event.is_step_failure:
            continue
        failure = event.step_failure_data
        if failure.user_failure_data is None:
            error = failure.error and (failure.error.cause or failure.error)
            reasons[""] = error.message.strip() if error else "the run failed; see its log."
            continue
        reasons[""] = failure.user_failure_data.description or ""
        table = failure.user_failure_data.metadata.get(FAILED_PARTITIONS)
        for record in table.records if isinstance(table, dg.TableMetadataValue) else []:
            reasons[str(record.data["partition"])] = str(record.data["reason"])
    return reasons


def _refresh(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    catalog: Catalog,
    outcome: BackfillOutcome,
) -> None:
    for meter in catalog.meters.values():
        key = usage_key(meter)
        result = _materialize(definitions, instance, key, [key], {})
        if not result.success:
            outcome.broken[key.to_user_string()] = _reasons(result).get("", "")
    for _, total in catalog.comparisons:
        key, periods = report_key(total), periods_key(total)
        asset = definitions.get_assets_def(key)
        keys = asset.specs_by_key[periods].partitions_def if periods in asset.keys else None
        names = [] if keys is None else keys.get_partition_keys()
        ends = range_tags(names) if names else {}
        result = _materialize(definitions, instance, key, [key, periods] if names else [key], ends)
        if not result.success:
            outcome.broken[key.to_user_string()] = _reasons(result).get("", "")
            continue
        [metadata] = _shown(result, key)
        outcome.verdicts.append(
            Verdict(total.name, metadata[VERDICT].value, metadata[REPORT].value)
        )


def _shown(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> list[Any]:
    """The metadata of the materializations of an asset."""
    events = result.get_asset_materialization_events()
    told = [event.step_materialization_data.materialization for event in events]
    return [one.metadata for one in told if one.asset_key == key]


def _materialize(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    selection: Sequence[dg.AssetKey],
    partitions: Mapping[str, str],
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [definitions.get_assets_def(key)],
        resources=definitions.resources,
        instance=instance,
        run_config=_QUIET,
        selection=selection,
        tags={**partitions, PROCESS: this_process()},
        raise_on_error=False,
    )
