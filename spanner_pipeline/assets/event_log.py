"""Dagster's event log in SQLite, for many events: the stock one, with its files kept open.

The stock storage opens and closes two database files for every event. Closing the last connection
of a write-ahead log folds it back into the file and syncs that, so an event costs 30 to 60 ms; an
import sends several for each partition, and as many are sent before it begins. The files and their
content are the stock ones: a root may go from one storage to the other at any time.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy
from dagster import EventLogEntry, StringSource
from dagster._config import UserConfigSchema
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine

_OPEN_RUNS = 8
"""Files of so many runs stay open; each needs a few file descriptors."""

_WAIT_SECONDS = 60
"""How long a writer waits for another process."""


class OpenSqliteEventLogStorage(SqliteEventLogStorage):
    """The stock SQLite event log, over connections that stay open.

    A commit is in the write-ahead log when it returns, so a killed process loses nothing. It is
    synced when the log is folded back, so a power cut may lose the last events: their partitions
    are then shown as missing, and running them again finds them unchanged in the lake.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """Nothing is opened before it is asked for."""
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """`home` is the folder of the instance."""
        return {"home": StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "OpenSqliteEventLogStorage":
        """Where the stock storage keeps its files by default."""
        return cls(str(Path(config_value["home"]) / "history" / "runs"), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """What the base calls for every access: a transaction on one file."""
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            engine = sqlalchemy.create_engine(
                self.conn_string_for_shard(shard),
                poolclass=sqlalchemy.QueuePool,
                pool_size=1,
                connect_args={"timeout": _WAIT_SECONDS, "check_same_thread": False},
            )
            sqlalchemy.event.listen(engine, "connect", _sync_when_folding)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        runs = [name for name in self._engines if name != INDEX_SHARD_NAME]
        for name in runs[:-_OPEN_RUNS]:
            self._engines.pop(name).dispose()
        return self._engines[shard]

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, and touch the file of its run.

        Live pages watch that file, and a commit writes only beside it. A run has failed before its
        event says so: Dagster does it the other way round, and a daemon that reads the event in
        between finds a run that still goes on, does not try it again, and never looks at it anew.
        """
        failure = event.dagster_event
        if failure and failure.is_run_failure and self.has_instance:
            when = datetime.fromtimestamp(event.timestamp, UTC)
            self._instance.run_storage.handle_run_event(event.run_id, failure, when)
        super().store_event(event)
        Path(self.path_for_shard(event.run_id)).touch()

    def wipe(self) -> None:
        """Delete all events, with the files of runs."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close all files."""
        super().dispose()
        self._close()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _sync_when_folding(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
