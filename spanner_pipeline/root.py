"""The data root: one folder with meters, sources and legacy files, into which runs write.

Belongs here: where things are, and the catalog of what is declared. Nothing here reads usage.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.document import Document, KeyPath, Model, read_document
from spanner_pipeline.configuration.source import Source, Usage
from spanner_pipeline.errors import ConfigurationError, Problem
from spanner_pipeline.meters import Meter

ENVIRONMENT_VARIABLE = "SPANNER_DATA"


@dataclass(frozen=True)
class DataRoot:
    """Paths below one data root.

    Attributes:
        path: The root.
        state: Where runs write, when not into the root itself: a rehearsal has its own.
    """

    path: Path
    state: Path | None = None

    @classmethod
    def locate(cls, path: Path | None = None) -> DataRoot:
        """The root given, else the one that `SPANNER_DATA` names, else `data`."""
        chosen = path or Path(os.environ.get(ENVIRONMENT_VARIABLE) or "data")
        return cls(chosen.absolute())

    @property
    def _made(self) -> Path:
        return self.state or self.path

    @property
    def lake(self) -> Path:
        """Merged events, one Delta table a meter, and the ledger of imports."""
        return self._made / "lake"

    @property
    def quarantine(self) -> Path:
        """Rejected rows and conflicts."""
        return self._made / "quarantine"

    @property
    def reports(self) -> Path:
        """Reconciliation reports."""
        return self._made / "reports"

    @property
    def staging(self) -> Path:
        """Work files of running imports; safe to delete when none runs."""
        return self._made / "staging"

    @property
    def dagster_home(self) -> Path:
        """The Dagster instance of this root."""
        return self._made / "dagster"

    def relative(self, path: Path) -> str:
        """How messages and rows name a file: below the root without it, else as it is."""
        return str(path.relative_to(self.path)) if path.is_relative_to(self.path) else str(path)


@dataclass(frozen=True)
class Catalog:
    """All that a data root declares."""

    meters: dict[str, Meter] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)

    @property
    def comparisons(self) -> list[tuple[Source, BillingTotal]]:
        """Every billing total with the source that declares it."""
        return [(s, total) for s in self.sources.values() for total in s.billing_totals]


def load_catalog(root: DataRoot) -> Catalog:
    """Read every meter and source of a root.

    Raises:
        ConfigurationError: With all mistakes of all files.
    """
    meters = _read_folder(root, "meters", Meter)
    sources = _read_folder(root, "sources", Source)
    _refuse_repeated(meters, "name")
    _refuse_repeated(sources, "source")
    for document, source in sources.declared:
        sources.problems += _check_usage(source, document, meters)
        sources.problems += _check_totals(source, document, meters, sources)
    if problems := meters.problems + sources.problems:
        raise ConfigurationError(problems)
    return Catalog(
        {meter.name: meter for _, meter in meters.declared},
        {source.source: source for _, source in sources.declared},
    )


@dataclass
class _Folder(Generic[Model]):
    """What the YAML files of one folder declare, and what is wrong with them."""

    declared: list[tuple[Document, Model]] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


def _read_folder(root: DataRoot, name: str, model: type[Model]) -> _Folder[Model]:
    folder: _Folder[Model] = _Folder()
    if not (root.path / name).is_dir():
        message = f"the data root has no folder {name}/. Create it, or name another root."
        folder.problems.append(Problem(str(root.path), 0, "", message))
    for path in sorted((root.path / name).glob("*.y*ml")):
        names = {path.stem}
        try:
            document = read_document(path, root.relative(path))
            if isinstance(document.data, dict):
                names.add(str(document.data.get("name")))
            folder.declared.append((document, document.read_as(model)))
        except ConfigurationError as error:
            folder.problems += error.problems
            folder.unreadable |= names
    return folder


def _refuse_repeated(folder: _Folder[Meter] | _Folder[Source], key: str) -> None:
    first: dict[str, str] = {}
    for document, declared in folder.declared:
        name = getattr(declared, key)
        file = first.setdefault(name, document.file)
        if file != document.file:
            message = f"`{name}` is declared in {file} too. Choose another name."
            folder.problems.append(document.problem((key,), message))


def _check_meter(
    name: str, path: KeyPath, document: Document, meters: _Folder[Meter]
) -> list[Problem]:
    known = sorted(meter.name for _, meter in meters.declared)
    if name in known or name in meters.unreadable:
        return []
    message = f"`{name}` is not in meters/ (known: {', '.join(known) or 'none'}). Declare it there."
    return [document.problem(path, message)]


def _check_usage(source: Source, document: Document, meters: _Folder[Meter]) -> list[Problem]:
    problems = []
    by_name = {meter.name: meter for _, meter in meters.declared}
    for index, usage in enumerate(source.usage):
        path = ("usage", index)
        problems += _check_meter(usage.meter, (*path, "meter"), document, meters)
        if usage.meter in by_name:
            problems += _check_dimensions(usage, by_name[usage.meter], path, document)
    return problems


def _check_dimensions(
    usage: Usage, meter: Meter, path: KeyPath, document: Document
) -> list[Problem]:
    path = (*path, "dimensions")
    required = [dimension.name for dimension in meter.dimensions if dimension.must_be_present]
    return _check_known(usage.dimensions, meter, path, document) + [
        document.problem(
            path, f"meter {meter.name} requires `{name}`. Map it, such as `{name}: <column>`."
        )
        for name in required
        if name not in usage.dimensions
    ]


def _check_known(
    named: Iterable[str], meter: Meter, path: KeyPath, document: Document
) -> list[Problem]:
    """Dimensions that a meter does not have."""
    names = [dimension.name for dimension in meter.dimensions]
    has = f"it has {', '.join(names)}" if names else "it has none"
    return [
        document.problem(
            (*path, name),
            f"meter {meter.name} has no such dimension ({has}). Remove it, or add it to the meter.",
        )
        for name in named
        if name not in names
    ]


def _check_totals(
    source: Source, document: Document, meters: _Folder[Meter], sources: _Folder[Source]
) -> list[Problem]:
    problems = []
    by_name = {meter.name: meter for _, meter in meters.declared}
    names = [total.name for _, other in sources.declared for total in other.billing_totals]
    for index, total in enumerate(source.billing_totals):
        path = ("billing_totals", index)
        problems += _check_meter(total.meter, (*path, "meter"), document, meters)
        for key, asked in (("dimensions", total.dimensions), ("only", total.only)):
            if total.meter in by_name:
                problems += _check_known(asked, by_name[total.meter], (*path, key), document)
        if names.count(total.name) > 1:
            message = f"another comparison is called `{total.name}`. Choose another name."
            problems.append(document.problem((*path, "name"), message))
    return problems
