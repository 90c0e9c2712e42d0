"""Access logs of Apache and NGINX: the combined and the common layout.

Quoted fields hold escaped quotes; a line that does not have the layout to its end is malformed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from spanner_pipeline.configuration.layout import AccessLog
from spanner_pipeline.sources.columns import check_columns
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.lines import read_lines

_QUOTED = r'"(?P<{name}>[^"\\]*(?:\\.[^"\\]*)*)"'
_COMMON = (
    r"(?P<remote_host>\S+) (?P<remote_logname>\S+) (?P<remote_user>\S+) \[(?P<time>[^\]]+)\] "
    + _QUOTED.format(name="request")
    + r" (?P<status>\d{3}) (?P<bytes>\d+|-)"
)
_LAYOUTS = {
    "common": rf"^{_COMMON}$",
    "combined": rf"^{_COMMON} {_QUOTED.format(name='referer')} "
    rf"{_QUOTED.format(name='user_agent')}$",
}
_FIELDS = ["remote_host", "remote_logname", "remote_user", "time", "request", "status", "bytes"]
FIELDS = {"common": _FIELDS, "combined": [*_FIELDS, "referer", "user_agent"]}
"""The source columns that a layout offers."""


def read_rows(file: SourceFile, layout: AccessLog, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line`, `original`, `malformed` and a column `raw.<name>` for each field."""
    names = FIELDS[layout.layout]
    check_columns(file, names, needed, line=1)
    for lines in read_lines(file, layout.encoding):
        fields = pl.col("original").str.extract_groups(_LAYOUTS[layout.layout])
        renamed = fields.struct.rename_fields([f"raw.{name}" for name in names])
        yield (
            lines.filter(pl.col("original") != "")
            .select("line", "original", renamed.alias("_"))
            .unnest("_")
            .with_columns(malformed=pl.col("raw.time").is_null())
        )
