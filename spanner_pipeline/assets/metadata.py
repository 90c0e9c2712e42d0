"""What a person sees of an import in the Dagster UI: counts to plot, tables to read."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from itertools import islice
from typing import Any

import dagster as dg

from spanner_pipeline.control import ControlTotals, Replacement, Total
from spanner_pipeline.importing import UsageImport
from spanner_pipeline.keys import read_scope
from spanner_pipeline.lake.scopes import MEASURES, changed_scopes
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.reconciliation.spelling import grouped, plain
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.staging import Staged

CONTROL_TOTALS = "control totals"
"""The metadata entry with the exact totals of each usage, as JSON."""

REPLACEMENTS = "snapshot"
"""The metadata entry with what snapshots did, exact totals of each usage, as JSON."""

_SHOWN = 50

Metadata = Mapping[str, Any]


def stage_metadata(
    stage: str, usages: Sequence[UsageImport | Staged], files: Sequence[SourceFile]
) -> Metadata:
    """Metadata of one stage of one partition, over all usages of the source."""
    if stage == "extracted":
        listing = [
            dg.TableRecord({"file": f.name, "bytes": f.size, "sha256": f.digest}) for f in files
        ]
        return {
            "dagster/row_count": max((_read(u).rows for u in usages), default=0),
            "files": dg.MetadataValue.table(listing),
        }
    if stage == "keyed":
        without = sum(u.without_key for u in usages)
        return {
            "dagster/row_count": sum(_read(u).rows for u in usages) - without,
            "rows without key": without,
        }
    if stage == "validated":
        reasons: dict[str, int] = {}
        for usage in usages:
            counted = usage.record.rejected if isinstance(usage, UsageImport) else usage.reasons
            for code, count in counted.items():
                reasons[code] = reasons.get(code, 0) + count
        listing = [dg.TableRecord({"reason": c, "rows": n}) for c, n in sorted(reasons.items())]
        table = {"rejected by reason": dg.MetadataValue.table(listing)} if listing else {}
        return {
            "dagster/row_count": sum(_accepted(usage) for usage in usages),
            "rejected rows": sum(reasons.values()),
            **table,
        }
    return {}


def merged_metadata(usages: Sequence[UsageImport]) -> Metadata:
    """Metadata of the last stage: control totals, table versions, whether anything changed."""
    names = [part.name for part in fields(ControlTotals)]
    rows = {name: sum(getattr(u.totals, name).rows for u in usages) for name in names}
    listing = [
        dg.TableRecord(
            {
                "meter": usage.record.usage,
                "quantity in the lake": plain(_entered(usage.totals).quantity),
                "table version": f"{usage.record.version_before} → {usage.record.version_after}",
                **{n.replace("_", " "): getattr(usage.totals, n).rows for n in names},
            }
        )
        for usage in usages
    ]
    readings = [
        dg.TableRecord(
            {
                "meter": usage.record.usage,
                "reading": kind,
                "rows": total.rows,
                "usage": plain(total.quantity),
            }
        )
        for usage in usages
        for kind, total in sorted(usage.record.readings.items())
    ]
    return {
        "dagster/row_count": rows["new"] + rows["present"] + rows["corrected"],
        "quantity": "; ".join(
            f"{grouped(_entered(usage.totals).quantity)} ({usage.record.usage})" for usage in usages
        ),
        **{f"{name.replace('_', ' ')} rows": count for name, count in rows.items()},
        "unchanged": all(usage.unchanged for usage in usages),
        "by meter": dg.MetadataValue.table(listing),
        **({"readings of counters": dg.MetadataValue.table(readings)} if readings else {}),
        "import batch": usages[0].record.batch,
        CONTROL_TOTALS: dg.MetadataValue.json({u.record.usage: to_json(u.totals) for u in usages}),
    }


def snapshot_metadata(root: DataRoot, catalog: Catalog, usages: Sequence[UsageImport]) -> Metadata:
    """What snapshots added, changed and removed; nothing for other imports."""
    done = {u.record.usage: u.replacement for u in usages if u.replacement is not None}
    if not done:
        return {}
    changed = [
        dg.TableRecord(
            {
                "meter": usage.record.usage,
                "scope": " | ".join(read_scope(scope.scope)),
                **{f"{name} rows": getattr(scope.done, name).rows for name in MEASURES},
                **{
                    f"{name} quantity": plain(getattr(scope.done, name).quantity)
                    for name in MEASURES
                },
            }
        )
        for usage in usages
        if not usage.unchanged
        for scope in islice(
            changed_scopes(EventTable(root, catalog.meters[usage.record.meter]), usage.record),
            _SHOWN,
        )
    ]
    table = {f"scopes that changed (first {_SHOWN})": dg.MetadataValue.table(changed)}
    return {
        "added rows": sum(r.added.rows for r in done.values()),
        "removed rows": sum(r.removed.rows for r in done.values()),
        "stale scopes": sum(r.stale for r in done.values()),
        REPLACEMENTS: dg.MetadataValue.json({u: replacement_to_json(r) for u, r in done.items()}),
        **(table if changed else {}),
    }


def replacement_to_json(done: Replacement) -> dict[str, Any]:
    """What a snapshot did, with quantities as exact texts."""
    totals = {n: getattr(done, n) for n in MEASURES}
    stored = {n: {"rows": t.rows, "quantity": plain(t.quantity)} for n, t in totals.items()}
    return {"scopes": done.scopes, "stale": done.stale, **stored}


def replacement_from_json(stored: Mapping[str, Any]) -> Replacement:
    """Read what `replacement_to_json` wrote."""
    totals = {n: Total(stored[n]["rows"], Decimal(stored[n]["quantity"])) for n in MEASURES}
    return Replacement(stored["scopes"], stored["stale"], **totals)


def to_json(totals: ControlTotals) -> dict[str, dict[str, Any]]:
    """Totals with quantities as exact texts."""
    return {
        part.name: {
            "rows": getattr(totals, part.name).rows,
            "quantity": plain(getattr(totals, part.name).quantity),
        }
        for part in fields(totals)
    }


def _entered(totals: ControlTotals) -> Total:
    return totals.new + totals.present + totals.corrected


def _read(usage: UsageImport | Staged) -> Total:
    if isinstance(usage, UsageImport):
        return usage.totals.read
    return sum(usage.read.values(), Total())


def _accepted(usage: UsageImport | Staged) -> int:
    if isinstance(usage, UsageImport):
        return (_entered(usage.totals) + usage.totals.conflicting).rows
    return sum(total.rows for total in usage.accepted.values())


def from_json(stored: Mapping[str, Any]) -> ControlTotals:
    """Read what `to_json` wrote."""
    return ControlTotals(
        **{n: Total(total["rows"], Decimal(total["quantity"])) for n, total in stored.items()}
    )
