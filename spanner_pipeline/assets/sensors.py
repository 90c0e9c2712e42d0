"""What watches the folders of sources, and asks for the import of what arrives or changes there."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from spanner_pipeline.arrivals import Look, Memory, look
from spanner_pipeline.assets.imports import PARTITIONS_PER_RUN
from spanner_pipeline.assets.jobs import Job, Jobs
from spanner_pipeline.assets.partitions import existing_keys
from spanner_pipeline.assets.ranges import ranged_run
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.selection import contiguous
from spanner_pipeline.sources.tables import asks_a_server

EVERY_SECONDS = 30
RUNS_PER_TICK = 25
"""More are asked for by the next tick."""


def build_sensors(root: DataRoot, catalog: Catalog, jobs: Jobs) -> list[dg.SensorDefinition]:
    """A sensor for each source that has usage; they are off until somebody turns them on."""
    return [_watch(root, catalog.sources[name], job) for name, job in jobs.backfills.items()]


def _watch(root: DataRoot, source: Source, job: Job) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"watch_{source.source}",
        job=job,
        minimum_interval_seconds=EVERY_SECONDS,
        description=_what_it_watches(source),
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        keys = existing_keys(source, now)
        found = look(root, source, keys, Memory.read(context.cursor), now)
        ranges = contiguous(keys, found.arrived, PARTITIONS_PER_RUN)[:RUNS_PER_TICK]
        taken = {key for part in ranges for key in part}
        requests = [ranged_run(part, _run_key(part, found)) for part in ranges]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else _seen(found),
            cursor=found.remember(taken).spell(),
        )

    return watch


def _what_it_watches(source: Source) -> str:
    if asks_a_server(source):
        return (
            f"Asks whether {source.files} answers, and imports the partitions that never were. "
            "What changed in others it does not see: run their backfill."
        )
    return (
        f"Watches {source.files}, and imports the partitions whose files are new or changed, by "
        "their digests, and those that lacked an id when a lookup file changes. A file that fails "
        "is tried again only when it changes."
    )


def _run_key(part: Sequence[str], found: Look) -> str:
    """The same partitions with the same content have the same key."""
    content = "\n".join(f"{key} {found.arrived[key]}" for key in part)
    return f"{part[0]}..{part[-1]} {hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _seen(found: Look) -> str:
    """What a tick saw that asked for nothing."""
    told = [f"Nothing new: {found.files} files of {found.partitions} partitions."]
    if found.settling:
        told.append(f"Just changed, and perhaps still being written: {_names(found.settling)}.")
    if found.unread:
        told.append(f"Not read yet: {_names(found.unread)}.")
    if found.waiting:
        told.append(
            "Asked for before and not imported (a run waits, or failed for its file; it is tried "
            f"again when the file changes): {_names(list(found.waiting))}."
        )
    return " ".join(told)


def _names(partitions: Sequence[str]) -> str:
    more = f" and {len(partitions) - 5} more" if partitions[5:] else ""
    return ", ".join(partitions[:5]) + more
