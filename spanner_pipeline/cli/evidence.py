"""Proof of a comparison for others: evidence packs, their verification, and signatures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from spanner_pipeline.cli.terminal import (
    Data,
    Period,
    checked,
    coloured,
    complain,
    misuse,
    out,
    short,
    show,
)
from spanner_pipeline.configuration.billing import BillingTotal
from spanner_pipeline.configuration.source import Source
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.root import Catalog, DataRoot, load_catalog

app = typer.Typer()

_SHOWN = 30

Name = Annotated[str, typer.Argument(metavar="COMPARISON", help="The comparison.")]


class _As(StrEnum):
    """The roles in which one can sign."""

    PREPARER = "preparer"
    REVIEWER = "reviewer"


def declared(catalog: Catalog, name: str) -> tuple[Source, BillingTotal]:
    """A comparison that a user names, with the source that declares it."""
    known = {total.name: (source, total) for source, total in catalog.comparisons}
    if name not in known:
        misuse(f"there is no comparison `{name}` (known: {', '.join(known) or 'none'}).")
    return known[name]


def compared(root: DataRoot, catalog: Catalog, name: str, period: str | None = None) -> Comparison:
    """Make a comparison that a user names."""
    comparison = reconcile(root, catalog, *declared(catalog, name), checked(period))
    if period is not None and comparison.compared_nothing:
        misuse(f"--period {period}: comparison {name} has no number that begins then.")
    return comparison


@app.command()
def evidence(
    comparison: Name,
    period: Period = None,
    to: Annotated[
        Path | None,
        typer.Option("--out", help="The zip; else evidence.zip beside the report.", dir_okay=False),
    ] = None,
    data: Data = None,
) -> None:
    """Put all that a comparison rests on and says into one zip that others can verify."""
    from spanner_pipeline.reconciliation.proof.evidence import write_evidence
    from spanner_pipeline.reconciliation.proof.pack import open_pack
    from spanner_pipeline.reconciliation.publish import reconcile_and_publish

    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    if period is not None:
        compared(root, catalog, comparison, period)  # no report of a period that has no number
    done = reconcile_and_publish(root, catalog, *declared(catalog, comparison), period)
    path = write_evidence(root, catalog, done.comparison, to and to.absolute())
    out.print(f"{short(path)} ({path.stat().st_size:,} bytes)", markup=False, soft_wrap=True)
    out.print(f"fingerprint {open_pack(path).fingerprint}", soft_wrap=True)
    if done.problem is not None:
        complain(done.problem)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The evidence pack.", dir_okay=False)],
    pack_only: Annotated[
        bool, typer.Option("--pack-only", help="Do not recompute; check the zip alone.")
    ] = False,
    data: Data = None,
) -> None:
    """Check an evidence pack, then make its comparison anew and name all that differs."""
    from spanner_pipeline.reconciliation.proof.pack import open_pack
    from spanner_pipeline.reconciliation.proof.verify import verify as recompute

    pack = open_pack(file)
    if pack.damage:
        complain(f"{file.name} is not as it was written:")
        _list(pack.damage)
        raise typer.Exit(1)
    out.print(f"The pack is whole: {len(pack.names)} members as its manifest says.")
    if pack_only:
        out.print(f"fingerprint {pack.fingerprint}", soft_wrap=True)
        return
    root = DataRoot.locate(data)
    found = recompute(pack, root, load_catalog(root))
    for note in found.notes:
        out.print(f"Note: {note}.", markup=False, soft_wrap=True)
    if found.differences:
        complain(f"The comparison is not what {file.name} says:")
        _list(found.differences)
        raise typer.Exit(1)
    out.print("Recomputed: inputs, configuration, control totals and every number are the same.")
    out.print(f"fingerprint {found.fingerprint}", soft_wrap=True)


def _list(lines: tuple[str, ...]) -> None:
    for line in lines[:_SHOWN]:
        complain(f"  {line}")
    if len(lines) > _SHOWN:
        complain(f"  and {len(lines) - _SHOWN:,} more")


@app.command()
def sign(
    comparison: Name,
    role: Annotated[_As | None, typer.Option("--as", help="In which role.")] = None,
    name: Annotated[str, typer.Option(help="Your full name.")] = "",
    note: Annotated[str, typer.Option(help="What you have to say about it.")] = "",
    period: Period = None,
    data: Data = None,
) -> None:
    """Sign a comparison as it is now, or list its signatures."""
    from spanner_pipeline.reconciliation.proof.signoff import SignoffRefusedError
    from spanner_pipeline.reconciliation.proof.signoff import sign as put_signature

    if (role is None) != (not name):
        misuse("to sign, give both --as and --name; to list signatures, neither.")
    root = DataRoot.locate(data)
    catalog = load_catalog(root)
    made = compared(root, catalog, comparison, period)
    if role is not None:
        try:
            signed = put_signature(root, catalog, made, role.value, name, note)
        except SignoffRefusedError as error:
            complain(f"Not signed: {error}")
            raise typer.Exit(1) from None
        out.print(f"Signed: {signed.text}", markup=False, soft_wrap=True)
        out.print("`spanner-pipeline reconcile` puts it into the report.")
    _show_signatures(root, catalog, made)


def _show_signatures(root: DataRoot, catalog: Catalog, comparison: Comparison) -> None:
    from spanner_pipeline.reconciliation.proof.signoff import signoffs

    state = signoffs(root, catalog, comparison)
    out.print(
        f"{comparison.total.name}: {coloured(comparison.verdict)}, fingerprint "
        f"{state.now.fingerprint}",
        soft_wrap=True,
    )
    if not state.every:
        out.print("Nobody has signed it.")
        return
    table = Table("name", "role", "signed (UTC)", "verdict", "difference", "state", "note")
    for signature in state.every:
        changed = ", ".join(state.changed(signature)) or "what it says"
        table.add_row(
            escape(signature.name),
            signature.role,
            signature.at[:19].replace("T", " "),
            signature.verdict,
            signature.difference,
            f"VOID: changed since: {changed}" if state.void(signature) else "holds",
            escape(signature.note),
        )
    show(table)
    for line in state.lines():
        out.print(line, markup=False, soft_wrap=True)
