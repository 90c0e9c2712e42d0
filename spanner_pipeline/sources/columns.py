"""The columns that a file has, against those that its source declares and reads."""

from __future__ import annotations

from collections.abc import Sequence

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.files import SourceFile


def check_columns(
    file: SourceFile,
    found: Sequence[str],
    needed: Sequence[str],
    declared: Sequence[str] = (),
    line: int | None = None,
    optional: Sequence[str] = (),
) -> None:
    """Compare the columns of a file with those declared and read.

    Args:
        file: The file.
        found: Its column names.
        needed: The columns that the source reads.
        declared: All columns that it may have; none where the source lists none.
        line: Where the names stand, in a text file.
        optional: Columns that it may have or lack.

    Raises:
        SourceFileError: When they differ; names every column that is missing or unknown.
    """
    expected = list(declared) or list(needed)
    missing = [name for name in expected if name not in found and name not in optional]
    known = {*expected, *optional}
    unknown = [name for name in found if name not in known] if declared else []
    twice = sorted({name for name in found if list(found).count(name) > 1})
    complaints = [
        f"{what} {', '.join(names)}"
        for what, names in (("misses", missing), ("also has", unknown), ("has twice", twice))
        if names
    ]
    if complaints:
        raise SourceFileError(
            file.name,
            f"has other columns than declared: it {'; '.join(complaints)}.",
            "correct the columns in the source's YAML, or fetch the right file "
            f"(columns found: {', '.join(found)}).",
            line=line,
            column=(missing or unknown or twice)[0],
        )
