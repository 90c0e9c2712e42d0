"""The columns of what assets hold, as Dagster's catalog shows them, and where they come from.

Belongs here: what columns mean. Their names and types are those that the pipeline itself uses.
"""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg
import pyarrow as pa

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.events import event_columns
from spanner_pipeline.lake.table import declared_schema, sql_type
from spanner_pipeline.lake.writing import DAY
from spanner_pipeline.meters import Dimension, Meter

SCHEMA, LINEAGE = "dagster/column_schema", "dagster/column_lineage"

_KEY = "idempotency_key"
_MEANINGS = {
    _KEY: "source:subject:meter:identity; one legacy row has one key, for ever.",
    "subject": "Whose usage it is.",
    "timestamp": "When it was used, in UTC, to the microsecond.",
    "quantity": "How much, exactly, in the meter's unit",
    "revision": "Which delivery of the row is later, where the source declares corrections.",
    "source": "The source that it was imported from.",
    "import_batch": "The import that brought it.",
    "source_file": "The legacy file that its row stands in.",
    "source_line": "The line of that file.",
    DAY: "The UTC day of its timestamp; the table is partitioned by it.",
}
_ALWAYS = {_KEY, "subject", "timestamp", "quantity", "source", "import_batch", DAY}

_REPORT = {
    "subject": ("VARCHAR", "Whose number it is; empty where totals are of all."),
    "period": ("VARCHAR", "The period that the old bill names."),
    "zone": ("VARCHAR", "The clock on which the period begins and ends."),
    "first": ("DATE", "The first day of the period."),
    "days": ("BIGINT", "How many days it has."),
    "start": ("TIMESTAMPTZ", "When it begins, in UTC."),
    "end": ("TIMESTAMPTZ", "When it ends, in UTC; the first instant after."),
    "status": ("VARCHAR", "Whether the numbers agree."),
    "old": ("DECIMAL", "What the old bill says."),
    "new": ("DECIMAL", "What the lake says."),
    "difference": ("DECIMAL", "New minus old."),
    "tolerance": ("DECIMAL", "How far a difference may go."),
    "unexplained": ("DECIMAL", "The part of the difference that no cause explains."),
    "causes": ("STRUCT[]", "Each cause with what exactly, its part, and whether it is on record."),
    "why": ("VARCHAR", "Why it cannot be compared."),
    "usage": ("DECIMAL", "What was used, where money is compared."),
    "price": ("DECIMAL", "What one unit cost, on the old bill."),
    "amount": ("DECIMAL", "What the number cost, on the old bill."),
    "copies": ("DECIMAL", "What lines that stand twice on the old bill add once too often."),
    "credits": ("DECIMAL", "The negative lines of the old bill."),
    "events": ("BIGINT", "How many events of the lake are in the number."),
    "lines": ("VARCHAR", "The lines of the old bill that it stands on."),
}


def events_schema(meters: Iterable[Meter], *, merged: bool) -> dg.TableSchema:
    """Events of some meters: what all have, then the dimensions of each.

    Args:
        meters: The meters that a source feeds.
        merged: Whether they are in the lake, where every key is there once.
    """
    types: dict[str, list[str]] = {}
    meanings = dict(_MEANINGS)
    units = []
    for meter in meters:
        declared = declared_schema(meter)
        for name in [*event_columns(meter), *([DAY] if merged else [])]:
            told = types.setdefault(name, [])
            told += {sql_type(declared.field(name).type)} - set(told)
        units += [meter.unit] if meter.unit not in units else []
        for dimension in meter.dimensions:
            meanings.setdefault(dimension.column, _meaning(dimension))
    meanings["quantity"] += f": {', '.join(units)}."
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                " or ".join(kinds),
                meanings[name],
                dg.TableColumnConstraints(
                    nullable=name not in _ALWAYS, unique=merged and name == _KEY
                ),
            )
            for name, kinds in types.items()
        ]
    )


def usage_schema(meter: Meter) -> dg.TableSchema:
    """Daily usage of one meter."""
    return dg.TableSchema(
        [
            dg.TableColumn("bucket_start", "TIMESTAMPTZ", "The UTC day."),
            dg.TableColumn("subject", "VARCHAR", _MEANINGS["subject"]),
            *(dg.TableColumn(_grouped(d), _type(meter, d), _meaning(d)) for d in meter.dimensions),
            dg.TableColumn(
                "quantity", "DECIMAL", f"The {meter.aggregation} of the day, in {meter.unit}."
            ),
            dg.TableColumn("events", "BIGINT", "How many events it is made of."),
        ]
    )


def report_schema(total: BillingTotal, meter: Meter) -> dg.TableSchema:
    """All numbers of a comparison, a row each, as its Parquet file has them."""
    subject, *others = [dg.TableColumn(n, t, meaning) for n, (t, meaning) in _REPORT.items()]
    declared = {dimension.name: dimension for dimension in meter.dimensions}
    own = [
        dg.TableColumn(f"dim_{name}", "VARCHAR", _meaning(declared[name]))
        for name in total.dimensions
    ]
    return dg.TableSchema([subject, *own, *others])


def bill_schema(source: Source) -> dg.TableSchema:
    """The columns of an old bill that comparisons read."""
    read: dict[str, list[str]] = {}
    for total in source.billing_totals:
        for name in dict.fromkeys(total.columns):
            read.setdefault(name, []).append(total.name)
    return dg.TableSchema(
        [dg.TableColumn(n, "text", f"Read by {', '.join(by)}.") for n, by in read.items()]
    )


def usage_lineage(meter: Meter, imports: Sequence[dg.AssetKey]) -> dg.TableColumnLineage:
    """Daily usage out of the events in the lake."""
    columns = {"bucket_start": ["timestamp"], "subject": ["subject"], "events": [_KEY]}
    columns |= {_grouped(d): [d.column] for d in meter.dimensions}
    counts = meter.aggregation in ("count", "rate")
    return _lineage({**columns, "quantity": [_KEY if counts else "quantity"]}, imports)


def report_lineage(
    total: BillingTotal, bill: dg.AssetKey, imports: Sequence[dg.AssetKey]
) -> dg.TableColumnLineage:
    """Old numbers out of the bill, new ones out of the lake."""
    old = {
        "subject": total.subject.columns if total.subject else (),
        "period": total.period.columns,
        "zone": total.period.zone.columns,
        "old": total.quantity.columns,
        "price": total.price.columns if total.price else (),
        "amount": total.amount.columns if total.amount else (),
        **{f"dim_{name}": value.columns for name, value in total.dimensions.items()},
    }
    out = dict(_lineage({n: list(c) for n, c in old.items() if c}, [bill]).deps_by_column)
    out |= _lineage({"new": ["quantity"]}, imports).deps_by_column
    out["difference"] = [*out["new"], *out.get("old", [])]
    return dg.TableColumnLineage(out)


def _lineage(
    columns: Mapping[str, Sequence[str]], parents: Sequence[dg.AssetKey]
) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(parent, each) for parent in parents for each in origins]
            for name, origins in columns.items()
        }
    )


def _grouped(dimension: Dimension) -> str:
    """What daily usage calls a dimension."""
    own = ("bucket_start", "quantity", "events")
    return f"dim_{dimension.name}" if dimension.name in own else dimension.name


def _type(meter: Meter, dimension: Dimension) -> str:
    kind: pa.DataType = declared_schema(meter).field(dimension.column).type
    return sql_type(kind)


def _meaning(dimension: Dimension) -> str:
    said = dimension.description or dimension.display_name or f"Dimension {dimension.name}"
    return f"{said} (deprecated)" if dimension.deprecated else said
