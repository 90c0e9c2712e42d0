"""Small files in the exact shapes of legacy systems, and what they add up to, worked out by hand.

All customers and numbers are invented.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A preset's files and what becomes of them.

    Attributes:
        files: Texts by path below `legacy/`.
        partitions: Partitions to import, by source.
        usage: Rows accepted and their exact sum, by meter.
        left_out: Rows that count no usage by declaration, by meter.
        rejected: Rejected rows by meter and reason.
        old: The exact old total and the verdict, by comparison.
    """

    files: Mapping[str, str]
    partitions: Mapping[str, tuple[str, ...]]
    usage: Mapping[str, tuple[int, str]]
    left_out: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    old: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def lines(*rows: Mapping[str, Any]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(*rows: Mapping[str, object]) -> str:
    """CSV with the columns of the first row."""
    texts = [",".join(rows[0]), *(",".join(str(v) for v in row.values()) for row in rows)]
    return "\n".join(texts) + "\n"


JANUARY, FEBRUARY = 1767225600, 1769904000
"""The first seconds of those months of 2026 in UTC."""


def stripe_event(key: str, name: str, when: int, value: str, live: bool = True) -> dict[str, Any]:
    """A meter event of API v1."""
    return {
        "object": "billing.meter_event",
        "created": when + 5,
        "event_name": name,
        "identifier": key,
        "livemode": live,
        "payload": {"stripe_customer_id": "cus_A1", "value": value},
        "timestamp": when,
    }


def summary(total: object, meter: str = "mtr_1") -> dict[str, Any]:
    """Stripe's total of a meter in January."""
    return {
        "id": "mtrusg_1",
        "object": "billing.meter_event_summary",
        "aggregated_value": total,
        "end_time": FEBRUARY,
        "livemode": True,
        "meter": meter,
        "start_time": JANUARY,
    }


STRIPE = Case(
    files={
        "stripe/meter_events/2026-01-31.jsonl": lines(
            stripe_event("a", "api_requests", JANUARY, "12"),
            stripe_event("a", "api_requests", JANUARY, "12"),  # sent again
            stripe_event("b", "api_requests", FEBRUARY - 1, "0.5"),
            stripe_event("c", "other", JANUARY + 1, "99"),
            stripe_event("d", "api_requests", JANUARY + 1, "99", live=False),
        ),
        "stripe/summaries/cus_A1.jsonl": lines(summary(12.5), summary(99, "mtr_of_another_event")),
    },
    partitions={"stripe_meter_events": ("2026-01-31",)},
    usage={"stripe_api_requests": (2, "12.5")},
    left_out={"stripe_api_requests": 2},
    old={"stripe_meter_event_summaries": ("12.5", "PASS")},
)

STRIPE_CSV = Case(
    files={
        "stripe/meter_events/2026-01-01.csv": (
            "identifier,timestamp,event_name,payload_stripe_customer_id,payload_value\n"
            f"a,{JANUARY},api_requests,cus_A1,10\n"
            f"b,{JANUARY + 60},api_requests,cus_B2,2.25\n"
            f"c,{JANUARY + 60},other,cus_B2,7\n"
            "d,2026-01-01,api_requests,cus_B2,5\n"
        )
    },
    partitions={"stripe_meter_events_csv": ("2026-01-01",)},
    usage={"stripe_api_requests": (2, "12.25")},
    left_out={"stripe_api_requests": 1},
    rejected={("stripe_api_requests", "timestamp_format"): 1},
)


def record(key: str, when: int, quantity: int) -> dict[str, Any]:
    """A legacy usage record."""
    return {
        "id": key,
        "object": "usage_record",
        "livemode": True,
        "quantity": quantity,
        "subscription_item": "si_1",
        "timestamp": when,
    }


def record_summary(start: int, end: int | None, total: int, invoice: str | None) -> dict[str, Any]:
    """A legacy summary; the newest has no invoice yet."""
    return {
        "id": f"sis_{start}",
        "object": "usage_record_summary",
        "invoice": invoice,
        "livemode": True,
        "period": {"start": start, "end": end},
        "subscription_item": "si_1",
        "total_usage": total,
    }


STRIPE_RECORDS = Case(
    files={
        # Usage of the very second in which a period ends belongs to that period.
        "stripe/usage_records/2026-01.jsonl": lines(
            record("mbur_1", JANUARY + 1, 10), record("mbur_2", FEBRUARY, 5)
        ),
        "stripe/usage_records/2026-02.jsonl": lines(record("mbur_3", FEBRUARY + 1, 7)),
        "stripe/usage_record_summaries/si_1.jsonl": lines(
            record_summary(FEBRUARY + 86_400, None, 3, None),
            record_summary(FEBRUARY, FEBRUARY + 86_400, 7, "in_2"),
            record_summary(JANUARY, FEBRUARY, 15, "in_1"),
        ),
    },
    partitions={"stripe_usage_records": ("2026-01", "2026-02")},
    usage={"stripe_usage_records": (3, "22")},
    old={"stripe_usage_record_summaries": ("22", "PASS")},
)


def cloud_event(source: str, key: str, kind: str, when: str, tokens: object) -> dict[str, Any]:
    """A CloudEvent."""
    return {
        "specversion": "1.0",
        "type": kind,
        "id": key,
        "source": source,
        "subject": "customer-1",
        "time": when,
        "datacontenttype": "application/json",
        "data": {"tokens": tokens, "model": "m1"},
    }


OPENMETER = Case(
    files={
        "openmeter/events/2026-01-01.jsonl": lines(
            cloud_event("web", "1", "prompt", "2026-01-01T00:00:00Z", "12"),
            # The same id of another producer is another event.
            cloud_event("batch", "1", "prompt", "2026-01-01T01:30:00+01:00", 0.000001),
            cloud_event("web", "2", "request", "2026-01-01T03:00:00Z", "50"),
            cloud_event("web", "3", "prompt", "2026-01-01T04:00:00.123Z", "8"),
        ),
        "openmeter/meter/tokens.csv": table(
            {
                "window_start": "2026-01-01T00:00:00Z",
                "window_end": "2026-01-02T00:00:00Z",
                "subject": "customer-1",
                "value": "20.000001",
            }
        ),
    },
    partitions={"openmeter_events": ("2026-01-01",)},
    usage={"openmeter_tokens": (3, "20.000001")},
    left_out={"openmeter_tokens": 1},
    old={"openmeter_meter": ("20.000001", "PASS")},
)


def lago_event(subscription: str, key: str, when: str, tokens: str) -> dict[str, Any]:
    """An event as Lago's API gives it back."""
    return {
        "lago_id": f"l-{subscription}-{key}",
        "transaction_id": key,
        "lago_customer_id": None,
        "code": "tokens",
        "timestamp": when,
        "properties": {"tokens": tokens},
        "lago_subscription_id": None,
        "external_subscription_id": subscription,
        "created_at": when,
    }


def lago_fee(kind: str, subscription: str, units: str) -> dict[str, object]:
    """A line of invoice_fees.csv, as far as it matters."""
    return {
        "invoice_number": "LAG-1",
        "fee_item_type": kind,
        "fee_item_code": "tokens",
        "subscription_external_id": subscription,
        "fee_from_date": "2026-01-01",
        "fee_to_date": "2026-01-31",
        "fee_amount_currency": "EUR",
        "fee_units": units,
        "fee_total_amount_cents": "1200",
    }


LAGO = Case(
    files={
        "lago/events/2026-01-01.jsonl": lines(
            lago_event("sub_1", "t1", "2025-12-31T23:30:00Z", "10"),  # January in Paris
            lago_event("sub_1", "t2", "2026-01-31T22:59:59Z", "2.5"),
            lago_event("sub_2", "t1", "2026-01-15T00:00:00Z", "4"),
        ),
        "lago/invoice_fees.csv": table(
            lago_fee("charge", "sub_1", "12.5"),
            lago_fee("charge", "sub_2", "4.0"),
            lago_fee("subscription", "sub_2", "1.0"),
        ),
    },
    partitions={"lago_events": ("2026-01-01",)},
    usage={"lago_tokens": (3, "16.5")},
    old={"lago_invoice_fees": ("16.5", "PASS")},
)


def orb_event(key: str, requests: object, **more: object) -> dict[str, Any]:
    """An event of Orb."""
    return {
        "idempotency_key": key,
        "event_name": "api_request",
        "timestamp": "2026-01-01T10:00:00",
        "external_customer_id": "acme",
        "properties": {"requests": requests, "region": "eu"},
        **more,
    }


ORB = Case(
    files={
        "orb/2026-01-01.jsonl": lines(
            orb_event("1", 12),
            orb_event("2", "0.25"),
            orb_event("3", 99, deprecated=True),
            orb_event("4", 5, external_customer_id=None, customer_id="x1"),
        )
    },
    partitions={"orb_events": ("2026-01-01",)},
    usage={"orb_api_requests": (2, "12.25")},
    left_out={"orb_api_requests": 1},
    rejected={("orb_api_requests", "subject_missing"): 1},
)


def gcp_row(project: str | None, start: str, month: str, amount: str, cost: str) -> str:
    """A row of the standard export, numbers with their exact digits."""
    row = {
        "billing_account_id": "0A-0B",
        "service": {"id": "S1", "description": "Cloud Storage"},
        "sku": {"id": "K1", "description": "Egress"},
        "usage_start_time": start,
        "project": {"id": project, "labels": []},
        "export_time": "2026-02-02 00:00:00 UTC",
        "cost": "COST",
        "currency": "USD",
        "usage": {"amount": "AMOUNT", "unit": "bytes", "pricing_unit": "gibibyte"},
        "credits": [],
        "invoice": {"month": month},
        "cost_type": "regular",
    }
    text = json.dumps(row) + "\n"
    return text.replace('"COST"', cost).replace('"AMOUNT"', amount)


GCP = Case(
    files={
        "gcp/2026-02-02.jsonl": gcp_row(
            "p-one", "2026-01-01 08:00:00 UTC", "202601", "1024", "1.1e-05"
        )
        * 2  # identical rows are repeats
        # Still January in Los Angeles.
        + gcp_row("p-one", "2026-02-01 07:30:00 UTC", "202601", "5", "0.30000000000000004")
        + gcp_row("p-one", "2026-02-01 08:00:00 UTC", "202602", "7", "-0.1")
        + gcp_row(None, "2026-02-01 08:00:00 UTC", "202602", "7", "4")
    },
    partitions={"gcp_billing_export": ("2026-02-02",)},
    usage={"gcp_cost_usd": (4, "0.20002200000000004"), "gcp_bytes": (4, "2060")},
    left_out={"gcp_cost_usd": 1, "gcp_bytes": 1},
    old={"gcp_billing_export_bill": ("0.20002200000000004", "PASS")},
)


def azure_row(date: str, unit: str, quantity: str, cost: str, kind: str) -> dict[str, object]:
    """A line of an Azure export, as far as it matters."""
    return {
        "SubscriptionId": "64e355d7-997c-491d-b0c1-8414dccfcf42",
        "BillingPeriodStartDate": "01/01/2026",
        "BillingPeriodEndDate": "01/31/2026",
        "Date": date,
        "MeterCategory": "Virtual Machines",
        "MeterName": "D2s v3",
        "UnitOfMeasure": unit,
        "Quantity": quantity,
        "CostInBillingCurrency": cost,
        "BillingCurrency": "USD",
        "ChargeType": kind,
    }


AZURE = Case(
    files={
        "azure/202601_1.csv": "\ufeff"
        + table(
            azure_row("01/01/2026", "1 Hour", "24", "2.304", "Usage"),
            azure_row("01/31/2026", "1 Hour", "0.5", "0.048", "Usage"),
            azure_row("01/12/2026", "100 Hours", "3", "28.8", "Usage"),
            azure_row("01/31/2026", "1 Hour", "-1", "-0.096", "Refund"),
        )
    },
    partitions={"azure_cost_export": ("2026-01",)},
    usage={"azure_cost_usd": (4, "31.056"), "azure_hours": (2, "24.5")},
    left_out={"azure_hours": 2},
    old={"azure_cost_export_bill": ("31.056", "PASS")},
)

_NGINX = (
    '203.0.113.7 - ann [01/Jan/2026:{time} {offset}] "GET /v1/x HTTP/1.1" {rest} "-" "curl/8"\n'
)
NGINX = Case(
    files={
        "nginx/access-2026-01-01.log": _NGINX.format(
            time="13:55:36", offset="+0200", rest="200 512"
        )
        * 2
        + _NGINX.format(time="13:55:37", offset="+0200", rest="304 0")
        + _NGINX.format(time="11:55:38", offset="+0000", rest="200 1000")
    },
    partitions={"nginx_access_log": ("2026-01-01",)},
    usage={"web_requests": (4, "4"), "web_egress_bytes": (3, "2024")},
    left_out={"web_egress_bytes": 1},
)


def otel_record(nanoseconds: str, customer: str | None) -> dict[str, Any]:
    """A record of the table otel_logs."""
    return {
        "Timestamp": f"2026-01-01 00:00:00.{nanoseconds}",
        "TraceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "SpanId": "00f067aa0ba902b7",
        "SeverityText": "INFO",
        "ServiceName": "api",
        "Body": "served",
        "LogAttributes": {"customer": customer} if customer else {},
    }


OTEL = Case(
    files={
        "otel/2026-01-01.jsonl": lines(
            otel_record("123456788", "acme"),
            otel_record("123456789", "acme"),  # a nanosecond later: another record
            otel_record("123456789", "acme"),  # delivered again
            otel_record("123456790", None),
        )
    },
    partitions={"opentelemetry_logs": ("2026-01-01",)},
    usage={"otel_requests": (2, "2")},
    left_out={"otel_requests": 1},
)


def spend(key: str, start: str, prompt: int, completion: int, cost: str) -> dict[str, object]:
    """A row of LiteLLM_SpendLogs, as far as it matters."""
    return {
        "request_id": key,
        "call_type": "acompletion",
        "api_key": "88dc28",
        "spend": cost,
        "total_tokens": prompt + completion,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "startTime": start,
        "model": "gpt-4o",
        "team_id": "team-1",
        "status": "success",
    }


LITELLM = Case(
    files={
        "litellm/spend_logs/2026-01-01.csv": table(
            spend("r1", "2026-01-01 00:00:00", 100, 20, "0.00045"),
            spend("r2", "2026-01-01 23:59:59.999", 1000, 0, "2.5e-05"),
            spend("r2", "2026-01-01 23:59:59.999", 1000, 0, "2.5e-05"),  # logged twice
            spend("r3", "2026-01-01 12:00:00", 0, 0, "0.0"),  # failed
        ),
        "litellm/daily_team_spend.csv": table(
            {
                "team_id": "team-1",
                "date": "2026-01-01",
                "model": "gpt-4o",
                "prompt_tokens": 1100,
                "completion_tokens": 20,
                "spend": "0.000475000001",
            }
        ),
    },
    partitions={"litellm_spend_logs": ("2026-01-01",)},
    usage={"llm_tokens": (3, "1120"), "llm_spend_usd": (2, "0.000475")},
    left_out={"llm_tokens": 1 + 3, "llm_spend_usd": 1},
    old={
        "litellm_daily_prompt_tokens": ("1100", "PASS"),
        "litellm_daily_completion_tokens": ("20", "PASS"),
        "litellm_daily_spend": ("0.000475000001", "PASS"),
    },
)

_FOCUS = {
    "BilledCost": "",
    "BillingCurrency": "USD",
    "BillingPeriodEnd": "2026-02-01T00:00:00Z",
    "BillingPeriodStart": "2026-01-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargeClass": "",
    "ChargePeriodEnd": "2026-01-02T00:00:00Z",
    "ChargePeriodStart": "2026-01-01T00:00:00Z",
    "ConsumedQuantity": "",
    "ConsumedUnit": "Requests",
    "RegionId": "eu-1",
    "ServiceName": "Queue",
    "SubAccountId": "acct-1",
}


def focus_case(name: str, **more: str) -> Case:
    """Bills of a FOCUS version: its columns beyond 1.0 come with `more`."""
    row = _FOCUS | more
    used = row | {"BilledCost": "1.5E-3", "ConsumedQuantity": "1000"}
    credit = row | {"BilledCost": "-0.001", "ChargeCategory": "Credit", "ConsumedUnit": ""}
    # January corrected on February's bill: in the old total of February, in the usage of January.
    late = row | {
        "BilledCost": "-0.0005",
        "ChargeClass": "Correction",
        "BillingPeriodStart": "2026-02-01T00:00:00Z",
        "BillingPeriodEnd": "2026-03-01T00:00:00Z",
        "ConsumedUnit": "",
    }
    return Case(
        files={
            "focus/2026-01/part.csv": table(used, used, credit),
            "focus/2026-02/part.csv": table(late),
        },
        partitions={name: ("2026-01", "2026-02")},
        usage={"focus_cost_usd": (4, "0.0015"), "focus_requests": (2, "2000")},
        left_out={"focus_requests": 2},
        old={f"{name}_bill": ("0.0015", "FAIL")},
    )


_CLOUDFRONT_FIELDS = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) "
    "cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header "
    "cs-protocol cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher "
    "x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port "
    "time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start "
    "sc-range-end"
)


