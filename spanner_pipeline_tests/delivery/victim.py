"""A process that delivers, and may be killed."""

from __future__ import annotations

from pathlib import Path

from spanner_pipeline.delivery.client import OpenSpanner, Patience
from spanner_pipeline.delivery.deliver import Delivered, deliver, plan_delivery
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.target import Target
from spanner_pipeline.root import DataRoot, load_catalog

SOON = Patience(attempts=30, first=1, longest=20)


def deliver_all(
    path: Path,
    base_url: str,
    key: str,
    choices: Choices = Choices(rate=10**9),  # noqa: B008
) -> Delivered:
    """Plan and deliver the one meter of a root."""
    root = DataRoot(path)
    [meter] = load_catalog(root).meters.values()
    with OpenSpanner(Target.build(base_url, key), SOON) as client:
        plan = plan_delivery(root, meter, client, choices)
        return deliver(root, meter, client, choices, plan)
