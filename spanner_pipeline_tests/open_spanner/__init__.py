"""A server for tests that keeps Open Spanner's contract, its traps included."""

from spanner_pipeline_tests.open_spanner.limits import Limits
from spanner_pipeline_tests.open_spanner.server import (
    VERSIONS,
    ContractServer,
    contract_server,
    stored_events,
)

__all__ = ["VERSIONS", "ContractServer", "Limits", "contract_server", "stored_events"]
