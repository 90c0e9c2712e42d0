"""Idempotency keys: law 2. One row has one key, for ever and everywhere.

A key reads `source:subject:meter:identity`. Each part is percent-encoded (RFC 3986: all but
letters, digits and `-._~`), so no two identities meet at a separator; the parts of an identity are
joined by `|`. A multiset's identity is the SHA-256 of the row's fields and which occurrence of that
content it is. Nothing is truncated. A snapshot's identity begins with its scope; behind it stands
the row's own id, or the SHA-256 of what the event says and which occurrence of that it is.

Where a source's ids are unique across subjects, the subject's part is empty, so that a row keeps
its key under another subject. No subject is empty, so these keys meet no others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import quote, unquote

import polars as pl

PART_SEPARATOR = "|"
UNRESERVED = r"^[A-Za-z0-9._~-]*$"
"""A text that percent-encoding leaves as it is."""


def idempotency_key(source: str, subject: str | None, meter: str, identity: Sequence[str]) -> str:
    """Spell one key; the reference for `key_sql`, which does the same for whole tables.

    Args:
        source: The source's name.
        subject: The event's subject; None where ids are unique across subjects.
        meter: The meter's name.
        identity: The canonical parts of the row's identity.
    """
    parts = PART_SEPARATOR.join(quote(part, safe="") for part in identity)
    return ":".join([*(quote(part, safe="") for part in (source, subject or "", meter)), parts])


def multiset_identity(content: str, occurrence: int) -> tuple[str, str]:
    """The identity of the `occurrence`-th row (from 1) with this content."""
    return hashlib.sha256(content.encode()).hexdigest(), str(occurrence)


def key_sql(
    source: str,
    meter: str,
    part: str | None,
    identity: Sequence[str] | None,
    *,
    scope: Sequence[str] = (),
    across_subjects: bool = False,
) -> str:
    """SQL for the key of each row of a table.

    Args:
        source: The source's name.
        meter: The meter's name.
        part: Tells apart two usages of one row in one meter.
        identity: Columns with the canonical parts; None for a multiset, whose table has `content`.
        scope: Columns with the canonical parts of a snapshot's scope; its table has `revision` and
            `out_of_scope`, for what another delivery says or what is left out does not count here.
        across_subjects: Whether ids are unique across subjects.
    """
    pieces = _encoded(scope)
    if identity is None:
        digest = "sha256(content)"
        alike = ["subject", digest, *pieces]
        alike += ["revision", "out_of_scope IS NULL"] if scope else []
        copies = f"PARTITION BY {', '.join(alike)} ORDER BY source_file, source_line"
        pieces += [digest, f"(row_number() OVER ({copies}))::VARCHAR"]
    else:
        pieces += _encoded(identity)
    if part is not None:
        pieces.append(_literal(quote(part, safe="")))
    ahead, behind = _literal(quote(source, safe="") + ":"), _literal(f":{quote(meter, safe='')}:")
    joined = _joined(pieces)
    subject = "''" if across_subjects else "url_encode(subject)"
    return f"{ahead} || {subject} || {behind} || {joined}"


def scope_sql(scope: Sequence[str]) -> str:
    """SQL for the scope of each row of a table, as its key spells it; null where a part is."""
    return _joined(_encoded(scope))


def scope_of_key(depth: str) -> str:
    """SQL for the scope that the first so many parts of `idempotency_key` spell."""
    return f"array_to_string({PARTS_OF_KEY}[:{depth}], '{PART_SEPARATOR}')"


def read_scope(scope: str) -> tuple[str, ...]:
    """The parts of a scope, as they stood in the source."""
    return tuple(unquote(part) for part in scope.split(PART_SEPARATOR))


PARTS_OF_KEY = f"string_split(split_part(idempotency_key, ':', 4), '{PART_SEPARATOR}')"
"""SQL for the parts of the identity in `idempotency_key`, percent-encoded."""


def _encoded(columns: Sequence[str]) -> list[str]:
    return [f'url_encode("{column}")' for column in columns]


def _joined(pieces: Sequence[str]) -> str:
    return f" || '{PART_SEPARATOR}' || ".join(pieces)


def unreserved_key(
    source: str,
    meter: str,
    part: str | None,
    identity: Sequence[str],
    *,
    across_subjects: bool = False,
) -> pl.Expr:
    """The same key for rows of which nothing is to be encoded, which most are; arguments as above.

    Texts that stay as they are need no other engine; reaching one costs more than the key.
    """
    pieces = [pl.lit(quote(source, safe="") + ":")]
    pieces += [] if across_subjects else [pl.col("subject")]
    pieces.append(pl.lit(f":{quote(meter, safe='')}:"))
    parts = [pl.col(column) for column in identity]
    if part is not None:
        parts.append(pl.lit(quote(part, safe="")))
    return pl.concat_str(*pieces, pl.concat_str(parts, separator=PART_SEPARATOR))


def key_under(subject: str) -> pl.Expr:
    """The key that a row with `idempotency_key` would have under another subject.

    Args:
        subject: The column with it, percent-encoded.
    """
    parts = pl.col("idempotency_key").str.split_exact(":", 3).struct
    source, *behind = (parts.field(f"field_{index}") for index in (0, 2, 3))
    return pl.concat_str(source, subject, *behind, separator=":")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
