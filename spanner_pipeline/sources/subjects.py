"""Accounts of any text become subjects that Open Spanner takes, one to one."""

from __future__ import annotations

from urllib.parse import quote

import polars as pl

from spanner_pipeline.configuration.lookup import Account

_PLAIN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
_BEGINS = "x:-"
"""Stands before a subject that began with no letter or digit; no escape has this shape."""


def spelled(accounts: pl.Expr, account: Account) -> pl.Expr:
    """The texts of accounts as they are declared to be spelled."""
    if account.spell == "as_is":
        return accounts
    return accounts.map_batches(_escaped, return_dtype=pl.String)


def escape(text: str) -> str:
    """Spell one account; the empty text stays empty, and is no subject."""
    escaped = quote(text, safe="").replace("~", "%7E").replace("%", ":")
    return escaped if not escaped or escaped[0].isalnum() else _BEGINS + escaped


def _escaped(accounts: pl.Series) -> pl.Series:
    odd = accounts.unique().drop_nulls()
    odd = odd.filter(~odd.str.contains(_PLAIN))
    return accounts.replace(odd, pl.Series([escape(text) for text in odd], dtype=pl.String))
