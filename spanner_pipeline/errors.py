"""What can go wrong, by who has to act. Every message says what, where and what to do.

Belongs here: the exceptions that cross a floor. Not here: reasons a single row is rejected for
(`spanner_pipeline.reasons`); a bad row is data, not an exception.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a configuration file.

    Attributes:
        file: The YAML file, relative to the data root.
        line: 1-based line of the key that is wrong.
        key: Dotted path of the key, such as `usage[0].quantity`.
        message: What is wrong and what to write instead.
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class PipelineError(Exception):
    """Base of all errors that a user can act on; the message needs no stack trace."""


class ConfigurationError(PipelineError):
    """The YAML of a data root is wrong. Carries all mistakes at once."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep the problems in file and line order."""
        self.problems = sorted(problems)
        noun = "mistake" if len(problems) == 1 else "mistakes"
        listing = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{len(problems)} {noun} in the configuration:\n{listing}")


class SourceFileError(PipelineError):
    """A legacy file cannot be read as declared. Its partition fails, the lake stays as it was."""

    def __init__(
        self, file: str, problem: str, remedy: str, *, line: int | None = None, column: str = ""
    ) -> None:
        """Compose the message from its parts.

        Args:
            file: The file, relative to the data root.
            problem: What is wrong with it.
            remedy: What the user can do.
            line: 1-based line, where one is at fault.
            column: The column at fault, where there is one.
        """
        where = file if line is None else f"{file}:{line}"
        named = f" (column {column})" if column else ""
        super().__init__(f"{where}{named}: {problem} Remedy: {remedy}")


class TooManyRejectedError(PipelineError):
    """More rows were rejected than the source allows; nothing of the partition was merged."""


class SnapshotRefusedError(PipelineError):
    """A snapshot cannot replace what the lake holds of its scopes; the lake is as it was."""


class ReadingsChangedError(PipelineError):
    """Readings of counters change usage that the lake has measured; nothing was merged."""


class ConservationError(PipelineError):
    """The control totals of an import do not balance. A defect of ours, never of the data."""


class LakeBusyError(PipelineError):
    """Another process kept winning the commit. Nothing was lost; run the import again."""
