"""The work without Dagster, in a process of its own: every day of a root through the domain.

Prints JSON: wall seconds of all days, without the start of the interpreter and the imports.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from spanner_pipeline import validation  # loaded before the clock starts, as the rest is
from spanner_pipeline.importing import import_partition
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.benchmarks.year.generate import SOURCE


def main() -> None:
    """Import all days of the root that is named."""
    assert validation.Validator
    root = DataRoot(Path(sys.argv[1]))
    catalog = load_catalog(root)
    source = catalog.sources[SOURCE]
    began = time.perf_counter()
    for day in source.partition_keys(datetime.now(UTC).date()):
        import_partition(root, catalog, source, day)
    print(json.dumps({"wall": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
