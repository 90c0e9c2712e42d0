"""What all commands share: where the data root is, how tables, progress and misuse are shown."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

out = Console()
err = Console(stderr=True)

Data = Annotated[
    Path | None,
    typer.Option("--data", help="The data root; else $SPANNER_DATA, else ./data.", file_okay=False),
]


Period = Annotated[
    str | None, typer.Option(help="Only periods that begin in this day, month or year.")
]


def complain(message: str) -> None:
    """Say what is wrong."""
    err.print(message, style="red", markup=False, highlight=False, soft_wrap=True)


def misuse(message: str) -> NoReturn:
    """Say what is wrong with how a command was used, and end."""
    complain(message)
    raise typer.Exit(2)


def checked(period: str | None) -> str | None:
    """A period as a user may write it."""
    if period is not None and not re.fullmatch(r"\d{4}(-\d{2}){0,2}", period):
        misuse(f"--period {period}: write a day, month or year, such as 2026-01.")
    return period


def show(table: Table) -> None:
    """Print a table with all its digits; a terminal that is narrower wraps its lines."""
    unbounded = out.options.update_width(10_000)
    out.width = max(out.width, Measurement.get(out, unbounded, table).maximum)
    out.print(table)


def short(path: Path) -> str:
    """A path as seen from the current folder, where it is below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def coloured(verdict: str) -> str:
    """A verdict in its colour."""
    return {"PASS": "[green]PASS[/]", "WARN": "[yellow]WARN[/]"}.get(verdict, "[red]FAIL[/]")


class _Advance(logging.Handler):
    """Moves the bar of the running source with every partition that is done."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, source: str, partitions: int) -> None:
        """Show a bar for the next source."""
        self._task = self._progress.add_task(source, total=partitions)

    def emit(self, record: logging.LogRecord) -> None:
        """Advance when the record says that a partition is through."""
        from spanner_pipeline.importing import PARTITION_DONE  # loads slowly: only here

        if self._task is not None and getattr(record, PARTITION_DONE, False):
            self._progress.advance(self._task)


@contextmanager
def progress() -> Iterator[Callable[[str, int], None]]:
    """Show a bar for each source; call what it gives with a source and its number of partitions."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("partitions"),
        TimeElapsedColumn(),
    )
    logger = logging.getLogger("spanner_pipeline")
    with Progress(*columns, console=err) as progress:
        handler = _Advance(progress)
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            yield handler.begin
        finally:
            logger.removeHandler(handler)
