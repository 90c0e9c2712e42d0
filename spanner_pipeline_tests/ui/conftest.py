"""A real web server and daemon over a small root, and a real browser to look at them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spanner_pipeline.assets.instance import SETTINGS
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REPO = Path(__file__).parent.parent.parent
CHROMIUM = Path("/usr/bin/chromium")
SHOTS = REPO / "test-artifacts"
READY_SECONDS = 120

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    if not CHROMIUM.exists():
        pytest.skip("no /usr/bin/chromium; `make test-tools` installs it")
    api = pytest.importorskip("playwright.sync_api", reason="the package playwright is missing")
    SHOTS.mkdir(exist_ok=True)
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield opened
        opened.close()


@dataclass(frozen=True)
class Dagster:
    """A running `dagster dev` and the root that it serves."""

    url: str
    root: SmallRoot

    def ask(self, query: str, **variables: Any) -> Any:
        """Ask the web server's GraphQL."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            told = json.load(answer)
        assert "errors" not in told, told
        return told["data"]


@pytest.fixture(scope="session")
def dagster_dev(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Dagster]:
    """A root after a command line backfill in which one day failed and one was left out."""
    root = small_root(tmp_path_factory.mktemp("ui") / "root")
    root.cut("edge", DAYS[1])
    root.write_calls(DAYS[2], "7,acme,many,2024-01-03T09:00:00Z,eu")
    root.write_bill(acme="36.009")
    environment = {
        **os.environ,
        "SPANNER_DATA": str(root.path),
        "DAGSTER_HOME": str(root.dagster_home),
    }
    command_line = [sys.executable, "-m", "spanner_pipeline.cli", "backfill"]
    for source, last in (("edge", DAYS[2]), ("switch", DAYS[3])):
        subprocess.run(
            [*command_line, source, "--to", last], env=environment, cwd=REPO, capture_output=True
        )
    assert (root.dagster_home / "dagster.yaml").read_text(encoding="utf-8") == SETTINGS
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = root.path / "dagster-dev.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml"),
                *("-h", "127.0.0.1", "-p", str(port)),
            ],
            cwd=REPO,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    served = Dagster(f"http://127.0.0.1:{port}", root)
    try:
        _wait(served, process, log)
        yield served
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(served: Dagster, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the web server answers and has loaded the definitions."""
    loaded = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            entries = served.ask(loaded)["workspaceOrError"]["locationEntries"]
        except OSError:
            time.sleep(0.5)
            continue
        if [entry["loadStatus"] for entry in entries] == ["LOADED"]:
            return
        time.sleep(0.5)
    pytest.fail(f"dagster dev did not become ready:\n{log.read_text(encoding='utf-8')[-3000:]}")