def cloudfront_row(key: str, time: str, sent: str) -> str:
    """A line of a standard log."""
    return (
        f"2026-01-01\t{time}\tFRA56-P1\t{sent}\t2001:db8::1\tGET\td1.cloudfront.net\t/v1/x\t200\t-\t"
        f"Mozilla/5.0%20(X11;%20Linux)\ta=b\t-\tHit\t{key}\tacme.example\thttps\t23\t0.001\t-\t"
        "TLSv1.3\tTLS_AES_128_GCM_SHA256\tHit\tHTTP/2.0\t-\t-\t11040\t0.001\tHit\ttext/html\t78\t-\t-\n"
    )


def cloudwatch(label: str, total: float) -> str:
    """CloudWatch's answer about one day."""
    point = {"Timestamp": "2026-01-01T00:00:00+00:00", "Sum": total, "Unit": "None"}
    return json.dumps({"Label": label, "Datapoints": [point]}, indent=4)


CLOUDFRONT = Case(
    files={
        "cloudfront/E1.2026-01-01-00.a1b2": f"#Version: 1.0\n#Fields: {_CLOUDFRONT_FIELDS}\n"
        + cloudfront_row("k1==", "00:00:00", "392")
        + cloudfront_row("k2==", "00:00:00", "8")
        + cloudfront_row("k3==", "00:59:59", "0")
        + "2026-01-01\t00:59:59\tFRA56-P1\n",
        # Delivered twice, by a log that was set to fewer fields since.
        "cloudfront/E1.2026-01-01-23.c3d4": "#Version: 1.0\n#Fields: date time x-edge-location "
        "sc-bytes cs-method sc-status x-edge-request-id x-host-header\n"
        + "2026-01-01\t23:59:59\tFRA56-P1\t100\tGET\t200\tk4==\tacme.example\n"
        * 2,
        "cloudfront_cloudwatch/requests_E1.json": cloudwatch("Requests", 4.0),
    },
    partitions={"cloudfront_access_log": ("2026-01-01",)},
    usage={"cdn_requests": (4, "4"), "cdn_egress_bytes": (3, "500")},
    left_out={"cdn_egress_bytes": 1},
    rejected={("cdn_requests", "malformed_row"): 1, ("cdn_egress_bytes", "malformed_row"): 1},
    old={"cloudfront_requests": ("4", "PASS")},
)


