"""The data root: one folder with meters, sources and legacy files, into which runs write.

Belongs here: where things are, and the catalog of what is declared. Nothing here reads usage.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from spanner_pipeline.configuration.document import Document, read_document
from spanner_pipeline.configuration.source import BillingTotal, Source
from spanner_pipeline.errors import ConfigurationError, Problem
from spanner_pipeline.meters import Meter

ENVIRONMENT_VARIABLE = "SPANNER_DATA"


@dataclass(frozen=True)
class DataRoot:
    """Paths below one data root."""

    path: Path

    @classmethod
    def locate(cls, path: Path | None = None) -> DataRoot:
        """The root given, else the one that `SPANNER_DATA` names, else `data`."""
        chosen = path or Path(os.environ.get(ENVIRONMENT_VARIABLE) or "data")
        return cls(chosen.absolute())

    @property
    def lake(self) -> Path:
        """Merged events, one Delta table a meter, and the ledger of imports."""
        return self.path / "lake"

    @property
    def quarantine(self) -> Path:
        """Rejected rows and conflicts."""
        return self.path / "quarantine"

    @property
    def reports(self) -> Path:
        """Reconciliation reports."""
        return self.path / "reports"

    @property
    def staging(self) -> Path:
        """Work files of running imports; safe to delete when none runs."""
        return self.path / "staging"

    @property
    def dagster_home(self) -> Path:
        """The Dagster instance of this root."""
        return self.path / "dagster"

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
    problems: list[Problem] = []
    meters: dict[str, Meter] = {}
    sources: dict[str, Source] = {}
    documents: dict[str, Document] = {}
    for folder in ("meters", "sources"):
        if not (root.path / folder).is_dir():
            message = f"the data root has no folder {folder}/. Create it, or name another root."
            problems.append(Problem(str(root.path), 0, "", message))
        for path in sorted((root.path / folder).glob("*.y*ml")):
            file = root.relative(path)
            try:
                document = read_document(path, file)
                if folder == "meters":
                    meter = document.read_as(Meter)
                    if meter.name in meters:
                        problems.append(document.problem(("name",), "another file has this meter."))
                    meters[meter.name] = meter
                else:
                    source = document.read_as(Source)
                    if source.source in sources:
                        problems.append(
                            document.problem(("source",), "another file has this source.")
                        )
                    sources[source.source] = source
                    documents[source.source] = document
            except ConfigurationError as error:
                problems.extend(error.problems)
    for name, source in sources.items():
        problems.extend(_check_meters(source, documents[name], meters))
    names = [total.name for source in sources.values() for total in source.billing_totals]
    for name, source in sources.items():
        for index, total in enumerate(source.billing_totals):
            if names.count(total.name) > 1:
                key = ("billing_totals", index, "name")
                problems.append(documents[name].problem(key, "another comparison has this name."))
    if problems:
        raise ConfigurationError(problems)
    return Catalog(meters, sources)


def _check_meters(source: Source, document: Document, meters: dict[str, Meter]) -> list[Problem]:
    problems = []
    known = ", ".join(sorted(meters)) or "none"
    for index, usage in enumerate(source.usage):
        path = ("usage", index)
        meter = meters.get(usage.meter)
        if meter is None:
            message = f"`{usage.meter}` is not in meters/ (known: {known})."
            problems.append(document.problem((*path, "meter"), message))
            continue
        defined = {dimension.name: dimension for dimension in meter.dimensions}
        for name in usage.dimensions.keys() - defined.keys():
            message = f"meter {meter.name} has no such dimension (it has {', '.join(defined)})."
            problems.append(document.problem((*path, "dimensions", name), message))
        for dimension in meter.dimensions:
            if dimension.must_be_present and dimension.name not in usage.dimensions:
                message = f"dimension `{dimension.name}` is required by meter {meter.name}. Map it."
                problems.append(document.problem((*path, "dimensions"), message))
    for index, total in enumerate(source.billing_totals):
        if total.meter not in meters:
            message = f"`{total.meter}` is not in meters/ (known: {known})."
            problems.append(document.problem(("billing_totals", index, "meter"), message))
    return problems
