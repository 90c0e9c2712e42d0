"""Where the rows of an import are kept that it did not put into the lake.

One Parquet file an import and kind; none where there are no such rows:
  rejected   no valid events, each with its reason
  left_out   out of scope by declaration, as far as quantity and time are known
  conflicts  another payload under a known key, with both payloads
  repeated   delivered once more under a key that is counted already
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol, get_args

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.root import DataRoot

Kind = Literal["rejected", "left_out", "conflicts", "repeated"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def quarantine_file(root: DataRoot, batch: str, usage: str, kind: Kind) -> Path:
    """The Parquet file with the rows of one kind of an import, if it has any."""
    source, partition, digest = batch.split("/")
    return root.quarantine / source / partition / f"{file_name(usage)}.{digest}.{kind}.parquet"


def rejected_files(root: DataRoot, source: Source, batch: str) -> list[Path]:
    """The files with the rejected rows of a delivery, one a usage that has any."""
    places = [quarantine_file(root, batch, usage.name, "rejected") for usage in source.usage]
    return [place for place in places if place.is_file()]


def repair_files(root: DataRoot, batch: str) -> list[Path]:
    """The files to mend of a delivery, one a legacy file that has rejected rows."""
    source, partition, digest = batch.split("/")
    return sorted((root.quarantine / source / partition).glob(f"{digest}.*.repair.*"))


class _Import(Protocol):
    @property
    def batch(self) -> str: ...
    @property
    def usage(self) -> str: ...


def quarantine_files(root: DataRoot, imports: Iterable[_Import], kind: Kind) -> list[Path]:
    """The files of one kind of some imports, where they have any."""
    paths = dict.fromkeys(quarantine_file(root, i.batch, i.usage, kind) for i in imports)
    return [path for path in paths if path.is_file()]
