"""Sail, an engine that speaks Spark SQL, asked through Arrow Flight SQL."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as flight


@contextmanager
def running_sail() -> Iterator[flight.FlightClient]:
    """Start a server of our own."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("sail")
    command = [str(program), "flight", "server", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            with flight.FlightClient(f"grpc://127.0.0.1:{port}") as client:
                client.wait_for_available(30)
                yield client
        finally:
            server.terminate()


def ask(client: flight.FlightClient, sql: str) -> pa.Table:
    """Ask a Flight SQL server: `CommandStatementQuery` of Arrow's FlightSql.proto, in an `Any`.

    Both messages have only fields of bytes here: field number, length in groups of seven bits,
    bytes. https://github.com/apache/arrow/blob/main/format/FlightSql.proto
    """

    def field(number: int, value: bytes) -> bytes:
        size, length = len(value), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + value

    kind = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    command = field(1, kind) + field(2, field(1, sql.encode()))
    info = client.get_flight_info(flight.FlightDescriptor.for_command(command))
    return pa.concat_tables(client.do_get(end.ticket).read_all() for end in info.endpoints)
