"""Trying again what may pass, and only that: what Dagster is asked for, and what it kept.

An attempt of a step is a process of its own, so what the ones before it settled is read from the
events of the run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg

from spanner_pipeline.assets.failures import reason_of
from spanner_pipeline.passing import may_pass

MAX_RETRIES = 3
BACK_OFF_SECONDS = 10
"""The wait before the first retry; each later one is twice as long."""

FAILURE, MAY_PASS = "failure", "may pass by itself"
"""Metadata of the observation that says why a partition failed, and whether it may pass."""


def observed_failure(key: dg.AssetKey, partition: str, error: Exception) -> dg.AssetObservation:
    """Why a partition failed, where a person looks for it and a schedule can read it."""
    return dg.AssetObservation(
        key,
        partition=partition,
        description=f"Failed: {reason_of(error)}",
        metadata={FAILURE: reason_of(error), MAY_PASS: may_pass(error)},
    )


@dataclass
class Settled:
    """What the attempts of a step settled.

    Attributes:
        done: Partitions that are through.
        lasting: Why partitions failed that no retry mends.
        passing: Why partitions failed that another try may bring through.
    """

    done: set[str] = field(default_factory=set)
    lasting: dict[str, str] = field(default_factory=dict)
    passing: dict[str, str] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, str]:
        """Why partitions failed, the lasting ones first."""
        return {**self.lasting, **self.passing}

    def add(self, partition: str, error: Exception) -> None:
        """Note why a partition failed."""
        kind = self.passing if may_pass(error) else self.lasting
        kind[partition] = reason_of(error)

    def is_open(self, partition: str) -> bool:
        """Whether a partition has still to be taken."""
        return partition not in self.done and partition not in self.lasting


def settled_before(context: dg.AssetExecutionContext, key: dg.AssetKey) -> Settled:
    """What earlier attempts of the running step settled of an asset."""
    settled = Settled()
    if context.op_execution_context.retry_number == 0:
        return settled
    kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION}
    for record in context.instance.get_records_for_run(context.run_id, of_type=kinds).records:
        event = record.event_log_entry
        if event.asset_materialization and event.asset_materialization.asset_key == key:
            settled.done.add(str(event.asset_materialization.partition))
        if event.asset_observation and event.asset_observation.asset_key == key:
            said = event.asset_observation.metadata
            if FAILURE in said and not said[MAY_PASS].value:
                settled.lasting[str(event.asset_observation.partition)] = str(said[FAILURE].value)
    return settled


@contextmanager
def retrying(context: dg.OpExecutionContext) -> Iterator[None]:
    """Have Dagster try the step again where an error may pass by itself and a try is left."""
    try:
        yield
    except Exception as error:
        if may_pass(error) and context.retry_number < MAX_RETRIES:
            wait = BACK_OFF_SECONDS * 2**context.retry_number
            raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=wait) from error
        raise


def ask_for_retry(context: dg.AssetExecutionContext, settled: Settled) -> None:
    """Ask Dagster for another attempt where one may help and is left.

    Raises:
        RetryRequested: Dagster waits, and runs the step again.
    """
    tried = context.op_execution_context.retry_number
    if not settled.passing or tried >= MAX_RETRIES:
        return
    wait = BACK_OFF_SECONDS * 2**tried
    context.log.warning(
        f"{len(settled.passing)} partitions failed for reasons that may pass. They are tried again "
        f"in {wait} s (retry {tried + 1} of {MAX_RETRIES})."
    )
    raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=wait)
