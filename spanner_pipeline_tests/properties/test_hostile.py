"""Hostile files: each ends as a clear error or in quarantine, and every row is accounted for.

None may crash, hang, change a value silently, or write outside the data root.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.importing import UsageImport, import_partition
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.conftest import MakeRoot
from spanner_pipeline_tests.lake_reading import events, quarantined

METER = {"name": "m", "description": "", "unit": "u", "aggregation": "sum", "decimals": "9"}
GOOD = "2026-01-01T00:00:00Z"


def source(family: str, **changed: Any) -> dict[str, Any]:
    layout = {"family": family}
    names = {"subject": "customer", "quantity": "n", "timestamp": "at"}
    if family == "access_log":
        time = {"column": "time", "format": "%d/%b/%Y:%H:%M:%S %z"}
        names = {"subject": "remote_user", "quantity": "bytes", "timestamp": time}
        layout["layout"] = "common"
    declared = {
        "source": "old",
        "format": layout,
        "files": "legacy/*",
        "partitions": {"grain": "whole"},
        "identity": "multiset",
        "usage": [{"meter": "m", **names}],
    }
    return declared | changed


def imported(root: DataRoot) -> UsageImport | PipelineError:
    """Import the only partition; an error that a user can act on is an answer too."""
    catalog = load_catalog(root)
    try:
        [done] = import_partition(root, catalog, catalog.sources["old"], "whole")
    except PipelineError as error:
        return error
    return done


Hostile = Callable[[dict[str, Any], str | bytes, str], UsageImport | PipelineError]


@pytest.fixture
def hostile(make_root: MakeRoot, tmp_path: Path) -> Hostile:
    """Import one file, and see that rows are accounted for and nothing else was touched."""

    def take(
        declared: dict[str, Any], content: str | bytes, name: str
    ) -> UsageImport | PipelineError:
        root = make_root({"m": METER}, {"old": declared}, {name: content})
        (tmp_path / "bystander").write_text("untouched")
        outside = _seen(tmp_path, but=root.path)
        done = imported(root)
        assert _seen(tmp_path, but=root.path) == outside
        if isinstance(done, PipelineError):
            assert "Remedy: " in str(done), done
            assert name.splitlines()[0] in str(done), done
            assert not (root.lake / "events").exists(), "an error leaves the lake as it was"
        else:
            counted = done.totals
            accepted = counted.new.rows + counted.present.rows
            assert counted.read.rows == accepted + counted.rejected.rows
            assert quarantined(root).height == counted.rejected.rows
            if counted.new.rows:
                assert events(root, "m")["quantity"].sum() == counted.new.quantity
        return done

    return take


def _seen(folder: Path, but: Path) -> dict[Path, tuple[int, int]]:
    files = (path for path in folder.rglob("*") if not path.is_relative_to(but))
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def rejected(done: UsageImport | PipelineError) -> dict[str, int]:
    assert isinstance(done, UsageImport), done
    return done.record.rejected


JSON_DOCUMENTS = {
    "cut off": '[{"at": "2026-01-01T00:00:00Z", "customer": "acme", "n": 1}, {"at": "2026',
    "cut off between rows": '[{"at": "2026-01-01T00:00:00Z", "customer": "acme", "n": 1},',
    "nested without end": '[{"n": ' + "[" * 100_000,
    "closed too often": "[{}]]",
    "two documents": "[{}] [{}]",
    "no array": '{"Records": {"n": 1}}',
    "rows of rows": '[[{"n": 1}]]',
    "numbers for rows": "[1, NaN, -Infinity, null]",
    "NUL inside": '[{"at": "2026-01-01T00:00:00Z", "customer": "ac\0me", "n": 1}]',
    "not a number": '[{"at": "2026-01-01T00:00:00Z", "customer": "acme", "n": NaN}]',
    "half a surrogate": '[{"at": "2026-01-01T00:00:00Z", "customer": "\\ud800", "n": 1}]',
    "a key twice": '[{"at": "2026-01-01T00:00:00Z", "customer": "acme", "n": 1, "n": 2}]',
}


@pytest.mark.parametrize("content", JSON_DOCUMENTS.values(), ids=JSON_DOCUMENTS)
def test_hostile_json_documents_are_refused_or_quarantined(hostile: Hostile, content: str) -> None:
    done = hostile(source("json"), content, "old.json")
    if isinstance(done, UsageImport):
        assert done.totals.new.rows == 0
        assert done.totals.rejected.rows == done.totals.read.rows > 0


NUMBERS = {
    "1.5E+3": "1500",
    "+7": "7",
    "007": "7",
    "1.": "1",
    ".5": "0.5",
    "1e-9": "0.000000001",
    "0.1000000000000000000000": "0.1",
    "12345678901234567890123456789": "12345678901234567890123456789",
}
"""Odd, but numbers: they come out exactly so."""

NO_NUMBERS = [
    "10^40",
    "1e40",
    "1E+99999",
    "1e-400",
    "9" * 39,
    "9" * 5_000,
    "0." + "0" * 15 + "1",
    "NaN",
    "nan",
    "inf",
    "-Infinity",
    "1,234.5",
    "1.234,5",
    "1 000",
    "1\u00a0000",
    "1_000",
    "1'000",
    "0x10",
    "0b1",
    "1e",
    "e5",
    "1e+",
    ".",
    "+",
    "-",
    "+-1",
    "--1",
    "1.2.3",
    "(1)",
    "1-",
    "$1",
    "1%",
    "1;2",
    "½",
    "²",
    "١٢",
    "１２",
    "\u22121",
    "∞",
    "TRUE",
    "null",
    "None",
    "=1+1",
    "=cmd|' /C calc'!A0",
    "1\x00",
    "\x001",
    " 1",
    "1 ",
    "\t1",
    "1\u200b",
    "\ufeff1",
    "one",
    "-0",
    "0",
    "0e5",
    "-1",
    "-1e3",
    "",
]


@pytest.mark.parametrize("text", NUMBERS)
def test_an_odd_number_comes_out_exactly(hostile: Hostile, text: str) -> None:
    done = hostile(source("delimited"), f"at,customer,n\n{GOOD},acme,{text}\n", "f.csv")
    assert isinstance(done, UsageImport)
    assert done.totals.new.quantity == Decimal(NUMBERS[text])


@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: ascii(text)[:24])
def test_what_is_no_quantity_is_kept_in_quarantine(hostile: Hostile, text: str) -> None:
    content = f'at,customer,n\n{GOOD},acme,"{text}"\n{GOOD},acme,1\n'
    done = hostile(source("delimited"), content, "f.csv")
    assert sum(rejected(done).values()) == 1
    assert all(code.startswith("quantity_") for code in rejected(done))
    assert isinstance(done, UsageImport)
    assert done.totals.new.quantity == 1


TIMES = [
    "2026-02-30T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-10T00:00:00Z",
    "2026-01-01T24:30:00Z",
    "2026-01-01T23:60:00Z",
    "2026-01-01T00:00:00+99:99",
    "2026-W07",
    "2026-W07-3",
    "2026-045",
    "20260101T000000Z",
    "01/02/2026",
    "1.2.2026",
    "2026/01/01",
    "1767225600",
    "1767225600000",
    "-1",
    "46023.5",
    "yesterday",
    "now",
    "0000-00-00 00:00:00",
    "+12026-01-01T00:00:00Z",
    "9999-12-31T23:59:59-05:00",
    "0000-01-01T00:00:00Z",
    "2026-01-01T00:00:00 EST",
    "2026-01-01T00:00:00.1234567Z",
    "2026-03-08T02:30:00",
    "2026-11-01T01:30:00",
    "=NOW()",
    "٢٠٢٦-٠١-٠١",
    "NULL",
    "",
]


@pytest.mark.parametrize("text", TIMES, ids=ascii)
def test_what_is_no_known_time_is_kept_in_quarantine(hostile: Hostile, text: str) -> None:
    content = f"at,customer,n\n{text},acme,1\n{GOOD},acme,1\n"
    done = hostile(source("delimited", zone="America/New_York"), content, "f.csv")
    assert sum(rejected(done).values()) == 1
    assert all(code.startswith("timestamp_") for code in rejected(done))


SUBJECTS = [
    "=cmd|' /C calc'!A0",
    "@SUM(A1)",
    "+1",
    "-1",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "..",
    ".",
    "a b",
    " acme",
    "acme ",
    "a\x00b",
    "a\x1bb",
    "a" * 129,
    "a" * 100_000,
    "ключ",
    "\u202eacme",
    "ac\u200bme",
    "\ufeffacme",
    "acme|beta",
    "a%00b",
    "<script>alert(1)</script>",
    "'; DROP TABLE events; --",
    "{{7*7}}",
    "${HOME}",
    "$(id)",
    "`id`",
    "a\\b",
    "é",
    "e\u0301",
    "💣",
    "",
]


@pytest.mark.parametrize("text", SUBJECTS, ids=lambda text: ascii(text)[:24])
def test_what_is_no_subject_is_kept_in_quarantine(hostile: Hostile, text: str) -> None:
    content = f'at,customer,n\n{GOOD},"{text}",1\n{GOOD},acme,1\n'
    done = hostile(source("delimited"), content, "f.csv")
    assert sum(rejected(done).values()) == 1
    assert all(code.startswith("subject_") for code in rejected(done))


NAMES = [
    "a b.csv",
    "=cmd.csv",
    "-rf",
    "a..csv",
    "%2e%2e%2f.csv",
    "'; DROP TABLE events; --.csv",
    '"quoted".csv',
    "[x].csv",
    "*.csv",
    "{year}.csv",
    "$(id).csv",
    "`id`.csv",
    "new\nline.csv",
    "tab\there.csv",
    "ключ.csv",
    "💣.csv",
    "\u202egnp.csv",
    "n" * 240 + ".csv",
    "a.repair.csv",
    "nul\\.csv",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:24])
def test_a_file_of_any_name_is_read_and_named(hostile: Hostile, name: str) -> None:
    content = f"at,customer,n\n{GOOD},acme,1\n{GOOD},acme,x\n"
    done = hostile(source("delimited"), content, name)
    assert rejected(done) == {"quantity_not_a_number": 1}
    assert isinstance(done, UsageImport)
    assert [file.name for file in done.record.files] == [f"legacy/{name}"]


ROWS = "".join(f"{GOOD},c{n},{n + 1}\n" for n in range(2_000))
CSV = f"at,customer,n\n{ROWS}".encode()
JSON = "".join(
    f'{{"at": "{GOOD}", "customer": "c{n}", "n": {n + 1}}}\n' for n in range(2_000)
).encode()
LOG = "".join(
    f'10.0.0.1 - c{n} [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 {n + 1}\n'
    for n in range(2_000)
).encode()


def _parquet() -> bytes:
    out = io.BytesIO()
    frame = pl.DataFrame({"at": [GOOD] * 2_000, "customer": "c", "n": range(1, 2_001)})
    frame.write_parquet(out)
    return out.getvalue()


FAMILIES: dict[str, bytes] = {
    "delimited": CSV,
    "json_lines": JSON,
    "access_log": LOG,
    "parquet": _parquet(),
}
TEXTS = ("delimited", "json_lines", "access_log")
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda plain: gzip.compress(plain, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("cut", [1, 9, 100, 1_000, -100, -9, -1])
@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_cut_archive_is_an_error(hostile: Hostile, kind: str, cut: int) -> None:
    whole = COMPRESSED[kind](CSV)
    content = whole[: min(cut, len(whole) // 2) if cut > 0 else cut]
    assert isinstance(hostile(source("delimited"), content, f"f.csv.{kind}"), PipelineError)


@pytest.mark.parametrize("cut", [4, 100, 1_000, -100, -8, -1])
def test_a_cut_parquet_file_is_an_error(hostile: Hostile, cut: int) -> None:
    content = FAMILIES["parquet"][:cut]
    assert isinstance(hostile(source("parquet"), content, "f.parquet"), PipelineError)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("family", FAMILIES)
def test_flipped_bytes_never_pass_unseen(hostile: Hostile, family: str, seed: int) -> None:
    """Either an error, or no row is lost: text has no checksum, but every line is accounted for."""
    chosen = random.Random(seed)  # noqa: S311
    content = bytearray(FAMILIES[family])
    for _ in range(chosen.randint(1, 40)):
        content[chosen.randrange(len(content))] = chosen.randrange(256)
    done = hostile(source(family), bytes(content), "f")
    if isinstance(done, UsageImport) and family == "parquet":
        assert done.totals.read.rows == 2_000


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("family", FAMILIES)
def test_noise_is_an_error_or_rejected(hostile: Hostile, family: str, seed: int) -> None:
    content = random.Random(seed).randbytes(5_000)  # noqa: S311
    done = hostile(source(family), content, "f")
    assert isinstance(done, PipelineError) or done.totals.new.rows == 0


@pytest.mark.parametrize("family", TEXTS)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda text: text.decode().encode("utf-16"), id="utf-16"),
        pytest.param(lambda text: text.decode().encode("utf-32"), id="utf-32"),
        pytest.param(lambda text: text + b"\xff\xfe\xfd\n", id="undecodable end"),
        pytest.param(lambda text: text.replace(b"c7", b"c\xe9", 1), id="latin-1 in the middle"),
        pytest.param(lambda text: text.replace(b"c7", b"\xed\xa0\x80", 1), id="lone surrogate"),
        pytest.param(lambda text: text.replace(b"c7", b"\xc0\xaf", 1), id="overlong"),
        pytest.param(lambda text: b"\n" * 50, id="blank lines"),
        pytest.param(lambda text: b"\x00" * 50, id="only nul bytes"),
        pytest.param(lambda text: b"", id="empty"),
        pytest.param(lambda text: gzip.compress(b""), id="empty archive"),
        pytest.param(lambda text: gzip.compress(gzip.compress(text)), id="archive in an archive"),
    ],
)
def test_bytes_that_are_no_such_text_are_an_error(
    hostile: Hostile, family: str, spoil: Callable[[bytes], bytes]
) -> None:
    done = hostile(source(family), spoil(FAMILIES[family]), "f")
    assert isinstance(done, PipelineError) or done.totals.new.rows == 0


@pytest.mark.parametrize("family", TEXTS)
@pytest.mark.parametrize(
    ("spoil", "lost"),
    [
        pytest.param(lambda text: b"\xef\xbb\xbf" + text, 0, id="byte order mark"),
        pytest.param(lambda text: text.replace(b"\n", b"\r\n"), 0, id="carriage returns"),
        pytest.param(lambda text: text.replace(b"\n", b"\n\n"), 0, id="blank lines between"),
        pytest.param(lambda text: gzip.compress(text) + gzip.compress(text[-1:]), 0, id="members"),
        pytest.param(lambda text: text.replace(b"c7", b"c\x00", 1), 1, id="nul byte"),
        pytest.param(lambda text: text + b"x" * 3_000_000 + b"\n", 1, id="long line"),
    ],
)
def test_what_can_be_read_is_read_whole(
    hostile: Hostile, family: str, spoil: Callable[[bytes], bytes], lost: int
) -> None:
    done = hostile(source(family), spoil(FAMILIES[family]), "f")
    assert sum(rejected(done).values()) == lost
    assert isinstance(done, UsageImport)
    assert done.totals.new.rows >= 2_000 - lost


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"a":' * 10_000,
        '{"at": "2026", "at": "2026"}',
        '{"n": NaN}',
        '{"n": Infinity}',
        '{"n": 1e999999}',
        '{"n": 01}',
        "{'n': 1}",
        '{"n": "\\ud800"}',
        '{"n": {}}',
        '{"customer": ["acme"]}',
        "null",
        "[]",
        '"text"',
        "1",
        "{",
        "}",
        "{}",
        '{"": ""}',
        '{"__proto__": {}}',
    ],
    ids=lambda line: line[:20],
)
def test_a_line_that_is_no_event_is_kept_as_it_was(hostile: Hostile, line: str) -> None:
    content = f'{line}\n{{"at": "{GOOD}", "customer": "acme", "n": 1}}\n'
    done = hostile(source("json_lines"), content, "f.jsonl")
    assert sum(rejected(done).values()) == 1
    assert isinstance(done, UsageImport)
    assert done.totals.new.rows == 1


@pytest.mark.parametrize(
    "head",
    [
        "",
        ",,",
        "at,customer",
        "at,customer,n,n",
        "AT,CUSTOMER,N",
        "at;customer;n",
        '"at,customer,n',
        "at,customer,n" + ",x" * 20_000,
        "=at,@customer,+n",
        "at,customer,n\x00",
    ],
    ids=lambda head: ascii(head)[:20],
)
def test_a_wrong_header_is_an_error_that_names_it(hostile: Hostile, head: str) -> None:
    done = hostile(source("delimited"), f"{head}\n{GOOD},acme,1\n", "f.csv")
    assert isinstance(done, PipelineError) or sum(done.record.rejected.values()) == 1


@pytest.mark.parametrize(
    "row",
    [
        f"{GOOD},acme",
        f"{GOOD},acme,1,2",
        f'{GOOD},"acme"x,1',
        f'{GOOD},ac"me,1"',
        f"{GOOD};acme;1",
        ",,",
        ",",
        '"",""',
        "total,3,",
        "\x1a",
    ],
    ids=ascii,
)
def test_a_row_of_another_layout_is_kept_as_it_was(hostile: Hostile, row: str) -> None:
    done = hostile(source("delimited"), f"at,customer,n\n{row}\n{GOOD},acme,1\n", "f.csv")
    assert sum(rejected(done).values()) == 1


def zipped(*names: str, content: bytes = CSV) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"" if name.endswith("/") else content)
    return out.getvalue()


@pytest.mark.parametrize("names", [("f.csv",), ("../../f.csv",), ("/etc/f.csv",), ("d/", "d/f")])
def test_a_zip_of_one_file_is_read_and_never_unpacked(
    hostile: Hostile, names: tuple[str, ...]
) -> None:
    done = hostile(source("delimited"), zipped(*names), "f.zip")
    assert isinstance(done, UsageImport)
    assert done.totals.new.rows == 2_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(zipped("a.csv", "b.csv"), "is a zip archive of 2 files", id="two"),
        pytest.param(zipped("d/"), "is a zip archive of 0 files", id="none"),
        pytest.param(zipped("f.csv")[:-1], "is cut off or damaged", id="cut by a byte"),
        pytest.param(zipped("f.csv")[:900], "is cut off or damaged", id="cut in the middle"),
        pytest.param(
            zipped("f.csv").replace(b"\x00\x00\x08\x00", b"\x01\x00\x08\x00"),
            "encrypted",
            id="locked",
        ),
    ],
)
def test_another_zip_is_an_error(hostile: Hostile, content: bytes, said: str) -> None:
    assert said in str(hostile(source("delimited"), content, "f.zip"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "filling"),
    [
        pytest.param(b"", b"x", id="one line"),
        pytest.param(b'at,customer,n\n"', b"x\n", id="one quote"),
        pytest.param(CSV, b"\x00", id="after good rows"),
    ],
)
def test_a_bomb_of_one_record_is_refused_before_it_fills_the_memory(
    make_root: MakeRoot, start: bytes, filling: bytes
) -> None:
    """A gibibyte in one line or record; without a limit the process would grow by that at least."""
    mebibyte = gzip.compress(filling * ((1 << 20) // len(filling)))
    bomb = gzip.compress(start) + mebibyte * 1024
    root = make_root({"m": METER}, {"old": source("delimited")}, {"f.gz": bomb})
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from spanner_pipeline.errors import PipelineError\n"
        "from spanner_pipeline.importing import import_partition\n"
        "from spanner_pipeline.root import DataRoot, load_catalog\n"
        "root = DataRoot(Path(sys.argv[1]))\n"
        "catalog = load_catalog(root)\n"
        "try:\n"
        "    import_partition(root, catalog, catalog.sources['old'], 'whole')\n"
        "except PipelineError as error:\n"
        "    print(error)\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())\n"
        "print(int(peak[1]) // 1024)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(root.path)], capture_output=True, text=True, check=True
    )
    said, peak = ended.stdout.rsplit(maxsplit=1)
    assert "more than 16,777,216 characters" in said or "never closed" in said
    assert "legacy/f.gz:" in said
    assert int(peak) < 700, f"{peak} MiB"


def test_a_bare_carriage_return_joins_no_rows(hostile: Hostile) -> None:
    content = f"at,customer,n\n{GOOD},acme,1\r{GOOD},acme,2\n{GOOD},acme,3\n"
    done = hostile(source("delimited"), content, "f.csv")
    assert sum(rejected(done).values()) == 1
