"""Times in all their spellings are the moment they name, to the microsecond, or are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spanner_pipeline.configuration.span import EventTime
from spanner_pipeline.sources import texts
from spanner_pipeline.sources.mapping import OUTSIDE_SCOPE
from spanner_pipeline_tests.conftest import MakeRoot
from spanner_pipeline_tests.lake_reading import events, quarantined
from spanner_pipeline_tests.sources.test_mapping import imported, source

UNITS = {"epoch_seconds": 9, "epoch_milliseconds": 6, "epoch_microseconds": 3}
UNITS["epoch_nanoseconds"] = 0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NANOSECONDS = st.integers(-(10**18), 4 * 10**18) | st.integers(-2000, 2000)


def spelled(nanoseconds: int, digits: int) -> str:
    """A count of a unit of 10^digits nanoseconds, with all its digits."""
    sign, text = "-" if nanoseconds < 0 else "", str(abs(nanoseconds)).zfill(digits + 1)
    whole, fraction = text[: len(text) - digits], text[len(text) - digits :]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


@settings(max_examples=150, deadline=None)
@given(moments=st.lists(NANOSECONDS, min_size=1, max_size=5), format_=st.sampled_from(list(UNITS)))
def test_a_count_is_its_moment_to_the_microsecond_or_finer_or_cut(
    moments: list[int], format_: str
) -> None:
    timestamp, text = EventTime(column="at", format=format_), pl.col("t")
    frame = pl.DataFrame({"t": [spelled(moment, UNITS[format_]) for moment in moments]})
    cut = texts.cut_to_microseconds(timestamp, text)
    read = frame.select(
        texts.aware_time(timestamp, text).alias("time"),
        texts.finer_than_microseconds(timestamp, text).alias("finer"),
        texts.aware_time(timestamp, cut).alias("cut"),
    )
    for moment, time, finer, without in zip(moments, *read.get_columns(), strict=True):
        microseconds, below = divmod(abs(moment), 1000)
        exact = EPOCH + timedelta(microseconds=microseconds if moment >= 0 else -microseconds)
        assert (time, finer) == ((exact, False) if below == 0 else (None, True))
        assert without == exact


NUMBER_PARTS = (
    st.integers(0, 9999),
    st.integers(0, 13),
    st.integers(0, 32),
    st.integers(0, 24),
    st.integers(0, 60),
    st.integers(0, 59),
)
PARTS = st.tuples(*NUMBER_PARTS, st.text("0123456789", max_size=6), st.sampled_from("T "))


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=20))
def test_a_time_in_iso_8601_is_that_of_another_reader_or_none(
    parts: list[tuple[int, int, int, int, int, int, str, str]],
) -> None:
    plain = []
    for year, month, day, hour, minute, second, fraction, between in parts:
        point = f".{fraction}" if fraction else ""
        clock = f"{hour:02}:{minute:02}:{second:02}{point}"
        plain.append(f"{year:04}-{month:02}-{day:02}{between}{clock}")
    expected = []
    for text in plain:
        try:
            # A year 0 is none for Python, nor one of four digits.
            expected.append(datetime.fromisoformat(text) if "24:" not in text[11:14] else None)
        except ValueError:
            expected.append(None)
    told, at = EventTime(column="at"), pl.col("t")
    frame = pl.DataFrame({"t": plain}).with_columns(
        z=at + "Z", zero=at + "+00:00", east=at + "+01:00"
    )
    read = frame.select(
        naive=texts.naive_time(told, at),
        z=texts.aware_time(told, pl.col("z")),
        zero=texts.aware_time(told, pl.col("zero")),
        east=texts.aware_time(told, pl.col("east")).dt.offset_by("1h"),
        neither=pl.coalesce(
            texts.naive_time(told, pl.col("z")),
            texts.aware_time(told, at).dt.replace_time_zone(None),
        ),
    )
    read = read.with_columns(
        texts.of_four_digits(pl.col(name)).dt.replace_time_zone(None) for name in read.columns[:4]
    )
    for name in ("naive", "z", "zero", "east"):
        assert read[name].to_list() == expected, name
    assert read["neither"].null_count() == len(plain)


def times(
    make_root: MakeRoot, timestamp: dict[str, Any], *rows: str, **changes: Any
) -> tuple[list[str], dict[str, int], Any]:
    """What was stored of some times, the reasons of those rejected, and the root."""
    declared = source({"timestamp": {"column": "at"} | timestamp}, **changes)
    text = "id,who,n,at\n" + "".join(f'{n},acme,1,"{at}"\n' for n, at in enumerate(rows))
    root, done = imported(make_root, declared, text)
    any_left = done.record.table is not None
    stored = events(root, "calls").sort("source_line")["timestamp"].to_list() if any_left else []
    return [f"{time:%Y-%m-%dT%H:%M:%S.%f}" for time in stored], done.record.rejected, (root, done)


def test_what_is_below_a_microsecond_is_rejected_or_given_up_by_declaration(
    make_root: MakeRoot,
) -> None:
    rows = "1704456000000000000", "1704456000123456789"
    stored, rejected, _ = times(make_root, {"format": "epoch_nanoseconds"}, *rows)
    assert stored == ["2024-01-05T12:00:00.000000"]
    assert rejected == {"timestamp_too_precise": 1}
    cut = {"format": "epoch_nanoseconds", "below_microsecond": "cut"}
    stored, rejected, _ = times(make_root, cut, *rows)
    assert (stored[-1], rejected) == ("2024-01-05T12:00:00.123456", {})


def test_of_several_formats_the_first_that_a_text_has_is_meant(make_root: MakeRoot) -> None:
    formats = {"format": ["iso8601", "%d.%m.%Y %H:%M", "epoch_milliseconds"], "zone": "UTC"}
    rows = "2024-01-05T13:00+01:00", "05.01.2024 12:00", "1704456000000", "5 Jan 2024"
    stored, rejected, _ = times(make_root, formats, *rows)
    assert stored == ["2024-01-05T12:00:00.000000"] * 3
    assert rejected == {"timestamp_format": 1}


@pytest.mark.parametrize(
    ("formats", "both"),
    [
        (["%d/%m/%Y", "%m/%d/%Y"], "01/02/2021"),
        (["epoch_seconds", "epoch_milliseconds"], "any count"),
        (["iso8601", "%Y-%d-%m %H:%M:%S"], "2021-02-01 03:04:05"),
        (["%Y%m%d", "epoch_seconds"], "20210201"),
        (["%y%m%d", "%d%m%y"], "210201"),
        (["iso8601", "iso8601"], "is there twice"),
    ],
)
def test_formats_that_read_one_text_as_two_times_are_refused(formats: list[str], both: str) -> None:
    with pytest.raises(ValidationError, match=both):
        EventTime(column="at", format=formats)


@pytest.mark.parametrize(
    "formats",
    [
        ["iso8601", "epoch_seconds"],
        ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"],
        ["iso8601", "%Y-%m-%d %H:%M:%S"],
        ["%d/%b/%Y:%H:%M:%S %z", "iso8601"],
        ["%d.%m.%Y", "%m/%d/%Y"],
    ],
)
def test_formats_that_cannot_be_confused_stand_together(formats: list[str]) -> None:
    assert EventTime(column="at", format=formats).formats == tuple(formats)


@pytest.mark.parametrize("given", [[], [["iso8601"]], {"a": "b"}, ["iso8601", "%H:%M"]])
def test_what_is_no_list_of_formats_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError, match=r"list of formats|`%H:%M`: does not give a date"):
        EventTime(column="at", format=given)


SPAN = {"from": "2015-01-01", "to": "2027-01-01"}


def test_a_wrong_epoch_is_caught_even_where_it_looks_out_of_scope(make_root: MakeRoot) -> None:
    milliseconds = {"format": "epoch_milliseconds", "zone": "UTC"}
    scope = {"scope": {"from": "2024"}}
    rows = "1704456000", "1704456000000", "1600000000000"
    _, rejected, (_, done) = times(make_root, milliseconds, *rows, **scope)
    assert rejected == {}  # 1970 passes for what nobody wants
    _, rejected, (root, done) = times(make_root, milliseconds, *rows, **scope, plausible=SPAN)
    assert rejected == {"time_implausible": 1}
    assert done.record.out_of_scope[OUTSIDE_SCOPE].rows == 1
    (row,) = quarantined(root).to_dicts()
    assert (row["field"], row["value"]) == ("timestamp", "1704456000")
    assert "`plausible`" in row["hint"]


def test_plausible_is_half_open_and_the_timestamp_s_own_stands_first(make_root: MakeRoot) -> None:
    own = {"plausible": {"from": "2024-01-01", "to": "2024-01-02T00:00Z"}}
    rows = "2024-01-01 04:59Z", "2024-01-01 05:00Z", "2024-01-01 23:59:59Z", "2024-01-02 00:00Z"
    stored, rejected, _ = times(make_root, own, *rows, plausible={"to": "2001"})
    assert [time[:16] for time in stored] == ["2024-01-01T05:00", "2024-01-01T23:59"]
    assert rejected == {"time_implausible": 2}


@pytest.mark.parametrize(
    ("span", "message"),
    [({}, "says nothing"), ({"from": "2024", "to": "2024"}, "must be after `from`")],
)
def test_a_span_of_nothing_is_refused(span: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EventTime.model_validate({"column": "at", "plausible": span})
