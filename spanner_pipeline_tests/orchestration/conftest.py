"""A small root and its instance, anew for each test; files that share theirs have their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline_tests.small_root import SmallRoot, small_root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRoot:
    monkeypatch.setenv("DAGSTER_HOME", "")
    return small_root(tmp_path / "root")


@pytest.fixture
def instance(root: SmallRoot) -> Iterator[dg.DagsterInstance]:
    with open_instance(root) as opened:
        yield opened
