"""What is known of counters before a partition: the last readings in the files of those before it.

They follow from the files alone, whichever was imported, and in which order. What was read once is
kept below `lake/readings/`, where it may be deleted: it is read again then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl

from spanner_pipeline.configuration.source import WHOLE, Source, Usage
from spanner_pipeline.configuration.values import complete_date
from spanner_pipeline.counters.measuring import measured
from spanner_pipeline.counters.readings import Opening, Readings, no_readings
from spanner_pipeline.engine import through_duckdb
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.copies import Copies
from spanner_pipeline.sources.files import ListedFile, find_files, list_files
from spanner_pipeline.sources.mapping import map_usage
from spanner_pipeline.sources.rows import read_rows
from spanner_pipeline.whole import written_whole

_LACKING = "lacking"


class Openings:
    """The last readings before each partition of one usage."""

    def __init__(
        self,
        root: DataRoot,
        source: Source,
        usage: Usage,
        meter: Meter,
        mapped_by: str,
        spill: Path,
    ) -> None:
        """Nothing is read before it is asked for.

        Args:
            root: The data root.
            source: The source.
            usage: A usage of it whose quantity is cumulative.
            meter: Its meter.
            mapped_by: Digest of the configuration.
            spill: Where DuckDB may write what memory cannot hold.
        """
        self._root, self._source, self._usage, self._meter = root, source, usage, meter
        self._mapped_by, self._spill = mapped_by, spill
        self._folder = root.lake / "readings" / source.source

    def before(self, partition: str) -> Opening:
        """What is known before a partition."""
        keys = self._keys_before(partition)
        marks = self._marks(keys)
        opening, begin = Opening(no_readings(self._meter)), 0
        for place in range(len(keys) - 1, -1, -1):
            kept = self._kept(f"{keys[place]}.{marks[place][0]}.*.parquet")
            if kept is not None:
                opening, begin = kept, place + 1
                break
        for key, (mark, files) in zip(keys[begin:], marks[begin:], strict=True):
            opening = self._after(opening, key, files)
            self._keep(key, mark, opening)
        return opening

    def mark(self, partition: str) -> str:
        """What the files of a partition and of those before it look like from outside."""
        return self._marks([*self._keys_before(partition), partition])[-1][0]

    def keep(self, partition: str, mark: str, known: Opening) -> None:
        """Keep what is known after a partition whose files looked like that when it was read."""
        if partition != WHOLE:
            self._keep(partition, mark, known)

    def used(self, digest: str) -> Opening | None:
        """What was known when something was measured; None where it is not kept any more."""
        return self._kept(f"*.{digest[:16]}.parquet")

    def _keys_before(self, partition: str) -> list[str]:
        if partition == WHOLE:
            return []
        keys = self._source.partition_keys(date.fromisoformat(complete_date(partition)))
        return [key for key in keys if key < partition]

    def _marks(self, keys: list[str]) -> list[tuple[str, list[ListedFile]]]:
        listed = list_files(self._root, self._source, set(keys))
        mark, marks = self._mapped_by, []
        for key in keys:
            files = listed.get(key, [])
            looks = [(f.name, f.size, f.changed) for f in files]
            text = f"{mark} {key} {looks} {sorted(self._repairs(key))}"
            mark = hashlib.sha256(text.encode()).hexdigest()[:16]
            marks.append((mark, files))
        return marks

    def _repairs(self, partition: str) -> Iterator[tuple[str, int, int]]:
        for path in (self._root.repairs / self._source.source / partition).glob("*.parquet"):
            seen = path.stat()
            yield path.name, seen.st_size, seen.st_mtime_ns

    def _after(self, opening: Opening, partition: str, listed: list[ListedFile]) -> Opening:
        declared = self._usage.quantity.cumulative
        assert declared is not None
        if listed:
            try:
                return self._read(opening, partition)
            except SourceFileError:  # its own import says what is wrong with it
                pass
        elif declared.gaps == "bridge":
            return opening
        return Opening(opening.last.filter("fell"), lacking=partition)

    def _read(self, opening: Opening, partition: str) -> Opening:
        source, usage, meter = self._source, self._usage, self._meter
        files = find_files(self._root, source, partition)
        readings = Readings(opening)
        needed = ("source_file", "source_line", "counter", "timestamp", "quantity", "usable")
        with Copies(self._root, files) as copies:
            copies.fetch()
            rows = (
                map_usage(batch, source, usage, meter).select(*needed, "out_of_scope")
                for batch in read_rows(source, files)
            )
            sql = measured("rows", usage.quantity, meter, opening.lacking)
            for batch in through_duckdb(rows, sql, self._spill, opening=opening.last):
                readings.take(batch)
        return readings.after()

    def _kept(self, pattern: str) -> Opening | None:
        for path in self._folder.glob(pattern):
            lacking = pl.read_parquet_metadata(path).get(_LACKING)
            return Opening(pl.read_parquet(path), lacking or None)
        return None

    def _keep(self, partition: str, mark: str, known: Opening) -> None:
        path = self._folder / f"{partition}.{mark}.{known.digest[:16]}.parquet"
        if not path.exists():
            with written_whole(path) as work:
                known.last.write_parquet(work, metadata={_LACKING: known.lacking or ""})
