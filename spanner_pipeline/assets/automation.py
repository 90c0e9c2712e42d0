"""All that can be started by itself: jobs, and the schedules and sensors that start them."""

from collections.abc import Mapping
from typing import Any

from spanner_pipeline.assets.bill_sensors import build_bill_sensors
from spanner_pipeline.assets.jobs import build_jobs
from spanner_pipeline.assets.schedules import build_schedules
from spanner_pipeline.assets.sensors import build_sensors
from spanner_pipeline.root import Catalog, DataRoot


def automation(root: DataRoot, catalog: Catalog, pools: Mapping[str, str]) -> dict[str, Any]:
    """Jobs, schedules and sensors of a data root, as `Definitions` takes them.

    Args:
        root: The data root.
        catalog: Its meters and sources.
        pools: The pool of each source's imports.
    """
    jobs = build_jobs(catalog, pools)
    return {
        "jobs": jobs.all,
        "schedules": build_schedules(root, catalog, jobs),
        "sensors": [
            *build_sensors(root, catalog, jobs),
            *build_bill_sensors(root, catalog, jobs),
        ],
    }
