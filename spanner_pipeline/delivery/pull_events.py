"""Raw events of a live meter become files of a source: JSON Lines, one file for each UTC day.

A file holds all that the service told of its day, in one order, so that pulling the same events
again gives the same bytes; an event that the service deleted since stays in it. Each says where it
came from: what was delivered from here is in the lake already, and the source leaves it out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from spanner_pipeline.control import EXACT, Total
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.ledger import SETTLED, DeliveryLedger
from spanner_pipeline.delivery.live import CAP, SECOND, LiveMeter, can_be_marked, exact, is_marked
from spanner_pipeline.delivery.pull_meters import UnusableMeterError, live_meter
from spanner_pipeline.delivery.pulled_source import declare, usual_name
from spanner_pipeline.delivery.target import TargetError
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.whole import written_whole

ORIGINS = {
    "live": "live traffic, or what another tool sent",
    "ours": "delivered from this data root: left out by the source",
    "marked": "delivered from another data root: left out by the source",
}
"""Where an event came from, and what a person reads about it."""

_NONE = "none"
_DAY = timedelta(days=1)
_LINES = 10_000
_LONGEST_LINE = 1 << 24
_NUMBER = r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"


@dataclass
class PulledEvents:
    """What pulling a range found.

    Attributes:
        source: The source that the files belong to.
        origins: Events and quantity by where they came from, those kept from before included.
        new: Events that were not in the files before.
        kept: Events that were, and that the service has no more.
        notes: What a person has to know, a sentence each.
    """

    source: str
    origins: dict[str, Total] = field(default_factory=lambda: dict.fromkeys(ORIGINS, Total()))
    new: int = 0
    kept: int = 0
    notes: list[str] = field(default_factory=list)


def pull_events(
    root: DataRoot,
    meter: Meter,
    client: OpenSpanner,
    first: date,
    last: date,
    source: str | None = None,
    progress: Callable[[], None] = lambda: None,
) -> PulledEvents:
    """Write the raw events of a live meter as files of a source.

    Memory holds a page of them; a day is sorted by DuckDB, which spills.

    Args:
        root: The data root.
        meter: The meter, as the data root declares it.
        client: The service.
        first: The first UTC day.
        last: The UTC day after the last one, at most today.
        source: The source's name; one made of the meter's by default.
        progress: Told of each day that is done.

    Raises:
        TargetError: When the service has no such meter or another one, refuses, a day is not
            over, or a delivery is at work. Days that are done stay.
        ConfigurationError: When the source of this name is another one, or broken.
        SourceFileError: When the file of a day holds what no pull wrote.
    """
    if not first < last <= datetime.now(UTC).date():
        raise TargetError(f"{first} to {last}: name a day, and a later one up to today (UTC).")
    live = client.find_meter(meter.name)
    if live is None:
        raise TargetError(f"the service has no meter {meter.name}.")
    _check(meter, live)
    ledger = DeliveryLedger(root, client.target, live)
    found = PulledEvents(source or usual_name(meter))
    told = f"{client.target.base_url} (its id there: {live['id']})"
    found.notes += declare(root, meter, found.source, ledger.pulled_files, first, last, told)
    reader = LiveMeter(client, meter.name, marked=False)
    marked = can_be_marked([dimension.name for dimension in meter.dimensions])
    # What is delivered meanwhile would be taken for live traffic.
    with ledger.alone(), open_duckdb() as connection:
        ledger = DeliveryLedger(root, client.target, live)
        settled = ", ".join(map(literal, ("sent", *SETTLED)))
        connection.execute(f"""CREATE TEMP TABLE ours AS
            SELECT idempotency_key AS key FROM ({ledger.last_words_sql()})
            WHERE status IN ({settled})""")
        day = first
        while day < last:
            start = datetime.combine(day, time(), UTC)
            events = _of_day(reader.events(start - SECOND, start + _DAY + SECOND), day)
            file = root.path / ledger.pulled_files / f"{day}.jsonl"
            _write_day(connection, _pages(events, can_mark=marked), file, found)
            progress()
            day += _DAY
    return found


def _check(meter: Meter, live: Mapping[str, Any]) -> None:
    """Check that the meter of the data root holds all dimensions that the live one has."""
    ours = {dimension.name: dimension.type for dimension in meter.dimensions}
    try:
        theirs = live_meter(live).dimensions
    except UnusableMeterError as error:
        raise TargetError(f"the live meter {meter.name} cannot be used here: {error}") from None
    for dimension in theirs:
        if ours.get(dimension.name) != dimension.type:
            raise TargetError(
                f"the live meter {meter.name} has the dimension {dimension.name} "
                f"({dimension.type}), ours {'another' if dimension.name in ours else 'none'}; "
                f"its values would be lost. `spanner-pipeline meters pull {meter.name}` shows both."
            )


def _of_day(events: Iterable[dict[str, Any]], day: date) -> Iterator[dict[str, Any]]:
    """Those that are told to be of a day: more are read, as the service may sort them wrongly."""
    return (event for event in events if event["timestamp"].startswith(f"{day}T"))


def _pages(events: Iterable[Mapping[str, Any]], *, can_mark: bool) -> Iterator[pl.DataFrame]:
    """Events as they are written, but for their origin, so many at a time."""
    rows: list[tuple[str, str, str, bool, str]] = []
    for event in events:
        key = event.get("idempotency_key") or ""
        identity = key or f"id:{event['id']}"
        # Doubles are spelled by their shortest digits, here as in the answer.
        line = json.dumps({"identity": identity, **event}, ensure_ascii=False, sort_keys=True)
        quantity = str(exact(event["quantity"]))
        rows.append((identity, event["timestamp"], quantity, can_mark and is_marked(event), line))
        if len(rows) == CAP:
            yield _frame(rows)
            rows = []
    yield _frame(rows)


def _frame(rows: list[tuple[str, str, str, bool, str]]) -> pl.DataFrame:
    names = ("identity", "timestamp", "quantity", "marked", "line")
    kinds = dict.fromkeys(names, pl.String) | {"marked": pl.Boolean}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def _write_day(
    connection: duckdb.DuckDBPyConnection,
    pages: Iterator[pl.DataFrame],
    file: Path,
    found: PulledEvents,
) -> None:
    """Put a day's file in place, with what it had and the service has no more."""
    connection.execute("""CREATE OR REPLACE TEMP TABLE there (
        identity VARCHAR, timestamp VARCHAR, quantity VARCHAR, marked BOOLEAN, line VARCHAR)""")
    for page in pages:
        connection.register("page", page).execute("INSERT INTO there SELECT * FROM page")
    _read_before(connection, file)
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE day AS
        SELECT identity, timestamp, quantity, origin,
            '{"origin": "' || origin || '", ' || line[2:] AS line
        FROM (SELECT *, CASE WHEN identity IN (SELECT key FROM ours) THEN 'ours'
                  WHEN marked THEN 'marked' ELSE 'live' END AS origin FROM there)
        UNION ALL
        SELECT * FROM before WHERE identity NOT IN (SELECT identity FROM there)""")
    for origin, quantity, rows in connection.execute(
        "SELECT origin, quantity, count(*) FROM day GROUP BY origin, quantity"
    ).fetchall():
        summed = EXACT.multiply(Decimal(quantity), rows)
        found.origins[origin] = found.origins.get(origin, Total()) + Total(rows, summed)
    [(new, kept)] = connection.execute("""
        SELECT (SELECT count(*) FROM there ANTI JOIN before USING (identity)),
            (SELECT count(*) FROM before ANTI JOIN there USING (identity))""").fetchall()
    found.new, found.kept = found.new + new, found.kept + kept
    ordered = connection.sql("SELECT line FROM day ORDER BY timestamp, identity")
    with written_whole(file) as work, work.open("w", encoding="utf-8", newline="\n") as text:
        empty = True
        for batch in ordered.to_arrow_reader(_LINES):
            lines = batch.column("line").to_pylist()
            text.writelines(f"{line}\n" for line in lines)
            empty = empty and not lines
        if empty:
            # Files without rows are refused, as they may have been cut.
            text.write(f'{{"origin": "{_NONE}", "identity": "no events on {file.stem}"}}\n')


def _read_before(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Read the events of the file that is there, if one is, into the table `before`."""
    columns = ("identity", "timestamp", "quantity", "origin")
    lines = "SELECT '' AS line WHERE false"
    if file.exists():
        lines = f"""SELECT json::VARCHAR AS line FROM read_ndjson_objects(
            {literal(file)}, maximum_object_size = {_LONGEST_LINE})"""
    values = ", ".join(f"line->>'$.{column}' AS {column}" for column in columns)
    strange = " OR ".join(f"{column} IS NULL" for column in columns)
    try:
        connection.execute(f"""CREATE OR REPLACE TEMP TABLE before AS
            SELECT {values}, line FROM ({lines}) WHERE line->>'$.origin' IS DISTINCT FROM '{_NONE}'
            """)
        [[wrong]] = connection.execute(f"""SELECT count(*) FROM before
            WHERE {strange} OR NOT regexp_full_match(quantity, {literal(_NUMBER)})""").fetchall()
    except duckdb.Error:
        wrong = 1
    if wrong:
        raise SourceFileError(
            "/".join(file.parts[-4:]),  # below the data root
            "holds what no pull wrote.",
            "move it away and pull again; it stays the only place of events that the service "
            "deleted since.",
            line=_first_strange(file),
        )


def _first_strange(file: Path) -> int | None:
    """The first line that is no event as a pull writes it; only looked for to name it."""
    with file.open(encoding="utf-8", errors="replace") as text:
        for number, line in enumerate(text, 1):
            try:
                event = json.loads(line)
                if event["origin"] == _NONE:
                    continue
                said = [event[name] for name in ("identity", "timestamp", "quantity")]
                if None in said or not re.fullmatch(_NUMBER, str(said[-1])):
                    return number
            except (ValueError, LookupError, TypeError):
                return number
    return None
