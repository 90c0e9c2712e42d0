"""A real MariaDB server on this machine, which speaks MySQL's protocol, while a test needs it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import pymysql
import pytest

from spanner_pipeline_tests.sources.postgres import PASSWORD, USER, owner


@dataclass
class MariaDB:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """As a source names the database."""
        return f"mysql://{USER}@127.0.0.1:{self.port}/billing"

    def run(self, *statements: str) -> None:
        """Change what the database holds."""
        with pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            database="billing",
            autocommit=True,
        ) as connection:
            for statement in statements:
                connection.cursor().execute(statement)


@contextmanager
def mariadb() -> Iterator[MariaDB]:
    """Start a server of our own; skips the test where MariaDB is not installed."""
    programs = [shutil.which(name) for name in ("mariadb-install-db", "mariadbd")]
    if None in programs:
        pytest.skip("MariaDB is not installed here (make test-tools)")
    install, server = map(str, programs)
    user, as_user = owner()  # the server refuses to run as root
    with tempfile.TemporaryDirectory() as made, closing(socket()) as free:
        folder = Path(made)
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir()
        shutil.chown(data, user.pw_uid, user.pw_gid)
        first = folder / "first.sql"
        first.write_text(
            "CREATE DATABASE IF NOT EXISTS billing CHARACTER SET utf8mb4;"
            f"\nCREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';"
            f"\nGRANT ALL ON *.* TO '{USER}'@'127.0.0.1';\n"
        )
        subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", "--skip-test-db"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **as_user,
        )
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        with subprocess.Popen(
            [
                *(server, "--no-defaults", f"--datadir={data}", f"--port={port}"),
                *("--bind-address=127.0.0.1", f"--socket={data / 'socket'}"),
                *(f"--init-file={first}", "--default-time-zone=+09:00", "--skip-name-resolve"),
                *("--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0"),
            ],
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **as_user,
        ) as process:
            started = MariaDB(port, process)
            try:
                _wait(started)
                yield started
            finally:
                process.kill()


def _wait(server: MariaDB) -> None:
    for _ in range(200):
        try:
            server.run("SELECT 1")
        except pymysql.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("MariaDB does not start")
