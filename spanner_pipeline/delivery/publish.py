"""A verification from beginning to end: compare, set it beside an old bill, write the report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.delivery.beside_service import compare_three_ways
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.levels import midnight
from spanner_pipeline.delivery.report import VerificationReport, write_verification
from spanner_pipeline.delivery.three_way import ThreeWay
from spanner_pipeline.delivery.verify import Verified, verifying
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.meters import Meter
from spanner_pipeline.reconciliation.compare import reconcile
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.selection import UnknownNameError


@dataclass(frozen=True)
class PublishedVerification:
    """A verification and where its report is.

    Attributes:
        verified: What the service holds beside the ledger.
        three: The old bill, the lake and the service, where one was compared.
        report: The page and the tables.
    """

    verified: Verified
    three: ThreeWay | None
    report: VerificationReport

    @property
    def fails(self) -> bool:
        """Whether something is not explained, or lacks; a bill that only warns does not fail."""
        if self.three is not None:
            return self.three.verdict == "FAIL"
        return self.verified.fails


def find_comparison(catalog: Catalog, meter: str, name: str) -> tuple[Source, BillingTotal]:
    """The comparison of this name.

    Raises:
        UnknownNameError: When there is none, or it is of another meter.
    """
    of_meter = {total.name: (s, total) for s, total in catalog.comparisons if total.meter == meter}
    if name not in of_meter:
        known = ", ".join(of_meter) or "none"
        raise UnknownNameError(f"meter {meter} has no comparison `{name}` (known: {known}).")
    return of_meter[name]


def verify_and_publish(
    root: DataRoot,
    catalog: Catalog,
    meter: Meter,
    client: OpenSpanner,
    first: date | None = None,
    last: date | None = None,
    *,
    comparison: str | None = None,
    thorough: bool = False,
) -> PublishedVerification:
    """Verify a delivery, beside an old bill or not, and write its report.

    Args:
        root: The data root.
        catalog: Its meters and sources.
        meter: The meter.
        client: The service.
        first: First UTC day; that of the oldest delivered event by default. An old bill's numbers
            are those that begin on it or later, all by default.
        last: UTC day after the last one; that after the newest delivered event by default, and all
            of an old bill's numbers.
        comparison: The old bill, by its comparison.
        thorough: Compare every event by its key, not only where totals differ.

    Raises:
        UnknownNameError: When there is no such comparison of the meter.
        TargetError: When there is no such meter there, nothing was delivered into it, another
            delivery is at work, or the service refuses.
    """
    bill = None if comparison is None else find_comparison(catalog, meter.name, comparison)
    cut_over = catalog.cut_over(meter.name)
    with verifying(root, meter, client, first, last, cut_over=cut_over) as asked:
        verified = asked.run(thorough=thorough)
        three, version = None, EventTable(root, meter).version
        if bill is not None:
            compared = reconcile(root, catalog, *bill)
            start = None if first is None else midnight(first)
            end = None if last is None else midnight(last)
            three = compare_three_ways(asked, verified, compared, start, end)
            version = compared.lake_version
    report = write_verification(root, client.target, version, verified, three)
    return PublishedVerification(verified, three, report)
