"""JSON documents: the rows of one array, wherever it is, or an error; never fewer rows."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources import json_document
from spanner_pipeline.sources.files import find_files
from spanner_pipeline.sources.rows import read_rows
from spanner_pipeline_tests.conftest import MakeRoot
from spanner_pipeline_tests.lake_reading import events, run
from spanner_pipeline_tests.sources.reading import make_source, read

ROWS = '[{"id": 1, "n": {"v": 1.10}},{"id":2,"n":{"v":-0}} ,\n {"id": 3, "n": {"v": 12e+3}}]'


def table(folder: Path, content: str | bytes, rows: str = "", **more: Any) -> pl.DataFrame:
    source = make_source(["id", "n.v"], family="json", rows=rows, **more)
    return read(folder, content, source)


@pytest.fixture(params=[1, 7, 8 << 20], ids="block{}".format)
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the blocks fall, the rows are the same."""
    monkeypatch.setattr(json_document, "BLOCK_SIZE", request.param)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("document", "rows"),
    [
        (ROWS, ""),
        (f"\n{ROWS}\n\n", ""),
        (f'{{"Records": {ROWS}}}', "Records"),
        (f'{{"next": null, "a": {{"b": [1], "rows": {ROWS}, "n": 3}}, "z": [[]]}}', "a.rows"),
        (f'{{"an.odd key": {ROWS}}}', '["an.odd key"]'),
    ],
)
def test_the_rows_of_an_array_keep_digits_places_and_texts(
    tmp_path: Path, document: str, rows: str
) -> None:
    found = table(tmp_path, document, rows)
    assert found["line"].to_list() == [1, 2, 3]
    assert found["raw.id"].to_list() == ["1", "2", "3"]
    assert found["raw.n.v"].to_list() == ["1.10", "-0", "12e+3"]
    assert found["original"][0] == '{"id": 1, "n": {"v": 1.10}}'
    assert not found["malformed"].any()


@pytest.mark.parametrize("block", [7, 8 << 20])
@pytest.mark.parametrize("document", [ROWS, f'{{"a": [{{}}], "Records": {ROWS}, "z": [1, 2]}}'])
def test_a_document_cut_off_anywhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: str, block: int
) -> None:
    monkeypatch.setattr(json_document, "BLOCK_SIZE", block)
    for end in range(1, len(document)):
        with pytest.raises(SourceFileError, match="cut off"):
            table(tmp_path, document[:end], "Records" if document[0] == "{" else "")


def test_a_compressed_document_is_read_and_cut_off_it_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(f'{{"Records": {ROWS}}}'.encode())
    assert table(tmp_path, packed, "Records").height == 3
    with pytest.raises(SourceFileError, match="cut off"):
        table(tmp_path, packed[:-12], "Records")


@pytest.mark.parametrize(
    ("document", "rows", "complaint"),
    [
        ('{"Records": [{"id": 1}]}', "", "has no array where `rows` says"),
        ('[{"id": 1}]', "Records", "has no object with `Records`"),
        ('{"records": [], "next": 1}', "Records", "its keys are: records, next"),
        ('{"Records": {"id": 1}}', "Records", "has no array"),
        ('{"R": [{"id": 1}], "R": [{"id": 2}]}', "R", "has `R` twice"),
        ('[{"id": 1}]\n[{"id": 2}]', "", "file:2: goes on after the end"),
        ('[{"id": 1},\n{"id": 2} {"id": 3}]', "", "file:2: is cut off, or no JSON"),
        ('[{"id": 1},]', "", "no JSON from here on"),
        ('[{"id": 1},\n\n{"id": x}]', "", "file:3: is cut off, or no JSON"),
        ("[" * 200_000, "", "nested too deeply"),
        ("[]", "", "holds no rows"),
        ('{1: [{"id": 1}]}', "R", "a key is expected"),
        (b'[{"id": "\xff"}]', "", "is not utf-8 text"),
    ],
)
def test_another_document_than_declared_is_refused(
    tmp_path: Path, document: str | bytes, rows: str, complaint: str
) -> None:
    with pytest.raises(SourceFileError) as error:
        table(tmp_path, document, rows)
    assert complaint in str(error.value)


def test_a_value_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_document, "LONGEST_LINE", 5_000)
    monkeypatch.setattr(json_document, "BLOCK_SIZE", 1_000)
    with pytest.raises(SourceFileError, match="more than 5,000 characters"):
        table(tmp_path, f'[{{"id": 1, "n": {{"v": "{"9" * 20_000}"}}}}]')


def test_what_is_no_object_is_a_malformed_row(tmp_path: Path) -> None:
    found = table(tmp_path, '[{"id": 1}, 5, [{"id": 2}], null, "a\nb", {"id": NaN}, {"id": 2}]')
    assert found["malformed"].to_list() == [False, True, True, True, True, True, False]
    assert found["original"].to_list()[1:5] == ["5", '[{"id": 2}]', "null", '"a\nb"']


def test_a_row_over_several_lines_reads_as_on_one(tmp_path: Path) -> None:
    objects = [{"id": n, "text": "a \\n b", "n": {"v": n}} for n in range(3)]
    source = make_source(["id", "n.v"], "multiset", family="json")
    flat = read(tmp_path, json.dumps(objects), source)
    tall = read(tmp_path, json.dumps(objects, indent=2).replace("\n", "\r\n"), source)
    assert flat["content"].to_list() == tall["content"].to_list()
    assert [json.loads(text) for text in tall["original"]] == objects
    assert not tall["original"].str.contains("[\r\n]").any()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_document(tmp_path: Path, encoding: str) -> None:
    found = table(tmp_path, ROWS.encode(encoding), encoding=encoding.removesuffix("-sig"))
    assert found.height == 3


def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_document, "BLOCK_SIZE", 200_000)
    peaks = []
    source = make_source(["id", "n.v"], family="json", rows="Records")
    for rows in (10_000, 80_000):
        path = tmp_path / "legacy" / "file"
        path.parent.mkdir(exist_ok=True)
        element = json.dumps({"id": 1, "n": {"v": 1.5}, "text": "x" * 100})
        path.write_text('{"Records": [' + ",".join([element] * rows) + "]}")
        files = find_files(DataRoot(tmp_path), source, "whole")
        tracemalloc.start()
        assert sum(batch.height for batch in read_rows(source, files)) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_rows_names_no_place_in_an_array() -> None:
    with pytest.raises(ValidationError, match="has a place in an array"):
        make_source(["id"], family="json", rows="pages[0].rows")


def test_a_batch_of_cloudevents_reaches_the_lake(make_root: MakeRoot) -> None:
    batch = [
        {
            "specversion": "1.0",
            "type": "request",
            "source": "gateway",
            "id": str(n),
            "time": "2026-01-05T10:00:00Z",
            "subject": "acme",
            "data": {"tokens": n},
        }
        for n in range(1, 4)
    ]
    text = json.dumps(batch, indent=1).replace('"tokens": 3', '"tokens": 0.30000000000000004')
    source = {
        "source": "s",
        "format": {"family": "json"},
        "files": "legacy/a.json",
        "partitions": {"grain": "whole"},
        "identity": {"composite": ["source", "id"]},
        "usage": [
            {"meter": "m", "subject": "subject", "quantity": "data.tokens", "timestamp": "time"}
        ],
    }
    meter = {"name": "m", "unit": "u", "decimals": 17}
    root = make_root({"m": meter}, {"s": source}, {"a.json": text})
    run(root, "s")
    found = events(root, "m").sort("source_line")["quantity"].to_list()
    assert found == [1, 2, Decimal("0.30000000000000004")]
