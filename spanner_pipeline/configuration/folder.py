"""A folder of YAML files: what they declare, and what is wrong with which of them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal

from spanner_pipeline.configuration.document import Document, Model, read_document
from spanner_pipeline.errors import ConfigurationError, Problem

_NAME_KEY = {"meter": "name", "source": "source"}


@dataclass(frozen=True)
class Broken:
    """A meter, a source, or what holds for deliveries, that cannot be used as it is declared.

    Attributes:
        kind: What it is; `root` where a folder of declarations is missing.
        name: What it calls itself as far as that can be read, else the name of its file.
        files: Its YAML files, relative to the root: several where they declare one name.
        problems: All that is wrong with it.
    """

    kind: Literal["meter", "source", "delivery", "root"]
    name: str
    files: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass
class Folder(Generic[Model]):
    """What the YAML files of one folder declare, and what is wrong with them."""

    kind: Literal["meter", "source"]
    declared: list[tuple[Document, Model]] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def name_of(self, declared: Model) -> str:
        """What a meter or source calls itself."""
        return str(getattr(declared, _NAME_KEY[self.kind]))

    @property
    def wrong(self) -> dict[str, str]:
        """By file, the names of what cannot be used."""
        names = {document.file: self.name_of(model) for document, model in self.declared}
        counts = Counter(names.values())
        faulty = {problem.file for problem in self.problems}
        wrong = {f: name for f, name in names.items() if f in faulty or counts[name] > 1}
        return wrong | self.unreadable

    @property
    def sound(self) -> dict[str, Model]:
        """By name, what can be used."""
        wrong = self.wrong
        return {self.name_of(m): m for document, m in self.declared if document.file not in wrong}

    @property
    def broken(self) -> list[Broken]:
        """What cannot be used, by name."""
        files: dict[str, list[str]] = {}
        for file, name in sorted(self.wrong.items()):
            files.setdefault(name, []).append(file)
        return [
            Broken(
                self.kind,
                name,
                tuple(found),
                tuple(sorted(p for p in self.problems if p.file in found)),
            )
            for name, found in files.items()
        ]


def read_folder(root: Path, kind: Literal["meter", "source"], model: type[Model]) -> Folder[Model]:
    """Read all YAML files of `meters/` or `sources/`; what is wrong is kept, not raised."""
    folder: Folder[Model] = Folder(kind)
    name = f"{kind}s"
    if not (root / name).is_dir():
        message = f"the data root has no folder {name}/. Create it, or name another root."
        folder.problems.append(Problem(str(root), 0, "", message))
    for path in sorted((root / name).glob("*.y*ml")):
        file = f"{name}/{path.name}"
        try:
            document = read_document(path, file)
            folder.declared.append((document, document.read_as(model)))
        except ConfigurationError as error:
            folder.problems += error.problems
            folder.unreadable[file] = _said_name(path, _NAME_KEY[kind])
    return folder


def _said_name(path: Path, key: str) -> str:
    """The name that a file gives, however broken the rest is; else the name of the file."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError:
        return path.stem
    found = re.search(rf"""^{key}: *(["']?)([^"'#\n]+)\1 *(#.*)?$""", text, re.MULTILINE)
    return found[2].strip() if found else path.stem


def refuse_repeated(folder: Folder[Model]) -> None:
    """Find names that several files declare."""
    first: dict[str, str] = {}
    for document, declared in folder.declared:
        name = folder.name_of(declared)
        file = first.setdefault(name, document.file)
        if file != document.file:
            message = f"`{name}` is declared in {file} too. Choose another name."
            folder.problems.append(document.problem((_NAME_KEY[folder.kind],), message))
