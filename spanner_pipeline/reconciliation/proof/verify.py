"""Whether an evidence pack is still true: its comparison made anew, and what differs from it.

Belongs here: naming differences. Not here: whether the zip is as it was written (`pack`).
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.reconciliation.proof.evidence import CONFIGURATION, configuration
from spanner_pipeline.reconciliation.proof.fingerprint import KEY, Facts, facts
from spanner_pipeline.reconciliation.proof.pack import NotAPackError, Pack
from spanner_pipeline.root import Catalog, DataRoot
from spanner_pipeline.sources.files import digest_now

_LONGEST = 80
_MOST_NAMED = 1_000
_OTHERWISE_WRITTEN = (
    *(ValueError, LookupError, TypeError, AttributeError, RecursionError),
    pl.exceptions.PolarsError,
)
"""What reading a part raises that another version or another hand has written."""


@dataclass(frozen=True)
class Verification:
    """What became of a pack's comparison.

    Attributes:
        differences: What differs, for a person; empty where all is equal.
        notes: What does not matter for the fingerprint but is worth knowing.
        fingerprint: The fingerprint now; None where it could not be made.
    """

    differences: tuple[str, ...]
    notes: tuple[str, ...] = ()
    fingerprint: str | None = None


def verify(pack: Pack, root: DataRoot, catalog: Catalog) -> Verification:
    """Make the comparison of an undamaged pack anew and compare all of it.

    Args:
        pack: The pack.
        root: The data root to recompute in.
        catalog: Its meters and sources.
    """
    try:
        said = json.loads(pack.read("verdict.json"))
        name, period = said["comparison"], said["period"]
        if not isinstance(name, str) or not isinstance(period, str | None):
            raise TypeError
    except _OTHERWISE_WRITTEN:
        raise NotAPackError(pack.path, "its verdict.json names no comparison.") from None
    known = {total.name: (source, total) for source, total in catalog.comparisons}
    if name not in known:
        names = ", ".join(known) or "none"
        missing = f"the data root declares no comparison `{name}` (known: {names})"
        return Verification((missing,))
    try:
        comparison = reconcile(root, catalog, *known[name], period)
    except PipelineError as error:
        return Verification((f"the comparison cannot be made anew: {error}",))
    now = facts(root, catalog, comparison)
    differences, notes = [*_parts(pack, now)], []
    decides = pack.read("declaration.json") != now.parts["declaration.json"]
    for file, how in _configuration(pack, root, catalog, comparison).items():
        if decides:
            differences.insert(0, f"YAML {how}: {file}")
        else:
            notes.append(f"YAML {how}, in nothing that decides: {file}")
    on_disk, not_there = _files_on_disk(root, catalog, now)
    if now.fingerprint != pack.fingerprint:
        differences.append(f"fingerprint: was {pack.fingerprint}, is {now.fingerprint}")
    return Verification((*on_disk, *differences), (*notes, *not_there), now.fingerprint)


def _parts(pack: Pack, now: Facts) -> Iterator[str]:
    for name, part in now.parts.items():
        before = pack.read(name)
        if before == part:
            continue
        try:
            named = [*_part(name, before, part)]
        except _OTHERWISE_WRITTEN:
            named = []
        what = name.partition(".")[0].replace("_", " ")
        yield from named or [f"{what}: differs, and is not written as this version writes it"]


def _part(name: str, was: bytes, now: bytes) -> Iterator[str]:
    if name == "numbers.csv":
        yield from _numbers(_table(was), _table(now))
    elif name == "causes.csv":
        yield from _numbers(_causes(_table(was)), _causes(_table(now)))
    elif name == "inputs.json":
        yield from _inputs(json.loads(was), json.loads(now))
    else:
        what = name.partition(".")[0].replace("_", " ")
        yield from _json(f"{what}:", "", json.loads(was), json.loads(now))


def _json(what: str, path: str, was: Any, now: Any) -> Iterator[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        for name in sorted({*was, *now}):
            below = f"{path}.{name}" if path else str(name)
            if name not in now:
                yield f"{what} {below} was {_short(was[name])}, is gone"
            elif name not in was:
                yield f"{what} {below} is new: {_short(now[name])}"
            else:
                yield from _json(what, below, was[name], now[name])
    elif was != now:
        yield f"{what} {path} was {_short(was)}, is {_short(now)}"


def _short(said: Any) -> str:
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _inputs(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from _json("inputs: old export:", "", was["old_export"], now["old_export"])
    before, after = _deliveries(was["imported"]), _deliveries(now["imported"])
    for place in sorted({*before, *after}):
        name, of = place
        for digest, file in sorted(before.get(place, {}).items()):
            if digest not in after.get(place, {}):
                yield f"inputs: {name} ({of}) is not imported any more: sha256 {digest}"
            elif file != after[place][digest]:
                yield from _json(f"inputs: {name} ({of}):", "", file, after[place][digest])
        for digest in sorted(set(after.get(place, {})) - set(before.get(place, {}))):
            how = "was delivered again with other content" if place in before else "is new"
            yield f"inputs: {name} ({of}) {how}: sha256 {digest}"


def _deliveries(imported: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Imported files by name and by what they were imported as, then by digest."""
    found: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
    for delivery, files in imported.items():
        batch, _, usage = delivery.partition(" ")
        partition = batch.rpartition("/")[0]
        for name, file in files.items():
            found[name, f"{partition} into {usage}"][file["sha256"]] = file
    return found


