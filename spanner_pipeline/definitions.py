"""The one object that workspace.yaml loads."""

import dagster as dg

from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.root import DataRoot


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the data root that `SPANNER_DATA` names, `data` by default."""
    return build_definitions(DataRoot.locate())
