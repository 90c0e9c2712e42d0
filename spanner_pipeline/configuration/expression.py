"""Expressions of a source's YAML: `coalesce(customer, account)`, `input + output`, `status < 500`.

Belongs here: reading the text into a tree and checking it. Not here: computing it
(`sources.expressions`), nor the list of functions (`functions`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache

from spanner_pipeline.configuration import patterns
from spanner_pipeline.configuration.functions import FUNCTIONS, OPERATORS, Function, Kind, Takes

MAX_DIGITS = 38
_MAX_DEPTH = 40
_MAX_LENGTH = 2000


class ExpressionError(ValueError):
    """An expression that cannot be meant; names the character, from 1, and what to write."""

    def __init__(self, at: int, message: str) -> None:
        """Say where."""
        super().__init__(f"at character {at + 1}: {message}")


@dataclass(frozen=True)
class Node:
    """A part of an expression.

    Attributes:
        kind: What it gives.
        spelled: How it stands in the expression.
        at: Where it stands, counted from 0.
    """

    kind: Kind
    spelled: str
    at: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The source columns that it reads, in order of first mention."""
        return ()


@dataclass(frozen=True)
class Column(Node):
    """A column of the source."""

    name: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Its name."""
        return (self.name,)


@dataclass(frozen=True)
class Constant(Node):
    """A text, a number or a truth as written; `null` has no text, and the kind of its place."""

    text: str | None


@dataclass(frozen=True)
class Call(Node):
    """A function or an operator with its arguments."""

    name: str
    arguments: tuple[Node, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """What its arguments read."""
        return tuple(dict.fromkeys(name for one in self.arguments for name in one.columns))


@lru_cache(maxsize=1024)
def parse(text: str) -> Node:
    """Read and check an expression.

    Raises:
        ExpressionError: When it is none, or puts together what does not fit.
    """
    return _Parser(text).whole()


def columns_of(text: str | None) -> list[str]:
    """The source columns that a checked expression reads; none where there is none."""
    return [] if text is None else list(parse(text).columns)


def checked(text: str) -> str:
    """Check an expression that gives a value."""
    parse(text)
    return text


def checked_condition(text: str) -> str:
    """Check an expression that is true or false."""
    node = parse(text)
    if node.kind != "truth":
        raise ExpressionError(
            node.at, f"`{node.spelled}` is not true or false. Compare it, such as `{text} = 'x'`."
        )
    return text


_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?(?![\w.]))
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")+")
    |(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*|\[\d+\]|\["[^"]+"\])*)
    |(?P<sign><=|>=|!=|<>|==|[=<>+\-*/(),])
    |(?P<end>$))""",
    re.VERBOSE,
)
_WORDS = {"and", "or", "not", "in", "is", "null", "true", "false"}
_OTHERWISE = {"<>": "!=", "==": "="}
_BINDING = {"or": 1, "and": 2, "in": 4, "is": 4, "not": 4, "+": 5, "-": 5, "*": 6, "/": 6}
_BINDING |= dict.fromkeys(("=", "!=", "<", "<=", ">", ">="), 4)
_NOT, _NEGATIVE = 3, 7


@dataclass(frozen=True)
class _Token:
    what: str
    text: str
    at: int
    end: int


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while True:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            quote = {"'": "a text that does not end", '"': "a column that does not end"}
            what = quote.get(text[start], "no part of an expression")
            raise ExpressionError(
                start,
                f"`{text[start : start + 12]}` is {what}. Texts stand in '…', and columns that are "
                'not plain names in "…".',
            )
        what, spelled = found.lastgroup, found[found.lastgroup]
        if what == "name" and spelled.lower() in _WORDS:
            what, spelled = "word", spelled.lower()
        yield _Token(
            what, _OTHERWISE.get(spelled, spelled), found.start(found.lastgroup), found.end()
        )
        if what == "end":
            return
        at = found.end()


