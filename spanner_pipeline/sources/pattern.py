"""Lines that a declared regular expression takes apart: logs of any layout, one row a line.

A line that does not match from its first to its last character is malformed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from spanner_pipeline.configuration.layout import Pattern
from spanner_pipeline.configuration.patterns import WHOLE_LINE, whole_line
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.lines import read_lines


def read_rows(file: SourceFile, layout: Pattern, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line`, `original`, `malformed` and a column `raw.<name>` for each group.

    That the groups hold all that is `needed` is checked when the source loads.
    """
    names = [WHOLE_LINE, *layout.fixed_columns]
    for lines in read_lines(file, layout.encoding):
        fields = pl.col("original").str.extract_groups(whole_line(layout.pattern))
        renamed = fields.struct.rename_fields([f"raw.{name}" for name in names])
        yield (
            lines.filter(pl.col("original") != "")
            .select("line", "original", renamed.alias("_"))
            .unnest("_")
            .with_columns(malformed=pl.col(f"raw.{WHOLE_LINE}").is_null())
            .drop(f"raw.{WHOLE_LINE}")
        )
