"""`make bench-deliver`: how fast events go into Open Spanner, beside a bare loop of the same posts.

Both send to the contract server, in a process of its own with its rate limit lifted, into a fresh
store each time. Where OPEN_SPANNER_BASE_URL and OPEN_SPANNER_API_KEY are set, the same events go
there as well, into a new meter; they can never be deleted there, so take a workspace for it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import polars as pl

from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.deliver import deliver, plan_delivery
from spanner_pipeline.delivery.fates import Choices, choosing
from spanner_pipeline.delivery.meter import Retention, as_request, retention_of
from spanner_pipeline.delivery.send import GROUP, MOST_EVENTS, batch_key
from spanner_pipeline.delivery.target import API_KEY, BASE_URL, Target
from spanner_pipeline_tests.benchmarks.table import aligned, say
from spanner_pipeline_tests.lake.building import REGION, TinyRoot

DAYS = 30
"""The events are spread over so many days before today."""

UNLIMITED = Choices(rate=10**9)


@dataclass(frozen=True)
class Took:
    """What sending all events took.

    Attributes:
        wall: Seconds.
        cpu: Seconds of this process alone, all its threads.
        planning: Seconds of `wall` that went into the plan.
    """

    wall: float
    cpu: float
    planning: float = 0


def fill(path: Path, events: int) -> TinyRoot:
    """Import made events. The meter has a new name, so that no workspace knows their keys."""
    name = f"bench_{datetime.now(UTC):%Y%m%d_%H%M%S_%f}"
    plan = {"name": "plan", "type": "string", "required": True}
    root = TinyRoot(path, meter_name=name, dimensions=[REGION, plan])
    mixed = pl.int_range(events, dtype=pl.Int64, eager=True).alias("id") * 2654435761 % 4294967296
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS + 1)
    step = timedelta(days=DAYS) // events
    rows = pl.DataFrame(
        {
            "id": pl.int_range(events, eager=True),
            "subject": "org_" + (mixed // 3 % 1000).cast(pl.String),
            "quantity": (mixed % 1_000_000 + 1).cast(pl.String) + ".25",
            "time": pl.datetime_range(first, interval=step, eager=True, end=first + step * events)
            .head(events)
            .dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": (mixed // 7 % 4)
            .cast(pl.String)
            .str.replace_many(["0", "1", "2", "3"], ["eu", "us", "ap", "sa"]),
            "plan": (mixed // 13 % 3)
            .cast(pl.String)
            .str.replace_many(["0", "1", "2"], ["free", "pro", "team"]),
        }
    )
    root.place({"events.csv": rows.write_csv().encode()})
    root.run()
    return root


@contextmanager
def fresh_server(folder: Path) -> Iterator[tuple[Target, Path]]:
    """A contract server over an empty store."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name) / "store.db"
        command = [sys.executable, "-m", "spanner_pipeline_tests.open_spanner", str(path)]
        with subprocess.Popen(
            [*command, "--events", "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield Target.build(told["base_url"], told["key"]), path
            process.communicate(timeout=20)


def bodies_of(root: TinyRoot) -> list[bytes]:
    """The bodies that a delivery posts."""
    always = Retention(datetime.now(UTC), 365 * 100)
    with choosing(root.root, root.meter, None, UNLIMITED, always) as chosen:
        return [
            f"[{','.join(batch['sent'])}]".encode()
            for group in chosen.stream(GROUP)
            for batch in group.iter_slices(MOST_EVENTS)
        ]


def posting(root: TinyRoot, target: Target, bodies: Sequence[bytes]) -> Took:
    """Post prepared bodies, one after the other, and look at nothing but the status."""
    headers = {"Authorization": f"Bearer {target.api_key}", "Content-Type": "application/json"}
    with httpx.Client(base_url=target.base_url, headers=headers, timeout=60) as http:
        meter = as_request(root.meter, retention_of(root.meter))
        http.post("/v1/meters", json=meter).raise_for_status()

        def post() -> None:
            for body in bodies:
                key = {"Idempotency-Key": batch_key(body)}
                answer = http.post("/v1/usages/bulk", content=body, headers=key)
                assert answer.status_code == 201, answer.text

        return timed(post)


def delivering(root: TinyRoot, target: Target, events: int) -> Took:
    """A whole delivery: plan, send, and the ledger of it."""
    planning: list[float] = []

    def whole() -> None:
        with OpenSpanner(target) as client:
            begun = time.perf_counter()
            plan = plan_delivery(root.root, root.meter, client, UNLIMITED)
            planning.append(time.perf_counter() - begun)
            done = deliver(root.root, root.meter, client, UNLIMITED, plan)
        assert done.outcome.events == {"accepted": events}, done.outcome.events

    took = timed(whole)
    return Took(took.wall, took.cpu, *planning)


def timed(work: Callable[[], None]) -> Took:
    """Seconds of a piece of work."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def line(title: str, events: int, runs: Sequence[Took], bare: float) -> list[str]:
    """A line of the table: the median run by wall seconds."""
    took = sorted(runs, key=lambda run: run.wall)[len(runs) // 2]
    seconds = [f"{took.wall:.2f}", f"{took.cpu:.2f}", f"{took.planning:.2f}"]
    return [title, *seconds, f"{events / took.wall:,.0f}", f"{bare / took.wall:.0%}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="make bench-deliver", description=__doc__)
    parser.add_argument("events", type=int, nargs="?", default=100_000)
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is shown")
    asked = parser.parse_args(arguments)
    events = asked.events
    bare: list[Took] = []
    ours: list[Took] = []
    real: list[Took] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        say(f"filling a lake with {events:,} events ...")
        root = fill(folder / "root", events)
        bodies = bodies_of(root)
        for number in range(asked.rounds):
            with fresh_server(folder) as (target, _):
                bare.append(posting(root, target, bodies))
            with fresh_server(folder) as (target, _):
                ours.append(delivering(root, target, events))
            say(f"round {number + 1}: {bare[-1].wall:.2f} s bare, {ours[-1].wall:.2f} s delivered")
        if os.environ.get(BASE_URL) and os.environ.get(API_KEY):
            real.append(delivering(root, Target.from_environment(), events))
    reference = statistics.median(run.wall for run in bare)
    body = [
        line("bare httpx loop", events, bare, reference),
        line("delivery, ledger included", events, ours, reference),
    ]
    if real:
        body.append(line("delivery to the real server", events, real, reference))
    header = ["", "wall s", "CPU s", "of it planning s", "events/s", "of bare"]
    size = sum(map(len, bodies)) / events
    sys.stdout.write(
        f"{events:,} events of {size:.0f} bytes in {len(bodies)} calls; median of "
        f"{asked.rounds} rounds\n\n{aligned(header, body)}\n"
    )


if __name__ == "__main__":
    main()
