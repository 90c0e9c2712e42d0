"""Bad files fail alone and say what to do; bad rows are set aside as they were, with a reason."""

from __future__ import annotations

import gzip
import io
from typing import Any

import polars as pl
import pytest

from spanner_pipeline import reasons
from spanner_pipeline.errors import SourceFileError, TooManyRejectedError
from spanner_pipeline_tests.conftest import MakeRoot
from spanner_pipeline_tests.lake_reading import (
    events,
    everything_written,
    quarantined,
    run,
    version,
)

METER = {
    "name": "calls",
    "unit": "call",
    "decimals": 2,
    "dimensions": [
        {"name": "region", "type": "string"},
        {"name": "weight", "type": "number", "required": False},
        {"name": "free", "type": "boolean", "required": False},
    ],
}
COLUMNS = "id,account,amount,at,region,weight,free,revision"
GOOD = "1,acme,2.50,2024-01-05T10:00:00Z,eu,,,1"


def source(**changes: Any) -> dict[str, Any]:
    """A source of daily CSV files."""
    usage = {
        "meter": "calls",
        "subject": "account",
        "quantity": "amount",
        "timestamp": "at",
        "dimensions": {"region": "region", "weight": "weight", "free": "free"},
        **changes.pop("usage", {}),
    }
    return {
        "source": "old",
        "format": {"family": "delimited"},
        "files": "legacy/{year}-{month}-{day}.*",
        "partitions": {"grain": "day", "from": "2024-01-01", "to": "2024-02-01"},
        "identity": {"native": "id"},
        "usage": [usage],
        **changes,
    }


def csv(*rows: str) -> str:
    return "\n".join([COLUMNS, *rows]) + "\n"


def parquet(rows: int = 3000) -> bytes:
    """A Parquet file with the columns of the CSV."""
    frame = pl.DataFrame({"id": [str(n * 7919 % 10007) for n in range(rows)]}).with_columns(
        account=pl.lit("acme"),
        amount=pl.int_range(1, rows + 1),
        at=pl.lit("2024-01-05T10:00:00Z"),
        region=pl.lit("eu"),
        weight=pl.lit(None, dtype=pl.Float64),
        free=pl.lit(value=True),
        revision=pl.lit(1),
    )
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def damaged_page(content: bytes) -> bytes:
    return content[:200] + bytes(400) + content[600:]


LARGE = csv(*(f"{n},acme,{n * 7919 % 10007}.50,2024-01-05T10:00:00Z,eu,,,1" for n in range(2000)))

