"""Reports of every run, kept by its id, and links that download them.

Dagster's web server hands out any file below the instance's compute-log folder as
`/logs/<folders>/<name>/<extension>`, always as an attachment and never from outside. It does not
document this; `spanner_pipeline_tests/orchestration/test_downloads.py` guards it.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import dagster as dg
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from spanner_pipeline.assets.naming import identifier
from spanner_pipeline.whole import written_whole

_FOLDER, _RUNS, _NAME = "reports", "runs", "report"


def keep_for_download(
    instance: dg.DagsterInstance,
    run_id: str,
    comparison: str,
    files: Mapping[str, Path],
    reports: Path,
    base_url: str = "",
) -> dict[str, str]:
    """Copy a run's reports to where they stay, and say where they can be downloaded.

    Args:
        instance: Whose compute-log folder keeps them, where no base URL is given.
        run_id: The run; copies of other runs are never touched.
        comparison: The comparison's name.
        files: What to keep, by extension: one file each.
        reports: The data root's folder of reports, which keeps them where a base URL is given.
        base_url: Under which address something else serves that folder. The links are relative to
            the web server without it.

    Returns:
        A link for each extension; empty where nothing would serve them (logs that are kept in an
        object store, and no base URL).
    """
    place = [identifier(comparison), run_id]
    links = {}
    for extension, file in files.items():
        if base_url:
            parts = [*place[:1], _RUNS, *place[1:], f"{_NAME}.{extension}"]
            kept, url = reports.joinpath(*parts), f"{base_url.rstrip('/')}/{_spelled(parts)}"
        else:
            manager = instance.compute_log_manager
            if not isinstance(manager, LocalComputeLogManager):
                return {}
            key = [_FOLDER, *place, _NAME]
            kept = Path(manager.get_captured_local_path(key, extension))
            url = f"/logs/{_spelled([*key, extension])}"
        with written_whole(kept) as work:
            shutil.copyfile(file, work)
        links[extension] = url
    return links


def _spelled(parts: list[str]) -> str:
    return "/".join(quote(part, safe="") for part in parts)
