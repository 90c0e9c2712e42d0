"""The command line as a process: on a terminal, killed, interrupted, twice at once."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.small_root import SmallRoot, small_root
from spanner_pipeline_tests.test_cli import COMMAND, MADE, REPO, assert_whole


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    return small_root(tmp_path / "root")


@pytest.mark.slow
def test_progress_appears_on_a_terminal(root: SmallRoot) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "backfill", "switch", "--data", str(root.path)],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=REPO,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
        os.close(ours)
        assert process.wait() == 0
    assert b"switch" in shown
    assert shown.count(b"partitions") > 1, "the bar is drawn more than once"


def test_two_backfills_at_once_leave_every_key_once(root: SmallRoot) -> None:
    command = [*COMMAND, "backfill", "--data", str(root.path)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPO)
        for _ in range(2)
    ]
    for process in both:
        _, error = process.communicate()
        assert process.returncode == 0, error.decode()
    assert_whole(root)
    assert list((root.path / "staging").iterdir()) == []


@pytest.mark.slow
def test_after_killed_backfills_the_next_one_completes_the_lake(root: SmallRoot, run: Run) -> None:
    imports = root.lake / "imports"
    for wanted in (1, 3, 6):
        process = subprocess.Popen(
            [*COMMAND, "backfill", "--data", str(root.path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=REPO,
        )
        while process.poll() is None and len(list(imports.rglob("*.json"))) < wanted:
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it was not killed midway"
    ended = run("backfill", data=root)
    assert ended.code == 0, ended.err
    assert_whole(root)
    before = root.written(*MADE)
    assert "Nothing changed" in run("backfill", data=root).out
    assert root.written(*MADE) == before


@pytest.mark.slow
def test_an_interrupted_backfill_ends_without_a_stack_trace(root: SmallRoot) -> None:
    process = subprocess.Popen(
        [*COMMAND, "backfill", "switch", "--data", str(root.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPO,
    )
    while process.poll() is None and not list((root.lake / "imports").rglob("*.json")):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in out + error
