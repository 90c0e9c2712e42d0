"""`make bench`: generate, measure each step in its own process, verify, print the table."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

from spanner_pipeline_tests.benchmarks.deliveries import Delivery, generate
from spanner_pipeline_tests.benchmarks.profile import OF_MERGE
from spanner_pipeline_tests.benchmarks.table import (
    Figures,
    aligned,
    columns,
    measure,
    run_module,
    say,
)

MOST_FOR_PEERS = 20_000_000
"""delta-rs holds a whole delivery in memory."""


@dataclass(frozen=True)
class Line:
    """A line of the table: a step of ours, its peers on the same delivery, and its goals."""

    title: str
    step: str
    delivery: str
    goals: dict[str, float]
    peers: bool = True


LINES = (
    Line("first import", "ours", "initial", {"copy": 1.5}),
    Line("replay, rows compared", "ours", "again", {"scan": 3.5, "delta": 0.4}),
    Line("replay, by digest", "digest", "initial", {"scan": 0.5}, peers=False),
    Line("10 % corrected", "ours", "corrections", {"copy": 1.5}),
    Line("5 % late", "ours", "late", {"copy": 0.5}),
    Line("1 % moved", "ours", "moved", {}),
)
BARE = ("scan", "copy")
PEERS = {"delta": "delta-rs MERGE", "polars": "Polars"}


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("events", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--no-peers", action="store_true", help="leave delta-rs and Polars out")
    options = parser.parse_args()
    peers = () if options.no_peers or options.events > MOST_FOR_PEERS else tuple(PEERS)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        say(f"generating {options.events:,} events and their deliveries ...")
        generate(folder, options.events)
        bare = {step: measure(step, folder, "initial") for step in BARE}
        rows = []
        for line in LINES:
            figures = {"ours": measure(line.step, folder, line.delivery)}
            for peer in peers if line.peers else ():
                if (peer, line.delivery) != ("polars", "moved"):  # it would count them twice
                    figures[peer] = measure(peer, folder, line.delivery)
            rows.append((line, figures))
        _verify(folder)
    print(_table(options.events, bare, rows), _parts(rows), sep="\n\n")


def _verify(folder: Path) -> None:
    """The lake must hold every key once, and the exact quantity. A bench of wrong results is none.

    Raises:
        SystemExit: When it does not.
    """
    totals = {d: Delivery(folder / d).total for d in ("initial", "corrections", "late")}
    rows = totals["initial"].rows + totals["late"].rows
    quantity = totals["initial"].quantity + totals["late"].quantity + totals["corrections"].rows
    held = run_module("spanner_pipeline_tests.benchmarks.ours", str(folder))
    if (held[0], held[1], Decimal(held[2])) != (rows, rows, quantity):
        sys.exit(f"the lake holds {held}, not {rows} rows and keys with quantity {quantity}")
    say(f"verified: {rows:,} rows, every key once, quantity {quantity}")


def _table(
    events: int, bare: dict[str, Figures], rows: list[tuple[Line, dict[str, Figures]]]
) -> str:
    """The figures as a Markdown table, which reads as well in a terminal."""
    header = ["", "CPU s", "wall s", "peak GB", "/ scan", "/ copy"]
    header += [f"/ {name}" for name in PEERS.values()] + ["goals"]
    body = [
        [f"bare {name}", *columns(figures), "", "", "", "", ""] for name, figures in bare.items()
    ]
    for line, figures in rows:
        ours, others = figures["ours"], {**bare, **figures}
        ratios = {
            name: ours["cpu"] / others[name]["cpu"] for name in (*BARE, *PEERS) if name in others
        }
        goals = [
            f"{'met' if ratios[name] <= most else 'missed'}: <= {most} {PEERS.get(name, name)}"
            for name, most in line.goals.items()
            if name in ratios
        ]
        shown = [f"{ratios[name]:.2f}" if name in ratios else "" for name in (*BARE, *PEERS)]
        body.append([line.title, *columns(ours), *shown, "; ".join(goals)])
        for peer, name in PEERS.items():
            if peer in figures:
                body.append([f"  {name}", *columns(figures[peer]), "", "", "", "", ""])
    engines = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "polars", "deltalake"))
    title = f"{events:,} events, {os.cpu_count()} cores, {engines}; ratios of CPU seconds"
    return f"{title}\n\n{aligned(header, body)}"


def _parts(rows: list[tuple[Line, dict[str, Figures]]]) -> str:
    """Where the CPU of each of our steps goes, in seconds."""
    body = [
        [line.title, *(f"{figures['ours']['parts'].get(part, 0):.2f}" for part in OF_MERGE)]
        for line, figures in rows
    ]
    return f"where the CPU seconds go\n\n{aligned(['', *OF_MERGE], body)}"


if __name__ == "__main__":
    main()
