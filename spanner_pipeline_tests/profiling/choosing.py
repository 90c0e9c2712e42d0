"""A person's choices in a proposed YAML, and a data root to load and import it from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from spanner_pipeline.profiling.examine import Profile
from spanner_pipeline.profiling.proposal import OPEN, propose
from spanner_pipeline.root import DataRoot

METER = "name: usage\nunit: unit\naggregation: sum\nevent_retention_days: 3650\ndecimals: 18\n"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def chosen(text: str, choices: Mapping[str, str]) -> str:
    """The YAML with each key as chosen: in place of what stands there, or added where it misses."""
    text = text.replace(f"meter: {OPEN}", "meter: usage")
    for key, value in choices.items():
        text, found = re.subn(rf"^( *){key}: .*$", rf"\g<1>{key}: {value}", text, flags=re.M)
        text += "" if found else f"    {key}: {value}\n"
    return text


def root_of(
    folder: Path, profile: Profile, choices: Mapping[str, str], name: str = "unknown"
) -> DataRoot:
    """A root with the proposed source, chosen out, beside the file that it was made from."""
    text = propose(profile, name, str(profile.stored.file.path.absolute()))
    write(folder / "meters" / "usage.yaml", METER)
    write(folder / "sources" / f"{name}.yaml", chosen(text, choices))
    return DataRoot(folder)
