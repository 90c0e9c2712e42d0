"""The SQL that a source declares: one query that only reads, with its period bound as values.

Belongs here: what a query may say, seen from its text. What keeps it from writing is the read-only
transaction that it runs in (`sources`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

BOUNDS = ("start", "end")
"""What stands for the period of a partition: its first day, and the first day after it."""

_APART = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$""", re.DOTALL
)
"""Texts, quoted names and comments: nothing in them is SQL."""

_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_BOUND = re.compile(r"\{(?:" + "|".join(BOUNDS) + r")\}")
_COMPARED = re.compile(r"(\w+)\s*(?:[<>]=?|=|\bbetween\b)\s*\{\w+\}", re.IGNORECASE)
_QUOTED_NAME = re.compile(r"""["`](\w+)["`]""")
_WRITES = re.compile(r"\b(insert|update|delete|merge|into|truncate)\b", re.IGNORECASE)


def checked(query: str) -> str:
    """Check that a text is one query that reads, and binds nothing but its period.

    Raises:
        ValueError: What is wrong, and what to write instead.
    """
    code = _APART.sub(" ", query)
    if any(piece[0].startswith(("/*!", "/*M!")) for piece in _APART.finditer(query)):
        raise ValueError("has a comment that MySQL would run: /*! ... */. Take it out.")
    if not re.match(r"[\s(]*(select|with)\b", code, re.IGNORECASE):
        raise ValueError("must be a query: begin it with SELECT or WITH.")
    if ";" in code.rstrip().removesuffix(";"):
        raise ValueError("must be one statement; take out the `;` inside it.")
    if word := _WRITES.search(code):
        raise ValueError(
            f"may only read, and says {word[1].upper()}. Put a column of that name into quotes."
        )
    if unknown := sorted({name for name in _PLACEHOLDER.findall(code) if name not in BOUNDS}):
        raise ValueError(f"knows no {{{unknown[0]}}}. Write {{start}} and {{end}}.")
    if any(_BOUND.search(piece[0]) for piece in _APART.finditer(query)):
        raise ValueError(
            "has {start} or {end} inside quotes or a comment. They are bound as values: write "
            "`at >= {start}`, without quotes."
        )
    return query


def bound_names(query: str) -> list[str]:
    """The placeholders of a query, in their order."""
    return _PLACEHOLDER.findall(_APART.sub(" ", query))


def compared(query: str) -> set[str]:
    """The columns, in small letters, that stand right before a placeholder: `at >= {start}`."""
    code = _QUOTED_NAME.sub(r"\1", query)
    return {name.casefold() for name in _COMPARED.findall(_APART.sub(" ", code))}


def with_parameters(query: str, spell: Callable[[str], str], plain: Callable[[str], str]) -> str:
    """A query in the spelling of a driver.

    Args:
        query: As it is declared.
        spell: How the driver writes the parameter for a placeholder.
        plain: How it writes all other text.
    """
    text, at = "", 0
    for quoted in _APART.finditer(query):
        text += _spelled(query[at : quoted.start()], spell, plain) + plain(quoted[0])
        at = quoted.end()
    return (text + _spelled(query[at:], spell, plain)).rstrip().removesuffix(";")


def _spelled(code: str, spell: Callable[[str], str], plain: Callable[[str], str]) -> str:
    pieces = _PLACEHOLDER.split(code)
    return "".join(spell(piece) if at % 2 else plain(piece) for at, piece in enumerate(pieces))
