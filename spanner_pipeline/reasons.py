"""Why a row is rejected: a closed list, each with its field and what the user can do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One reason to reject a row.

    Attributes:
        code: What reports and quarantine files say.
        field: The field of the event at fault.
        hint: What to do about it.
    """

    code: str
    field: str
    hint: str


MALFORMED = Reason(
    "malformed_row",
    "row",
    "The row does not have the declared layout. Repair the line, or fetch the file again.",
)
SUBJECT_MISSING = Reason("subject_missing", "subject", "Every event needs a subject.")
SUBJECT_PATTERN = Reason(
    "subject_pattern",
    "subject",
    "Open Spanner takes 1 to 128 of A-Z a-z 0-9 _ . : - and starts with a letter or digit. "
    "Use `spell: escaped`, `extract`, `map` or `lookup` in the source.",
)
SUBJECT_UNMAPPED = Reason(
    "subject_unmapped",
    "subject",
    "The lookup file of the source does not have this id. Add it there, and import again.",
)
QUANTITY_MISSING = Reason("quantity_missing", "quantity", "The quantity is empty.")
QUANTITY_NOT_A_NUMBER = Reason(
    "quantity_not_a_number",
    "quantity",
    "Not a number as declared. Declare how the source spells numbers (`decimal`, `thousands`, "
    "`negative`, `strip`), or repair the value.",
)
UNIT_UNKNOWN = Reason(
    "unit_unknown",
    "quantity",
    "The source declares no factor for this unit. Add it to `unit.factors`, or repair the unit.",
)
QUANTITY_DOES_NOT_FIT = Reason(
    "quantity_does_not_fit",
    "quantity",
    "More digits than the meter holds (38 in all, `decimals` after the point). "
    "Raise `decimals` in the meter, or choose a smaller unit.",
)
QUANTITY_NOT_POSITIVE = Reason(
    "quantity_not_positive",
    "quantity",
    "Open Spanner takes quantities above 0 only. Filter the rows with `where`, or declare "
    "`nonpositive: keep` to hold voids and credits in the lake.",
)
TIMESTAMP_MISSING = Reason(
    "timestamp_missing", "timestamp", "The time is empty; it is never taken to be now."
)
TIMESTAMP_FORMAT = Reason(
    "timestamp_format", "timestamp", "The time does not have the declared `format`."
)
TIMESTAMP_WITHOUT_ZONE = Reason(
    "timestamp_without_zone",
    "timestamp",
    "The time has no offset and the source declares no `zone` for it.",
)
TIMESTAMP_TOO_PRECISE = Reason(
    "timestamp_too_precise",
    "timestamp",
    "Times are kept to the microsecond; this one is finer. Declare `below_microsecond: cut` to "
    "give up what is below.",
)
TIME_IMPLAUSIBLE = Reason(
    "time_implausible",
    "timestamp",
    "The time is outside what the source declares as `plausible`. Check the declared `format` "
    "(seconds or milliseconds?), or widen `plausible`.",
)
TIMESTAMP_AMBIGUOUS = Reason(
    "timestamp_ambiguous",
    "timestamp",
    "This hour exists twice at the end of summer time. Declare `ambiguous: earliest` or `latest`.",
)
TIMESTAMP_NONEXISTENT = Reason(
    "timestamp_nonexistent",
    "timestamp",
    "This hour is skipped at the start of summer time. Check the declared zone.",
)
IDENTITY_MISSING = Reason(
    "identity_missing", "identity", "A part of the row's identity is empty or unreadable."
)
REVISION_MISSING = Reason(
    "revision_missing", "revision", "The revision is empty or unreadable; corrections need one."
)
FILE_WITHOUT_ORDER = Reason(
    REVISION_MISSING.code,
    "revision",
    "Exactly one pattern of `corrections.order` must match the file's name. Add the file there.",
)

COUNTER_MISSING = Reason(
    "counter_missing", "counter", "A part of what tells counters apart (`by`) is empty."
)
COUNTER_FELL = Reason(
    "counter_fell",
    "quantity",
    "The reading is smaller than one before it, or follows one that is. Mend the wrong reading, or "
    "declare `reset: zero` where counters begin again at 0, or `rolls_over_at`.",
)
COUNTER_BEYOND_ROLL_OVER = Reason(
    "counter_beyond_roll_over",
    "quantity",
    "A counter with so many values (`rolls_over_at`) cannot have this reading.",
)
READINGS_CONTRADICT = Reason(
    "readings_contradict",
    "quantity",
    "The counter has another reading at the same time. Take the wrong one out, or tell the two "
    "counters apart with `by`.",
)
READING_BEFORE_MISSING = Reason(
    "reading_before_missing",
    "quantity",
    "The reading before it is unknown, as the files of this earlier partition are not there or "
    "cannot be read. Deliver them and import this partition again, or declare `gaps: bridge`.",
)
CONDITION_UNKNOWN = Reason(
    "condition_unknown",
    "condition",
    "Whether this row counts is unknown, as a column that the condition reads is empty. Say what "
    "empty means, such as `coalesce(status, 0) < 500` or `status is null or …`.",
)


def not_computed(name: str) -> Reason:
    """The expression of a field has no exact value."""
    return Reason(
        "expression_failed",
        name,
        "The expression of this field has no exact value here. Repair what is named, or write the "
        "expression so that it says what is meant.",
    )


def dimension_missing(name: str) -> Reason:
    """A required dimension is absent."""
    return Reason("dimension_missing", name, "The meter requires this dimension.")


def dimension_type(name: str, kind: str) -> Reason:
    """A dimension has another JSON type than the meter defines."""
    return Reason("dimension_type", name, f"The meter defines this dimension as a {kind}.")
