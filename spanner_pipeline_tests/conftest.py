"""Data roots for tests, of real legacy data by YAML alone or made up, and the command line."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from alembic.script import ScriptDirectory

from spanner_pipeline import cli
from spanner_pipeline.root import DataRoot

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

ROOTS = Path(__file__).parent / "roots"
SHARED_DATA = Path(
    os.environ.get("SPANNER_SHARED_DATA") or Path(__file__).parent.parent.parent / "shared" / "data"
)

RealRoot = Callable[[str], DataRoot]
MakeRoot = Callable[..., DataRoot]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


ScriptDirectory.from_config = cache(ScriptDirectory.from_config)  # type: ignore[method-assign]
"""Dagster reads the scripts of its migrations anew for each database that it makes: one a run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the browser's long stories, then with files that have slow tests.

    So the workers of a run end at about the same time.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: ("ui" not in item.path.parts, item.path not in slow))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """With `--dist loadfile`, keep that order, and all of `ui/` together: it has one web server."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "ui" if "/ui/" in nodeid else super()._split_scope(nodeid)

    config.option.loadscopereorder = False
    return Together(config, log)


def _need_shared_data() -> None:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real legacy data in {SHARED_DATA}; name it in SPANNER_SHARED_DATA")


def copy_family(family: str, folder: Path) -> DataRoot:
    """Copy the YAML of one family of `roots/` and link its real legacy data."""
    _need_shared_data()
    root = folder / family
    shutil.copytree(ROOTS / family, root)
    (root / "legacy").symlink_to(SHARED_DATA)
    return DataRoot(root)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real legacy data, which no repository holds."""
    _need_shared_data()
    return SHARED_DATA


@pytest.fixture
def real_root(tmp_path: Path) -> RealRoot:
    """A root of its own for one family of `roots/`, with its real legacy data."""
    return lambda family: copy_family(family, tmp_path)


def write_root(
    root: Path,
    meters: Mapping[str, object],
    sources: Mapping[str, object],
    files: Mapping[str, str | bytes] | None = None,
) -> DataRoot:
    """Write a data root: meters and sources as texts or dicts, legacy files as texts or bytes."""
    for folder, declared in (("meters", meters), ("sources", sources)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for stem, content in declared.items():
            text = content if isinstance(content, str) else yaml.safe_dump(content)
            (root / folder / f"{stem}.yaml").write_text(text, encoding="utf-8")
    for file, content in (files or {}).items():
        path = root / "legacy" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return DataRoot(root)


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    """Write a data root of the test's own."""

    def make(*declared: Mapping[str, Any], name: str = "root") -> DataRoot:
        return write_root(tmp_path / name, *declared)

    return make


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process, as its console entry does."""
    monkeypatch.setenv("DAGSTER_HOME", "")

    def run(*arguments: str, data: DataRoot | None = None) -> Ended:
        given = [*arguments, *(["--data", str(data.path)] if data else [])]
        monkeypatch.setattr(sys, "argv", ["spanner-pipeline", *given])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
            sys.exit(0)
        written = capsys.readouterr()
        code = end.value.code
        assert isinstance(code, int)
        assert "Traceback" not in written.out + written.err
        return Ended(code, written.out, written.err)

    return run
