"""Legacy ids become customers as the lookup file says; an id that it lacks is told, not guessed."""

from __future__ import annotations

import logging

import pytest

from spanner_pipeline.configuration.lookup import Lookup
from spanner_pipeline.errors import ConfigurationError
from spanner_pipeline_tests.conftest import MakeRoot
from spanner_pipeline_tests.lake_reading import events, quarantined, run
from spanner_pipeline_tests.sources.test_mapping import METER, source

LOOKUP = {"file": "customers.csv", "key": "account_id", "value": "customer"}
DECLARED = source({"subject": {"column": "who", "lookup": LOOKUP}}, zone="UTC")
ROWS = "id,who,n,at\n" + "".join(
    f"{n},{who},1,2024-01-01 00:00\n" for n, who in enumerate(["7", "8", "9", "9", "5", "", "7"])
)
CUSTOMERS = "customer,account_id,note\nacme,7,\nacme,8,merged\nacme,8,again\n"


def test_an_id_is_its_customer_or_rejected_and_a_new_lookup_is_imported_again(
    make_root: MakeRoot, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_root({"calls": METER}, {"old": DECLARED}, {"a.csv": ROWS})
    lookup = root.path / "customers.csv"
    lookup.write_text(CUSTOMERS)
    with caplog.at_level(logging.WARNING):
        first = run(root, "old")[0]
    assert events(root, "calls")["subject"].to_list() == ["acme"] * 3
    assert first.record.rejected == {"subject_unmapped": 3, "subject_missing": 1}
    assert "2 ids are not in customers.csv: 9 (2 rows), 5 (1 rows)." in caplog.text
    unmapped = quarantined(root).filter(reason_code="subject_unmapped")
    assert unmapped["value"].to_list() == ["9", "9", "5"]

    assert run(root, "old")[0].unchanged
    lookup.write_text(CUSTOMERS + "globex,9,\n")
    again = run(root, "old")[0]
    assert (again.totals.new.rows, again.totals.present.rows) == (2, 3)
    assert again.record.rejected == {"subject_unmapped": 1, "subject_missing": 1}
    assert sorted(events(root, "calls")["subject"]) == ["acme"] * 3 + ["globex"] * 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "customers.csv:1: cannot be read"),
        ("", "customers.csv:1: is no CSV file"),
        ("account_id,name\n1,a\n", "customers.csv:1: customer: has no such column"),
        ("account_id,customer\n1,a\n2,\n", "customers.csv:3: customer: is empty"),
        ("account_id,customer\n,a\n", "customers.csv:2: account_id: is empty"),
        (
            "account_id,customer\n1,a\n2,b\n1,c\n",
            "customers.csv:4: account_id: `1` has different customers: a in line 2, c in line 4.",
        ),
        (b"account_id,customer\n1,\xff\xfe\n", "customers.csv:1: is no CSV file in UTF-8"),
    ],
)
def test_a_lookup_file_that_cannot_be_trusted_is_told_at_its_line(
    make_root: MakeRoot, content: str | bytes | None, message: str
) -> None:
    root = make_root({"calls": METER}, {"old": DECLARED}, {"a.csv": ROWS})
    if content is not None:
        given = content if isinstance(content, bytes) else content.encode()
        (root.path / "customers.csv").write_bytes(given)
    with pytest.raises(ConfigurationError) as error:
        run(root, "old")
    assert message in str(error.value)
    assert not (root.lake / "events").exists()


@pytest.mark.parametrize("file", ["/etc/passwd", "../customers.csv", "s3://bucket/customers.csv"])
def test_a_lookup_file_outside_the_root_is_refused(file: str) -> None:
    with pytest.raises(ValueError, match="below the data root"):
        Lookup.model_validate(LOOKUP | {"file": file})