def alb_entry(
    time: str,
    trace: str,
    *,
    client: str = "192.0.2.7:2817",
    target: str = "10.0.0.1:80",
    agent: str = "curl/7.46.0",
    tail: str = ' "10.0.0.1:80" "200" "-" "-" TID_1234',
) -> str:
    """An entry of a load balancer's log."""
    return (
        f"h2 2026-01-01T{time}Z app/web/50dc6c495c0c9188 {client} {target} 0.000 0.001 0.000 200 "
        f'200 34 366 "GET https://acme.example:443/v1/x?a=b HTTP/2.0" "{agent}" '
        "TLS_AES_128_GCM_SHA256 TLSv1.3 arn:aws:elasticloadbalancing:eu-west-1:123456789012:"
        f'targetgroup/t/73e2d6bc24d8a067 "Root=1-{trace}" "acme.example" "session-reused" 0 '
        f'2026-01-01T00:00:00.000000Z "forward" "-" "-"{tail}\n'
    )


ALB = Case(
    files={
        "alb/2026/01/01/one.log": alb_entry("23:59:59.186641", "a")
        + alb_entry("23:59:59.186641", "a")  # delivered twice
        + alb_entry("23:59:59.186641", "b", client="2001:db8::7:2817", agent=r"a \"b\" c")
        + alb_entry("12:00:00.5", "c", tail="")  # as written until 2019
        + alb_entry("12:00:00.5", "d", tail=' "-" "-" "-" "-" TID_1 "new field" x')
        + alb_entry("12:00:00.5", "e", target="-")
        + alb_entry("12:00:00.5", "f", client="nowhere"),
        "alb_cloudwatch/requests_web.json": cloudwatch("RequestCount", 4.0),
    },
    partitions={"alb_access_log": ("2026-01-01",)},
    usage={"alb_requests": (4, "4"), "alb_egress_bytes": (4, "1464")},
    left_out={"alb_requests": 1, "alb_egress_bytes": 1},
    rejected={("alb_requests", "malformed_row"): 1, ("alb_egress_bytes", "malformed_row"): 1},
    old={"alb_request_count": ("4", "PASS")},
)

