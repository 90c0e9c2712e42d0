"""Texts become exact decimals and known times, set-wise.

Each function takes a frame and names of text columns and gives expressions. A value that cannot
be represented exactly becomes null here and gets its reason in `validation`; nothing is rounded.
"""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import polars as pl

from spanner_pipeline.configuration.patterns import names_offset
from spanner_pipeline.configuration.span import Span
from spanner_pipeline.configuration.values import EPOCHS, ISO8601, Timestamp
from spanner_pipeline.meters import MAX_PRECISION

NUMBER_PATTERN = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_OFFSET_PATTERN = r"\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|z|[+-]\d{2}(:?\d{2})?)$"
_USUAL_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,6})?Z?$"
_USUAL_UTC = _USUAL_PATTERN.replace("Z?$", "Z$")
_MINUTE, _SECONDS = (0, 16), 17
"""Where these stand in a text of the usual pattern."""

_SECONDS_TYPE = pl.Decimal(8, 6)

_NANOSECONDS = -3
MICROSECONDS_UTC = pl.Datetime("us", "UTC")


def is_number(text: pl.Expr) -> pl.Expr:
    """Whether a text is a plain or E-notation decimal number."""
    return text.str.contains(NUMBER_PATTERN)


def exact_decimal(frame: pl.DataFrame, column: str, decimals: int) -> pl.Expr:
    """The exact decimal of a text column; null where it is no number or does not fit.

    Args:
        frame: Looked at to see how values are spelled; few ways cost more to check.
        column: The text column.
        decimals: Digits after the point that the result holds.
    """
    text = pl.col(column)
    # A text that fits and has no digit is no number, nor is it for Polars.
    value = text.cast(pl.Decimal(MAX_PRECISION, decimals), strict=False)
    if frame[column].str.contains(rf"^[0-9]+(\.[0-9]{{0,{decimals}}})?$").all():
        return value
    fits = text.str.contains(rf"^[+-]?[0-9]*(\.[0-9]{{0,{decimals}}}0*)?$")
    if frame[column].str.contains("[eE]").any():
        mantissa = text.str.extract(r"^[+-]?([^eE]*)")
        exponent = text.str.extract(r"[eE]([+-]?\d+)$").str.strip_prefix("+").cast(pl.Int32)
        fraction = mantissa.str.extract(r"\.(\d*)$").fill_null("").str.strip_chars_end("0")
        whole = mantissa.str.extract(r"^(\d*)").fill_null("")
        zeros = whole.str.len_chars().cast(pl.Int32) - (
            whole.str.strip_chars_end("0").str.len_chars().cast(pl.Int32)
        )
        digits = fraction.str.len_chars().cast(pl.Int32)
        needed = pl.when(digits > 0).then(digits).otherwise(-zeros) - exponent
        needed = pl.when(mantissa.str.contains("[1-9]")).then(needed).otherwise(0)
        fits = fits | (is_number(text) & (needed <= decimals).fill_null(value=False))
    return pl.when(fits).then(value)


def canonical_number(frame: pl.DataFrame, column: str) -> pl.Expr:
    """One spelling for each number: no sign for plus, no needless zeros, no exponent."""
    return plain_decimal(exact_decimal(frame, column, 15))


def plain_decimal(value: pl.Expr) -> pl.Expr:
    """One spelling for each decimal, whatever its scale."""
    spelled = value.cast(pl.String)
    return (
        pl.when(spelled.str.contains(".", literal=True))
        .then(spelled.str.strip_chars_end("0").str.strip_suffix("."))
        .otherwise(spelled)
        .replace("-0", "0")
    )


def are_usual(timestamp: Timestamp, texts: pl.Series) -> bool:
    """Whether all texts are times as most exports write them: `2024-01-31T12:00:00.25Z`."""
    return timestamp.formats == (ISO8601,) and texts.str.contains(_USUAL_UTC).all()


def usual_time(text: pl.Expr) -> pl.Expr:
    """The UTC time of such texts, in half the time that others take."""
    return _usual_time(text).dt.replace_time_zone("UTC")


