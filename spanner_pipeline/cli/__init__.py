"""The command line: the same functions as the Dagster assets, for the terminal.

Exit codes: 0 fine; 1 a comparison broke, a partition failed, too many rows were rejected, a revert
was refused, a delivery was not accepted or is not there; 2 wrong use or wrong configuration.
"""

from __future__ import annotations

import sys

import typer

from spanner_pipeline.cli import (
    answers,
    catalog,
    deliver,
    evidence,
    explain,
    expressions,
    importing,
    lake,
    notes,
    presets,
    profile,
    pull,
    verify,
)
from spanner_pipeline.cli.terminal import complain
from spanner_pipeline.errors import PipelineError

app = typer.Typer(
    help="Historical usage out of legacy systems into Open Spanner: imported once, explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for part in (importing, answers, explain, evidence, notes, lake, deliver, verify, pull, catalog):
    app.add_typer(part.app)
catalog.sources_app.add_typer(presets.app)
catalog.sources_app.add_typer(expressions.app)
catalog.sources_app.add_typer(profile.app)
catalog.meters_app.add_typer(pull.meters_app)


def main() -> None:
    """Run the command line; errors that a user can act on end without a stack trace."""
    try:
        app()
    except (PipelineError, OSError) as error:
        complain(str(error))
        sys.exit(2)
