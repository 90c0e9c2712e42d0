"""Law 2: the same row has the same key for ever, and no two rows share one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanner_pipeline.keys import idempotency_key, key_sql, multiset_identity
from spanner_pipeline_tests.lake.building import FIELDS, Row, TinyRoot, csv_bytes, shuffled

TRICKY = [":", "|", "%", "%3A", "%7C", "%25", " ", "+", "", "'", '"', "\\", "/", "é", "é", "\n"]
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.sampled_from([*TRICKY, "a", "b", "1"]), max_size=4).map("".join),
)
SUBJECT = st.none() | TEXT.filter(bool)  # none where ids are unique across subjects
IDENTITY = st.tuples(TEXT, SUBJECT, TEXT, st.lists(TEXT, min_size=1, max_size=3).map(tuple))
# From few letters, so that identities nearly meet often.
CLOSE = st.lists(st.sampled_from([":", "|", "%", "3A", "7C", "a"]), max_size=2).map("".join)
CLOSE_IDENTITY = st.tuples(
    CLOSE,
    st.none() | CLOSE.filter(bool),
    CLOSE,
    st.lists(CLOSE, min_size=1, max_size=3).map(tuple),
)
Identity = tuple[str, str | None, str, tuple[str, ...]]


def _from_sql(source: str, subject: str | None, meter: str, identity: Sequence[str]) -> str:
    columns = [f"identity.{index}" for index in range(len(identity))]
    identity_texts = {c: [part] for c, part in zip(columns, identity, strict=True)}
    texts = {"subject": [subject or "anyone"], **identity_texts}
    key_of = key_sql(source, meter, None, columns, across_subjects=subject is None)
    frame = pl.DataFrame(texts, schema=dict.fromkeys(texts, pl.String))
    with duckdb.connect() as connection:
        connection.register("rows", frame.to_arrow())
        ((key,),) = connection.execute(f"SELECT {key_of} FROM rows").fetchall()
    assert isinstance(key, str)
    return key


@given(IDENTITY)
@settings(max_examples=150, deadline=None)
def test_sql_and_python_spell_the_same_key(identity: Identity) -> None:
    assert _from_sql(*identity) == idempotency_key(*identity)


@given(IDENTITY)
@settings(max_examples=500)
def test_a_key_can_be_read_back_so_that_no_two_identities_share_one(identity: Identity) -> None:
    source, subject, meter, parts = idempotency_key(*identity).split(":")
    read = tuple(unquote(part, errors="strict") for part in parts.split("|"))
    assert (unquote(source), unquote(subject) or None, unquote(meter), read) == identity


@given(st.lists(CLOSE_IDENTITY, min_size=2, max_size=60, unique=True))
@settings(max_examples=200)
def test_identities_that_nearly_meet_have_different_keys(identities: list[Identity]) -> None:
    assert len({idempotency_key(*identity) for identity in identities}) == len(identities)


CONTENTS = st.lists(st.one_of(st.sampled_from(["x", "y"]), TEXT), max_size=12)


@given(CONTENTS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_k_copies_of_a_multiset_row_have_k_keys_in_any_order(contents: list[str], rng) -> None:  # type: ignore[no-untyped-def]
    counts = Counter(contents)
    expected = {
        idempotency_key("s", "a", "m", multiset_identity(content, k))
        for content, count in counts.items()
        for k in range(1, count + 1)
    }
    rng.shuffle(contents)
    frame = pl.DataFrame(
        {
            "content": contents,
            "source_file": [f"file {rng.randrange(3)}" for _ in contents],
            "source_line": range(len(contents)),
        },
        schema={"content": pl.String, "source_file": pl.String, "source_line": pl.Int64},
    )
    with duckdb.connect() as connection:
        connection.register("rows", frame.to_arrow())
        found = connection.execute(
            f"SELECT {key_sql('s', 'm', None, None)} FROM (SELECT *, 'a' AS subject FROM rows)"
        ).fetchall()
    assert len(found) == len(contents)
    assert {key for (key,) in found} == expected


ROWS = [
    Row(f"{i % 40}", f"org_{i % 7}", f"{i % 5 + 1}", f"2024-01-{1 + i % 28:02}T00:00:00Z")
    for i in range(200)
] + [Row("it's", region=r'"quoted", \ é'), Row("it's"), Row("a|b:c%20")]
KINDS = {
    "native": {"column": "id"},
    "composite": ["id", {"column": "time", "type": "time"}, {"column": "quantity"}],
    "multiset": "multiset",
}


def _reordered_columns(rows: list[Row]) -> bytes:
    return csv_bytes(rows, columns=FIELDS[::-1])


def _chunks(rows: list[Row]) -> dict[str, bytes]:
    return {f"{n}-of-7.csv": csv_bytes(rows[n::7]) for n in range(7)}


DELIVERIES = {
    "shuffled": {"delivery.csv": csv_bytes(shuffled(ROWS))},
    "in other files": _chunks(ROWS),
    "shuffled in other files": _chunks(shuffled(ROWS, 2)),
    "gzip": {"delivery.csv.gz": csv_bytes(ROWS)},
    "other name": {"ä b'.txt": csv_bytes(ROWS)},
    "other line ends": {"delivery.csv": csv_bytes(ROWS, end="\r\n")},
    "other column order": {"delivery.csv": _reordered_columns(ROWS)},
    "no last line end": {"delivery.csv": csv_bytes(ROWS).rstrip()},
}


@pytest.fixture(scope="module", params=KINDS)
def reference(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[str]]:
    lake = TinyRoot(tmp_path_factory.mktemp("reference"), identity=KINDS[request.param])
    lake.deliver(ROWS)
    return request.param, sorted(lake.events()["idempotency_key"])


@pytest.mark.parametrize("how", DELIVERIES)
def test_keys_do_not_depend_on_how_rows_were_delivered(
    tmp_path: Path, reference: tuple[str, list[str]], how: str
) -> None:
    kind, expected = reference
    lake = TinyRoot(tmp_path, identity=KINDS[kind])
    lake.place(DELIVERIES[how])
    lake.run()
    assert sorted(lake.events()["idempotency_key"]) == expected
    assert len(expected) == {"native": 202, "composite": 202, "multiset": 203}[kind]


PROCESSES = {
    "native": {"TZ": "Asia/Kathmandu", "POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "1"},
    "composite": {"TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONHASHSEED": "2"},
    "multiset": {"TZ": "Pacific/Kiritimati", "POLARS_MAX_THREADS": "3", "PYTHONHASHSEED": "3"},
}


@pytest.mark.parametrize("cpus", [1, 2])
def test_keys_do_not_depend_on_the_process(
    tmp_path: Path, reference: tuple[str, list[str]], cpus: int
) -> None:
    kind, expected = reference
    lake = TinyRoot(tmp_path, identity=KINDS[kind])
    lake.place({"delivery.csv": csv_bytes(ROWS)})
    command = [sys.executable, "-m", "spanner_pipeline_tests.lake.child", str(tmp_path), str(cpus)]
    done = subprocess.run(
        command,
        env={**os.environ, **PROCESSES[kind]},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == expected


SPELLINGS = {
    "number": (["7", "7.0", "+7", "007", "7e0", "70e-1"], ["7.5", "7.50", "75e-1", "+07.5"]),
    "time": (
        ["2024-01-01T05:00:00Z", "2024-01-01 05:00:00.000000+00:00", "2024-01-01T06:00+01:00"],
        ["2024-01-01T05:00:00.5Z", "2024-01-01T05:00:00.500000000Z"],
    ),
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_numbers_and_times_have_one_spelling_in_a_key(tmp_path: Path, kind: str) -> None:
    lake = TinyRoot(tmp_path, identity={"column": "id", "type": kind})
    done = lake.deliver(
        [Row(text, quantity=str(n + 1)) for n, same in enumerate(SPELLINGS[kind]) for text in same]
    )
    assert done.totals.rejected.rows == 0
    assert (done.totals.new.rows, done.totals.conflicting.rows) == (2, 0)


@pytest.mark.parametrize("files", [["a.csv", "b.csv"], ["b.csv"]])
def test_a_subject_taken_from_the_file_name_counts_its_own_copies(
    tmp_path: Path, files: list[str]
) -> None:
    usage = {"subject": {"column": "source_file", "extract": "^([a-z]+)"}}
    lake = TinyRoot(tmp_path, identity="multiset", usage=usage)
    rows = {"a.csv": [Row(), Row()], "b.csv": [Row(), Row(), Row("2")]}
    lake.place({name: csv_bytes(rows[name]) for name in files})
    lake.run()
    of_b = [key for key in lake.events()["idempotency_key"] if key.startswith("legacy:b:")]
    assert sorted(key.rsplit("|", 1)[1] for key in of_b) == ["1", "1", "2"]


def test_subject_and_content_both_tell_multiset_rows_apart(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, identity="multiset")
    rows = [Row("x", subject) for subject in ("org_1", "org_2", "org_1")]
    lake.deliver(rows)
    keys = sorted(lake.events()["idempotency_key"])
    assert [key.rsplit("|", 1)[1] for key in keys] == ["1", "2", "1"]
    assert [key.split(":")[1] for key in keys] == ["org_1", "org_1", "org_2"]
