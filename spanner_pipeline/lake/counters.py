"""Counters against what the lake has measured already: usage between two readings counts once.

A reading that comes late takes a part of the usage that the next one has measured, on its day or on
a later one. The lake's events cannot shrink by themselves, so that such an import is refused, and
says what to take out first.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spanner_pipeline.configuration.source import Source, Usage
from spanner_pipeline.counters.openings import Openings
from spanner_pipeline.counters.readings import Opening
from spanner_pipeline.errors import ReadingsChangedError
from spanner_pipeline.lake.ledger import Ledger, configuration_digest
from spanner_pipeline.lake.merge import MergeResult
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot


class Counters:
    """The counters of one partition of one usage."""

    def __init__(
        self,
        root: DataRoot,
        source: Source,
        usage: Usage,
        meter: Meter,
        partition: str,
        spill: Path,
    ) -> None:
        """Read what is known before the partition."""
        mapped_by = configuration_digest(source, usage, meter)
        self._source, self._usage, self._partition = source, usage, partition
        self._openings = Openings(root, source, usage, meter, mapped_by, spill)
        self._mark = self._openings.mark(partition)
        self.opening = self._openings.before(partition)

    def close(self, ledger: Ledger, known: Opening) -> None:
        """Keep what is known after the partition.

        Raises:
            ReadingsChangedError: When a later partition was measured from other readings, or
                readings went that the lake has measured.
        """
        self._openings.keep(self._partition, self._mark, known)
        self._refuse_lost(ledger, known)
        later = ledger.next_standing(self._source, self._usage.name, self._partition)
        if later is None or later.opening is None:
            return
        declared = self._usage.quantity.cumulative
        now, used = self._openings.before(later.partition), self._openings.used(later.opening)
        if now.digest == later.opening or (
            used is not None
            and declared is not None
            and used.still_true_of(now, first_counts=declared.first == "count")
        ):
            return
        raise ReadingsChangedError(
            f"{self._source.source} {self._partition} into {self._usage.name}: its last readings "
            f"differ from those that {later.partition} was measured from, and what lies between "
            f"would count twice or not at all. Nothing was merged. Remedy: `spanner-pipeline "
            f"revert {later.batch}`, then import {self._partition}, then {later.partition} again."
        )

    def _refuse_lost(self, ledger: Ledger, known: Opening) -> None:
        """Usage is in the lake up to the last reading: from an earlier one on it would count twice.

        What was kept of readings may be deleted; then nothing is known of those that went.
        """
        for record in ledger.standing_before(self._source, self._usage.name, self._partition):
            now = known if record.partition == self._partition else self.opening
            used = self._openings.used(record.closing) if record.closing is not None else None
            if used is None or now.lacking is not None:
                continue
            both = used.last.join(now.last, on="counter", how="left", suffix="_now")
            lost = both.filter(~(pl.col("timestamp_now") >= pl.col("timestamp")).fill_null(False))
            if not lost.is_empty():
                raise ReadingsChangedError(
                    f"{self._source.source} {self._partition} into {self._usage.name}: readings of "
                    f"{lost.height} counters, such as {lost['counter'][0]}, went from the files of "
                    f"{record.partition} or before since it was imported, and their usage is in "
                    "the lake. Nothing was merged. Remedy: put the files back; or "
                    f"`spanner-pipeline revert {record.batch}`, then import {record.partition} "
                    "again."
                )


def refuse_changed_usage(what: str, batch: str, result: MergeResult) -> None:
    """Refuse a merge in which readings measure other usage than the lake has under their keys.

    Args:
        what: What is imported.
        batch: Its import batch.
        result: What is about to be committed.

    Raises:
        ReadingsChangedError: When they do.
    """
    rows = sum(t.rows for (_, outcome), t in result.outcomes.items() if outcome == "conflicting")
    if rows:
        met = sorted(result.builds_on) or [batch]
        reverts = ", ".join(f"`spanner-pipeline revert {one}`" for one in met)
        raise ReadingsChangedError(
            f"{what}: {rows} readings measure other usage now than the lake has of them, as "
            "readings before them came late, went or changed. Nothing was merged. Remedy: "
            f"{reverts}, then import again; or, where nothing was imported before, correct "
            "`identity`, which gives several readings one key."
        )
