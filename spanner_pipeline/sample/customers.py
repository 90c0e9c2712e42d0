"""Who uses Tidewater (SAMPLE), how much, and at which hours of their own day."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

FIRST_DAY = date(2026, 1, 1)
"""The UTC day the fictional system started; there is no usage before it."""

END_DAY = date(2026, 4, 1)
"""The UTC day the export was taken, exclusive; there is no usage from here on."""

DAYS = tuple(FIRST_DAY + timedelta(days=number) for number in range((END_DAY - FIRST_DAY).days))
"""Every UTC day with usage, in order."""

SEED = "tidewater-10"
"""Prefix of every random seed; another value makes another, equally valid sample."""


@dataclass(frozen=True)
class Customer:
    """A fictional customer.

    Attributes:
        slug: Its id: `remote_user` in the access log and `subject` of an event.
        time_zone: The IANA zone whose months it is billed by.
        requests: Its API traffic, relative to the other customers.
        completions: Its AI usage, relative to the other customers.
    """

    slug: str
    time_zone: str
    requests: int
    completions: int


CUSTOMERS = (
    Customer("acme", "America/New_York", requests=30, completions=10),
    Customer("globex", "Asia/Tokyo", requests=18, completions=32),
    Customer("initech", "America/Los_Angeles", requests=14, completions=6),
    Customer("umbrella", "Europe/Berlin", requests=20, completions=14),
    Customer("hooli", "America/Los_Angeles", requests=26, completions=20),
    Customer("stark", "America/New_York", requests=12, completions=8),
    Customer("wayne", "Europe/London", requests=9, completions=4),
    Customer("wonka", "Europe/London", requests=5, completions=3),
    Customer("tyrell", "Asia/Kolkata", requests=11, completions=12),
    Customer("cyberdyne", "UTC", requests=16, completions=18),
    Customer("soylent", "Australia/Sydney", requests=7, completions=5),
    Customer("vandelay", "Europe/Berlin", requests=3, completions=2),
)
"""All customers, the order of the bill."""

_BY_HOUR = (4, 3, 3, 3, 3, 4, 6, 9, 14, 20, 22, 22, 18, 20, 22, 22, 20, 16, 12, 9, 7, 6, 5, 4)
_WEEKDAY, _WEEKEND = 10, 7
_SATURDAY = 5


def arrivals(
    rng: random.Random, day: date, size: Callable[[Customer], int], busy_day: int
) -> list[tuple[Customer, datetime]]:
    """Draw who does something at which moment of a UTC day, by each customer's own clock.

    Args:
        rng: Where the chance comes from.
        day: A UTC day.
        size: A customer's share, relative to the others.
        busy_day: How many arrivals to expect in all when it is a weekday everywhere.

    Returns:
        Customers and moments (UTC, whole milliseconds, within `day`), in no order.
    """
    midnight = datetime.combine(day, time(), UTC)
    slots, weights = [], []
    for customer in CUSTOMERS:
        zone = ZoneInfo(customer.time_zone)
        for hour in range(24):
            start = midnight + timedelta(hours=hour)
            local = start.astimezone(zone)
            weekly = _WEEKEND if local.weekday() >= _SATURDAY else _WEEKDAY
            slots.append((customer, start))
            weights.append(size(customer) * _BY_HOUR[local.hour] * weekly)
    busiest = sum(map(size, CUSTOMERS)) * sum(_BY_HOUR) * _WEEKDAY
    count = busy_day * sum(weights) * rng.randint(95, 105) // (busiest * 100)
    return [
        (customer, start + timedelta(milliseconds=rng.randrange(3_600_000)))
        for customer, start in rng.choices(slots, weights, k=count)
    ]
