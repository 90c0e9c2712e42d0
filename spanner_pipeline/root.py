"""The data root: one folder with meters, sources and legacy files, into which runs write.

Belongs here: where things are, and the catalog of what is declared. Nothing here reads usage.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.delivery import FILE, Delivery
from spanner_pipeline.configuration.document import read_document
from spanner_pipeline.configuration.folder import Broken, Folder, read_folder, refuse_repeated
from spanner_pipeline.configuration.references import (
    check_delivery,
    check_needed,
    check_totals,
    check_usage,
)
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.errors import ConfigurationError, PipelineError, Problem
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
    def repairs(self) -> Path:
        """Rejected rows as a person mended them; part of what is delivered, not made by runs."""
        return self.path / "repairs"

    @property
    def reports(self) -> Path:
        """Reconciliation reports."""
        return self._made / "reports"

    @property
    def deliveries(self) -> Path:
        """What was sent to Open Spanner; it must outlive the lake, which can be made anew."""
        return self._made / "deliveries"

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
    """All that a data root declares; `delivery` is None where it is broken."""

    meters: dict[str, Meter] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    delivery: Delivery | None = field(default_factory=Delivery)

    def cut_over(self, meter: str) -> datetime | None:
        """The first instant of live traffic of a meter, where it is declared.

        Raises:
            PipelineError: When what is declared is broken: nobody may deliver without it.
        """
        if self.delivery is None:
            raise PipelineError(f"{FILE} is broken, so the cut-over is not known. Mend it first.")
        return self.delivery.cut_over.get(meter)

    @property
    def comparisons(self) -> list[tuple[Source, BillingTotal]]:
        """Every billing total with the source that declares it."""
        return [(s, total) for s in self.sources.values() for total in s.billing_totals]


def load_catalog(root: DataRoot) -> Catalog:
    """Read every meter and source of a root.

    Raises:
        ConfigurationError: With all mistakes of all files.
    """
    meters, sources = _read_root(root)
    delivery, wrong = _read_delivery(root, meters)
    if problems := meters.problems + sources.problems + wrong:
        raise ConfigurationError(problems)
    return Catalog(meters.sound, sources.sound, delivery)


def load_sound(root: DataRoot) -> tuple[Catalog, list[Broken]]:
    """Read what can be used of a root, and say what cannot: for those who go on with the rest.

    Of files that declare one name, none is used: which one is meant, nobody knows. A source that
    needs a broken meter, for usage or for a comparison, is broken as well.
    """
    meters, sources = _read_root(root)
    for document, source in sources.declared:
        sources.problems += check_needed(source, document, meters)
    missing = [p for p in meters.problems + sources.problems if p.file == str(root.path)]
    broken = [Broken("root", root.path.name, (), tuple(missing))] if missing else []
    broken += meters.broken + sources.broken
    delivery, wrong = _read_delivery(root, meters)
    if wrong:
        broken.append(Broken("delivery", Path(FILE).stem, (FILE,), tuple(wrong)))
    return Catalog(meters.sound, sources.sound, delivery), broken


def _read_delivery(root: DataRoot, meters: Folder[Meter]) -> tuple[Delivery | None, list[Problem]]:
    """What holds for deliveries, or what is wrong with it."""
    path = root.path / FILE
    if not path.exists():
        return Delivery(), []
    try:
        document = read_document(path, FILE)
        declared = document.read_as(Delivery)
    except ConfigurationError as error:
        return None, list(error.problems)
    problems = check_delivery(declared, document, meters)
    return None if problems else declared, problems


def _read_root(root: DataRoot) -> tuple[Folder[Meter], Folder[Source]]:
    meters = read_folder(root.path, "meter", Meter)
    sources = read_folder(root.path, "source", Source)
    refuse_repeated(meters)
    refuse_repeated(sources)
    for document, source in sources.declared:
        sources.problems += check_usage(source, document, meters)
        sources.problems += check_totals(source, document, meters, sources)
    return meters, sources
