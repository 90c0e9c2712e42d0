"""Numbers as a source spells them become plain decimal texts, or null where they are none.

Belongs here: spelling. Not here: the value of a plain text (`texts.exact_decimal`).
"""

from __future__ import annotations

import re

import polars as pl

from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.sources import texts

_SAME = {" ": " \u00a0\u202f", "'": "'\u2019"}
"""Signs that a spreadsheet or a locale writes in place of the one that people name."""

_WRAPPED = {"parentheses": r"^\(([^+-].*)\)$", "trailing_minus": r"^([^+-].*)-$"}


def plain_number(quantity: Quantity, text: pl.Expr) -> pl.Expr:
    """The plain spelling (`-1234.5`, `1E3`) of texts that are numbers as declared, else null.

    A text whose digits are not grouped by three is no number: `1,23` may mean 1.23.
    """
    if quantity.strip:
        signs = "|".join(re.escape(sign) for sign in quantity.strip)
        text = text.str.replace(rf"^([+-]?\(?)\s*(?:{signs})\s*", "${1}")
        text = text.str.replace(rf"\s*(?:{signs})\s*(\)?-?)$", "${1}")
    if quantity.negative != "minus":
        text = text.str.replace(_WRAPPED[quantity.negative], "-${1}")
    if quantity.decimal != "." or quantity.thousands:
        text = _without_signs(quantity, text)
    return pl.when(texts.is_number(text)).then(text)


def _without_signs(quantity: Quantity, text: pl.Expr) -> pl.Expr:
    whole = "[0-9]*"
    group = f"[{re.escape(_SAME.get(quantity.thousands, quantity.thousands))}]"
    if quantity.thousands:
        whole = f"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]*)"
    fraction = f"(?:{re.escape(quantity.decimal)}[0-9]*)?"
    spelled = text.str.contains(f"^[+-]?{whole}{fraction}(?:[eE][+-]?[0-9]+)?$")
    if quantity.thousands:
        text = text.str.replace_all(group, "")
    if quantity.decimal != ".":
        text = text.str.replace(quantity.decimal, ".", literal=True)
    return pl.when(spelled).then(text)
