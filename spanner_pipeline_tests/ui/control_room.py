"""A data root with something to see for every story, and `make ui` over it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.assets.instance import SETTINGS
from spanner_pipeline_tests.benchmarks.year.generate import SOURCE, write_year
from spanner_pipeline_tests.eager import eager
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root

REPO = Path(__file__).parent.parent.parent
READY_SECONDS = 300
EVENTS_A_DAY = 20
BROKEN_DAY = "2023-03-07"
"""The day of the year whose file has a broken line."""

DAILY_BILL = """\
source: daily_bill
description: What the switch billed, day by day.
format: {family: delimited}
files: legacy/daily.csv
partitions: {grain: whole}
owner: finance@example.com
billing_totals:
  - name: calls_by_day
    description: Calls billed by account and day.
    meter: calls
    subject: account
    quantity: calls
    period: {column: day, grain: day, format: "%Y-%m-%d", zone: UTC}
    severity: warn
"""
WHARF = """\
source: wharf
description: Containers that were moved.
format: {family: delimted}
files: legacy/wharf/{year}-{month}.csv
partitions: {grain: month, from: 2024-01}
identity: {native: id}
usage:
  - meter: calls
    subject: customer
    quantity: moved
    timestamp: at
"""


@dataclass(frozen=True)
class ControlRoom(SmallRoot):
    """The small root with a year of daily files, a daily bill and a source that is broken."""

    def year_file(self, day: str) -> Path:
        """The file of one day of the year."""
        return self.path / f"legacy/{SOURCE}/{day[:4]}/events-{day}.csv.gz"

    def break_line(self, day: str) -> bytes:
        """Add a line to a day of the year that ends inside of a quote; returns the sound file."""
        file = self.year_file(day)
        sound = file.read_bytes()
        text = gzip.decompress(sound) + b'evt_x,"customer_001\n'
        file.write_bytes(gzip.compress(text, mtime=0))
        return sound

    def write_daily_bill(self, *, wrong: bool = True) -> None:
        """Right for all days, or for all but the second."""
        amounts = {"acme": "9.002", "globex": "5.002", "initech": "7.002"}
        lines = [f"{account},{day},{calls}" for day in DAYS for account, calls in amounts.items()]
        if wrong:
            lines[lines.index(f"acme,{DAYS[1]},9.002")] = f"acme,{DAYS[1]},18.004"
        text = "\n".join(["account,day,calls", *lines]) + "\n"
        (self.path / "legacy/daily.csv").write_text(text, encoding="utf-8")


def control_room(path: Path) -> ControlRoom:
    """Lay out the root and import three days of two sources: one day fails, none of the year."""
    root = ControlRoom(small_root(path / "root").path)
    year = write_year(path / "year", EVENTS_A_DAY)
    for name in ("meters/units.yaml", f"sources/{SOURCE}.yaml", f"legacy/{SOURCE}"):
        shutil.move(year.root.path / name, root.path / name)
    root.write_daily_bill()
    (root.path / "sources/daily_bill.yaml").write_text(DAILY_BILL, encoding="utf-8")
    for source, owner in (("switch", "network@example.com"), ("bill", "finance")):
        name = f"sources/{source}.yaml"
        root.rewrite(name, f"source: {source}\n", f"source: {source}\nowner: {owner}\n")
    root.file("switch", DAYS[3]).unlink()
    root.cut("edge", DAYS[1])
    root.write_calls(DAYS[2], "7,acme,many,2024-01-03T09:00:00Z,eu")
    root.write_bill(acme="36.009")
    subprocess.run(
        [
            *(sys.executable, "-m", "spanner_pipeline.cli", "backfill", "switch", "edge"),
            *("--to", DAYS[2], "--data", str(root.path)),
        ],
        env=_environment(),
        cwd=REPO,
        capture_output=True,
    )
    assert (root.dagster_home / "dagster.yaml").read_text(encoding="utf-8") == SETTINGS
    (root.path / "sources/wharf.yaml").write_text(WHARF, encoding="utf-8")
    return root


@dataclass(frozen=True)
class Served:
    """A running web server and daemon, and the root that they serve."""

    url: str
    root: ControlRoom

    def ask(self, query: str, **variables: Any) -> Any:
        """Ask the web server's GraphQL."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            told = json.load(answer)
        assert "errors" not in told, told
        return told["data"]


@contextmanager
def make_ui(root: ControlRoom) -> Iterator[Served]:
    """`make ui` on a free port; Ctrl-C ends it, and all that it started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = root.path / "make-ui.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["make", "--no-print-directory", "ui", f"DATA={root.path}", f"PORT={port}"],
            cwd=REPO,
            env=_environment(),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    served = Served(f"http://127.0.0.1:{port}", root)
    try:
        _wait(served, process, log)
        yield served
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment() -> dict[str, str]:
    """Ours, without what would name another root or make's own flags."""
    taken = ("SPANNER_DATA", "DAGSTER_HOME", "DATA", "PORT", "MAKEFLAGS", "MAKELEVEL")
    return eager({name: value for name, value in os.environ.items() if name not in taken})


def _wait(served: Served, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the web server answers and has loaded the definitions."""
    loaded = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            entries = served.ask(loaded)["workspaceOrError"]["locationEntries"]
        except OSError:
            time.sleep(0.5)
            continue
        if [entry["loadStatus"] for entry in entries] == ["LOADED"]:
            return
        time.sleep(0.5)
    pytest.fail(f"`make ui` did not become ready:\n{log.read_text(encoding='utf-8')[-3000:]}")
