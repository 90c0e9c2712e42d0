"""A way to count that gives the old number: its steps, and what each takes."""

from __future__ import annotations

from dataclasses import dataclass

from spanner_pipeline.reconciliation.causes import CAUSES
from spanner_pipeline.reconciliation.estimate import Case, Switch
from spanner_pipeline.reconciliation.operations import Operation
from spanner_pipeline.reconciliation.spans import Span

_ORDER = {cause: place for place, cause in enumerate(CAUSES)}

Step = Switch | Span | Operation


@dataclass(frozen=True)
class Way:
    """One way to count that gives the old number.

    Attributes:
        bits: How much it takes to say it.
        switches: Rows counted otherwise.
        spans: Days, files or hours.
        operations: What was done to the sum.
        alternatives: Other ways of one step, which the number cannot tell from this.
    """

    bits: float
    switches: tuple[Switch, ...] = ()
    spans: tuple[Span, ...] = ()
    operations: tuple[Operation, ...] = ()
    alternatives: tuple[str, ...] = ()

    @property
    def steps(self) -> list[Step]:
        """Its steps, from the lake's number to the old one, in the declared order of causes."""
        steps: list[Step] = [*self.switches, *self.spans, *self.operations]
        return sorted(steps, key=lambda step: (_ORDER[step.cause], step.detail))

    @property
    def order(self) -> tuple[float, list[tuple[int, str]]]:
        """The simpler first, then by the declared order of causes."""
        return round(self.bits, 6), [(_ORDER[step.cause], step.detail) for step in self.steps]

    def parts(self, case: Case) -> list[tuple[Step, int]]:
        """What each step takes from the sum, so that the parts add up to new minus old."""
        total, parts = case.estimate(()), []
        switches: list[Switch] = []
        lines = sum(switch.adds for switch in self.switches)  # still to come
        for step in self.steps:
            before = total
            if isinstance(step, Span):
                total += step.effect
            elif isinstance(step, Operation):
                total = case.target - lines if step.adds is None else total + step.adds
            elif step.adds:
                total, lines = total + step.adds, lines - step.adds
            else:
                switches.append(step)
                total = case.estimate(switches)
            parts.append((step, before - total))
        assert total == case.target
        return parts

    @property
    def certain(self) -> bool:
        """Whether the number tells it from all others."""
        return not self.alternatives and all(len(step.keys) == 1 for step in self.steps)
