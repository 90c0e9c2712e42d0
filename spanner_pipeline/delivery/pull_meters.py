"""Live meters become YAML in the data root; a file that says something else is left as it is.

The live meter says nothing of `decimals`, which are ours, nor of comments: both stay where a file
is overwritten. The two dimensions that a delivery adds to a meter are no part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError

from spanner_pipeline.configuration.document import Document
from spanner_pipeline.configuration.folder import read_folder
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.meter import OUR_DIMENSIONS, retention_of
from spanner_pipeline.delivery.target import TargetError
from spanner_pipeline.errors import ConfigurationError
from spanner_pipeline.lake.names import file_name
from spanner_pipeline.meters import Dimension, Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.whole import written_whole

Fate = Literal["written", "unchanged", "differs", "overwritten", "cannot be used"]

_DECIMALS = Meter.model_fields["decimals"].default


@dataclass(frozen=True)
class PulledMeter:
    """What became of a live meter.

    Attributes:
        name: Its name.
        file: Its YAML, relative to the data root.
        fate: What became of it; in a dry run, what would.
        ours: The YAML of the meter as the data root has it; empty where it has none.
        live: The YAML of the live meter; what is wrong with it where it cannot be used.
    """

    name: str
    file: str
    fate: Fate
    ours: str
    live: str


def pull_meters(
    root: DataRoot,
    client: OpenSpanner,
    names: Sequence[str] = (),
    *,
    overwrite: bool = False,
    dry_run: bool = False,
) -> list[PulledMeter]:
    """Write live meters as YAML.

    Args:
        root: The data root.
        client: The service.
        names: Which meters; all of them when empty.
        overwrite: Replace files that say something else.
        dry_run: Write nothing.

    Raises:
        TargetError: When there is no such meter, or the service refuses. Nothing is written then.
        ConfigurationError: When a meter of the data root is broken.
    """
    live = {str(meter["name"]): meter for meter in client.list_meters()}
    if unknown := ", ".join(f"`{name}`" for name in names if name not in live):
        known = ", ".join(live) or "none"
        raise TargetError(f"the service has no meter {unknown} (it has: {known}).")
    ours = _declared(root)
    taken = {document.file for document, _ in ours.values()}
    found = []
    for name in names or live:
        document, meter = ours.get(name, (None, None))
        file = document.file if document is not None else _new_file(root, name, taken)
        found.append(_pull(root, live[name], file, meter, overwrite=overwrite, dry_run=dry_run))
    return found


class UnusableMeterError(TargetError):
    """A live meter that no data root can declare; says why."""


def live_meter(live: Mapping[str, Any], decimals: int = _DECIMALS) -> Meter:
    """A live meter as the data root would declare it.

    Raises:
        UnusableMeterError: When it cannot, such as where two dimensions differ in case alone.
    """
    dimensions = [
        {**dimension, "display_name": _own_title(dimension)}
        for dimension in (_UNSAID | _said(given) for given in live.get("dimensions") or [])
        if not _is_ours(dimension)
    ]
    known = {name: live[name] for name in ("name", "description", "unit") if live.get(name)}
    told = {
        **known,
        "aggregation": live.get("aggregation") or "sum",
        "event_retention_days": live.get("event_retention_days") or 0,
        "decimals": decimals,
        "dimensions": [
            {k: v for k, v in dimension.items() if k in Dimension.model_fields}
            for dimension in dimensions
        ],
    }
    try:
        return Meter.model_validate(told)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, detail['loc'])) or 'it'}: {detail['msg']}"
            for detail in error.errors()
        )
        raise UnusableMeterError(wrong) from None


def spelled(meter: Meter) -> str:
    """The YAML of a meter, keys always in the same order, with what is not said by default."""
    lines = [f"name: {scalar(meter.name)}"]
    if meter.description:
        lines.append(f"description: {scalar(meter.description)}")
    lines += [f"unit: {scalar(meter.unit)}", f"aggregation: {meter.aggregation}"]
    lines.append(f"event_retention_days: {retention_of(meter)}")
    if meter.decimals != _DECIMALS:
        lines.append(f"decimals: {meter.decimals}")
    lines += ["dimensions:"] if meter.dimensions else []
    for dimension in meter.dimensions:
        said: dict[str, str | bool] = {"name": dimension.name, "type": dimension.type}
        said |= {} if dimension.required else {"required": False}
        said |= {"display_name": _own_title(dimension.model_dump())}
        said |= {"description": dimension.description, "deprecated": dimension.deprecated or ""}
        pairs = ", ".join(f"{name}: {scalar(value)}" for name, value in said.items() if value != "")
        lines.append(f"  - {{{pairs}}}")
    return "\n".join(lines) + "\n"


_UNSAID: dict[str, Any] = {
    "required": True,
    "display_name": "",
    "description": "",
    "deprecated": False,
}


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a dimension says; null is the same as unsaid."""
    return {name: value for name, value in given.items() if value is not None}


def _is_ours(dimension: Mapping[str, Any]) -> bool:
    """Whether a delivery added this dimension; it is not one of the meter's own."""
    told = OUR_DIMENSIONS.get(dimension["name"])
    return told == dimension["description"] and not dimension["required"]


def _own_title(dimension: Mapping[str, Any]) -> str:
    """The display name, unless it is what the service makes of the name."""
    words = re.split(r"[._-]+", dimension["name"])
    made = " ".join(word[:1].upper() + word[1:] for word in words if word)
    return "" if dimension["display_name"] == made else dimension["display_name"]


def scalar(value: str | bool) -> str:
    """A value as YAML spells it on one line, also inside braces."""
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    text = yaml.safe_dump(
        [value], default_flow_style=True, default_style=style, allow_unicode=True, width=10**9
    )
    return text.strip()[1:-1]


def _declared(root: DataRoot) -> dict[str, tuple[Document, Meter]]:
    if not (root.path / "meters").is_dir():
        return {}
    folder = read_folder(root.path, "meter", Meter)
    if folder.problems:
        raise ConfigurationError(folder.problems)
    return {meter.name: (document, meter) for document, meter in folder.declared}


def _new_file(root: DataRoot, name: str, taken: set[str]) -> str:
    """A file that is not there, whatever a meter is called and whoever folds case."""
    stem, number = file_name(name), 1
    folded = {file.lower() for file in taken}
    while (file := f"meters/{stem}{f'+{number}' if number > 1 else ''}.yaml").lower() in folded or (
        root.path / file
    ).exists():
        number += 1
    taken.add(file)
    return file


def _pull(
    root: DataRoot,
    live: Mapping[str, Any],
    file: str,
    ours: Meter | None,
    *,
    overwrite: bool,
    dry_run: bool,
) -> PulledMeter:
    name = str(live["name"])
    before = spelled(ours) if ours is not None else ""
    try:
        text = spelled(live_meter(live, ours.decimals if ours is not None else _DECIMALS))
    except UnusableMeterError as error:
        return PulledMeter(name, file, "cannot be used", before, str(error))
    if before == text:
        return PulledMeter(name, file, "unchanged", before, text)
    if ours is not None and not overwrite:
        return PulledMeter(name, file, "differs", before, text)
    if not dry_run:
        with written_whole(root.path / file, replace=ours is not None) as work:
            work.write_text(_comments(root.path / file) + text, encoding="utf-8")
    return PulledMeter(name, file, "written" if ours is None else "overwritten", before, text)


def _comments(file: Path) -> str:
    """The lines of comment at the head of a file; those further down would lose their place."""
    if not file.exists():
        return ""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    ends = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[:ends])
