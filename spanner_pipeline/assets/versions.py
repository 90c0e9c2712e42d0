"""What decides how an asset is made, as one short digest: Dagster marks what was made otherwise."""

import hashlib
from importlib.metadata import version

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.lake.ledger import MAPPING_VERSION, configuration_digest
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.proof.fingerprint import canonical
from spanner_pipeline.root import Catalog

_LENGTH = 16


def import_version(catalog: Catalog, source: Source) -> str:
    """How a source's rows become events; where it changes, deliveries are read again."""
    return _digest(
        *(configuration_digest(source, u, catalog.meters[u.meter]) for u in source.usage)
    )


def usage_version(meter: Meter) -> str:
    """How a meter's events are aggregated."""
    return _digest(version("spanner_pipeline"), meter.model_dump(mode="json"))


def report_version(source: Source, total: BillingTotal, meter: Meter) -> str:
    """How an old bill is read and compared."""
    others = {"billing_totals", "description", "owner", "schedule"}
    declared = source.model_dump(mode="json", exclude=others)
    said = [declared, total.model_dump(mode="json"), meter.model_dump(mode="json")]
    return _digest(version("spanner_pipeline"), MAPPING_VERSION, *said)


def _digest(*parts: object) -> str:
    return hashlib.sha256(canonical(list(parts))).hexdigest()[:_LENGTH]
