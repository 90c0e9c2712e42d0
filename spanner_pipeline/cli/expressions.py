"""What expressions in a source's YAML can compute."""

from __future__ import annotations

import typer
from rich.table import Table
from rich.text import Text

from spanner_pipeline.cli.terminal import show

app = typer.Typer()


@app.command("expressions")
def list_expressions() -> None:
    """List the operators and functions of `expression:` and `condition:`."""
    from spanner_pipeline.configuration.functions import FUNCTIONS, OPERATORS

    table = Table("write", "it gives", "what")
    for function in (*OPERATORS.values(), *FUNCTIONS.values()):
        gives = "a value" if function.gives == "alike" else function.gives
        table.add_row(Text(function.example), gives, function.meaning)
    show(table)
