"""Keys are frozen: whoever changes their spelling has every event of every lake counted again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from urllib.parse import quote

import duckdb
import polars as pl
import pytest

from spanner_pipeline.keys import (
    UNRESERVED,
    idempotency_key,
    key_sql,
    multiset_identity,
    unreserved_key,
)

GOLDEN = Path(__file__).parent / "golden" / "keys.csv"

with GOLDEN.open(encoding="utf-8", newline="") as stream:
    ROWS = list(csv.DictReader(stream))


@pytest.mark.parametrize("row", ROWS, ids=[row["key"][:40] for row in ROWS])
def test_keys_are_spelled_as_they_always_were(row: dict[str, str]) -> None:
    identity = json.loads(row["identity"])
    subject = row["subject"] or None
    assert idempotency_key(row["source"], subject, row["meter"], identity) == row["key"]


def test_sql_spells_the_golden_keys_too() -> None:
    for row in ROWS:
        identity = json.loads(row["identity"])
        columns = [f"identity.{index}" for index in range(len(identity))]
        named = ", ".join(f'? AS "{column}"' for column in columns)
        across = row["subject"] == ""
        sql = key_sql(row["source"], row["meter"], None, columns, across_subjects=across)
        subject = "anyone" if across else row["subject"]
        with duckdb.connect() as connection:
            found = connection.execute(
                f"SELECT {sql} FROM (SELECT ? AS subject, {named})", [subject, *identity]
            ).fetchall()
        assert found == [(row["key"],)]


def test_unreserved_keys_are_those_of_sql_and_no_others_are_taken_for_such() -> None:
    for row in ROWS:
        identity = json.loads(row["identity"])
        columns = {f"identity.{index}": part for index, part in enumerate(identity)}
        across = row["subject"] == ""
        subject = "anyone" if across else row["subject"]
        frame = pl.DataFrame({"subject": [subject], **{name: [v] for name, v in columns.items()}})
        key = unreserved_key(
            row["source"], row["meter"], None, list(columns), across_subjects=across
        )
        encoded = any(quote(text, safe="") != text for text in (subject, *identity))
        unreserved = frame.select(pl.all_horizontal(pl.all().str.contains(UNRESERVED))).item()
        assert unreserved is not encoded
        if unreserved:
            assert frame.select(key).item() == row["key"]
    parted = pl.DataFrame({"subject": ["org_1"] * 2, "id": ["7", None]})
    key = unreserved_key("s", "tokens", "in:put's", ["id"])
    assert parted.select(key).to_series().to_list() == ["s:org_1:tokens:7|in%3Aput%27s", None]


def test_golden_identities_are_distinct_and_so_are_their_keys() -> None:
    identities = {(r["source"], r["subject"], r["meter"], r["identity"]) for r in ROWS}
    assert len(identities) == len(ROWS) == len({row["key"] for row in ROWS})


def test_the_key_of_the_documentation() -> None:
    key = idempotency_key("legacy_billing", "org_123", "api_requests", ["row_98765"])
    assert key == "legacy_billing:org_123:api_requests:row_98765"


def test_ids_that_are_unique_across_subjects_leave_the_subject_out() -> None:
    key = idempotency_key("legacy_billing", None, "api_requests", ["row_98765"])
    assert key == "legacy_billing::api_requests:row_98765"
    sql = key_sql("legacy_billing", "api_requests", "in", ["id"], across_subjects=True)
    with duckdb.connect() as connection:
        found = connection.execute(f"""
            SELECT {sql} FROM (VALUES ('org_1', '7'), ('org_2', '7'), (NULL, '7'), ('org_1', NULL))
            AS rows(subject, id)""").fetchall()
    assert found == [("legacy_billing::api_requests:7|in",)] * 3 + [(None,)]


def test_long_identities_are_not_truncated() -> None:
    one, other = (idempotency_key("s", "a", "m", ["x" * 5000 + end]) for end in "12")
    assert one != other
    assert len(one) > 5000


def test_a_part_tells_two_usages_of_one_row_apart() -> None:
    with duckdb.connect() as connection:
        row = "(SELECT 'org_1' AS subject, '7' AS id)"
        keys = [
            connection.execute(
                f"SELECT {key_sql('s', 'tokens', part, ['id'])} FROM {row}"
            ).fetchall()
            for part in (None, "in:put's", "output")
        ]
    assert keys == [
        [("s:org_1:tokens:7",)],
        [("s:org_1:tokens:7|in%3Aput%27s",)],
        [("s:org_1:tokens:7|output",)],
    ]


def test_a_multiset_key_holds_the_whole_digest_and_the_occurrence() -> None:
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert multiset_identity("hello", 3) == (digest, "3")
    with duckdb.connect() as connection:
        sql = key_sql("s", "m", None, None)
        found = connection.execute(f"""
            SELECT {sql} FROM (
                SELECT 'org_1' AS subject, 'hello' AS content, 'f' AS source_file, line
                    AS source_line FROM range(3) AS lines(line))""").fetchall()
    assert sorted(found) == [(f"s:org_1:m:{digest}|{k}",) for k in (1, 2, 3)]
