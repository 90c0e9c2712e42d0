"""The seam between history and live traffic: overlaps, and silences that are longer than usual.

From the declared cut-over on, live traffic counts, and before it the lake. What either side says
beyond it counts twice; what neither says is lost. No clock can tell a quiet customer from a lost
one, so a silence is measured against the subject's own rhythm, and only named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from spanner_pipeline.control import EXACT, Total
from spanner_pipeline.delivery.causes import BEYOND, OVERLAP, Difference
from spanner_pipeline.delivery.live import Holding, LiveMeter, exact, is_marked
from spanner_pipeline.delivery.sent import Sent
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import ADDITIVE

RHYTHM = timedelta(days=28)
"""How long before the cut-over a subject's rhythm is taken from."""

_FEWEST = 10
_HOUR = timedelta(hours=1)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_NAMED = 5


@dataclass(frozen=True)
class Silence:
    """A subject of which one side says nothing at the seam, for longer than it ever did before.

    Attributes:
        subject: The subject.
        side: `history` before the cut-over, or `live` after it.
        start: When it begins.
        end: When it ends, or until when is known.
        usual: The longest silence of the 28 days of history before.
    """

    subject: str
    side: Literal["history", "live"]
    start: datetime
    end: datetime
    usual: timedelta


@dataclass(frozen=True)
class Seam:
    """What was found where history and live traffic meet.

    Attributes:
        cut_over: First instant of live traffic.
        differences: Live traffic before it, and ours from there on, by subject.
        silences: By subject.
    """

    cut_over: datetime
    differences: Sequence[Difference] = ()
    silences: Sequence[Silence] = ()

    def remarks(self) -> list[str]:
        """What a person should know of it, a sentence each."""
        found = []
        for cause in (OVERLAP, BEYOND):
            of_it = [one for one in self.differences if one.cause == cause]
            if of_it:
                events = sum(one.events for one in of_it)
                noun = "event counts" if events == 1 else "events count"
                found.append(
                    f"{events:,} {noun} twice, {cause} ({self._spelled}): "
                    f"{_listed([one.subject for one in of_it])}."
                )
        for side, said in (
            ("history", "The lake ends before the cut-over"),
            ("live", "Live traffic begins after the cut-over"),
        ):
            of_side = [silence for silence in self.silences if silence.side == side]
            if of_side:
                worst = max(of_side, key=lambda silence: silence.end - silence.start)
                found.append(
                    f"{said} ({self._spelled}), later than the silences of 28 days before allow: "
                    f"{_listed([silence.subject for silence in of_side])}. {worst.subject} is "
                    f"silent from {worst.start:%Y-%m-%d %H:%M} to {worst.end:%Y-%m-%d %H:%M} UTC, "
                    f"and was never longer than {spelled(worst.usual)}."
                )
        return found

    @property
    def _spelled(self) -> str:
        return f"{self.cut_over:%Y-%m-%d %H:%M:%S} UTC"


def look_at_seam(
    root: DataRoot,
    meter: Meter,
    reader: LiveMeter | None,
    sent: Sent | None,
    cut_over: datetime,
    now: datetime,
) -> Seam:
    """Find what counts twice or may be lost at a cut-over.

    Args:
        root: The data root.
        meter: The meter.
        reader: The service; None where it does not have the meter yet.
        sent: What was delivered; None where nothing was.
        cut_over: First instant of live traffic.
        now: The present.

    Raises:
        TargetError: When the service refuses.
    """
    differences: list[Difference] = []
    rhythms = _rhythms(root, meter, cut_over)
    silences = [
        Silence(rhythm.subject, "history", rhythm.last, cut_over, rhythm.longest)
        for rhythm in rhythms
        if cut_over - rhythm.last > rhythm.longest and cut_over <= now
    ]
    if sent is not None:
        differences += [
            Difference(subject, cut_over, now, BEYOND, total.rows, _as(meter, total))
            for subject, total in sorted(sent.since(cut_over).items())
        ]
    if reader is not None:
        differences += _overlaps(reader, meter, cut_over)
        silences += _silent_live(reader, rhythms, cut_over, now)
    return Seam(cut_over, differences, silences)


