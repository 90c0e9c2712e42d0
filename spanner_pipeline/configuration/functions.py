"""What expressions can compute: each function and operator, what it takes and gives.

Belongs here: the list, which checks and documentation read. Not here: reading an expression
(`expression`) or computing it (`sources.expressions`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["column", "text", "number", "truth", "null"]
"""What a part of an expression is. A `column` is a text that may be read as a number."""

Takes = Literal["text", "spelled", "number", "truth", "alike", "any", "whole", "constant"]
"""What is taken: `spelled` is a text, or a number in its plain spelling; values that are `alike`
are all texts, all numbers or all truths; `whole` is a whole number above 0 and `constant` a text,
both written down in the expression itself."""


@dataclass(frozen=True)
class Function:
    """A function or an operator.

    Attributes:
        takes: Its arguments; the last one may be there more than once where `more`.
        gives: Its result; `alike` is what its alike arguments are.
        example: How it is written.
        meaning: What it gives.
        optional: How many of the last arguments may be left out.
        more: Whether the last argument may be repeated.
    """

    takes: tuple[Takes, ...]
    gives: Kind | Literal["alike"]
    example: str
    meaning: str
    optional: int = 0
    more: bool = False


_EXACT = "exact, with up to 38 digits; more are refused"

FUNCTIONS: dict[str, Function] = {
    "coalesce": Function(
        ("alike",), "alike", "coalesce(customer, account)", "the first that is not empty", more=True
    ),
    "if": Function(
        ("truth", "alike", "alike"),
        "alike",
        "if(kind = 'refund', -n, n)",
        "the second where the first is true, else the third; an unknown condition is refused",
    ),
    "nullif": Function(
        ("alike", "alike"), "alike", "nullif(plan, 'n/a')", "empty where both are equal"
    ),
    "concat": Function(
        ("spelled",),
        "text",
        "concat(a, '/', b)",
        "the texts one after the other; empty where one is",
        more=True,
    ),
    "lower": Function(("text",), "text", "lower(email)", "in small letters"),
    "upper": Function(("text",), "text", "upper(region)", "in capital letters"),
    "trim": Function(("text",), "text", "trim(name)", "without blanks at both ends"),
    "replace": Function(
        ("text", "constant", "constant"), "text", "replace(id, '-', '')", "each part replaced"
    ),
    "split_part": Function(
        ("text", "constant", "whole"),
        "text",
        "split_part(path, '/', 2)",
        "a part, counted from 1; empty where there is none",
    ),
    "substring": Function(
        ("text", "whole", "whole"),
        "text",
        "substring(id, 1, 8)",
        "from a character on, counted from 1, so many or all",
        optional=1,
    ),
    "extract": Function(
        ("text", "constant"),
        "text",
        "extract(path, '^/v([0-9]+)/')",
        "what the one group of a regular expression matches",
    ),
    "length": Function(("text",), "number", "length(body)", "how many characters"),
    "text": Function(("any",), "text", "text(a + b)", "as a text; numbers plainly spelled"),
    "number": Function(
        ("any",), "number", "number(code)", "as a number, such as `number(a) < number(b)`"
    ),
    "abs": Function(("number",), "number", "abs(credit)", "without its sign"),
    "starts_with": Function(("text", "text"), "truth", "starts_with(id, 'test_')", "whether"),
    "ends_with": Function(("text", "text"), "truth", "ends_with(host, '.local')", "whether"),
    "contains": Function(("text", "text"), "truth", "contains(path, '/api/')", "whether"),
}
"""The functions by name."""

OPERATORS: dict[str, Function] = {
    "+": Function(("number", "number"), "number", "input + output", _EXACT),
    "-": Function(("number", "number"), "number", "total - cached", _EXACT),
    "*": Function(("number", "number"), "number", "quantity * 1000", _EXACT),
    "/": Function(
        ("number", "number"), "number", "bytes / 1024", "refused where it does not divide exactly"
    ),
    "negative": Function(("number",), "number", "-credit", "with the other sign"),
    "=": Function(("alike", "alike"), "truth", "kind = 'usage'", "whether both are the same"),
    "!=": Function(("alike", "alike"), "truth", "kind != 'test'", "whether they differ"),
    "<": Function(
        ("alike", "alike"), "truth", "status < 500", "by number; against a text, by character"
    ),
    "<=": Function(("alike", "alike"), "truth", "status <= 499", "the same, or equal"),
    ">": Function(("alike", "alike"), "truth", "quantity > 0", "as `<`"),
    ">=": Function(("alike", "alike"), "truth", "day >= '2025-01-01'", "as `<=`"),
    "in": Function(
        ("alike", "alike"),
        "truth",
        "status in (200, 201)",
        "whether it is one; `not in`",
        more=True,
    ),
    "is null": Function(("any",), "truth", "plan is null", "whether it is empty; `is not null`"),
    "not": Function(("truth",), "truth", "not a = b", "the contrary"),
    "and": Function(("truth", "truth"), "truth", "a = 1 and b = 2", "whether both are true"),
    "or": Function(("truth", "truth"), "truth", "a = 1 or b = 2", "whether one is true"),
}
"""The operators, as the tree of an expression names them."""
