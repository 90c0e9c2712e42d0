"""The contract server as tests start it: on a free port of this machine, over a SQLite file."""

from __future__ import annotations

import json
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from spanner_pipeline_tests.open_spanner.application import DEFAULT_SCOPES, Application
from spanner_pipeline_tests.open_spanner.events import answer
from spanner_pipeline_tests.open_spanner.faults import Faults
from spanner_pipeline_tests.open_spanner.limits import Limits
from spanner_pipeline_tests.open_spanner.service import Service
from spanner_pipeline_tests.open_spanner.storage import open_store

VERSIONS = ("0.1.12", "0.1.13")
START_SECONDS = 10


class TellingProtocol(HttpToolsProtocol):
    """HTTP whose requests know their connection, so that a fault can close it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["transport"] = self.transport  # type: ignore[typeddict-unknown-key]


@dataclass
class ContractServer:
    """A running contract server.

    Attributes:
        base_url: Where it listens.
        key: A key of the workspace `live`, with the default scopes.
        rehearsal_key: A key of a workspace of its own, `rehearsal`.
        path: Its SQLite file, which outlives it.
        faults: What shall go wrong.
        limits: What 0.1.13 limits; `limits.events = None` lifts the rate limit.
        version: Which server it is.
    """

    base_url: str
    key: str = field(repr=False)
    rehearsal_key: str = field(repr=False)
    path: Path
    faults: Faults
    limits: Limits
    version: str

    def new_key(
        self,
        workspace: str = "live",
        *,
        scopes: tuple[str, ...] = DEFAULT_SCOPES,
        meters: tuple[str, ...] = (),
    ) -> str:
        """Another key of a workspace, with other rights."""
        return new_key(self.path, workspace, scopes, meters)

    def events(self, workspace: str = "live") -> list[dict[str, Any]]:
        """All events that arrived, in the order they came, as the API shows them."""
        return stored_events(self.path, workspace)

    def count(self, workspace: str = "live") -> int:
        """How many events are stored."""
        with closing(sqlite3.connect(self.path)) as store:
            (events,) = store.execute(
                "SELECT count(*) FROM events WHERE workspace = ?", (workspace,)
            ).fetchone()
        return int(events)


def stored_events(path: Path, workspace: str = "live") -> list[dict[str, Any]]:
    """The events of a store, also after its server is gone."""
    with closing(sqlite3.connect(path)) as store:
        store.row_factory = sqlite3.Row
        rows = store.execute(
            "SELECT * FROM events WHERE workspace = ? ORDER BY rowid", (workspace,)
        )
        return [answer(row) for row in rows]


def new_key(
    path: Path,
    workspace: str,
    scopes: tuple[str, ...] = DEFAULT_SCOPES,
    meters: tuple[str, ...] = (),
) -> str:
    """Put a key in the store; a workspace is there with its first key."""
    key = f"osp_sk_{secrets.token_urlsafe(32)}"
    with closing(sqlite3.connect(path, timeout=10)) as store, store:
        store.execute(
            "INSERT INTO api_keys VALUES (?, ?, ?, ?)",
            (key, workspace, " ".join(scopes), json.dumps(meters)),
        )
    return key


@contextmanager
def contract_server(
    path: Path, *, version: str = "0.1.13", limits: Limits | None = None, port: int = 0
) -> Iterator[ContractServer]:
    """Run the server in a thread of its own while the block lasts.

    Args:
        path: Its SQLite file; made if it is not there, gone on with if it is.
        version: Which server it is, one of VERSIONS.
        limits: Other limits than those of the version.
        port: A port to listen on; 0 is any free one. The same port again lets a client
            meet a server that was away.
    """
    if version not in VERSIONS:
        raise ValueError(f"no contract for {version!r}; known are {', '.join(VERSIONS)}")
    limits = limits or Limits.of(version)
    faults = Faults()
    store = open_store(path)
    application = Application(store, Service(store, version, limits), faults)
    with closing(store), closing(listening_socket(port)) as listening:
        config = uvicorn.Config(
            application.starlette(),
            http=TellingProtocol,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            wait_until_started(server)
            yield ContractServer(
                base_url=f"http://127.0.0.1:{listening.getsockname()[1]}",
                key=new_key(path, "live"),
                rehearsal_key=new_key(path, "rehearsal"),
                path=path,
                faults=faults,
                limits=limits,
                version=version,
            )
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)


def listening_socket(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    return listening


def wait_until_started(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the contract server did not start within {START_SECONDS} s")
        time.sleep(0.005)
