"""The Makefile's targets: listed, and aimed at the data root that was named."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent


def make(*arguments: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("DATA", "MAKEFLAGS")}
    kept.pop("SPANNER_DATA", None)
    ended = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        capture_output=True,
        text=True,
        cwd=REPO,
        env={**kept, **environment},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("arguments", [[], ["help"]])
def test_help_lists_the_targets(arguments: list[str]) -> None:
    listed = {line.split()[0] for line in make(*arguments).splitlines()}
    assert listed >= {"backfill", "ui", "test", "test-slow", "test-ui", "lint", "format", "clean"}


def test_a_backfill_goes_into_the_root_that_was_named() -> None:
    assert 'backfill --data "data"' in make("-n", "backfill")
    assert 'backfill --data "/x y"' in make("-n", "backfill", "DATA=/x y")
    assert 'backfill --data "/elsewhere"' in make("-n", "backfill", SPANNER_DATA="/elsewhere")


def test_the_ui_opens_the_root_that_was_named() -> None:
    shown = make("-n", "ui", "DATA=/elsewhere", "PORT=3100")
    assert 'SPANNER_DATA="/elsewhere"' in shown
    assert 'DAGSTER_HOME="/elsewhere/dagster"' in shown
    assert "-h 127.0.0.1 -p 3100" in shown


def test_cleaning_spares_what_people_wrote() -> None:
    shown = make("-n", "clean", "DATA=/elsewhere")
    assert '"/elsewhere/lake"' in shown
    for kept in ("meters", "sources", "legacy"):
        assert f"/elsewhere/{kept}" not in shown
