"""What was planted, beside what the engine says of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from spanner_pipeline.reconciliation.causes import CAUSES
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.benchmarks.planted.bills import Bill, Key, Plant
from spanner_pipeline_tests.benchmarks.planted.deliveries import DECIMALS
from spanner_pipeline_tests.benchmarks.table import aligned


@dataclass(frozen=True)
class Answer:
    """What the engine says of one number.

    Attributes:
        parts: What each cause takes, in the smallest digit.
        unexplained: What none takes.
        details: In words.
    """

    parts: dict[str, int]
    unexplained: int
    details: tuple[str, ...]


NOTHING = Answer({}, 0, ())


@dataclass(frozen=True)
class Verdict:
    """How one plant was answered."""

    bill: str
    plant: Plant
    answers: dict[Key, Answer]

    @property
    def right_class(self) -> bool:
        """Whether each number has just the causes that were planted."""
        return all(
            set(self.answers.get(key, NOTHING).parts) == set(parts)
            for key, parts in self.plant.parts.items()
        )

    @property
    def right_amount(self) -> bool:
        """Whether they take what was planted, to the last digit, and leave nothing."""
        return all(
            (answer := self.answers.get(key, NOTHING)).parts == parts and not answer.unexplained
            for key, parts in self.plant.parts.items()
        )

    def __str__(self) -> str:
        """What was planted and what was said, for a person."""
        said = []
        for key, parts in self.plant.parts.items():
            answer = self.answers.get(key, NOTHING)
            said.append(f"    {' '.join(key)}: planted {_shown(parts)}")
            said.append(
                f"      found {_shown(answer.parts)}, unexplained {answer.unexplained:,}; "
                + "; ".join(answer.details)
            )
        faults = ", ".join(map(str, self.plant.faults))
        return "\n".join([f"{self.bill}: {' + '.join(self.plant.variants)} ({faults})", *said])


def _shown(parts: dict[str, int]) -> str:
    return ", ".join(f"{cause} {part:,}" for cause, part in parts.items()) or "nothing"


@dataclass
class Score:
    """The score of some bills.

    Attributes:
        verdicts: Of the plants.
        noise: Numbers that are wrong without a cause.
        falsely: Those that were explained in full, in words.
        partly: Those of which a part was explained, in words.
        clean: Right numbers.
        disturbed: Those that were given a cause or a difference.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    noise: int = 0
    falsely: list[str] = field(default_factory=list)
    partly: list[str] = field(default_factory=list)
    clean: int = 0
    disturbed: list[str] = field(default_factory=list)

    @property
    def single(self) -> list[Verdict]:
        """Plants of one class."""
        return [v for v in self.verdicts if len(v.plant.variants) == 1]

    @property
    def mixed(self) -> list[Verdict]:
        """Plants of several."""
        return [v for v in self.verdicts if len(v.plant.variants) > 1]

    def add(self, bill: Bill, comparison: Comparison) -> None:
        """Score a bill."""
        answers = _answers(comparison)
        planted = {key for plant in bill.plants for key in plant.parts}
        self.verdicts += [Verdict(bill.name, plant, answers) for plant in bill.plants]
        self.noise += len(bill.noise)
        for key in sorted(bill.noise):
            if (answer := answers[key]).parts:
                told = f"{bill.name}: {' '.join(key)}: " + "; ".join(answer.details)
                (self.partly if answer.unexplained else self.falsely).append(told)
        for key, answer in answers.items():
            if key not in planted and key not in bill.noise:
                self.clean += 1
                if answer != NOTHING:
                    self.disturbed.append(f"{bill.name}: {' '.join(key)}: {answer}")


def _answers(comparison: Comparison) -> dict[Key, Answer]:
    answers = {}
    for row in comparison.cells.iter_rows(named=True):
        parts: dict[str, int] = defaultdict(int)
        causes = comparison.causes_of(row["cell"])
        for found in causes:
            parts[found.cause] += int(found.quantity.scaleb(DECIMALS))
        details = tuple(f"{found.cause}: {found.detail}" for found in causes)
        left = int(row["unexplained"].scaleb(DECIMALS))
        answers[row["subject"], row["dim_place"], row["period"]] = Answer(
            dict(parts), left, details
        )
    return answers


def judge(root: DataRoot, bills: Sequence[Bill]) -> Score:
    """Compare every bill with the lake, and score what is said."""
    for bill in bills:
        bill.write(root)
    catalog, score = load_catalog(root), Score()
    declared = {total.name: (source, total) for source, total in catalog.comparisons}
    for bill in bills:
        score.add(bill, reconcile(root, catalog, *declared[bill.name]))
    return score


def share(verdicts: Iterable[bool]) -> float:
    """How many of some are true; 1 of none."""
    counted = list(verdicts)
    return sum(counted) / len(counted) if counted else 1.0


def table(score: Score) -> str:
    """The score in Markdown."""
    by_cause: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in score.single:
        [cause] = {cause for parts in verdict.plant.parts.values() for cause in parts}
        by_cause[cause].append(verdict)
    groups = [(cause, by_cause[cause]) for cause in CAUSES if cause in by_cause]
    groups += [("all of one class", score.single), ("mixes of three", score.mixed)]
    body = [
        [
            what,
            f"{len(verdicts):,}",
            f"{share(v.right_class for v in verdicts):.1%}",
            f"{share(v.right_amount for v in verdicts if v.right_class):.1%}",
        ]
        for what, verdicts in groups
    ]
    for what, number, wrong in (
        ("wrong without a cause, explained in full", score.noise, score.falsely),
        ("wrong without a cause, explained in part", score.noise, score.partly),
        ("right numbers, given a cause", score.clean, score.disturbed),
    ):
        body.append([what, f"{number:,}", f"{len(wrong):,}", ""])
    return aligned(["", "numbers", "right class", "right amount"], body)
