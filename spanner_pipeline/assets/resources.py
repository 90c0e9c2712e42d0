"""Where a run finds what it works on, for Dagster to show and people to set: no secrets here."""

import os
from pathlib import Path

import dagster as dg
from pydantic import Field

from spanner_pipeline.delivery.target import (
    API_KEY,
    BASE_URL,
    REHEARSAL_API_KEY,
    Target,
)
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


class OpenSpannerTarget(dg.ConfigurableResource):  # type: ignore[type-arg]  # Dagster wants it bare
    """The Open Spanner to deliver into. Its keys come from the environment and nowhere else."""

    base_url: str = Field(default="", description="Its address.")
    api_key: str = Field(default="", description="A key of the workspace; an EnvVar, never a text.")
    rehearsal_api_key: str = Field(
        default="", description="A key of a second workspace, to rehearse in; an EnvVar."
    )

    def target(self, *, rehearse: bool = False) -> Target:
        """The service with the key that is meant.

        Raises:
            TargetError: When the address or the key is missing or wrong.
        """
        if not rehearse:
            return Target.build(self.base_url, self.api_key, API_KEY)
        return Target.rehearsal(self.base_url, self.rehearsal_api_key, self.api_key)


def _from_environment(**variables: str) -> dict[str, dg.EnvVar]:
    """The variables that are set: Dagster fails every run that names one which is not."""
    return {name: dg.EnvVar(v) for name, v in variables.items() if os.environ.get(v)}


def build_resources(root: DataRoot) -> dict[str, dg.ConfigurableResource]:  # type: ignore[type-arg]
    """The resources of a data root, by the names that assets ask for."""
    open_spanner = _from_environment(
        base_url=BASE_URL, api_key=API_KEY, rehearsal_api_key=REHEARSAL_API_KEY
    )
    return {
        "lake": Lake(data_root=str(root.path)),
        "reports": Reports(**_from_environment(base_url=REPORTS_URL)),
        "open_spanner": OpenSpannerTarget(**open_spanner),
    }
