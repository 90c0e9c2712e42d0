"""JSON documents: the objects of one array, wherever it is in the document.

A decoder finds where each element ends, and its text as it stands is what a row is made of, as in
JSON Lines: so numbers keep their digits. Only one element at a time is held as objects of Python,
and the document is read to its end, so that one that is cut off shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from json import JSONDecodeError, JSONDecoder
from typing import IO, Any

import polars as pl

from spanner_pipeline.configuration import json_paths
from spanner_pipeline.configuration.layout import Json
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.json_lines import parse_objects
from spanner_pipeline.sources.lines import BLOCK_SIZE, LONGEST_LINE, open_text

_SPACE = re.compile(r"[ \t\r\n]*")
_LINE_BREAK = r"\s*[\r\n]\s*"  # in valid JSON it never stands inside a string
_DECODER = JSONDecoder(parse_float=str, parse_int=str, strict=False)
_BATCH_ROWS = 100_000
_KEYS_SHOWN = 20


def read_rows(file: SourceFile, layout: Json, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line` (place in the array), `original` (on one line), and what JSON Lines yields.

    Raises:
        SourceFileError: When the document is cut off or damaged, or has no such array.
    """
    with open_text(file, layout.encoding) as text:
        document = _Document(file, text)
        first = 1
        for rows in _batches(_elements(document, json_paths.keys(layout.rows))):
            lines = pl.int_range(first, first + len(rows), dtype=pl.Int64, eager=True)
            first += len(rows)
            batch = parse_objects(pl.DataFrame({"line": lines, "original": rows}), needed)
            one_line = pl.col("original").str.replace_all(_LINE_BREAK, " ")
            original = pl.when("malformed").then("original").otherwise(one_line)
            yield batch.with_columns(original.alias("original"))
        if document.peek():
            raise document.error(
                "goes on after the end of its JSON document.",
                "write one document a file, or read `family: json_lines`.",
            )


def _batches(elements: Iterator[str]) -> Iterator[list[str]]:
    rows: list[str] = []
    characters = 0
    for element in elements:
        rows.append(element)
        characters += len(element)
        if characters >= BLOCK_SIZE or len(rows) >= _BATCH_ROWS:
            yield rows
            rows, characters = [], 0
    if rows:
        yield rows


def _elements(document: _Document, path: Sequence[str]) -> Iterator[str]:
    """The elements of the array at a path; what stands around it is read over."""
    if not path:
        if document.peek() not in ("[", ""):
            raise document.error(
                "has no array where `rows` says.", "name the path of the array in `rows`."
            )
        for _ in document.members("[", "]"):
            yield document.value()[1]
        return
    if document.peek() not in ("{", ""):
        raise document.error(
            f"has no object with `{path[0]}` where `rows` says.", "correct `rows`."
        )
    keys: list[str] = []
    found = False
    for _ in document.members("{", "}"):
        key = document.key()
        keys += [key[:40]] if len(keys) < _KEYS_SHOWN else []
        if key != path[0]:
            document.value()
            continue
        if found:
            raise document.error(f"has `{key}` twice.", "fetch it again, or remove one.")
        found = True
        yield from _elements(document, path[1:])
    if not found:
        shown = ", ".join(keys) or "none"
        raise document.error(
            f"has no `{path[0]}` where `rows` says; its keys are: {shown}.", "correct `rows`."
        )


class _Document:
    """A JSON text, read from its beginning to its end."""

    def __init__(self, file: SourceFile, stream: IO[str]) -> None:
        self._file, self._stream = file, stream
        self._text, self._at, self._line = "", 0, 1
        self._ended = False

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._read_on()

    def take(self, expected: str) -> str:
        """Pass the next character, which must be one of these."""
        found = self.peek()
        if not found or found not in expected:
            raise self._damaged(f"`{'` or `'.join(expected)}` is expected")
        self._at += 1
        return found

    def members(self, opening: str, closing: str) -> Iterator[None]:
        """Stop before each member of an array or object; the caller passes it."""
        self.take(opening)
        if self.peek() == closing:
            self.take(closing)
            return
        while True:
            yield
            if self.take("," + closing) == closing:
                return

    def key(self) -> str:
        """Pass a key and its colon."""
        if self.peek() != '"':
            raise self._damaged("a key is expected")
        key, _ = self.value()
        self.take(":")
        return str(key)

    def value(self) -> tuple[Any, str]:
        """Pass a value: what it is, with numbers as texts, and its JSON."""
        self.peek()
        while True:
            problem = "the text ends inside it"
            try:
                found, end = _DECODER.raw_decode(self._text, self._at)
                if end < len(self._text) or self._ended:  # else a number could go on
                    text = self._text[self._at : end]
                    self._at = end
                    return found, text
            except JSONDecodeError as error:
                problem = error.msg
            except RecursionError:
                raise self._damaged("it is nested too deeply") from None
            if self._ended or len(self._text) - self._at > LONGEST_LINE:
                raise self._damaged(problem)
            self._read_on()

    def error(self, problem: str, remedy: str) -> SourceFileError:
        """An error where the reading stands."""
        line = self._line + self._text.count("\n", 0, self._at)
        return SourceFileError(self._file.name, problem, remedy, line=line)

    def _damaged(self, problem: str) -> SourceFileError:
        if not self._ended:
            problem += f" (no value may have more than {LONGEST_LINE:,} characters)"
        return self.error(
            f"is cut off, or no JSON from here on: {problem}.",
            "fetch it again from the old system.",
        )

    def _read_on(self) -> None:
        self._line += self._text.count("\n", 0, self._at)
        block = self._stream.read(BLOCK_SIZE)
        self._text, self._at = self._text[self._at :] + block, 0
        self._ended = not block
