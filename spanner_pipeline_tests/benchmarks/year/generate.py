"""Make a year of daily files: `python -m spanner_pipeline_tests.benchmarks.year.generate FOLDER`.

A data root with an export of a metering tool (CSV, gzip, a file a day), its meter and source, and
the old monthly bill, which agrees with the files but for one number. The same on every machine:
arithmetic on row numbers, no chance.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from spanner_pipeline.root import DataRoot

SOURCE = "metering"
COMPARISON = "bill_units"
FIRST_DAY = date(2023, 1, 1)
WRONG_BY = Decimal("17.003")
"""How much more than was used the old bill says, of the first customer in the first month."""

_CUSTOMERS = 200
_REGIONS = ("eu", "us", "ap", "sa")
_DAY_MICROSECONDS = 86_400_000_000

_METER = """\
name: units
description: Units that the old metering tool counted.
unit: unit
aggregation: sum
decimals: 3
dimensions:
  - {name: region, type: string}
"""
_SOURCE = """\
source: metering
description: Made. The daily export of another metering tool.
format: {{family: delimited}}
files: legacy/metering/{{year}}/events-{{year}}-{{month}}-{{day}}.csv.gz
partitions: {{grain: day, from: {first}, to: {end}}}
identity: {{native: id}}
max_rejected: 0.1%
expect: {{rows: {{min: 0.5, max: 2, of: 7}}}}
usage:
  - meter: units
    subject: customer
    quantity: units
    timestamp: at
    dimensions: {{region: region}}
"""
_BILL = """\
source: old_bill
description: Made. What the old tool billed, by customer and month.
format: {family: delimited}
files: legacy/bill.csv
partitions: {grain: whole}
billing_totals:
  - name: bill_units
    meter: units
    subject: customer
    quantity: units
    period: {column: month, grain: month, zone: UTC}
    severity: warn
"""


@dataclass(frozen=True)
class Year:
    """What was made.

    Attributes:
        root: The data root.
        days: The partition keys, oldest first.
        events: Events in all.
        wrong: The customer and month that the bill has wrong, by `WRONG_BY`.
    """

    root: DataRoot
    days: tuple[str, ...]
    events: int
    wrong: tuple[str, str]


def write_year(folder: Path, events_a_day: int = 2000, days: int = 365) -> Year:
    """Write the data root into a folder.

    Args:
        folder: Is created.
        events_a_day: Lines of each file, without the header.
        days: How many files, from the first of January 2023 on.
    """
    dates = [FIRST_DAY + timedelta(days=n) for n in range(days)]
    used: dict[tuple[str, str], int] = defaultdict(int)
    for number, day in enumerate(dates):
        lines = [
            _event(number * events_a_day + n, n, events_a_day, day) for n in range(events_a_day)
        ]
        for _, customer, _, thousandths, _ in lines:
            used[customer, f"{day:%Y-%m}"] += thousandths
        path = folder / f"legacy/metering/{day:%Y}/events-{day}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = (f"{i},{c},{r},{t // 1000}.{t % 1000:03},{at}" for i, c, r, t, at in lines)
        text = "\n".join(["id,customer,region,units,at", *rows]) + "\n"
        path.write_bytes(gzip.compress(text.encode(), 6, mtime=0))
    wrong = min(used)
    billed = {key: Decimal(thousandths) / 1000 for key, thousandths in sorted(used.items())}
    billed[wrong] += WRONG_BY
    numbers = [f"{customer},{month},{units:.3f}" for (customer, month), units in billed.items()]
    (folder / "legacy/bill.csv").write_text("\n".join(["customer,month,units", *numbers]) + "\n")
    end = FIRST_DAY + timedelta(days=days)
    for name, text in (
        ("meters/units", _METER),
        ("sources/metering", _SOURCE.format(first=FIRST_DAY, end=end)),
        ("sources/old_bill", _BILL),
    ):
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return Year(DataRoot(folder), tuple(map(str, dates)), days * events_a_day, wrong)


def _event(number: int, n: int, of: int, day: date) -> tuple[str, str, str, int, str]:
    """Identifier, customer, region, thousandths of a unit and time of the n-th event of a day."""
    mixed = number * 2_654_435_761 % 2**32
    at = datetime(day.year, day.month, day.day) + timedelta(
        microseconds=n * _DAY_MICROSECONDS // of
    )
    return (
        f"evt_{number:09}",
        f"customer_{mixed // 3 % _CUSTOMERS:03}",
        _REGIONS[mixed // 7 % 4],
        mixed % 1_000_000 + 1,
        f"{at.isoformat(timespec='milliseconds')}Z",
    )


def main() -> None:
    """Make a year into a folder that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=2000, help="a day")
    parser.add_argument("--days", type=int, default=365)
    given = parser.parse_args()
    if given.folder.exists():
        parser.error(f"{given.folder} is there already; name a new folder.")
    year = write_year(given.folder.absolute(), given.events, given.days)
    sys.stdout.write(f"{len(year.days)} files, {year.events:,} events: {year.root.path}\n")


if __name__ == "__main__":
    main()