class _Parser:
    """Reads by precedence: Pratt's way."""

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            raise ExpressionError(_MAX_LENGTH, f"is longer than {_MAX_LENGTH} characters.")
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._expression(0)
        if (token := self._peek()).what != "end":
            raise ExpressionError(
                token.at,
                f"`{token.text}` does not continue what stands before. Remove it, or put "
                "an operator or a comma between.",
            )
        return node

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._peek()
        self._next += token.what != "end"
        return token

    def _takes(self, *texts: str) -> bool:
        """Take a sign or word where it comes next."""
        token = self._peek()
        if token.what in ("sign", "word") and token.text in texts:
            self._next += 1
            return True
        return False

    def _expect(self, text: str, after: str) -> None:
        token = self._peek()
        if not self._takes(text):
            found = f"found `{token.text}`" if token.text else "the expression ends"
            raise ExpressionError(token.at, f"`{text}` is missing after {after}; {found}.")

    def _expression(self, binding: int) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ExpressionError(self._peek().at, "is nested too deeply. Write it simpler.")
        left = self._first()
        while (token := self._peek()).what in ("sign", "word") and (
            _BINDING.get(token.text, 0) > binding
        ):
            left = self._continued(left, self._take())
        self._depth -= 1
        return left

    def _first(self) -> Node:
        token = self._take()
        if token.what in ("number", "text", "quoted", "name"):
            return self._named(token)
        if token.text in ("true", "false"):
            return Constant("truth", token.text, token.at, token.text)
        if token.text == "null":
            return Constant("null", token.text, token.at, None)
        if token.text == "not":
            return self._made("not", [self._expression(_NOT)], token)
        if token.text == "-":
            return self._made("negative", [self._expression(_NEGATIVE)], token)
        if token.text == "(":
            inside = self._expression(0)
            self._expect(")", f"`{inside.spelled}`")
            return replace(inside, at=token.at, spelled=self._since(token.at))
        what = f"`{token.text}` stands where" if token.text else "the expression ends where"
        raise ExpressionError(token.at, f"{what} a column, a text, a number or `(` is needed.")

    def _named(self, token: _Token) -> Node:
        if token.what == "number":
            if len(re.sub(r"[eE].*|\.", "", token.text).strip("0")) > MAX_DIGITS:
                raise ExpressionError(token.at, f"has more than {MAX_DIGITS} digits.")
            return Constant("number", token.text, token.at, token.text)
        if token.what == "text":
            return Constant("text", token.text, token.at, token.text[1:-1].replace("''", "'"))
        if token.what == "quoted":
            return Column("column", token.text, token.at, token.text[1:-1].replace('""', '"'))
        if self._takes("("):
            return self._call(token)
        return Column("column", token.text, token.at, token.text)

    def _continued(self, left: Node, token: _Token) -> Node:
        if token.text == "is":
            negated = self._takes("not")
            self._expect("null", "`is`")
            found = self._made("is null", [left], token)
            return self._made("not", [found], token) if negated else found
        negated = token.text == "not"
        if negated:
            self._expect("in", "`not`")
        if negated or token.text == "in":
            self._expect("(", "`in`")
            found = self._made("in", [left, *self._listed("in")], token)
            return self._made("not", [found], token) if negated else found
        return self._made(token.text, [left, self._expression(_BINDING[token.text])], token)

    def _call(self, token: _Token) -> Node:
        name = token.text.lower()
        if name not in FUNCTIONS:
            close = get_close_matches(name, FUNCTIONS, 1)
            known = f"Did you mean {close[0]}?" if close else f"There are {', '.join(FUNCTIONS)}."
            raise ExpressionError(token.at, f"there is no function `{token.text}`. {known}")
        return self._made(name, self._listed(name), token)

    def _listed(self, what: str) -> list[Node]:
        found = [self._expression(0)] if self._peek().text != ")" else []
        while self._takes(","):
            found.append(self._expression(0))
        self._expect(")", f"the list of `{what}`")
        return found

    def _made(self, name: str, arguments: list[Node], token: _Token) -> Node:
        start = min([token.at, *(one.at for one in arguments)])
        return replace(
            _checked_call(name, arguments, token.at), at=start, spelled=self._since(start)
        )

    def _since(self, start: int) -> str:
        return self._text[start : self._tokens[self._next - 1].end]


