"""Speaking with Open Spanner by its official SDK, whose weak spots are all mended here.

The SDK waits for ever, returns errors rather than raising them, hides 401, 403 and 503, loses the
reasons of a batch of which all failed, and breaks on answers that were cut. Its models would make
doubles of quantities and spell bodies anew; so bodies are sent as they were made, through its own
connection.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from open_spanner_client import AuthenticatedClient
from open_spanner_client.api.meters import create_meter, list_meters, update_meter
from open_spanner_client.models import MeterCreateRequest, MeterUpdateRequest

from spanner_pipeline.delivery.answers import (
    Answer,
    Answers,
    answers_of,
    as_object,
    is_json,
)
from spanner_pipeline.delivery.target import Target, TargetError

TIMEOUT = 60
"""Seconds without an answer; the server itself gives up after 10."""

_SHOWN = 300
_PAGE_OF_METERS = 500
_PASSING = {408, 425, 500, 502, 503, 504}


class UnsettledError(TargetError):
    """The service did not answer as it should; whether it took the request is not known."""


class ConflictError(TargetError):
    """The service cannot answer as things are there, whoever asks again."""


class TooManyAtOnceError(TargetError):
    """The service takes no batch of this size: too many bytes, or over its whole rate limit."""

    def __init__(self, said: str, code: str) -> None:
        """Keep what the service calls it."""
        super().__init__(said)
        self.code = code


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, and how long to wait in between, in milliseconds.

    Attributes:
        attempts: Tries of one request.
        to_reach: Tries before the service has answered anything: its address may be wrong.
        first: The first wait; each later one is twice as long.
        longest: The longest of these waits.
        refusals: How often in a row the rate limit may refuse a batch, each time after the wait
            that it asked for, before the batch is taken to be larger than the whole limit.
        sleep: Waits so many seconds.
    """

    attempts: int = 10
    to_reach: int = 4
    first: int = 500
    longest: int = 30_000
    refusals: int = 3
    sleep: Callable[[int | float], None] = time.sleep

    def pause(self, attempt: int) -> None:
        """Wait before the next try, up to half as long again so that clients do not meet."""
        wait = min(self.longest, self.first << attempt)
        self.sleep((wait + random.randrange(wait // 2 + 1)) / 1000)  # noqa: S311


class OpenSpanner:
    """One workspace of a running Open Spanner. Use it in a `with`, which closes its connection."""

    def __init__(self, target: Target, patience: Patience | None = None) -> None:
        """Nothing is asked before a method is called."""
        self.target = target
        self._patience = patience or Patience()
        self._reached = False
        self._sdk = AuthenticatedClient(
            base_url=target.base_url, token=target.api_key, timeout=httpx.Timeout(TIMEOUT)
        )

    def __enter__(self) -> OpenSpanner:
        return self

    def __exit__(self, *_: object) -> None:
        self._sdk.get_httpx_client().close()

    def find_meter(self, name: str) -> dict[str, Any] | None:
        """The live meter of this name, as the service tells it; None where there is none.

        Raises:
            TargetError: When the service refuses, or cannot be reached.
        """
        answer = self._ask(lambda: list_meters.sync_detailed(client=self._sdk, name=name), {200})
        items = as_object(answer).get("items") or []
        return next((meter for meter in items if meter.get("name") == name), None)

    def list_meters(self) -> Iterator[dict[str, Any]]:
        """All live meters of the workspace, by name, a page at a time.

        Raises:
            TargetError: When the service refuses, or cannot be reached.
        """
        cursor: str | None = ""
        while cursor is not None:
            after = {"cursor": cursor} if cursor else {}
            page = self.get("/v1/meters", {"limit": _PAGE_OF_METERS, **after})
            yield from page.get("items") or []
            cursor = page.get("next_cursor") or None

    def create_meter(self, meter: Mapping[str, Any]) -> dict[str, Any]:
        """Create a meter; where somebody else just did, theirs is given.

        Raises:
            TargetError: When the service refuses, or cannot be reached.
        """
        body = MeterCreateRequest.from_dict(meter)
        answer = self._ask(
            lambda: create_meter.sync_detailed(client=self._sdk, body=body), {201, 409}
        )
        made = as_object(answer) if answer.status_code == 201 else self.find_meter(meter["name"])
        if made is None:
            raise TargetError(f"the service neither makes nor knows the meter {meter['name']}.")
        return made

    def raise_retention(self, identity: str, days: int) -> None:
        """Have a meter keep its raw events for so many days.

        Raises:
            TargetError: When the service refuses, or cannot be reached.
        """
        body = MeterUpdateRequest(event_retention_days=days)
        self._ask(lambda: update_meter.sync_detailed(identity, client=self._sdk, body=body), {200})

    def send(self, batch: bytes, batch_key: str, keys: Sequence[str], *, fits: bool) -> Answers:
        """Send one batch, again and again until the service answers for every event in it.

        That is safe, because the service takes each key once.

        Args:
            batch: A JSON array of events, at most 1000 and at most 1 MiB.
            batch_key: Names exactly this content.
            keys: The idempotency keys of its events, in order.
            fits: It is known to be within the rate limit: where it is refused, others use the
                limit up, and only waiting helps.

        Raises:
            TooManyAtOnceError: When only a smaller batch can succeed, as far as can be told.
            UnsettledError: When no try was answered.
            TargetError: When the service refuses.
        """
        headers = {"Idempotency-Key": batch_key, "Content-Type": "application/json"}
        connection = self._sdk.get_httpx_client()

        def post() -> httpx.Response:
            return connection.post("/v1/usages/bulk", content=batch, headers=headers)

        said: list[Answers] = []

        def settled(answer: Answer) -> bool:
            found = answers_of(answer, keys)
            said.extend([found] if found else [])
            return found is not None

        self._ask(post, {201}, settled, shrinks=not fits)
        return said[-1]

    def get(self, path: str, parameters: Mapping[str, str | int]) -> dict[str, Any]:
        """Ask for what the SDK has no function for.

        Raises:
            TargetError: When the service refuses, or cannot be reached.
        """
        connection = self._sdk.get_httpx_client()
        return as_object(self._ask(lambda: connection.get(path, params=dict(parameters)), {200}))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Query with a body.

        Raises:
            TargetError: When the service refuses, or cannot be reached.
        """
        connection = self._sdk.get_httpx_client()
        return json.loads(self._ask(lambda: connection.post(path, json=dict(body)), {200}).content)

    def _ask(
        self,
        call: Callable[[], Answer],
        good: set[int],
        settled: Callable[[Answer], bool] | None = None,
        *,
        shrinks: bool = False,
    ) -> Answer:
        """Call until there is a whole answer that says yes or no."""
        said, refusals, attempt = "", 0, 0
        while attempt < (self._patience.attempts if self._reached else self._patience.to_reach):
            try:
                answer = call()
                self._reached = True
                if settled(answer) if settled else answer.status_code in good and is_json(answer):
                    return answer
                status = answer.status_code
                said = f"it answered {status} {self._words(answer)}".rstrip()
            except (httpx.TransportError, ValueError, LookupError, TypeError) as error:
                # The SDK raises ValueError for an answer that was cut, and for odd statuses.
                said, status = f"no whole answer came ({type(error).__name__})", 0
            if status == 429:
                refusals += 1
                if shrinks and refusals >= self._patience.refusals:
                    raise TooManyAtOnceError(self._complaint(said), "rate_limited")
                self._wait_as_told(answer, attempt)
            elif status in (0, *good, *_PASSING):
                self._patience.pause(attempt)
            else:
                raise self._refusal(status, said)
            attempt += 1
        raise UnsettledError(
            self._complaint(f"{attempt} times in a row, the last time {said}")
            + " Nothing is lost: run this again when it is well, and it goes on from here."
        ) from ConnectionError(said)  # which tells that it may pass

    def _wait_as_told(self, answer: Answer, attempt: int) -> None:
        told = answer.headers.get("Retry-After", "").strip()
        if told.isdigit() and int(told):
            self._patience.sleep(min(int(told), 3600))
            return
        try:
            until = parsedate_to_datetime(told).timestamp()
        except ValueError:
            self._patience.pause(attempt)
        else:
            self._patience.sleep(max(0, min(until - time.time(), 3600)))

    def _refusal(self, status: int, said: str) -> TargetError:
        variable = self.target.variable
        if status == 401:
            return TargetError(self._complaint(said) + f" Put a valid key into {variable}.")
        if status == 403:
            return TargetError(
                self._complaint(said) + f" The key in {variable} may not do this: it needs the "
                "scopes meters:read, meters:write, usage:read and usage:write, and this meter."
            )
        if status == 413:
            return TooManyAtOnceError(self._complaint(said), "request_too_large")
        kind = ConflictError if status == 409 else TargetError
        return kind(self._complaint(said) + " Sending it again would not help.")

    def _complaint(self, said: str) -> str:
        return f"{self.target.base_url}: {said}."

    def _words(self, answer: Answer) -> str:
        """What an answer says of itself, short and without the key."""
        text = answer.content.decode("utf-8", "replace")
        try:
            error = json.loads(text)["error"]
            text = f"{error['code']}: {error['message']}"
        except (ValueError, LookupError, TypeError):
            pass
        words = self.target.without_key(" ".join(text.split()))
        return f"({words[:_SHOWN]})" if words else ""
