"""A real browser, and a real web server and daemon for it to look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spanner_pipeline_tests.ui.control_room import REPO, Served, control_room, make_ui

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
SHOTS = REPO / "test-artifacts"
PATIENCE_MS = 60_000
LOADED = """() => !/Loading|fetching statuses/.test(document.body.innerText)"""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Served]:
    """One `make ui` for all stories; each changes sources of its own."""
    with make_ui(control_room(tmp_path_factory.mktemp("ui"))) as started:
        yield started


@pytest.fixture
def ui(browser: Browser, served: Served) -> Iterator[Page]:
    """A page of the web server."""
    with opened(browser, served) as page:
        yield page


@contextmanager
def opened(browser: Browser, served: Served) -> Iterator[Page]:
    """Open a page of the web server."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, base_url=served.url)
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def keep(page: Page, name: str) -> None:
    """Keep what a page shows once it is loaded, for people to look at."""
    page.wait_for_function(LOADED)
    page.screenshot(path=SHOTS / f"{name}.png")


def see(page: Page, text: str) -> None:
    """Wait until a page shows a text; some texts are there twice, once hidden to be measured."""
    page.get_by_text(text, exact=True).filter(visible=True).first.wait_for()


def visit_until(page: Page, address: str, text: str, seconds: int = 180) -> None:
    """Visit a page again and again until it shows a text: not all pages follow what happens."""
    from playwright.sync_api import TimeoutError as NotShown

    deadline = time.monotonic() + seconds
    while True:
        page.goto(address)
        try:
            page.get_by_text(text).first.wait_for(timeout=10_000)
            return
        except NotShown:
            assert time.monotonic() < deadline, f"{address} does not show {text!r}"