READINGS = "meter_id,account,register,read_at,reading,quality\n"
COUNTERS = Case(
    files={
        "readings/2026-01-01.csv": READINGS
        + "E-1,acme,1.8.0,2026-01-01T00:00:00Z,18422.731,A\n"
        + "E-1,acme,1.8.0,2026-01-01T12:00:00Z,18423,A\n"
        + "E-2,globex,1.8.0,2026-01-01T00:00:00Z,999990.5,A\n",
        "readings/2026-01-02.csv": READINGS
        + "E-1,acme,1.8.0,2026-01-02T12:00:00Z,18430.25,A\n"
        + "E-1,acme,1.8.0,2026-01-02T06:00:00Z,18425,A\n"  # out of order
        + "E-1,acme,1.8.0,2026-01-02T09:00:00Z,18428,E\n"  # estimated
        + "E-2,globex,1.8.0,2026-01-02T00:00:00Z,4.5,A\n"  # rolled over
        + "E-1,acme,1.8.0,2026-01-03T00:00:00Z,18431,A\n",  # closes the first period
        "readings/2026-01-03.csv": READINGS
        + "E-1,acme,1.8.0,2026-01-03T00:00:00Z,18431,A\n"  # opens the next
        + "E-1,acme,1.8.0,2026-01-03T12:00:00Z,18441,A\n"
        + "E-2,globex,1.8.0,2026-01-03T12:00:00Z,4.5,A\n"  # stands still
        + "E-2,globex,1.8.0,2026-01-03T18:00:00Z,3,A\n",  # falls
        "readings_bill/2026-01.csv": "account,starts,ends,usage_kwh\n"
        "acme,2026-01-01,2026-01-03,8.269\nglobex,2026-01-01,2026-01-03,14\n"
        "acme,2026-01-03,2026-02-03,10\n",
    },
    partitions={"cumulative_counters": ("2026-01-03", "2026-01-01", "2026-01-02")},
    usage={"metered_kwh": (6, "32.269")},
    left_out={"metered_kwh": 5},
    rejected={("metered_kwh", "counter_fell"): 1},
    old={"cumulative_counters_bill": ("32.269", "PASS")},
)

CASES: dict[str, Case] = {
    "stripe_meter_events": STRIPE,
    "stripe_meter_events_csv": STRIPE_CSV,
    "stripe_usage_record_summaries": STRIPE_RECORDS,
    "openmeter_events": OPENMETER,
    "lago_events": LAGO,
    "orb_events": ORB,
    "gcp_billing_export": GCP,
    "azure_cost_export": AZURE,
    "nginx_access_log": NGINX,
    "alb_access_log": ALB,
    "cloudfront_access_log": CLOUDFRONT,
    "opentelemetry_logs": OTEL,
    "litellm_spend_logs": LITELLM,
    "cumulative_counters": COUNTERS,
    "focus_1_1": focus_case("focus_1_1", ServiceSubcategory="Queues"),
    "focus_1_2": focus_case("focus_1_2", ServiceSubcategory="Queues", InvoiceId="I-1"),
}
