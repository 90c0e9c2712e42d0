"""The calls on the web: keys and their rights, faults, and answers in JSON."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from spanner_pipeline_tests.open_spanner.faults import Fault, Faults
from spanner_pipeline_tests.open_spanner.service import Answer, Call, Service
from spanner_pipeline_tests.open_spanner.wire import RefusalError

DEFAULT_SCOPES = ("usage:write", "usage:read", "meters:read", "meters:write", "plans:read")
CODES = {
    401: "unauthorized",
    403: "forbidden",
    413: "request_too_large",
    429: "rate_limited",
    500: "internal_error",
}
WRITES = ("/v1/usages", "/v1/usages/bulk")


class Application:
    """The web side of a service."""

    def __init__(self, store: sqlite3.Connection, service: Service, faults: Faults) -> None:
        self.store, self.service, self.faults = store, service, faults

    def starlette(self) -> Starlette:
        async def alive(request: Request) -> Response:
            return Response(status_code=204)

        async def unknown(request: Request, error: Exception) -> Response:
            return Response("404 page not found\n", 404, media_type="text/plain")

        async def not_so(request: Request, error: Exception) -> Response:
            return Response(status_code=405)

        return Starlette(
            exception_handlers={404: unknown, 405: not_so},
            routes=[
                Route("/health", alive),
                Route("/ready", alive),
                *(
                    Route(call.path, self._endpoint(call), methods=[call.method])
                    for call in self.service.calls()
                ),
            ],
        )

    def _endpoint(self, call: Call) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                body = await request.body()
            except ClientDisconnect:
                return Response(status_code=499)
            return await self._with_faults(call, request, body)

        return endpoint

    async def _with_faults(self, call: Call, request: Request, body: bytes) -> Response:
        """Answer a call, or fail as it was told to."""
        kinds = {fault.kind: fault for fault in self.faults.next(request.url.path)}
        if "latency" in kinds:
            await asyncio.sleep(kinds["latency"].seconds)
        if "drop_before_commit" in kinds:
            return await hang_up(request)
        if "status" in kinds:
            return failure(kinds["status"])
        answer = self._answer(call, request, body)
        if "drop_after_commit" in kinds:
            return await hang_up(request)
        if "status_after_commit" in kinds:
            return failure(kinds["status_after_commit"])
        return CutResponse(answer, request) if "cut_answer" in kinds else answer

    def _answer(self, call: Call, request: Request, body: bytes) -> Response:
        try:
            status, document = self._act(call, request, body)
        except RefusalError as refusal:
            return response(refusal.status, refusal.body(), refusal.headers)
        return response(status, document)

    def _act(self, call: Call, request: Request, body: bytes) -> Answer:
        key = self._key(request)
        if call.path in WRITES and call.method == "POST":
            self.service.limits.check_body(len(body))
        asked = call.read(request, body)
        meters = asked.meters
        if asked.meter_id:
            meters = [self.service.meters.by_id(key["workspace"], asked.meter_id)["name"]]
        self._check_rights(key, call.scope, meters)
        return call.act(key["workspace"], asked.what)

    def _key(self, request: Request) -> sqlite3.Row:
        """The row of the key that a request carries in one of three ways."""
        headers = request.headers
        token = headers.get("X-Open-Spanner-API-Key") or headers.get("X-API-Key") or ""
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        if not token and scheme in ("Bearer", "bearer"):
            token = bearer
        row = self.store.execute("SELECT * FROM api_keys WHERE key = ?", (token.strip(),))
        found: sqlite3.Row | None = row.fetchone()
        if found is None:
            raise RefusalError(401, "unauthorized", "unauthorized")
        return found

    def _check_rights(self, key: sqlite3.Row, scope: str, meters: list[str]) -> None:
        scopes = key["scopes"].split()
        group = scope.split(":")[0]
        if not {"*", scope, f"{group}:*"} & set(scopes):
            raise RefusalError(403, "forbidden", f"forbidden: not allowed to {scope}")
        allowed = json.loads(key["meters"])
        for meter in meters:
            if allowed and meter not in allowed:
                raise RefusalError(403, "forbidden", f'forbidden: api key cannot access "{meter}"')


def response(status: int, document: Any, headers: dict[str, str] | None = None) -> Response:
    if status == 204:
        return Response(status_code=204)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
    return Response(text, status, headers, "application/json")


def failure(fault: Fault) -> Response:
    """The error that a fault asks for."""
    code = CODES.get(fault.status, "unavailable")
    headers = {"Retry-After": str(round(fault.seconds))} if fault.status == 429 else {}
    return response(fault.status, RefusalError(fault.status, code, code).body(), headers)


async def hang_up(request: Request) -> Response:
    """Close the connection without a word; what is returned goes nowhere."""
    request.scope["transport"].abort()
    await asyncio.sleep(0.01)
    return Response(status_code=500)


class CutResponse(Response):
    """An answer whose second half never comes."""

    def __init__(self, whole: Response, request: Request) -> None:
        super().__init__(whole.body, whole.status_code, media_type="application/json")
        self.request = request

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        self.request.scope["transport"].close()
        await asyncio.sleep(0.01)