def _checked_call(name: str, arguments: list[Node], at: int) -> Call:
    function = FUNCTIONS.get(name) or OPERATORS[name]
    takes = list(function.takes)
    if function.more:
        takes += takes[-1:] * (len(arguments) - len(takes))
    least, most = len(function.takes) - function.optional, len(takes)
    if not least <= len(arguments) <= most:
        raise ExpressionError(
            at, f"`{name}` takes {_many(function)}, and has {len(arguments)}: {function.example}."
        )
    given = list(arguments)
    for index, (wanted, one) in enumerate(zip(takes, arguments, strict=False)):
        if wanted in ("whole", "constant"):
            _check_written(name, wanted, one, function)
        elif wanted in _AS:
            given[index] = _as(name, _AS[wanted], one, wanted)
    together = [n for n, wanted in enumerate(takes[: len(given)]) if wanted == "alike"]
    kind = _common(name, [given[n] for n in together], at)
    for n in together:
        given[n] = _as(name, kind, given[n], "alike")
    if name == "extract":
        _check_pattern(given[1])
    gives = kind if function.gives == "alike" else function.gives
    return Call(gives, name, at, name, tuple(given))


def _many(function: Function) -> str:
    number = len(function.takes)
    if function.more:
        return f"{number} or more"
    return f"{number - function.optional} or {number}" if function.optional else str(number)


_AS: dict[Takes, Kind] = {
    "text": "text",
    "spelled": "text",
    "number": "number",
    "truth": "truth",
}
_NAMES = {"text": "a text", "number": "a number", "truth": "true or false", "column": "a text"}


def _as(name: str, wanted: Kind, node: Node, taken: str) -> Node:
    """The node as what is wanted: columns are read as numbers, numbers spelled as texts."""
    if node.kind == "null":
        return Constant(wanted, node.spelled, node.at, None)
    if node.kind == wanted or (wanted in ("text", "column") and node.kind == "column"):
        return node
    if wanted == "number" and node.kind == "column":
        return Call("number", node.spelled, node.at, "number", (node,))
    if taken == "spelled" and node.kind == "number":
        return Call("text", node.spelled, node.at, "text", (node,))
    remedy = {"text": " Write text(…) around it.", "number": " Write number(…) around it."}
    if node.kind == "truth" and wanted == "number":
        remedy["number"] = " Write if(…, 1, 0) around it."
    raise ExpressionError(
        node.at,
        f"`{name}` takes {_NAMES[wanted]} here, and `{node.spelled}` is {_NAMES[node.kind]}."
        + remedy.get(wanted, f" Compare it, such as `{node.spelled} = 'x'`."),
    )


def _common(name: str, nodes: list[Node], at: int) -> Kind:
    """What values that must be alike all are; columns follow the others."""
    kinds = {node.kind for node in nodes} - {"null"}
    if name in ("<", "<=", ">", ">=") and kinds == {"column"}:
        left, right = (node.spelled for node in nodes)
        raise ExpressionError(
            at,
            "are these numbers or texts, of which 9 is above 10? Write "
            f"number({left}) {name} number({right}), or text(…).",
        )
    clear = kinds - {"column"}
    if len(clear) > 1 or (clear == {"truth"} and "column" in kinds):
        one, other = next(
            (a, b)
            for a in nodes
            for b in nodes
            if a.kind == min(clear) and b.kind != a.kind and b.kind != "null"
        )
        raise ExpressionError(
            other.at,
            f"`{name}` takes values that are alike: `{one.spelled}` is {_NAMES[one.kind]}, and "
            f"`{other.spelled}` is {_NAMES[other.kind]}. Write text(…) or number(…) around one.",
        )
    found: list[Kind] = sorted(clear or kinds)
    return found[0] if found else "null"


def _check_written(name: str, wanted: Takes, node: Node, function: Function) -> None:
    is_constant = isinstance(node, Constant)
    if wanted == "whole" and not (
        is_constant and node.kind == "number" and re.fullmatch("[1-9][0-9]{0,8}", node.spelled)
    ):
        raise ExpressionError(
            node.at, f"`{name}` takes a whole number from 1 on here: {function.example}."
        )
    if wanted == "constant" and not (is_constant and node.kind == "text"):
        raise ExpressionError(node.at, f"`{name}` takes a text in '…' here: {function.example}.")


def _check_pattern(node: Node) -> None:
    assert isinstance(node, Constant)
    assert node.text is not None
    try:
        patterns.one_group(node.text)
    except ValueError as error:
        raise ExpressionError(node.at, str(error)) from None
