"""Measured steps, and tables of their figures, in Markdown, which reads as well in a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

Figures = dict[str, Any]


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, file=sys.stderr, flush=True)


def run_module(*arguments: str) -> Any:
    """What a module prints as JSON, run in a process of its own."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def measure(step: str, folder: Path, delivery: str) -> Figures:
    """CPU and wall seconds and peak memory (GB) of one step, in a process of its own."""
    figures: Figures = run_module(
        "spanner_pipeline_tests.benchmarks.step", step, str(folder), delivery
    )
    say(f"{step:>8} {delivery:<12} {figures['cpu']:8.2f} CPU s")
    return figures


def aligned(header: list[str], body: list[list[str]]) -> str:
    """A table."""
    widths = [max(len(row[i]) for row in [header, *body]) for i in range(len(header))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in [header, ["-" * width for width in widths], *body]
    )


def columns(figures: Figures) -> list[str]:
    """The figures of one step."""
    return [f"{figures[name]:.2f}" for name in ("cpu", "wall", "peak")]
