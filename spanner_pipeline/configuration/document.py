"""A YAML file with the line of every key.

All scalars stay text, so that YAML never turns `1.10` into a float, `NO` into false or a date into
an object; the models that read a document decide what a text means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from spanner_pipeline.configuration.explanations import explanation
from spanner_pipeline.configuration.values import MistakesError
from spanner_pipeline.errors import ConfigurationError, Problem

Model = TypeVar("Model", bound=BaseModel)
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """One parsed YAML file: its data, and where each key stands."""

    file: str
    data: Any
    lines: dict[KeyPath, int]

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A problem at `path`, or at the nearest key above it that the file has."""
        known = path
        while known not in self.lines and known:
            known = known[:-1]
        return Problem(self.file, self.lines.get(known, 1), dotted(path), message)

    def read_as(self, model: type[Model]) -> Model:
        """Read the document as a model.

        Raises:
            ConfigurationError: With all mistakes, each at its line.
        """
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            problems = [p for detail in error.errors() for p in self._problems(detail, model)]
            raise ConfigurationError(list(dict.fromkeys(problems))) from None

    def _problems(self, detail: Any, model: type[BaseModel]) -> Iterator[Problem]:
        path = self._without_tags(detail["loc"])
        if detail["type"].startswith("union_tag_"):
            path = (*path, str(detail["ctx"]["discriminator"]).strip("'"))
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, MistakesError):
            for below, message in cause.found:
                yield self.problem((*path, *below), message)
        else:
            yield self.problem(path, explanation(detail, model))

    def _without_tags(self, loc: KeyPath) -> KeyPath:
        """Pydantic names the member of a union in the path; the file does not."""
        node, path = self.data, list[str | int]()
        for part in loc:
            if isinstance(node, dict) and node.get("family") == part and part not in node:
                continue
            path.append(part)
            if isinstance(node, dict):
                node = node.get(part)
            elif isinstance(node, list) and isinstance(part, int):
                node = node[part]
        return tuple(path)


def dotted(path: KeyPath) -> str:
    """Spell a key path as a person would: `usage[0].quantity`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_document(path: Path, file: str) -> Document:
    """Read one YAML file; `file` is how messages name it.

    Raises:
        ConfigurationError: When it cannot be read, is not valid YAML, or a key stands twice.
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        what = getattr(error, "problem", None) or str(error)
        message = f"not valid YAML: {what}. Check indentation, quotes and brackets here and above."
        raise ConfigurationError([Problem(file, line, "", message)]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([Problem(file, 1, "", "not UTF-8. Save it as UTF-8.")]) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}. Check it."
        raise ConfigurationError([Problem(file, 1, "", message)]) from None
    lines: dict[KeyPath, int] = {(): 1}
    problems: list[Problem] = []
    try:
        data = _build(node, (), lines, problems, file)
    except RecursionError:
        message = "an alias stands inside its own anchor. Write out what is meant."
        raise ConfigurationError([Problem(file, 1, "", message)]) from None
    if problems:
        raise ConfigurationError(problems)
    return Document(file, data, lines)


def _build(
    node: yaml.Node | None,
    path: KeyPath,
    lines: dict[KeyPath, int],
    problems: list[Problem],
    file: str,
) -> Any:
    if node is None:
        return {}
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in mapping:
                message = f"stands twice, first in line {lines[*path, key]}. Keep one."
                problems.append(Problem(file, line, dotted((*path, key)), message))
            lines[(*path, key)] = line
            mapping[key] = _build(value_node, (*path, key), lines, problems, file)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [
            _build(item, (*path, index), lines, problems, file)
            for index, item in enumerate(node.value)
        ]
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return None if plain and node.value in ("", "~", "null") else node.value
