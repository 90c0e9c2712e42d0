"""A bucket on a real S3 server of this machine, and a data root whose files lie in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.small_root import METERS, SOURCES

FILES = "legacy/switch/{year}-{month}-{day}.csv"
SECRET = "a-secret-that-nobody-may-read"  # noqa: S105
DAYS = ("2024-01-01", "2024-01-02")


@dataclass
class Bucket:
    """A bucket and what a test does in it."""

    name: str
    client: Any

    def put(self, key: str, text: str | bytes) -> str:
        """Write an object; returns its URL."""
        body = text.encode() if isinstance(text, str) else text
        self.client.put_object(Bucket=self.name, Key=key, Body=body)
        return f"s3://{self.name}/{key}"

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def put_calls(self, day: str, *more: str) -> str:
        """Three good calls of a day, and other lines if wanted."""
        rows = [f"{day}/{n},acme,{n}.001,{day}T0{n}:30:00Z,eu" for n in (1, 2, 3)]
        lines = ["id,account,amount,at,region", *rows, *more]
        return self.put(f"switch/{day}/calls-1.csv", "\n".join(lines) + "\n")


@contextmanager
def s3_server() -> Iterator[str]:
    """Start an S3 server; gives its URL, and leaves it in the environment as a user would."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", url)
        patched.setenv("AWS_ACCESS_KEY_ID", "a-key-id-of-tests")
        patched.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield url
    server.stop()


def new_bucket(name: str) -> Bucket:
    """Make a bucket on the server of the environment."""
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    return Bucket(name, client)


def bucket_root(path: Path, bucket: Bucket) -> DataRoot:
    """A data root whose calls and whose old bill lie in a bucket."""
    for folder, name, text in (
        ("meters", "calls", METERS["calls"]),
        (
            "sources",
            "switch",
            SOURCES["switch"]
            .replace(FILES, f"s3://{bucket.name}/switch/{{year}}-{{month}}-{{day}}/calls-*.csv")
            .replace("to: 2024-01-05", "to: 2024-01-03"),
        ),
        (
            "sources",
            "bill",
            SOURCES["bill"].replace("legacy/bill.csv", f"s3://{bucket.name}/bill.csv"),
        ),
    ):
        (path / folder).mkdir(parents=True, exist_ok=True)
        (path / folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    load_catalog(DataRoot(path))
    return DataRoot(path)
