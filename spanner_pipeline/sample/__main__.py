"""`python -m spanner_pipeline.sample ROOT`: write the legacy data to try the pipeline on."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.sample.files import Written
from spanner_pipeline.sample.flights import write_flights
from spanner_pipeline.sample.saas import write_saas


def main(arguments: list[str] | None = None) -> int:
    """Write everything below `ROOT/legacy/` and print a short summary.

    Args:
        arguments: Those of the command line when omitted.

    Returns:
        The exit code: 0, or 1 when the flights are not installed (the SaaS is written then).
    """
    parser = argparse.ArgumentParser(prog="python -m spanner_pipeline.sample", description=__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT", help="the data root")
    root: Path = parser.parse_args(arguments).root
    _report(root, write_saas(root))
    try:
        _report(root, write_flights(root))
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _report(root: Path, written: list[Written]) -> None:
    """Print files and rows by folder; months of one log are one folder's."""
    folders: defaultdict[str, list[int]] = defaultdict(list)
    for file in written:
        folder = file.path.relative_to(root).parent
        folders["/".join(folder.parts[:3])].append(file.rows)
    for name, rows in folders.items():
        print(f"{name}: {len(rows):,} files, {sum(rows):,} rows")


if __name__ == "__main__":
    sys.exit(main())