def spelled(duration: timedelta) -> str:
    """A duration for people, in the two largest units that it has."""
    minutes = duration // timedelta(minutes=1)
    if minutes < 1:
        return "a minute"
    units = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join([f"{count} {unit}" for count, unit in units if count][:2])


@dataclass(frozen=True)
class _Rhythm:
    subject: str
    last: datetime
    longest: timedelta


def _rhythms(root: DataRoot, meter: Meter, cut_over: datetime) -> list[_Rhythm]:
    """How long subjects were silent at most before the cut-over, where enough is known of them."""
    window = " AND ".join(
        f"timestamp {sign} TIMESTAMPTZ {literal(time.isoformat())}"
        for sign, time in ((">=", cut_over - RHYTHM), ("<", cut_over))
    )
    with open_duckdb() as connection:
        rows = connection.execute(f"""
            SELECT subject, max(timestamp), max(silence) FROM (
                SELECT subject, timestamp, epoch_us(timestamp) - lag(epoch_us(timestamp)) OVER (
                    PARTITION BY subject ORDER BY timestamp) AS silence
                FROM ({EventTable(root, meter).select(window)}))
            GROUP BY subject HAVING count(*) >= {_FEWEST} ORDER BY subject""").fetchall()
    return [
        _Rhythm(subject, last.astimezone(UTC), timedelta(microseconds=longest))
        for subject, last, longest in rows
    ]


def _overlaps(reader: LiveMeter, meter: Meter, cut_over: datetime) -> Iterator[Difference]:
    """Live traffic before the cut-over, without what the service only sorts there."""
    live = live_by_subject(reader, _BEGINNING, cut_over)
    if not live:
        return
    counts, adds = meter.aggregation == "count", meter.aggregation in ADDITIVE
    later: dict[str, list[Decimal]] = defaultdict(list)
    for event in reader.misplaced(cut_over):
        if not (reader.marked and is_marked(event)):
            quantity = Decimal(1) if counts else exact(event["quantity"])
            later[event["subject"]].append(quantity)
    for subject, holding in sorted(live.items()):
        events = holding.events - len(later[subject])
        quantity = EXACT.subtract(holding.quantity, sum(later[subject], Decimal(0)))
        if events:
            more = quantity if adds else Decimal(0)
            yield Difference(subject, _BEGINNING, cut_over, OVERLAP, events, more)


def live_by_subject(
    reader: LiveMeter, start: datetime, end: datetime, rules: Sequence[Mapping[str, object]] = ()
) -> dict[str, Holding]:
    """What the service holds of each subject that does not carry our mark.

    Raises:
        TargetError: When the service refuses.
    """
    ours = reader.by_subject(start, end, rules) if reader.marked else {}
    nothing = Holding(0, Decimal(0))
    found = {}
    for subject, every in reader.by_subject(start, end, rules, marked=False).items():
        mine = ours.get(subject, nothing)
        if every.events > mine.events:
            rest = EXACT.subtract(every.quantity, mine.quantity)
            found[subject] = Holding(every.events - mine.events, rest)
    return found


def _silent_live(
    reader: LiveMeter, rhythms: Sequence[_Rhythm], cut_over: datetime, now: datetime
) -> Iterator[Silence]:
    """Subjects without live traffic; one call for each power of two hours, not for each subject."""
    waiting: dict[timedelta, list[_Rhythm]] = defaultdict(list)
    for rhythm in rhythms:
        wait = _HOUR
        while wait < rhythm.longest:
            wait *= 2
        waiting[wait].append(rhythm)
    for wait, those in sorted(waiting.items()):
        until = cut_over + wait
        if until > now:
            return
        live = live_by_subject(reader, cut_over, until)
        for rhythm in those:
            if rhythm.subject not in live:
                yield Silence(rhythm.subject, "live", cut_over, until, rhythm.longest)


def _as(meter: Meter, total: Total) -> Decimal:
    if meter.aggregation == "count":
        return Decimal(total.rows)
    return total.quantity if meter.aggregation in ADDITIVE else Decimal(0)


def _listed(subjects: Sequence[str]) -> str:
    more = len(subjects) - _NAMED
    return ", ".join(subjects[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