def _table(part: bytes) -> pl.DataFrame:
    return pl.read_csv(io.BytesIO(part), infer_schema=False)


def _key(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name in KEY or name.startswith("dim_")]


def _causes(frame: pl.DataFrame) -> pl.DataFrame:
    """All causes of each number as one text."""
    names = ("cause", "detail", "quantity", "known")
    text = pl.concat_str(names, separator=": ").str.join("; ").alias("causes")
    return frame.group_by(_key(frame), maintain_order=True).agg(text)


def _numbers(was: pl.DataFrame, now: pl.DataFrame) -> Iterator[str]:
    """Every value of every number that is not what it was."""
    key, other = _key(was), _key(now)
    if key != other:
        yield f"numbers are told apart by {', '.join(other)}, were by {', '.join(key)}"
        return
    was, now = was.with_columns(_there=pl.lit("y")), now.with_columns(_there=pl.lit("y"))
    both = was.join(now, on=key, how="full", nulls_equal=True, coalesce=True, suffix=" now").sort(
        key
    )
    label = pl.concat_str(
        [pl.col(name).replace("", None) for name in key if name not in ("start", "end")],
        separator=" ",
        ignore_nulls=True,
    ).alias("label")
    parts = [
        both.filter(pl.col(name).ne_missing(pl.col(f"{name} now"))).select(
            label, pl.lit(name).alias("name"), name, f"{name} now"
        )
        for name in was.columns
        if name not in key
    ]
    gone = set(parts[-1]["label"])
    for part in parts:
        for number, name, before, after in part.head(_MOST_NAMED).rows():
            if name == "_there":
                yield f"number {number} {'is new' if before is None else 'is gone'}"
            elif number not in gone:
                yield f"number {number}: {name} was {_said(before)}, is {_said(after)}"
        if part.height > _MOST_NAMED:
            yield f"and {part.height - _MOST_NAMED:,} more like the last"


def _said(value: str | None) -> str:
    return "nothing" if value is None else _short(value)


def _configuration(
    pack: Pack, root: DataRoot, catalog: Catalog, comparison: Comparison
) -> dict[str, str]:
    """YAML files that are not what they were, by name."""
    before = {
        name.removeprefix(CONFIGURATION): pack.read(name)
        for name in pack.names
        if name.startswith(CONFIGURATION)
    }
    now = configuration(root, catalog, comparison)
    found = {}
    for name in sorted({*before, *now}):
        if name not in now:
            found[name] = "gone"
        elif name not in before:
            found[name] = "new"
        elif before[name] != now[name]:
            found[name] = "changed"
    return found


def _files_on_disk(root: DataRoot, catalog: Catalog, now: Facts) -> tuple[list[str], list[str]]:
    """Imported files that lie there with other bytes, and a note on those that are not there."""
    known: dict[str, set[str]] = defaultdict(set)
    for files in json.loads(now.parts["inputs.json"])["imported"].values():
        for name, file in files.items():
            known[name].add(file["sha256"])
    changed, absent = [], 0
    for name in sorted(known):
        digest = digest_now(root, name, catalog.sources)
        if digest is None:
            absent += 1
        elif digest not in known[name]:
            changed.append(f"file changed: {name} lies there with other bytes than were imported")
    noun = "file does" if absent == 1 else "files do"
    notes = [f"{absent:,} imported {noun} not lie there any more"] if absent else []
    return changed, notes
