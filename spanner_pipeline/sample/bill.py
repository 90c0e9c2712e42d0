"""The old bill of Tidewater (SAMPLE), and the faults planted in it.

Computed from the requests and completions as they were drawn, not from the files, so that no
reader, ours or another, has a part in it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from spanner_pipeline.sample.customers import CUSTOMERS, Customer

Product = Literal["api_requests", "egress_bytes", "ai_tokens"]
FaultKind = Literal["day_billed_twice", "day_missing", "month_in_utc", "rounded_up_to_thousand"]

HEADER = "invoice,customer,time_zone,month,product,units,unit_price_usd,amount_usd"
MONTHS = ("2026-01", "2026-02", "2026-03")
PRICES: dict[Product, Decimal] = {
    "api_requests": Decimal("0.00040"),
    "egress_bytes": Decimal("0.00000000009"),
    "ai_tokens": Decimal("0.0000020"),
}
"""US dollars for one request, byte or token."""

_CENT = Decimal("0.01")


@dataclass(frozen=True)
class PlantedFault:
    """A row of the bill that is wrong on purpose.

    Attributes:
        customer: Whose row.
        month: Which month of the customer's, `YYYY-MM`.
        product: Which product.
        kind: What the old system did wrong.
        detail: The local day, the zone or the step of rounding it went wrong with.
    """

    customer: str
    month: str
    product: Product
    kind: FaultKind
    detail: str


PLANTED_FAULTS = (
    PlantedFault("acme", "2026-02", "api_requests", "day_billed_twice", "2026-02-11"),
    PlantedFault("initech", "2026-01", "egress_bytes", "day_missing", "2026-01-19"),
    *(PlantedFault("globex", month, "ai_tokens", "month_in_utc", "UTC") for month in MONTHS),
    *(
        PlantedFault("umbrella", month, "ai_tokens", "rounded_up_to_thousand", "1000")
        for month in MONTHS
    ),
)
"""All that is wrong with the old bill; every other row is exactly right."""


class Usage:
    """What was really used: units by customer, product and day, in the customer's zone and UTC."""

    def __init__(self) -> None:
        """Start with nothing used."""
        self._local: defaultdict[tuple[str, Product], Counter[date]] = defaultdict(Counter)
        self._utc: defaultdict[tuple[str, Product], Counter[date]] = defaultdict(Counter)
        self._zones = {customer: ZoneInfo(customer.time_zone) for customer in CUSTOMERS}

    def add(self, customer: Customer, product: Product, moment: datetime, units: int) -> None:
        """Count `units` (requests, bytes or tokens) used at `moment` (UTC)."""
        key = (customer.slug, product)
        self._local[key][moment.astimezone(self._zones[customer]).date()] += units
        self._utc[key][moment.date()] += units

    def day(self, customer: str, product: Product, day: date) -> int:
        """Units used on a day of the customer's."""
        return self._local[customer, product][day]

    def month(self, customer: str, product: Product, month: str, *, in_utc: bool = False) -> int:
        """Units used in a month (`YYYY-MM`), cut in the customer's zone or, if asked, in UTC."""
        days = (self._utc if in_utc else self._local)[customer, product]
        return sum(units for day, units in days.items() if day.isoformat().startswith(month))


@dataclass(frozen=True)
class BillRow:
    """What the old bill says for a customer, month and product, and what is true.

    Attributes:
        invoice: The invoice's number; one invoice a customer and month.
        customer: Whom it bills.
        month: `YYYY-MM`, in the customer's zone.
        product: What it bills.
        units: The units it bills: requests, bytes or tokens.
        true_units: The units it ought to bill.
        fault: Why these differ, where they do.
    """

    invoice: str
    customer: Customer
    month: str
    product: Product
    units: int
    true_units: int
    fault: PlantedFault | None

    @property
    def text(self) -> str:
        """The row as the CSV file has it; see `HEADER`."""
        price = f"{PRICES[self.product]:f}"
        return (
            f"{self.invoice},{self.customer.slug},{self.customer.time_zone},{self.month},"
            f"{self.product},{self.units},{price},{amount(self.product, self.units)}"
        )


def amount(product: Product, units: int) -> Decimal:
    """What units cost, in US dollars, rounded half up to the cent."""
    return (units * PRICES[product]).quantize(_CENT, ROUND_HALF_UP)


def old_bill(usage: Usage) -> list[BillRow]:
    """Write the bill of all months, customers and products, with the planted faults in it."""
    faults = {(fault.customer, fault.month, fault.product): fault for fault in PLANTED_FAULTS}
    rows = []
    for month in MONTHS:
        for number, customer in enumerate(CUSTOMERS, start=1):
            for product in PRICES:
                true_units = usage.month(customer.slug, product, month)
                fault = faults.get((customer.slug, month, product))
                units = _wrong_units(usage, fault, true_units) if fault else true_units
                invoice = f"TW-{month}-{number:02}"
                rows.append(BillRow(invoice, customer, month, product, units, true_units, fault))
    return rows


def _wrong_units(usage: Usage, fault: PlantedFault, true_units: int) -> int:
    match fault.kind:
        case "day_billed_twice" | "day_missing":
            day = date.fromisoformat(fault.detail)
            units = usage.day(fault.customer, fault.product, day)
            return true_units + (units if fault.kind == "day_billed_twice" else -units)
        case "month_in_utc":
            return usage.month(fault.customer, fault.product, fault.month, in_utc=True)
        case "rounded_up_to_thousand":
            step = int(fault.detail)
            return -(-true_units // step) * step
