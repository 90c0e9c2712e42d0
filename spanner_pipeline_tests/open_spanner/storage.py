"""The store of the contract server: one SQLite file that others may read meanwhile."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS api_keys (
    key TEXT PRIMARY KEY, workspace TEXT NOT NULL, scopes TEXT NOT NULL, meters TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS meters (
    id TEXT PRIMARY KEY, workspace TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL,
    UNIQUE (workspace, name)
);
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY, workspace TEXT NOT NULL, idempotency_key TEXT, subject TEXT NOT NULL,
    meter TEXT NOT NULL, quantity REAL NOT NULL, event_time TEXT NOT NULL,
    received_at TEXT NOT NULL, metadata TEXT NOT NULL,
    UNIQUE (workspace, idempotency_key)
);
CREATE INDEX IF NOT EXISTS events_by_time ON events (workspace, meter, event_time);
CREATE TABLE IF NOT EXISTS batches (
    workspace TEXT NOT NULL, batch_key TEXT NOT NULL, response TEXT NOT NULL,
    PRIMARY KEY (workspace, batch_key)
);
CREATE TABLE IF NOT EXISTS rollups (
    workspace TEXT NOT NULL, meter TEXT NOT NULL, subject TEXT NOT NULL, hour TEXT NOT NULL,
    metadata TEXT NOT NULL, events INTEGER NOT NULL, total REAL NOT NULL,
    smallest REAL NOT NULL, largest REAL NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL,
    PRIMARY KEY (workspace, meter, subject, hour, metadata)
);
"""


class CompensatedSum:
    """SUM as SQLite has it since 3.43: without the rounding errors of plain addition."""

    def __init__(self) -> None:
        self.parts: list[float] = []

    def step(self, value: float | None) -> None:
        if value is not None:
            self.parts.append(value)

    def finalize(self) -> float:
        return math.fsum(self.parts)


def shortest(value: float | str | None) -> str | None:
    """A JSON value as text, doubles in their fewest digits, as newer SQLites cast them."""
    if not isinstance(value, float):
        return None if value is None else str(value)
    mantissa, mark, exponent = repr(value).partition("e")
    return mantissa + (".0" if mark and "." not in mantissa else "") + mark + exponent


def open_store(path: Path) -> sqlite3.Connection:
    """A connection for the thread of the server; transactions are begun by hand."""
    store = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    store.row_factory = sqlite3.Row
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = NORMAL")
    store.executescript(SCHEMA)
    store.create_function("shortest", 1, shortest, deterministic=True)
    store.create_aggregate("exact_sum", 1, CompensatedSum)  # type: ignore[arg-type]
    return store
