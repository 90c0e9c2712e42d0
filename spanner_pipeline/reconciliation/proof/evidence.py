"""What an evidence pack holds: all that one comparison rests on and says.

Belongs here: the members. Not here: the zip (`pack`), or whether it is still true (`verify`).
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spanner_pipeline.configuration.document import read_document
from spanner_pipeline.lake.ledger import whoever
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.proof.fingerprint import (
    PARTS,
    Facts,
    canonical,
    facts,
    participants,
)
from spanner_pipeline.reconciliation.proof.pack import write_pack
from spanner_pipeline.reconciliation.proof.signoff import signoff_file
from spanner_pipeline.reconciliation.report.files import report_folder
from spanner_pipeline.reconciliation.spelling import plain
from spanner_pipeline.root import Catalog, DataRoot

CONFIGURATION = "configuration/"
REPORT = "report/"

_ENGINES = ("duckdb", "polars", "pyarrow", "deltalake")
_NO_REPORT = (".zip", ".tmp")

_README = """\
Evidence of the comparison `{name}`{period}: an old bill against imported usage.
Verdict {verdict}; old {old}, new {new}, unexplained {unexplained} ({unit}).
Fingerprint {fingerprint}

It binds {parts};
it is the SHA-256 of their digests, as canonical JSON (sorted keys, indent 1, final line feed).
manifest.json has the digest of every member but run.json, which has its own.
configuration/ has the YAML as it was, report/ the report, run.json who made this, and when.
To check this file alone:        spanner-pipeline verify FILE.zip --pack-only
To recompute all from the data:  spanner-pipeline verify FILE.zip --data ROOT
Anyone can make another pack; that this one is ours, the signatures on its fingerprint say.
"""


def write_evidence(
    root: DataRoot, catalog: Catalog, comparison: Comparison, path: Path | None = None
) -> Path:
    """Write the evidence pack of a comparison.

    Args:
        root: The data root.
        catalog: Its meters and sources.
        comparison: The comparison, just made.
        path: The zip; `evidence.zip` beside the report when None.

    Returns:
        Where it is.
    """
    known = facts(root, catalog, comparison)
    path = path or report_folder(root, comparison) / "evidence.zip"
    members = {
        **known.parts,
        "README.txt": _readme(comparison, known),
        "versions.json": canonical(_versions()),
        **{CONFIGURATION + k: v for k, v in configuration(root, catalog, comparison).items()},
        **{REPORT + file.name: file.read_bytes() for file in _report_files(root, comparison)},
    }
    write_pack(path, known.fingerprint, members, _run(comparison))
    return path


def configuration(root: DataRoot, catalog: Catalog, comparison: Comparison) -> dict[str, bytes]:
    """The YAML files of the meter and the sources that take part, verbatim, by name."""
    sources = {source.source for source in participants(catalog, comparison)}
    found = {}
    for folder, key, names in (
        ("meters", "name", {comparison.meter.name}),
        ("sources", "source", sources),
    ):
        for path in sorted((root.path / folder).glob("*.y*ml")):
            name = root.relative(path)
            if read_document(path, name).data.get(key) in names:
                found[name] = path.read_bytes()
    return found


def _report_files(root: DataRoot, comparison: Comparison) -> Iterator[Path]:
    folder = report_folder(root, comparison)
    files = {file.name: file for file in folder.glob("*") if file.is_file()}
    files[signoff_file(root, comparison).name] = signoff_file(root, comparison)
    for _, file in sorted(files.items()):
        if file.suffix not in _NO_REPORT and file.is_file():
            yield file


def _readme(comparison: Comparison, known: Facts) -> bytes:
    period = f", periods that begin in {comparison.period}" if comparison.period else ""
    return _README.format(
        name=comparison.total.name,
        period=period,
        verdict=comparison.verdict,
        old=plain(comparison.old_total),
        new=plain(comparison.new_total),
        unexplained=plain(comparison.unexplained),
        unit=comparison.unit,
        fingerprint=known.fingerprint,
        parts=", ".join(PARTS),
    ).encode()


def _versions() -> dict[str, str]:
    engines = {name: version(name) for name in ("spanner_pipeline", *_ENGINES)}
    return {"python": platform.python_version(), **engines}


def _run(comparison: Comparison) -> dict[str, Any]:
    """Who made the pack and when, and how the lake came to be."""
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_by": whoever(),
        "lake_version": comparison.lake_version,
        "imports": {
            f"{record.batch} {record.usage}": {
                "imported_at": record.imported_at,
                "imported_by": record.imported_by,
                "version_before": record.version_before,
                "version_after": record.version_after,
                "new_rows": record.totals.new.rows,
                "present_rows": record.totals.present.rows,
                "corrected_rows": record.totals.corrected.rows,
            }
            for record in comparison.imports
        },
    }
