"""How long the definitions of 50 sources and 10 meters take, in a process of its own.

Prints JSON, in seconds: `dagster`, its own import; `libraries`, that of Polars, DuckDB, PyArrow and
delta-rs; `code`, the rest of our imports; `definitions`, from the YAML to what a web server asks
for.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def write_many(folder: Path, sources: int = 50, meters: int = 10) -> None:
    """Write a data root of many sources."""
    from spanner_pipeline_tests.small_root import METERS, SOURCES

    for kind in ("meters", "sources"):
        (folder / kind).mkdir(parents=True)
    for n in range(meters):
        text = METERS["calls"].replace("name: calls", f"name: meter_{n}")
        (folder / f"meters/{n}.yaml").write_text(text)
    for n in range(sources):
        text = SOURCES["switch"].replace("source: switch", f"source: source_{n}")
        text = text.replace("meter: calls", f"meter: meter_{n % meters}")
        (folder / f"sources/{n}.yaml").write_text(text)


def main() -> None:
    """Load the definitions of the root that is named."""
    marks = [time.perf_counter()]
    import dagster  # noqa: F401

    marks.append(time.perf_counter())
    import deltalake  # noqa: F401
    import duckdb  # noqa: F401
    import polars  # noqa: F401
    import pyarrow  # noqa: F401

    marks.append(time.perf_counter())
    from spanner_pipeline.assets.build import build_definitions
    from spanner_pipeline.root import DataRoot

    marks.append(time.perf_counter())
    from dagster._core.remote_representation.external_data import RepositorySnap

    repository = build_definitions(DataRoot(Path(sys.argv[1]))).get_repository_def()
    RepositorySnap.from_def(repository)
    marks.append(time.perf_counter())
    names = ("dagster", "libraries", "code", "definitions")
    took = {name: end - begin for name, begin, end in zip(names, marks, marks[1:], strict=False)}
    print(json.dumps(took))


if __name__ == "__main__":
    main()
