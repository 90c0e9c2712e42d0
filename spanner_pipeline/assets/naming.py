"""Names and owners as Dagster takes them, from what people wrote in YAML."""

import hashlib
import re

from spanner_pipeline.configuration.source import Source

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")


def identifier(name: str) -> str:
    """A plain name as it is; of any other, what is plain, and a digest that tells it apart."""
    if re.fullmatch(r"[A-Za-z0-9_]+", name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9_]", "_", name) + f"_{digest}"


def owners_of(source: Source) -> list[str]:
    """The owner of a source: an e-mail address, or a team."""
    owner = (source.owner or "").strip()
    if not owner or owner.startswith("team:") or _EMAIL.fullmatch(owner):
        return [owner] if owner else []
    return [f"team:{owner}"]
