"""A real PostgreSQL server on this machine, for as long as a test needs it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

PASSWORD = "a-password-that-nobody-may-read"  # noqa: S105
USER = "reader"


@dataclass
class Postgres:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """As a source names the database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def run(self, *statements: str) -> None:
        """Change what the database holds."""
        with psycopg.connect(self.url, password=PASSWORD, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


def owner() -> tuple[pwd.struct_passwd, dict[str, int]]:
    """Whom a server may run as, which refuses to run as root, and how a process is started so."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()), {}
    user = pwd.getpwnam("nobody")
    return user, {"user": user.pw_uid, "group": user.pw_gid}


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server of our own; skips the test where PostgreSQL is not installed."""
    programs = [shutil.which(name) for name in ("initdb", "postgres")]
    if None in programs:
        pytest.skip("PostgreSQL is not installed here (apt install postgresql)")
    initdb, server = map(str, programs)
    user, as_user = owner()
    with tempfile.TemporaryDirectory() as made, closing(socket.socket()) as free:
        folder = Path(made)
        (folder / "password").write_text(PASSWORD)
        for path in (folder, folder / "password"):
            os.chown(path, user.pw_uid, user.pw_gid)
        data = folder / "data"
        subprocess.run(
            [
                *(initdb, "-D", data, "-U", USER, "-A", "scram-sha-256", "-E", "UTF8"),
                *("--no-sync", "--locale=C", f"--pwfile={folder / 'password'}"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **as_user,
        )
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        options = ("fsync=off", "shared_buffers=16MB", "listen_addresses=127.0.0.1")
        options += (f"unix_socket_directories={folder}", "timezone=Asia/Tokyo")
        with subprocess.Popen(
            [server, "-D", data, "-p", str(port), *(part for o in options for part in ("-c", o))],
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **as_user,
        ) as process:
            started = Postgres(port, process)
            try:
                _wait(started)
                yield started
            finally:
                process.send_signal(signal.SIGINT)  # ends open sessions too


def _wait(server: Postgres) -> None:
    for _ in range(200):
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("PostgreSQL does not start")
