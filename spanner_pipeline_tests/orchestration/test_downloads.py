"""Every run's report downloads from the stock web server, and nothing else does.

What the web server does below `/logs/` is not documented: these tests guard it.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import dagster as dg
import pytest

from spanner_pipeline.assets.backfill import run_backfill
from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.downloads import keep_for_download
from spanner_pipeline.assets.instance import SETTINGS, open_instance
from spanner_pipeline.assets.resources import REPORTS_URL
from spanner_pipeline_tests.small_root import SmallRoot, small_root

REPO = Path(__file__).parent.parent.parent
REPORT = dg.AssetKey(["reports", "billed_calls"])
NAMES = {
    "html": "report.html",
    "xlsx": "report.xlsx",
    "csv": "report.csv",
    "json": "verdict.json",
}
ODD = ("a/b", "..", "../../escaped", "größe & Maß", "100 %", "%2e%2e%2fdagster", "a.b", "x?y#z")
READY_SECONDS = 120


@dataclass(frozen=True)
class Kept:
    """What two runs left behind, and the address of the web server that serves it."""

    root: SmallRoot
    instance: dg.DagsterInstance
    links: list[dict[str, str]]
    files: list[dict[str, bytes]]
    port: int

    def get(self, path: str) -> tuple[int, bytes, str]:
        """Ask for a path as it is spelled: status, body, what the download is called."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body, answer.getheader("Content-Disposition") or ""


def links_of(instance: dg.DagsterInstance) -> dict[str, str]:
    """The links that the newest report shows."""
    [record] = instance.fetch_materializations(REPORT, limit=1).records
    assert record.asset_materialization is not None
    shown = record.asset_materialization.metadata["download"]
    assert isinstance(shown, dg.MarkdownMetadataValue)
    return {name.lower(): link for name, link in re.findall(r"\[(\w+)\]\((\S+?)\)", shown.value)}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    root = small_root(tmp_path_factory.mktemp("downloads") / "root")
    links, files = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        patch.delenv(REPORTS_URL, raising=False)
        for acme in ("36.008", "36.009"):  # the second run says something else
            root.write_bill(acme=acme)
            assert run_backfill(root, ["switch"]).broken == {}
            with open_instance(root) as instance:
                links.append(links_of(instance))
            folder = root.reports / "billed_calls"
            files.append({kind: (folder / name).read_bytes() for kind, name in NAMES.items()})
        with open_instance(root) as instance, serving(root) as port:
            yield Kept(root, instance, links, files, port)


class serving:  # noqa: N801
    """Plain `dagster-webserver` on the instance of a root."""

    def __init__(self, root: SmallRoot) -> None:
        self.root = root

    def __enter__(self) -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        home = str(self.root.dagster_home)
        self.log = self.root.path / "webserver.log"
        command = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml"]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "-h", "127.0.0.1", "-p", str(port)],
                cwd=REPO,
                env={**os.environ, "SPANNER_DATA": str(self.root.path), "DAGSTER_HOME": home},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return port
            except OSError:
                time.sleep(0.3)
        self.__exit__()
        pytest.fail(f"no web server:\n{self.log.read_text(encoding='utf-8')[-3000:]}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("kind", NAMES)
def test_each_link_gives_the_bytes_of_the_report_of_its_run(kept: Kept, kind: str) -> None:
    assert [set(links) for links in kept.links] == [set(NAMES)] * 2
    for links, files in zip(kept.links, kept.files, strict=True):
        status, body, called = kept.get(links[kind])
        assert status == 200
        assert body == files[kind]
        run = links[kind].split("/")[4]
        assert called.startswith("attachment")
        assert f'filename="reports__billed_calls__{run}__report.{kind}"' in called


@pytest.mark.slow
def test_a_report_of_an_earlier_run_is_another_file(kept: Kept) -> None:
    first, second = (kept.get(links["json"])[1] for links in kept.links)
    assert b'"PASS"' in first
    assert b'"FAIL"' in second


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_names_of_all_kinds_stay_below_the_folder_and_their_links_are_right(
    kept: Kept, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "made.csv"
    file.write_bytes(b"of " + name.encode())
    before = kept.root.written("dagster")
    links = keep_for_download(kept.instance, "a-run", name, {"csv": file}, kept.root.reports)
    new = kept.root.written("dagster").keys() - before.keys()
    assert len(new) == 1
    assert "/reports/" in new.pop()
    assert kept.get(links["csv"])[:2] == (200, b"of " + name.encode())


@pytest.mark.slow
@pytest.mark.parametrize("up", ["..", "%2e%2e", "%2E.", "%252e%252e", "..%2f..", "%5c..", "..%00"])
@pytest.mark.parametrize("below", ["", "reports/", "reports/billed_calls/"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_no_path_leads_out_of_the_folder(kept: Kept, up: str, below: str, times: int) -> None:
    assert (kept.root.dagster_home / "dagster.yaml").read_text(encoding="utf-8") == SETTINGS
    climb = "/".join([up] * times)
    for target in ("dagster/yaml", "dagster%2fyaml", "dagster.yaml", "dagster/dagster/yaml"):
        _, body, called = kept.get(f"/logs/{below}{climb}/{target}")
        assert b"Written by spanner_pipeline" not in body
        assert not called


@pytest.mark.slow
def test_no_absolute_path_is_served(kept: Kept) -> None:
    home = str(kept.root.dagster_home)
    for spelled in (home, quote(home, safe=""), quote(quote(home, safe=""), safe="")):
        for path in (f"/logs/{spelled}/dagster/yaml", f"/logs//{spelled}/dagster/yaml"):
            _, body, called = kept.get(path)
            assert b"Written by spanner_pipeline" not in body
            assert not called


def test_links_go_to_the_address_that_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv(REPORTS_URL, "https://bills.example.com/all/")
    root = small_root(tmp_path / "root")
    with open_instance(root) as instance:
        definitions = build_definitions(root)
        result = dg.materialize(
            [definitions.get_assets_def(REPORT)],
            resources=definitions.resources,
            instance=instance,
            selection=[REPORT],
        )
        for kind, link in links_of(instance).items():
            url = urlsplit(link)
            assert (url.scheme, url.netloc) == ("https", "bills.example.com")
            kept = root.reports / url.path.removeprefix("/all/")
            assert kept.read_bytes() == (root.reports / "billed_calls" / NAMES[kind]).read_bytes()
            assert result.run_id in url.path


def test_without_anything_that_serves_them_there_are_no_links(tmp_path: Path) -> None:
    file = tmp_path / "made.csv"
    file.write_bytes(b"made")
    with dg.DagsterInstance.ephemeral() as instance:
        assert keep_for_download(instance, "run", "bill", {"csv": file}, tmp_path / "out") == {}
    assert not (tmp_path / "out").exists()
