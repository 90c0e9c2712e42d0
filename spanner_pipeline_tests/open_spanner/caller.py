"""Calls a server as any HTTP client would, with nothing of the product in between."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """What came back; `body` is None where it was empty."""

    status: int
    body: Any
    headers: Message

    @property
    def code(self) -> str:
        """The code of the error envelope."""
        return str(self.body["error"]["code"])


@dataclass
class Caller:
    """One key at one server.

    Attributes:
        base_url: Where the server listens.
        key: The API key; None sends none.
        run: Sets the names and keys of this run apart from all others of the workspace.
        is_real: Whether it is a real Open Spanner.
    """

    base_url: str
    key: str | None = field(repr=False)
    run: str = ""
    is_real: bool = False
    ids: dict[str, str] = field(default_factory=dict)

    def call(
        self, method: str, path: str, body: Any = None, raw: bytes | None = None, **headers: str
    ) -> Reply:
        """One call; `raw` is sent as it is, `body` as JSON."""
        data = json.dumps(body).encode() if raw is None and body is not None else raw
        sent = {"Content-Type": "application/json"}
        if self.key is not None:
            sent["Authorization"] = f"Bearer {self.key}"
        sent |= {name.replace("_", "-"): text for name, text in headers.items()}
        request = urllib.request.Request(  # noqa: S310 http is meant
            self.base_url + path, data=data, headers=sent, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return reply(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return reply(error.code, error.read(), error.headers)

    def post(self, path: str, body: Any = None, raw: bytes | None = None, **headers: str) -> Reply:
        return self.call("POST", path, body, raw, **headers)

    def get(self, path: str) -> Reply:
        return self.call("GET", path)

    def meter(self, name: str, **settings: Any) -> str:
        """Make a meter of this run and return its full name."""
        full = f"{self.run}{name}"
        made = self.post("/v1/meters", {"name": full, "unit": "u", **settings})
        assert made.status == 201, made
        self.ids[name] = made.body["id"]
        return full

    def send(self, events: list[dict[str, Any]], **headers: str) -> Reply:
        return self.post("/v1/usages/bulk", events, **headers)


def reply(status: int, body: bytes, headers: Message) -> Reply:
    text = body.decode()
    is_json = headers.get_content_type() == "application/json"
    return Reply(status, json.loads(text) if is_json else text or None, headers)


def event(target: Caller, meter: str, key: str = "", **fields: Any) -> dict[str, Any]:
    """An event of this run; `key` sets it apart, without one it has no idempotency key."""
    keyed = {"idempotency_key": f"{target.run}{key}"} if key else {}
    return {
        "subject": "acme",
        "meter": meter,
        "quantity": 1,
        "timestamp": "2024-01-01T12:00:00Z",
        **keyed,
        **fields,
    }