BAD_FILES: dict[str, tuple[dict[str, Any], dict[str, str | bytes], list[str]]] = {
    "missing": ({}, {}, ["legacy/2024-01-05.*: no file for partition 2024-01-05", "put the file"]),
    "empty": ({}, {"2024-01-05.csv": ""}, ["legacy/2024-01-05.csv: is empty.", "fetch it again"]),
    "header only": (
        {},
        {"2024-01-05.csv": COLUMNS + "\n"},
        ["legacy/2024-01-05.csv: holds no rows.", "fetch it again"],
    ),
    "header only, and quotes are text": (
        {"format": {"family": "delimited", "quote": ""}},
        {"2024-01-05.csv": COLUMNS},
        ["legacy/2024-01-05.csv: holds no rows.", "fetch it again"],
    ),
    "one good file beside a bad one": (
        {},
        {"2024-01-05.a.csv": csv(GOOD), "2024-01-05.b.csv": COLUMNS},
        ["legacy/2024-01-05.b.csv: holds no rows."],
    ),
    "a copy of another, and rows without ids": (
        {"identity": "multiset"},
        {"2024-01-05.a.csv": csv(GOOD), "2024-01-05.b.csv": csv(GOOD)},
        ["legacy/2024-01-05.b.csv: has the same bytes as legacy/2024-01-05.a.csv", "remove"],
    ),
    "cut inside the last line": (
        {},
        {"2024-01-05.csv": csv(GOOD, GOOD.replace("1,", "2,"))[:-25]},
        ["legacy/2024-01-05.csv:3: ends inside a row", "fetch it again"],
    ),
    "cut inside the last line, latin-1": (
        {"format": {"family": "delimited", "encoding": "latin-1"}},
        {"2024-01-05.csv": csv(GOOD, "2,Müller").removesuffix("\n").encode("latin-1")},
        ["legacy/2024-01-05.csv:3: ends inside a row"],
    ),
    "cut inside the last line, UTF-16": (
        {"format": {"family": "delimited", "encoding": "utf-16"}},
        {"2024-01-05.csv": csv(GOOD, "2,Müller").removesuffix("\n").encode("utf-16")},
        ["legacy/2024-01-05.csv:3: ends inside a row"],
    ),
    "cut inside a JSON object": (
        {"format": {"family": "json_lines"}, "usage": {"dimensions": {"region": "region"}}},
        {
            "2024-01-05.jsonl": '{"id":1,"account":"a","amount":1,"at":"2024-01-05T10:00:00Z",'
            '"region":"eu"}\n{"id":2,"acc'
        },
        ["legacy/2024-01-05.jsonl:2: ends inside a row"],
    ),
    "cut gzip": (
        {},
        {"2024-01-05.csv.gz": gzip.compress(LARGE.encode())[:-3000]},
        ["legacy/2024-01-05.csv.gz: is cut off or damaged", "fetch it again"],
    ),
    "gzip without its checksum": (
        {},
        {"2024-01-05.csv.gz": gzip.compress(LARGE.encode())[:-5]},
        ["legacy/2024-01-05.csv.gz: is cut off or damaged", "fetch it again"],
    ),
    "gzip with a changed byte": (
        {},
        {"2024-01-05.csv.gz": gzip.compress(LARGE.encode())[:-6] + b"\0\0\0\0\0\0"},
        ["legacy/2024-01-05.csv.gz: is cut off or damaged", "fetch it again"],
    ),
    "cut Parquet": (
        {"format": {"family": "parquet"}},
        {"2024-01-05.parquet": parquet()[:-2000]},
        ["legacy/2024-01-05.parquet: is no readable Parquet file", "fetch it again"],
    ),
    "Parquet with a damaged page": (
        {"format": {"family": "parquet"}},
        {"2024-01-05.parquet": damaged_page(parquet())},
        ["legacy/2024-01-05.parquet: is no readable Parquet file", "fetch it again"],
    ),
    "no Parquet at all": (
        {"format": {"family": "parquet"}},
        {"2024-01-05.parquet": csv(GOOD)},
        ["legacy/2024-01-05.parquet: is no readable Parquet file", "fetch it again"],
    ),
    "Parquet with other columns": (
        {"format": {"family": "parquet"}, "identity": {"native": "key"}},
        {"2024-01-05.parquet": parquet()},
        ["legacy/2024-01-05.parquet (column key): has other columns", "it misses key"],
    ),
    "not UTF-8": (
        {},
        {"2024-01-05.csv": csv(GOOD, "2,Müller,1,2024-01-05T10:00:00Z,eu,,,").encode("latin-1")},
        ["legacy/2024-01-05.csv:3: is not utf-8 text.", "declare its `encoding`"],
    ),
    "not UTF-8 inside gzip": (
        {},
        {"2024-01-05.csv.gz": gzip.compress(csv(GOOD, GOOD, "é").encode("latin-1"))},
        ["legacy/2024-01-05.csv.gz:4: is not utf-8 text.", "declare its `encoding`"],
    ),
    "not UTF-16": (
        {"format": {"family": "delimited", "encoding": "utf-16"}},
        {"2024-01-05.csv": csv(GOOD).encode("utf-16") + b"\x00\xd8a\x00"},
        ["legacy/2024-01-05.csv:3: is not utf-16 text."],
    ),
    "a missing column": (
        {},
        {"2024-01-05.csv": csv(GOOD).replace("amount", "price")},
        ["legacy/2024-01-05.csv:1 (column amount): has other columns", "misses amount", "price"],
    ),
    "more and fewer columns than declared": (
        {"format": {"family": "delimited", "columns": [*COLUMNS.split(","), "note"]}},
        {"2024-01-05.csv": csv(GOOD).replace("region", "zone")},
        ["it misses region, note; also has zone", "correct the columns"],
    ),
    "a column that stands twice": (
        {},
        {"2024-01-05.csv": csv(GOOD).replace("revision", "amount")},
        ["legacy/2024-01-05.csv:1 (column amount)", "has twice amount"],
    ),
    "JSON of another system": (
        {"format": {"family": "json_lines"}},
        {"2024-01-05.jsonl": '{"event": {"id": 5}}\n'},
        ["legacy/2024-01-05.jsonl (column account)", "no row has account, amount, at, id"],
    ),
    "a quote that is never closed": (
        {},
        {"2024-01-05.csv": csv(GOOD, '2,"acme,1,2024-01-05T10:00:00Z,eu,,,', GOOD)},
        ["legacy/2024-01-05.csv:3: opens a quote here", 'declare `quote: ""`'],
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_changes_nothing_and_says_what_to_do(make_root: MakeRoot, case: str) -> None:
    changes, files, words = BAD_FILES[case]
    good = {"2024-01-04.csv": csv(GOOD)}
    root = make_root({"calls": METER}, {"old": source()}, good)
    run(root, "old", "2024-01-04")
    before = everything_written(root)
    make_root({"calls": METER}, {"old": source(**changes)}, files)
    with pytest.raises(SourceFileError) as error:
        run(root, "old", "2024-01-05")
    for word in words:
        assert word in str(error.value)
    assert "Remedy: " in str(error.value)
    assert everything_written(root) == before
    assert version(root, "calls") == 1


def test_a_copy_of_a_file_is_harmless_where_rows_have_ids(make_root: MakeRoot) -> None:
    files = {"2024-01-05.a.csv": csv(GOOD), "2024-01-05.b.csv": csv(GOOD)}
    root = make_root({"calls": METER}, {"old": source()}, files)
    totals = run(root, "old", "2024-01-05")[0].totals
    assert (totals.new.rows, totals.present.rows) == (1, 1)


def test_other_partitions_still_import_after_a_bad_one(make_root: MakeRoot) -> None:
    files = {"2024-01-04.csv": "", "2024-01-05.csv": csv(GOOD)}
    root = make_root({"calls": METER}, {"old": source()}, files)
    with pytest.raises(SourceFileError):
        run(root, "old", "2024-01-04")
    assert run(root, "old", "2024-01-05")[0].totals.new.rows == 1


NEW_YORK = {"zone": "America/New_York"}
REVISED = {"corrections": {"revision": {"column": "revision", "type": "number"}}}

FIRST_DAY = {"partitions": {"grain": "day", "from": "2024-01-05"}}
EACH = {"by": "id", "first": "count"}
ROLLS = {"rolls_over_at": 256}
UNITS = {"column": "region", "factors": {"eu": 1}}
LOOKUP = {"file": "legacy/customers.csv", "key": "account", "value": "customer"}

BAD_ROWS: dict[str, list[tuple[dict[str, Any], str, str, str | None]]] = {
    # reason code: (changes of the source, row, field, value)
    "malformed_row": [
        ({}, "2,acme,1,2024-01-05T10:00:00Z,eu,,", "row", "2,acme,1,2024-01-05T10:00:00Z,eu,,"),
        ({}, '2,a"b"c,1,2024-01-05T10:00:00Z,eu,,,', "row", '2,a"b"c,1,2024-01-05T10:00:00Z,eu,,,'),
        ({}, GOOD + ",more", "row", GOOD + ",more"),
    ],
    "subject_missing": [({}, "2,,1,2024-01-05T10:00:00Z,eu,,,", "subject", None)],
    "subject_pattern": [
        ({}, "2,acme corp,1,2024-01-05T10:00:00Z,eu,,,", "subject", "acme corp"),
        ({}, f"2,{'x' * 129},1,2024-01-05T10:00:00Z,eu,,,", "subject", "x" * 129),
    ],
    "quantity_missing": [({}, "2,acme,,2024-01-05T10:00:00Z,eu,,,", "quantity", None)],
    "quantity_not_a_number": [
        ({}, "2,acme,many,2024-01-05T10:00:00Z,eu,,,", "quantity", "many"),
        ({}, "2,acme,NaN,2024-01-05T10:00:00Z,eu,,,", "quantity", "NaN"),
        ({}, "2,acme,٣,2024-01-05T10:00:00Z,eu,,,", "quantity", "٣"),
        ({}, '2,acme,"1,824",2024-01-05T10:00:00Z,eu,,,', "quantity", "1,824"),
    ],
    "quantity_does_not_fit": [
        ({}, "2,acme,0.001,2024-01-05T10:00:00Z,eu,,,", "quantity", "0.001"),
        ({}, "2,acme,1e-3,2024-01-05T10:00:00Z,eu,,,", "quantity", "1e-3"),
        ({}, f"2,acme,{'9' * 37},2024-01-05T10:00:00Z,eu,,,", "quantity", "9" * 37),
        (
            {
                "usage": {
                    "quantity": {"sum": ["amount", "weight"]},
                    "dimensions": {"region": "region"},
                }
            },
            f"2,acme,{'9' * 36},2024-01-05T10:00:00Z,eu,{'9' * 36},,",
            "quantity",
            f"{'9' * 36} + {'9' * 36}",
        ),
    ],
    "quantity_not_positive": [
        ({}, "2,acme,0,2024-01-05T10:00:00Z,eu,,,", "quantity", "0"),
        ({}, "2,acme,-0,2024-01-05T10:00:00Z,eu,,,", "quantity", "-0"),
        ({}, "2,acme,-1.5,2024-01-05T10:00:00Z,eu,,,", "quantity", "-1.5"),
    ],
    "timestamp_missing": [({}, "2,acme,1,,eu,,,", "timestamp", None)],
    "timestamp_format": [
        ({}, "2,acme,1,05/01/2024 10:00,eu,,,", "timestamp", "05/01/2024 10:00"),
        (NEW_YORK, "2,acme,1,2024-02-30 10:00,eu,,,", "timestamp", "2024-02-30 10:00"),
    ],
    "timestamp_without_zone": [
        ({}, "2,acme,1,2024-01-05 10:00:00,eu,,,", "timestamp", "2024-01-05 10:00:00")
    ],
    "timestamp_too_precise": [
        (
            {},
            "2,acme,1,2024-01-05T10:00:00.1234567Z,eu,,,",
            "timestamp",
            "2024-01-05T10:00:00.1234567Z",
        )
    ],
    "timestamp_ambiguous": [
        (NEW_YORK, "2,acme,1,2023-11-05 01:30:00,eu,,,", "timestamp", "2023-11-05 01:30:00")
    ],
    "timestamp_nonexistent": [
        (NEW_YORK, "2,acme,1,2024-03-10 02:30:00,eu,,,", "timestamp", "2024-03-10 02:30:00")
    ],
    "time_implausible": [
        (
            {"plausible": {"from": "2024-01-01", "to": "2025-01-01"}},
            "2,acme,1,2042-01-05T10:00:00Z,eu,,,",
            "timestamp",
            "2042-01-05T10:00:00Z",
        )
    ],
    "unit_unknown": [
        (
            {"usage": {"quantity": {"column": "amount", "unit": UNITS}}},
            "2,acme,1,2024-01-05T10:00:00Z,us,,,",
            "quantity",
            "us",
        )
    ],
    "subject_unmapped": [
        (
            {"usage": {"subject": {"column": "account", "lookup": LOOKUP}}},
            "2,globex,1,2024-01-05T10:00:00Z,eu,,,",
            "subject",
            "globex",
        )
    ],
    "identity_missing": [
        ({}, ",acme,1,2024-01-05T10:00:00Z,eu,,,", "identity", "?"),
        (
            {"identity": {"composite": ["account", {"column": "id", "type": "number"}]}},
            "two,acme,1,2024-01-05T10:00:00Z,eu,,,",
            "identity",
            "acme|?",
        ),
    ],
    "revision_missing": [(REVISED, "2,acme,1,2024-01-05T10:00:00Z,eu,,,x", "revision", None)],
    "expression_failed": [
        (
            {"usage": {"quantity": {"expression": "amount * 2"}}},
            "2,acme,many,2024-01-05T10:00:00Z,eu,,,",
            "quantity",
            "`amount` is no number: many",
        ),
        (
            {"usage": {"condition": "number(revision) > 0"}},
            "2,acme,1,2024-01-05T10:00:00Z,eu,,,heavy",
            "condition",
            "`number(revision)` is no number: heavy",
        ),
    ],
    "condition_unknown": [
        (
            {"usage": {"condition": "weight > 0"}},
            "2,acme,1,2024-01-05T10:00:00Z,eu,,,",
            "condition",
            "`weight` is empty",
        )
    ],
    "counter_missing": [
        (
            FIRST_DAY
            | {
                "usage": {
                    "quantity": {"column": "amount", "cumulative": EACH | {"by": ["id", "weight"]}}
                }
            },
            "2,acme,1,2024-01-05T09:00:00Z,eu,,,",
            "counter",
            None,
        )
    ],
    "counter_fell": [
        (
            FIRST_DAY | {"usage": {"quantity": {"column": "amount", "cumulative": EACH}}},
            "7,acme,1,2024-01-05T11:00:00Z,eu,,,",
            "quantity",
            "1",
        )
    ],
    "counter_beyond_roll_over": [
        (
            FIRST_DAY | {"usage": {"quantity": {"column": "amount", "cumulative": EACH | ROLLS}}},
            "2,acme,256,2024-01-05T11:00:00Z,eu,,,",
            "quantity",
            "256",
        )
    ],
    "dimension_missing": [({}, "2,acme,1,2024-01-05T10:00:00Z,,,,", "region", None)],
    "dimension_type": [
        ({}, "2,acme,1,2024-01-05T10:00:00Z,eu,heavy,,", "weight", "heavy"),
        ({}, "2,acme,1,2024-01-05T10:00:00Z,eu,,maybe,", "free", "maybe"),
    ],
}


@pytest.mark.parametrize(
    ("code", "changes", "row", "field", "value"),
    [(code, *case) for code, cases in BAD_ROWS.items() for case in cases],
)
def test_a_bad_row_is_kept_whole_with_its_one_reason(
    make_root: MakeRoot, code: str, changes: dict[str, Any], row: str, field: str, value: str | None
) -> None:
    good = [f"{n},acme,{n}.5,2024-01-05T10:00:00Z,eu,2,true,{n}" for n in (7, 8)]
    content = csv(good[0], "", row, good[1])
    files = {"2024-01-05.csv": content, "customers.csv": "account,customer\nacme,acme\n"}
    root = make_root({"calls": METER}, {"old": source(**changes)}, files)
    done = run(root, "old", "2024-01-05")[0]
    assert done.record.rejected == {code: 1}
    assert (done.totals.read.rows, done.totals.new.rows) == (3, 2)
    (rejected,) = quarantined(root).iter_rows(named=True)
    assert (rejected["reason_code"], rejected["reasons"]) == (code, code)
    assert (rejected["field"], rejected["value"]) == (field, value)
    assert (rejected["source_line"], rejected["original"]) == (4, row)
    assert rejected["source_file"] == "legacy/2024-01-05.csv"
    assert rejected["hint"].endswith((".", "`latest`."))
    assert events(root, "calls")["source_line"].sort().to_list() == [2, 5]


def test_every_reason_has_a_row_that_triggers_it() -> None:
    fixed = {r.code for r in vars(reasons).values() if isinstance(r, reasons.Reason)}
    made = (
        reasons.dimension_missing("d"),
        reasons.dimension_type("d", "number"),
        reasons.not_computed("d"),
    )
    # These are about several rows or partitions, and are tried in counters/test_importing.py.
    others = {reasons.READINGS_CONTRADICT.code, reasons.READING_BEFORE_MISSING.code}
    assert BAD_ROWS.keys() | others == fixed | {reason.code for reason in made}


def test_a_row_with_several_faults_names_them_all(make_root: MakeRoot) -> None:
    content = csv(GOOD, "2,,many,,eu,,,")
    root = make_root({"calls": METER}, {"old": source()}, {"2024-01-05.csv": content})
    run(root, "old", "2024-01-05")
    (rejected,) = quarantined(root).iter_rows(named=True)
    assert rejected["reason_code"] == "subject_missing"
    assert rejected["reasons"] == "subject_missing; quantity_not_a_number; timestamp_missing"


def test_too_many_rejected_rows_merge_nothing_and_keep_the_rows(make_root: MakeRoot) -> None:
    content = csv(GOOD, "2,acme,many,2024-01-05T10:00:00Z,eu,,,", "3,acme,,,eu,,,")
    root = make_root(
        {"calls": METER}, {"old": source(max_rejected="50%")}, {"2024-01-05.csv": content}
    )
    with pytest.raises(TooManyRejectedError) as error:
        run(root, "old", "2024-01-05")
    assert "2 of 3 rows were rejected for meter calls, more than max_rejected 50%" in str(
        error.value
    )
    assert "1 quantity_not_a_number" in str(error.value)
    assert not root.lake.exists()
    assert quarantined(root)["source_line"].to_list() == [3, 4]


def test_the_share_of_rejected_rows_may_reach_the_limit(make_root: MakeRoot) -> None:
    content = csv(GOOD, "2,acme,many,2024-01-05T10:00:00Z,eu,,,")
    root = make_root(
        {"calls": METER}, {"old": source(max_rejected="50%")}, {"2024-01-05.csv": content}
    )
    assert run(root, "old", "2024-01-05")[0].totals.new.rows == 1


def test_a_repaired_file_brings_only_the_rows_that_were_rejected(make_root: MakeRoot) -> None:
    files = {"2024-01-05.csv": csv(GOOD, "2,acme,many,2024-01-05T10:00:00Z,eu,,,")}
    root = make_root({"calls": METER}, {"old": source()}, files)
    run(root, "old", "2024-01-05")
    repaired = {"2024-01-05.csv": files["2024-01-05.csv"].replace("many", "3")}
    make_root({"calls": METER}, {"old": source()}, repaired)
    totals = run(root, "old", "2024-01-05")[0].totals
    assert (totals.new.rows, totals.present.rows, totals.rejected.rows) == (1, 1, 0)


def test_a_corrected_mapping_takes_its_rows_out_of_quarantine(make_root: MakeRoot) -> None:
    files = {"2024-01-05.csv": csv(GOOD, '2,acme,"1,824",2024-01-05T10:00:00Z,eu,,,')}
    root = make_root({"calls": METER}, {"old": source()}, files)
    run(root, "old", "2024-01-05")
    assert quarantined(root).height == 1
    corrected = source(usage={"quantity": {"column": "amount", "thousands": ","}})
    make_root({"calls": METER}, {"old": corrected})
    assert run(root, "old", "2024-01-05")[0].totals.new.rows == 1
    assert not list(root.quarantine.glob("**/*.parquet"))


def test_a_malformed_row_takes_no_place_among_identical_rows(make_root: MakeRoot) -> None:
    keys = []
    for rows in ((GOOD + ",more", GOOD, GOOD), (GOOD, GOOD)):
        declared = {"old": source(identity="multiset")}
        root = make_root({"calls": METER}, declared, {"2024-01-05.csv": csv(*rows)})
        run(root, "old", "2024-01-05")
        keys.append(sorted(events(root, "calls")["idempotency_key"]))
    assert keys[0] == keys[1]
