"""Import a tiny data root in a process of its own and print its keys: `child.py ROOT [CPUS]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Import, then print one key a line, sorted."""
    if len(sys.argv) > 2:  # before any engine counts its threads
        os.sched_setaffinity(0, range(int(sys.argv[2])))
    from spanner_pipeline.importing import import_partition
    from spanner_pipeline.root import DataRoot, load_catalog
    from spanner_pipeline_tests.lake.building import stored_events

    root = DataRoot(Path(sys.argv[1]))
    catalog = load_catalog(root)
    import_partition(root, catalog, catalog.sources["legacy"], "whole")
    (meter,) = catalog.meters.values()
    events = stored_events(root, meter)
    print(*sorted(events["idempotency_key"]), sep="\n")


if __name__ == "__main__":
    main()
