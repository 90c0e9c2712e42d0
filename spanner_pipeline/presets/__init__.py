"""Ready sources for known legacy systems: YAML that is copied into a data root and edited there.

A preset is a folder beside this file, laid out as a data root is: `sources/` and `meters/`. Lines
that each user must look at end in `# EDIT: …`. Belongs here: finding and copying presets. Not here:
what their YAML means (`configuration`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from spanner_pipeline.errors import PipelineError, Problem
from spanner_pipeline.root import DataRoot, load_sound
from spanner_pipeline.whole import written_whole

_FOLDER = Path(__file__).parent
_MARK = "# EDIT:"


class PresetError(PipelineError):
    """A preset that does not exist, or that would overwrite what a data root has."""


@dataclass(frozen=True)
class Preset:
    """A legacy system's ready sources and the meters that they feed.

    Attributes:
        name: What it is called; its first source has this name.
        folder: Where its YAML is.
    """

    name: str
    folder: Path

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Its YAML files relative to a data root, meters first."""
        return tuple(str(p.relative_to(self.folder)) for p in sorted(self.folder.glob("*/*.yaml")))

    @property
    def description(self) -> str:
        """What its first source says of itself."""
        text = (self.folder / "sources" / f"{self.name}.yaml").read_text(encoding="utf-8")
        return str(yaml.safe_load(text)["description"])

    def stems(self, kind: str) -> list[str]:
        """The names of its `sources` or `meters`."""
        return [Path(file).stem for file in self.files if file.startswith(f"{kind}/")]


@dataclass(frozen=True)
class Added:
    """What adding a preset did.

    Attributes:
        written: Files that are new in the root.
        kept: Meters that the root had already, and keeps as they are.
        to_edit: File, line number and text of each line that the user must look at.
        problems: What is wrong with the written files in this root, such as a name that it has.
    """

    written: tuple[str, ...]
    kept: tuple[str, ...]
    to_edit: tuple[tuple[str, int, str], ...]
    problems: tuple[Problem, ...]


def list_presets() -> list[Preset]:
    """All presets, by name."""
    return [Preset(p.parent.name, p.parent) for p in sorted(_FOLDER.glob("*/sources"))]


def add_preset(root: DataRoot, name: str) -> Added:
    """Copy a preset's YAML into a data root; nothing that is there is changed.

    A meter that the root has under the same file name stays as it is.

    Raises:
        PresetError: When there is no such preset, or the root has one of its sources. Nothing is
            written then.
    """
    known = {preset.name: preset for preset in list_presets()}
    if name not in known:
        raise PresetError(f"there is no preset `{name}` (known: {', '.join(known)}).")
    preset = known[name]
    present = [file for file in preset.files if (root.path / file).exists()]
    if taken := ", ".join(file for file in present if file.startswith("sources/")):
        raise PresetError(
            f"{root.path} has {taken} already, and a preset overwrites nothing. "
            "Edit it there, or move it away first."
        )
    new = [file for file in preset.files if file not in present]
    for file in new:
        _copy(preset.folder / file, root.path / file)
    for needed in ("meters", "sources"):
        (root.path / needed).mkdir(exist_ok=True)
    problems = [
        problem
        for broken in load_sound(root)[1]
        for problem in broken.problems
        if set(broken.files) & set(preset.files)
    ]
    edits = tuple(edit for file in new for edit in _edits(root, file))
    return Added(tuple(new), tuple(present), edits, tuple(problems))


def _copy(preset: Path, file: Path) -> None:
    with written_whole(file, replace=False) as work:
        work.write_bytes(preset.read_bytes())


def _edits(root: DataRoot, file: str) -> Iterator[tuple[str, int, str]]:
    lines = (root.path / file).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if _MARK in line:
            yield file, number, line.strip()
