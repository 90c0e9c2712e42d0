"""The legacy data of Tidewater, a fictional SaaS (SAMPLE): access log, AI events and old bill."""

from __future__ import annotations

from pathlib import Path

from spanner_pipeline.sample.access_log import log_of
from spanner_pipeline.sample.bill import HEADER, BillRow, PlantedFault, Usage, amount, old_bill
from spanner_pipeline.sample.customers import CUSTOMERS, DAYS
from spanner_pipeline.sample.events import completions, deliveries
from spanner_pipeline.sample.files import Written, write, write_gzip, write_lines

FOLDER = Path("legacy/saas")
"""Where it is, below a data root."""

_README = """\
# Tidewater: SAMPLE data

All of this is generated SAMPLE data. Tidewater, its customers and their usage are made up; the
generator (`python -m spanner_pipeline.sample`) has a fixed seed and writes the same bytes again.
It covers 2026-01-01 to 2026-04-01 (exclusive), UTC: the system started then, and the export was
taken then. Do not edit it; the next run puts it back.

## `access_log/YYYY-MM/access-YYYY-MM-DD.log.gz`

{lines:,} lines: the access log of each UTC day in the combined format of Apache and nginx, with a
clock of 1 s. `remote_user` is the customer; health checks have none. As in real logs,

- lines are roughly, not fully, in the order of time;
- identical lines are distinct requests (a client that polls twice in a second);
- `-` stands for no body (204 and 304 answers);
- {cut} lines are cut within the referer or the user agent. The old system dropped them.

## `events/events-YYYY-MM-DD.jsonl`

{delivered:,} CloudEvents 1.0, one a line, by the UTC day of delivery: {events:,} distinct ids.
They are out of order; some are up to 3 days late, none later than the last file; some were sent
again, as the identical line.

## `billing/billing-2026.csv`

The bill of the old system: a row for each customer, month and product.

| product | units |
|---|---|
| `api_requests` | whole lines of the access log with a customer |
| `egress_bytes` | bytes of the bodies of those |
| `ai_tokens` | input and output tokens of distinct events |

A month begins and ends in the customer's `time_zone`. Usage that is in December or April there
is on none of these bills. `amount_usd` is `units` times `unit_price_usd`, half up to the cent.

| customer | `time_zone` |
|---|---|
{zones}

### Planted faults

{faults} of the {rows} rows are wrong on purpose; all others are exactly right.

| customer | month | product | fault | detail | old units | true units | old - true | USD |
|---|---|---|---|---|---:|---:|---:|---:|
{differences}

- `day_billed_twice`: the customer's local day was counted twice.
- `day_missing`: the customer's local day was not counted.
- `month_in_utc`: the month was cut in UTC instead of the customer's zone.
- `rounded_up_to_thousand`: the units were rounded up to the full 1,000.
"""


def write_saas(root: Path) -> list[Written]:
    """Write the SAMPLE below `root`, the same bytes each time.

    Args:
        root: A data root; `legacy/saas/` is created in it.

    Returns:
        The data files and their rows, without the README.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = root / FOLDER
    usage = Usage()
    logs, cut = _write_access_log(folder / "access_log", usage)
    events, distinct = _write_events(folder / "events", usage)
    bill = old_bill(usage)
    billing = folder / "billing" / "billing-2026.csv"
    write_lines(billing, [HEADER, *(row.text for row in bill)])
    readme = _README.format(
        lines=sum(file.rows for file in logs),
        cut=cut,
        delivered=sum(file.rows for file in events),
        events=distinct,
        zones="\n".join(f"| {one.slug} | {one.time_zone} |" for one in CUSTOMERS),
        faults=sum(row.fault is not None for row in bill),
        rows=len(bill),
        differences="\n".join(_difference(row, row.fault) for row in bill if row.fault),
    )
    write(folder / "README.md", readme.encode())
    return [*logs, *events, Written(billing, len(bill))]


def _write_access_log(folder: Path, usage: Usage) -> tuple[list[Written], int]:
    """Write and count the log; returns its files and how many lines are cut."""
    written, cut = [], 0
    for day in DAYS:
        lines = log_of(day)
        for line in lines:
            cut += not line.text.endswith('"')
            if line.counted_for:
                usage.add(line.counted_for, "api_requests", line.time, 1)
                usage.add(line.counted_for, "egress_bytes", line.time, line.sent)
        path = folder / f"{day:%Y-%m}" / f"access-{day}.log.gz"
        write_gzip(path, "".join(f"{line.text}\n" for line in lines).encode())
        written.append(Written(path, len(lines)))
    return written, cut


def _write_events(folder: Path, usage: Usage) -> tuple[list[Written], int]:
    """Write and count the events; returns their files and how many distinct ones there are."""
    events = completions()
    for event in events:
        usage.add(event.customer, "ai_tokens", event.time, event.tokens)
    written = []
    for day, lines in deliveries(events).items():
        path = folder / f"events-{day}.jsonl"
        write_lines(path, lines)
        written.append(Written(path, len(lines)))
    return written, len(events)


def _difference(row: BillRow, fault: PlantedFault) -> str:
    """A planted fault as a row of the README."""
    dollars = amount(row.product, row.units) - amount(row.product, row.true_units)
    return (
        f"| {fault.customer} | {fault.month} | {fault.product} | {fault.kind} | {fault.detail} "
        f"| {row.units:,} | {row.true_units:,} | {row.units - row.true_units:+,} | {dollars:+} |"
    )