def naive_time(timestamp: Timestamp, text: pl.Expr) -> pl.Expr:
    """The wall-clock time of texts without an offset; null for others."""
    return _first_read(timestamp, text)[0]


def aware_time(timestamp: Timestamp, text: pl.Expr) -> pl.Expr:
    """The UTC time of texts that name their own offset; null for others."""
    return _first_read(timestamp, text)[1]


def _first_read(timestamp: Timestamp, text: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The naive and the aware time by the first format that a text has."""
    readings = [(_naive(one, text), _aware(one, text)) for one in timestamp.formats]
    if len(readings) == 1:
        return readings[0]
    naive, aware = readings[-1]
    for first_naive, first_aware in reversed(readings[:-1]):
        is_read = first_naive.is_not_null() | first_aware.is_not_null()
        naive = pl.when(is_read).then(first_naive).otherwise(naive)
        aware = pl.when(is_read).then(first_aware).otherwise(aware)
    return naive, aware


def _naive(format_: str, text: pl.Expr) -> pl.Expr:
    if format_ == ISO8601:
        usual, other = _iso_kinds(text)
        usual = pl.when(~usual.str.ends_with("Z")).then(usual)
        other = pl.when(~other.str.contains(_OFFSET_PATTERN)).then(other)
        read = _iso(other).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        return pl.coalesce(_usual_time(usual), read)
    if format_ in EPOCHS or names_offset(format_):
        return pl.lit(None, dtype=pl.Datetime("us"))
    return text.str.to_datetime(format_, time_unit="us", strict=False)


def _aware(format_: str, text: pl.Expr) -> pl.Expr:
    if format_ in EPOCHS:
        return _since_1970(text, EPOCHS[format_])
    if format_ == ISO8601:
        usual, other = _iso_kinds(text)
        usual = pl.when(usual.str.ends_with("Z")).then(usual)
        other = pl.when(other.str.contains(_OFFSET_PATTERN)).then(other)
        read = _iso(other).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_zone="UTC")
        return pl.coalesce(usual_time(usual), read.cast(MICROSECONDS_UTC))
    if not names_offset(format_):
        return pl.lit(None, dtype=MICROSECONDS_UTC)
    parsed = text.str.to_datetime(format_, strict=False, time_zone="UTC")
    return parsed.cast(MICROSECONDS_UTC)


def of_four_digits(time: pl.Expr) -> pl.Expr:
    """A time of the years 1 to 9999; no date, partition or RFC 3339 text can be made of others."""
    return pl.when(time.dt.year().is_between(1, 9999)).then(time)


def _since_1970(text: pl.Expr, decimals: int) -> pl.Expr:
    """Put the digits of a count together as whole microseconds; null where there are more."""
    if decimals == _NANOSECONDS:
        whole = text.str.extract(r"^(-?[0-9]{1,17})000(?:\.0*)?$")
        zero = pl.when(text.str.contains(r"^-?0{1,3}(?:\.0*)?$")).then(pl.lit("0"))
        return pl.coalesce(whole, zero).cast(pl.Int64).cast(MICROSECONDS_UTC)
    fits = text.str.contains(rf"^-?[0-9]{{1,{17 - decimals}}}(\.[0-9]{{0,{decimals}}}0*)?$")
    fraction = text.str.extract(rf"\.([0-9]{{0,{decimals}}})").fill_null("")
    digits = text.str.extract(r"^(-?[0-9]+)") + fraction.str.pad_end(decimals, "0")
    return pl.when(fits).then(digits).cast(pl.Int64).cast(MICROSECONDS_UTC)


def _iso_kinds(text: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The texts as most exports write them, and all others; each null in the other's place."""
    usual = text.str.contains(_USUAL_PATTERN)
    return pl.when(usual).then(text), pl.when(~usual).then(text)


def _usual_time(text: pl.Expr) -> pl.Expr:
    """The clock of texts of the usual pattern.

    Polars remembers the few minutes that it has read, and sums seconds up; one format for all of
    it is read digit by digit for every row, and takes three times as long.
    """
    minute = text.str.slice(*_MINUTE).str.replace(" ", "T", literal=True)
    seconds = text.str.slice(_SECONDS).str.strip_suffix("Z").cast(_SECONDS_TYPE)
    microseconds = seconds.to_physical().cast(pl.Int64).cast(pl.Duration("us"))
    return minute.str.to_datetime("%Y-%m-%dT%H:%M", strict=False, time_unit="us") + microseconds


def _iso(text: pl.Expr) -> pl.Expr:
    with_t = text.str.replace(r"^(\d{4}-\d{2}-\d{2})[ t]", "${1}T")
    return with_t.str.replace(r"T(\d{2}:\d{2})($|Z|z|[+-])", "T${1}:00$2")


def finer_than_microseconds(timestamp: Timestamp, text: pl.Expr) -> pl.Expr:
    """Whether a time's text has digits below the microsecond that are not zero."""
    return pl.any_horizontal(text.str.contains(_finer(one)) for one in timestamp.formats)


def _finer(format_: str) -> str:
    decimals = EPOCHS.get(format_)
    if decimals is None:
        return r"\.\d{6}\d*[1-9]\d*"
    if decimals == _NANOSECONDS:
        return r"^-?[0-9]*(?:[1-9][0-9]{0,2}(?:\.[0-9]*)?|\.[0-9]*[1-9][0-9]*)$"
    return rf"^-?[0-9]+\.[0-9]{{{decimals}}}[0-9]*[1-9][0-9]*$"


def cut_to_microseconds(timestamp: Timestamp, text: pl.Expr) -> pl.Expr:
    """The texts of times without what they say below the microsecond."""
    for one in timestamp.formats:
        decimals = EPOCHS.get(one)
        if decimals is None:
            text = text.str.replace(r"(\.\d{6})\d+", "${1}")
        elif decimals == _NANOSECONDS:
            nanoseconds = text.str.replace(r"^(-?[0-9]*)[0-9]{3}(?:\.[0-9]*)?$", "${1}000")
            text = nanoseconds.str.replace(r"^-?[0-9]{1,2}(?:\.[0-9]*)?$", "0")
        else:
            text = text.str.replace(rf"^(-?[0-9]+\.[0-9]{{{decimals}}})[0-9]+$", "${1}")
    return text


def within(span: Span, zone: str | None, time: pl.Expr) -> pl.Expr:
    """Whether UTC times are in a span; its naive bounds are on the clock of `zone`, else UTC."""
    inside = pl.lit(value=True)
    for bound, is_inside in ((span.from_, time.__ge__), (span.to, time.__lt__)):
        if bound is not None:
            moment = bound if bound.tzinfo else bound.replace(tzinfo=ZoneInfo(zone or "UTC"))
            inside &= is_inside(pl.lit(moment.astimezone(UTC), dtype=MICROSECONDS_UTC))
    return inside


def localized(naive: pl.Expr, zone: str, ambiguous: str) -> pl.Expr:
    """A wall-clock time of a zone, in UTC; null where the zone's rule gives none.

    Args:
        naive: Wall-clock times.
        zone: IANA name of the clock's zone.
        ambiguous: `reject`, `earliest` or `latest`, for an hour that exists twice.
    """
    choice = "null" if ambiguous == "reject" else ambiguous
    local = naive.dt.replace_time_zone(zone, ambiguous=choice, non_existent="null")  # type: ignore[arg-type]
    return local.dt.convert_time_zone("UTC")


def canonical_time(timestamp: Timestamp, text: pl.Expr) -> pl.Expr:
    """One spelling for each time: `20231116T181703.97996`, with a `Z` where its offset is known.

    Wall-clock times stay as the source wrote them: a key must not depend on a zone rule.
    """

    def spell(time: pl.Expr) -> pl.Expr:
        digits = time.dt.strftime("%Y%m%dT%H%M%S%.6f")
        return digits.str.strip_chars_end("0").str.strip_suffix(".")

    naive, aware = naive_time(timestamp, text), aware_time(timestamp, text)
    spelled = pl.coalesce(spell(naive), spell(aware) + "Z")
    return pl.when(~finer_than_microseconds(timestamp, text)).then(spelled)
