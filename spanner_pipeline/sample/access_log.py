"""Tidewater's access log (SAMPLE): combined format, UTC, with the oddities real logs have."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from spanner_pipeline.sample.customers import CUSTOMERS, SEED, Customer, arrivals

_BUSY_DAY = 1400
_REPEATS_A_DAY = 5
_ONE_CUT_IN = 15_000
_HEALTH_CHECKS_A_DAY = 12

# `%b` of strftime follows the machine's locale; a log does not.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")  # RFC 5737: for documentation
_AGENTS = (  # user agent, referer
    ("tidewater-client/3.2", "-"),
    ("tidewater-client/3.2", "-"),
    ("tidewater-client/3.1", "-"),
    ("python-requests/2.32.3", "-"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Firefox/146.0", "https://app.tidewater.example/"),
)
_CALLS = (  # method, path, answers as likely as they are listed, share of 100
    ("GET", "/v1/notes/{n}", (200,) * 17 + (304, 304, 404), 42),
    ("GET", "/v1/notes?page={n}&size=50", (200,) * 9 + (304,), 18),
    ("GET", "/v1/search?q=tide&offset={n}", (200,) * 29 + (500,), 12),
    ("POST", "/v1/notes", (201,) * 18 + (400, 429), 13),
    ("PUT", "/v1/notes/{n}", (200,) * 19 + (409,), 8),
    ("DELETE", "/v1/notes/{n}", (204,) * 9 + (404,), 5),
    ("GET", "/v1/exports/{n}.tar", (200,), 2),
)
_SHARES = tuple(share for *_, share in _CALLS)
_NO_BODY = (204, 304)
_FIRST_FAILURE = 400


class LogLine(NamedTuple):
    """A line of the log and what the old system made of it.

    Attributes:
        text: The line, without its end.
        time: When the request came in (UTC, whole seconds).
        counted_for: The customer it was billed to; none for a health check and for a cut line.
        sent: Bytes of the answer's body.
    """

    text: str
    time: datetime
    counted_for: Customer | None
    sent: int


def log_of(day: date) -> list[LogLine]:
    """All lines of a UTC day, in the order they were logged: that in which requests ended."""
    rng = random.Random(f"{SEED} access log {day}")  # noqa: S311 - sample data, not a secret
    lines = [
        _request(rng, customer, moment.replace(microsecond=0))
        for customer, moment in arrivals(rng, day, lambda customer: customer.requests, _BUSY_DAY)
    ]
    # A client that polls twice in a second: two requests, one text.
    lines += rng.sample(lines, rng.randint(_REPEATS_A_DAY - 2, _REPEATS_A_DAY + 2))
    lines += _health_checks(rng, day)
    # Stamped when it came in, logged when it ended: a slow one in ten stands behind later ones.
    ended = [
        (line.time + timedelta(seconds=rng.randrange(240) if rng.randrange(10) == 0 else 0), line)
        for line in lines
    ]
    lines = [line for _, line in sorted(ended, key=lambda pair: pair[0])]
    # The last line stays whole: a file that ends within a line is another fault than a cut line.
    return [_perhaps_cut(rng, line) for line in lines[:-1]] + lines[-1:]


def _request(rng: random.Random, customer: Customer, moment: datetime) -> LogLine:
    method, path, answers, _ = rng.choices(_CALLS, _SHARES)[0]
    status = rng.choice(answers)
    agent, referer = rng.choice(_AGENTS)
    number = CUSTOMERS.index(customer)
    address = f"{_NETWORKS[number % 3]}.{number * 20 + rng.randrange(1, 6)}"
    target = path.format(n=rng.randrange(1, 400))
    sent = _body(rng, path, status)
    text = (
        f'{address} - {customer.slug} [{_stamp(moment)}] "{method} {target} HTTP/1.1"'
        f' {status} {sent or "-"} "{referer}" "{agent}"'
    )
    return LogLine(text, moment, customer, sent)


def _body(rng: random.Random, path: str, status: int) -> int:
    if status in _NO_BODY:
        return 0
    if status >= _FIRST_FAILURE:
        return rng.randrange(60, 240)
    if path.startswith("/v1/exports"):
        return rng.randrange(8_000_000, 4_500_000_000)  # some do not fit 32 bits
    return rng.randrange(180, 18_000)


def _health_checks(rng: random.Random, day: date) -> list[LogLine]:
    midnight = datetime.combine(day, time(), UTC)
    every = 86_400 // _HEALTH_CHECKS_A_DAY
    moments = [
        midnight + timedelta(seconds=number * every + rng.randrange(30))
        for number in range(_HEALTH_CHECKS_A_DAY)
    ]
    return [
        LogLine(
            f'10.4.0.1 - - [{_stamp(moment)}] "GET /healthz HTTP/1.1" 200 2 "-" "kube-probe/1.31"',
            moment,
            None,
            2,
        )
        for moment in moments
    ]


def _stamp(moment: datetime) -> str:
    return f"{moment:%d}/{_MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S} +0000"


def _perhaps_cut(rng: random.Random, line: LogLine) -> LogLine:
    if line.counted_for is None or rng.randrange(_ONE_CUT_IN):
        return line
    head, referer, _, agent, _ = line.text.rsplit('"', 4)
    if referer != "-" and rng.randrange(2):
        text = f'{head}"{referer[: rng.randrange(1, len(referer))]}'
    else:
        text = f'{head}"{referer}" "{agent[: rng.randrange(1, len(agent))]}'
    return line._replace(text=text, counted_for=None)
