"""Why old and new differ (being written)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spanner_pipeline.reconciliation.causes import Explanation
from spanner_pipeline.reconciliation.deliveries import Deliveries as Deliveries


@dataclass(frozen=True)
class Found:
    """What was found."""

    explanations: tuple[Explanation, ...]
    not_searched: int = 0


def explain(*arguments: Any) -> Found:
    """Nothing yet."""
    return Found(())
