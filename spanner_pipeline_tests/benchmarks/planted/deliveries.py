"""The legacy files: real rows with what goes wrong in real deliveries, and a data root of them.

A small share of the rows lacks its id or a required dimension, is delivered days later or once
more, says something else under the same id, or is voided. The old system's faults are about these.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from spanner_pipeline.configuration.values import complete_date
from spanner_pipeline.importing import import_partition
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.benchmarks.planted.history import EXACT, NOT_USAGE, History

METER, DECIMALS = "usage", 6
FOLDER = "legacy/usage"
OUTSIDE_DAYS = 8
"""So many days of the first month are outside the migrated time."""

_LATEST = 12
_COLUMNS = ("id", "customer", "place", "device", "at", "quantity", "state")


@dataclass(frozen=True)
class Deliveries:
    """What the legacy system delivered.

    Attributes:
        history: The usage behind it.
        rows: Every row of every file: the columns of the history, but `day`, and `delivered` (the
            day of its file), `file`, `line`.
        scope: The start of the migrated time.
    """

    history: History
    rows: pl.DataFrame
    scope: datetime


def deliver(history: History, seed: int) -> Deliveries:
    """Cut usage into daily files, with what goes wrong.

    Args:
        history: The usage.
        seed: The same seed makes the same deliveries.
    """
    rows = history.rows.with_columns(pl.col("day").alias("delivered"))
    delay = 1 + _share(rows, seed) * _LATEST
    fate, other = _share(rows, seed + 1), _share(rows, seed + 2)
    closing = pl.col("delivered").dt.offset_by("6d").dt.month() != pl.col("delivered").dt.month()
    late = pl.col("delivered") + pl.duration(days=delay.cast(pl.Int64))
    rows = rows.with_columns(
        fate.alias("fate"),
        (1 + (other * 997).cast(pl.Int64)).cast(EXACT).alias("more"),
        delay.cast(pl.Int64).alias("delay"),
        pl.when(closing & (other < 0.03)).then(late).otherwise("delivered").alias("delivered"),
    )
    of_tail = pl.col("day") >= history.imported_until
    fate, later = pl.col("fate"), pl.col("delivered") + pl.duration(days="delay")
    rows = rows.with_columns(
        pl.when(fate < 0.002).then(pl.lit("")).otherwise("id").alias("id"),
        pl.when(fate.is_between(0.002, 0.004)).then(pl.lit("")).otherwise("device").alias("device"),
    )
    usage = rows.filter(pl.col("state") != NOT_USAGE)
    again = usage.filter(fate.is_between(0.010, 0.013)).with_columns(later.alias("delivered"))
    otherwise = usage.filter(fate.is_between(0.020, 0.022)).with_columns(
        later.alias("delivered"), (pl.col("quantity") + pl.col("more")).alias("quantity")
    )
    voids = usage.filter(fate.is_between(0.030, 0.033)).with_columns(
        later.alias("delivered"),
        (pl.col("id") + "/void").alias("id"),
        (-pl.col("quantity")).cast(EXACT).alias("quantity"),
    )
    rows = pl.concat([rows, again, otherwise, voids]).filter(
        # What is not imported holds only days of its own.
        pl.col("delivered") < pl.when(of_tail).then(history.ends).otherwise(history.imported_until)
    )
    rows = rows.drop("day", "fate", "more", "delay").sort(
        "delivered", "at", "id", maintain_order=True
    )
    name = pl.concat_str(pl.lit(f"{FOLDER}/"), pl.col("delivered").dt.to_string(), pl.lit(".csv"))
    line = 2 + pl.int_range(pl.len()).over("delivered")
    rows = rows.with_columns(name.alias("file"), line.alias("line"))
    first = datetime.combine(history.begins, datetime.min.time(), UTC)
    return Deliveries(history, rows, first + timedelta(days=OUTSIDE_DAYS))


def _share(rows: pl.DataFrame, seed: int) -> pl.Series:
    """A number from 0 to below 1 for each row, evenly spread."""
    return pl.int_range(rows.height, eager=True).shuffle(seed) / rows.height


def lay_out(deliveries: Deliveries, folder: Path) -> DataRoot:
    """Write the files, the meter and the source.

    Args:
        deliveries: What to write.
        folder: The data root; made anew.
    """
    shutil.rmtree(folder, ignore_errors=True)
    history = deliveries.history
    (folder / FOLDER).mkdir(parents=True)
    at = pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    printed = deliveries.rows.with_columns(at.alias("at"))
    for (name,), part in printed.partition_by("file", as_dict=True).items():
        part.select(_COLUMNS).write_csv(folder / str(name))
    meter = {
        "name": METER,
        "unit": "unit",
        "aggregation": "sum",
        "decimals": DECIMALS,
        "dimensions": [{"name": n, "type": "string"} for n in ("place", "device")],
    }
    source = {
        "source": "legacy",
        "format": {"family": "delimited"},
        "files": FOLDER
        + "/{year}-{month}-"
        + ("{day}" if history.grain == "day" else "*")
        + ".csv",
        "partitions": {"grain": history.grain, "from": history.begins, "to": history.ends},
        "zone": history.clock,
        "scope": {"from": deliveries.scope},
        "identity": {"native": "id"},
        "usage": [
            {
                "meter": METER,
                "subject": "customer",
                "quantity": {"column": "quantity", "nonpositive": "keep"},
                "timestamp": "at",
                "where": {"state": {"not": [NOT_USAGE]}},
                "dimensions": {"place": "place", "device": "device"},
            }
        ],
    }
    declare(folder, "meters", METER, meter)
    declare(folder, "sources", "legacy", source)
    return DataRoot(folder)


def declare(folder: Path, kind: str, name: str, content: dict[str, Any]) -> None:
    """Write one YAML of a data root."""
    path = folder / kind / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def import_until(root: DataRoot, until: date) -> None:
    """Import every delivery before a day, in order."""
    catalog = load_catalog(root)
    source = catalog.sources["legacy"]
    for key in source.partition_keys(until):
        if complete_date(key) < until.isoformat():
            import_partition(root, catalog, source, key)
