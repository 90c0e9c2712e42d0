"""Where a run finds what it works on, for Dagster to show and people to set: no secrets here."""

import os
from pathlib import Path

import dagster as dg
from pydantic import Field

from spanner_pipeline.root import DataRoot

REPORTS_URL = "SPANNER_REPORTS_URL"
"""The environment variable with the address under which reports can be read."""


class Lake(dg.ConfigurableResource):  # type: ignore[type-arg]  # Dagster wants it bare
    """The data root that a run reads its legacy files from and writes to."""

    data_root: str = Field(description="The folder of the data root, an absolute path.")

    @property
    def root(self) -> DataRoot:
        """The data root."""
        return DataRoot(Path(self.data_root))


class Reports(dg.ConfigurableResource):  # type: ignore[type-arg]  # Dagster wants it bare
    """Where people read reports that the web server does not serve itself."""

    base_url: str = Field(
        default="",
        description="The address that a report's name is added to; empty: the web server's own.",
    )


def build_resources(root: DataRoot) -> dict[str, dg.ConfigurableResource]:  # type: ignore[type-arg]
    """The resources of a data root, by the names that assets ask for."""
    # Dagster fails every run that names a variable which is not set.
    set_ = bool(os.environ.get(REPORTS_URL))
    reports = Reports(base_url=dg.EnvVar(REPORTS_URL)) if set_ else Reports()
    return {"lake": Lake(data_root=str(root.path)), "reports": reports}
