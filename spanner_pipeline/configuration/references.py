"""What declarations say of each other: meters that sources name, and names that must differ."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spanner_pipeline.configuration.delivery import Delivery
from spanner_pipeline.configuration.document import Document, KeyPath
from spanner_pipeline.configuration.folder import Folder
from spanner_pipeline.configuration.source import Source, Usage
from spanner_pipeline.errors import Problem
from spanner_pipeline.meters import Meter, fits


def _check_meter(
    name: str, path: KeyPath, document: Document, meters: Folder[Meter]
) -> list[Problem]:
    known = sorted(meter.name for _, meter in meters.declared)
    stems = (Path(file).stem for file in meters.unreadable)
    if name in known or name in meters.unreadable.values() or name in stems:
        return []
    message = f"`{name}` is not in meters/ (known: {', '.join(known) or 'none'}). Declare it there."
    return [document.problem(path, message)]


def check_needed(source: Source, document: Document, meters: Folder[Meter]) -> list[Problem]:
    """Find meters that a source needs, and that are broken themselves."""
    files = {name: file for file, name in meters.wrong.items()}
    files = {Path(file).stem: file for file in meters.unreadable} | files
    needed = [(("usage", n, "meter"), usage.meter) for n, usage in enumerate(source.usage)]
    needed += [
        (("billing_totals", n, "meter"), total.meter)
        for n, total in enumerate(source.billing_totals)
    ]
    return [
        document.problem(path, f"meter `{name}` is broken. Mend {files[name]} first.")
        for path, name in needed
        if name in files and name not in meters.sound
    ]


def check_usage(source: Source, document: Document, meters: Folder[Meter]) -> list[Problem]:
    """Find usage that its meter cannot take."""
    problems = []
    by_name = {meter.name: meter for _, meter in meters.declared}
    for index, usage in enumerate(source.usage):
        path = ("usage", index)
        problems += _check_meter(usage.meter, (*path, "meter"), document, meters)
        if usage.meter in by_name:
            problems += _check_dimensions(usage, by_name[usage.meter], path, document)
            problems += _check_roll_over(usage, by_name[usage.meter], path, document)
    return problems


def _check_roll_over(
    usage: Usage, meter: Meter, path: KeyPath, document: Document
) -> list[Problem]:
    values = usage.quantity.rolls_over_at
    if values is None or fits(values, meter):
        return []
    message = (
        f"is {values} in the unit of meter {meter.name}, which holds 38 digits in all and "
        f"{meter.decimals} after the point. Correct it, or the meter's `decimals`."
    )
    return [document.problem((*path, "quantity", "cumulative", "rolls_over_at"), message)]


def _check_dimensions(
    usage: Usage, meter: Meter, path: KeyPath, document: Document
) -> list[Problem]:
    path = (*path, "dimensions")
    required = [dimension.name for dimension in meter.dimensions if dimension.must_be_present]
    return _check_known(usage.dimensions, meter, path, document) + [
        document.problem(
            path, f"meter {meter.name} requires `{name}`. Map it, such as `{name}: <column>`."
        )
        for name in required
        if name not in usage.dimensions
    ]


def _check_known(
    named: Iterable[str], meter: Meter, path: KeyPath, document: Document
) -> list[Problem]:
    """Dimensions that a meter does not have."""
    names = [dimension.name for dimension in meter.dimensions]
    has = f"it has {', '.join(names)}" if names else "it has none"
    return [
        document.problem(
            (*path, name),
            f"meter {meter.name} has no such dimension ({has}). Remove it, or add it to the meter.",
        )
        for name in named
        if name not in names
    ]


def check_delivery(declared: Delivery, document: Document, meters: Folder[Meter]) -> list[Problem]:
    """Find cut-overs of meters that are not there."""
    found = (_check_meter(name, ("cut_over", name), document, meters) for name in declared.cut_over)
    return [problem for problems in found for problem in problems]


def check_totals(
    source: Source, document: Document, meters: Folder[Meter], sources: Folder[Source]
) -> list[Problem]:
    """Find comparisons with what is not there, and names that two of them have."""
    problems = []
    by_name = {meter.name: meter for _, meter in meters.declared}
    names = [total.name for _, other in sources.declared for total in other.billing_totals]
    for index, total in enumerate(source.billing_totals):
        path = ("billing_totals", index)
        problems += _check_meter(total.meter, (*path, "meter"), document, meters)
        for key, asked in (("dimensions", total.dimensions), ("only", total.only)):
            if total.meter in by_name:
                problems += _check_known(asked, by_name[total.meter], (*path, key), document)
        if names.count(total.name) > 1:
            message = f"another comparison is called `{total.name}`. Choose another name."
            problems.append(document.problem((*path, "name"), message))
    return problems
