"""Access logs: combined and common, with what real clients send."""

from __future__ import annotations

from pathlib import Path

import pytest

from spanner_pipeline.sources.access_log import FIELDS
from spanner_pipeline_tests.sources.reading import make_source, read

COMMON = '203.0.113.5 - jane [17/May/2015:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 200 512'
COMBINED = f'{COMMON} "https://example.org/" "curl/8.0"'


def test_both_layouts_name_their_fields(tmp_path: Path) -> None:
    for layout, line in (("common", COMMON), ("combined", COMBINED)):
        found = read(
            tmp_path, line, make_source(FIELDS[layout], family="access_log", layout=layout)
        )
        fields = dict(zip(FIELDS[layout], found.select("^raw.*$").row(0), strict=False))
        assert fields["remote_user"] == "jane"
        assert fields["request"] == "GET /a?b=c HTTP/1.1"
        assert (fields["status"], fields["bytes"]) == ("200", "512")
    assert fields["user_agent"] == "curl/8.0"


@pytest.mark.parametrize(
    ("change", "to", "field", "value"),
    [
        ("GET /a?b=c HTTP/1.1", "-", "request", "-"),
        ("GET /a?b=c HTTP/1.1", "", "request", None),
        ("GET /a?b=c HTTP/1.1", r"\x16\x03\x01", "request", r"\x16\x03\x01"),
        ("curl/8.0", r"Say \"hi\" \\", "user_agent", r"Say \"hi\" \\"),
        ("200 512", "304 -", "bytes", "-"),
        ("203.0.113.5", "2001:db8::1", "remote_host", "2001:db8::1"),
        ("https://example.org/", "[x] y", "referer", "[x] y"),
    ],
)
def test_odd_fields_are_kept_as_they_are(
    tmp_path: Path, change: str, to: str, field: str, value: str | None
) -> None:
    line = COMBINED.replace(change, to)
    found = read(tmp_path, line, make_source([field], family="access_log"))
    assert found[f"raw.{field}"].to_list() == [value]
    assert found["malformed"].to_list() == [False]


@pytest.mark.parametrize(
    "line", [COMMON, COMBINED[:-1], COMBINED + " more", COMBINED.replace("200 ", ""), "# comment"]
)
def test_a_line_without_the_whole_layout_is_malformed(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, f"{line}\n{COMBINED}\n", make_source(["status"], family="access_log"))
    assert found["malformed"].to_list() == [True, False]
