"""The last readings of counters between two partitions, and that none was lost on the way.

Belongs here: what is known before and after the rows of a partition. Not here: measuring
(`measuring`), nor which partitions come before (`openings`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import polars as pl

from spanner_pipeline.control import EXACT, Total, exact_sum
from spanner_pipeline.counters.measuring import CHAINED, FELL
from spanner_pipeline.errors import ConservationError
from spanner_pipeline.meters import MAX_PRECISION, Meter
from spanner_pipeline.sources.texts import MICROSECONDS_UTC


def no_readings(meter: Meter) -> pl.DataFrame:
    """The last readings of counters of which none was read."""
    return pl.DataFrame(
        schema={
            "counter": pl.String(),
            "timestamp": MICROSECONDS_UTC,
            "reading": pl.Decimal(MAX_PRECISION, meter.decimals),
            "fell": pl.Boolean(),
        }
    )


@dataclass(frozen=True)
class Opening:
    """What is known of counters before the rows of a partition.

    Attributes:
        last: The last reading of each `counter`, its `timestamp`, and whether the counter `fell`.
        lacking: The latest partition before it that has no files and should have; counters that are
            not in `last` may have been read there. None where there is none.
    """

    last: pl.DataFrame
    lacking: str | None = None

    @property
    def digest(self) -> str:
        """What tells it from others, by content."""
        text = self.last.sort("counter").select(pl.all().cast(pl.String)).write_ndjson()
        return hashlib.sha256(f"{self.lacking}\n{text}".encode()).hexdigest()

    def still_true_of(self, now: Opening, *, first_counts: bool) -> bool:
        """Whether usage that was measured from it is measured alike from what is known now."""
        sound = self.last.filter(~pl.col("fell"))
        if not sound.join(now.last, on=sound.columns, how="anti").is_empty():
            return False
        begun = now.last.join(self.last, on="counter", how="anti")
        return begun.is_empty() or not first_counts or self.lacking is not None


class Readings:
    """What measured rows say of their counters, while they go by."""

    def __init__(self, before: Opening) -> None:
        """Begin with what was known before them."""
        self.before = before
        self.kinds: dict[str, Total] = defaultdict(Total)
        self._last = before.last.clear().drop("fell")
        self._fallen: set[str] = set()
        self._grown = Total()

    def take(self, rows: pl.DataFrame) -> None:
        """Take a batch of measured rows into account."""
        rows = rows.filter(pl.col("kind").is_not_null())
        for (kind,), part in rows.partition_by("kind", as_dict=True).items():
            self.kinds[str(kind)] += Total(part.height, exact_sum(part["quantity"]))
        self._fallen |= set(rows.filter(kind=FELL)["counter"])
        sound = rows.filter(pl.col("kind").is_in(CHAINED))
        # Nulls count as 0: the first reading of a counter has none before it.
        self._grown += Total(0, exact_sum(sound["reading"]))
        self._grown -= Total(0, exact_sum(sound["previous"]))
        last = pl.concat([self._last, sound.select(self._last.columns)]).sort("timestamp")
        self._last = last.group_by("counter").agg(pl.all().last())

    def after(self) -> Opening:
        """What is known after them.

        Raises:
            ConservationError: When the readings do not add up to what the counters grew.
        """
        before, last = self.before.last, self._last
        base = before.join(last, on="counter", how="semi")
        grown = EXACT.subtract(exact_sum(last["reading"]), exact_sum(base["reading"]))
        if grown != self._grown.quantity:
            raise ConservationError(
                f"counters grew by {grown}, and their readings by {self._grown.quantity}. Nothing "
                "was merged. This is a defect; please report it."
            )
        rest = before.join(last, on="counter", how="anti")
        read = last.with_columns(pl.lit(value=False).alias("fell"))
        known = pl.concat([rest, read.select(rest.columns)])
        fell = pl.col("fell") | pl.col("counter").is_in(list(self._fallen))
        known = known.with_columns(fell.alias("fell")).sort("counter")
        return Opening(known, self.before.lacking)
