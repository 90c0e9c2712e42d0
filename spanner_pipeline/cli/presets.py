"""Ready sources: which there are, and how they come into a data root."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from spanner_pipeline.cli.terminal import Data, complain, out, short, show
from spanner_pipeline.root import DataRoot

app = typer.Typer()


@app.command("presets")
def list_presets() -> None:
    """List the ready sources for known legacy systems."""
    from spanner_pipeline.presets import list_presets as presets

    table = Table("preset", "sources", "meters", "what it reads")
    for preset in presets():
        sources, meters = preset.stems("sources"), preset.stems("meters")
        table.add_row(preset.name, "\n".join(sources), "\n".join(meters), preset.description)
    show(table)


@app.command("add")
def add(
    preset: Annotated[str, typer.Argument(help="One that `sources presets` lists.")],
    data: Data = None,
) -> None:
    """Copy a ready source and its meters into the data root; overwrites nothing."""
    from spanner_pipeline.presets import add_preset

    root = DataRoot.locate(data)
    added = add_preset(root, preset)
    for file in added.written:
        _say(f"wrote {short(root.path / file)}")
    for file in added.kept:
        _say(f"kept your own {short(root.path / file)}")
    _say("Look at these lines, then run `spanner-pipeline sources check`:")
    for file, line, text in added.to_edit:
        _say(f"  {file}:{line}: {text}")
    for problem in added.problems:
        complain(str(problem))
    raise typer.Exit(2 if added.problems else 0)


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
