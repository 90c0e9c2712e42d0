"""Legacy ids become customers as the lookup file says; an id that it lacks is told, not guessed."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest

from spanner_pipeline.arrivals import Memory, look
from spanner_pipeline.configuration.lookup import Lookup
from spanner_pipeline.errors import ConfigurationError, TooManyRejectedError
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.conftest import Ended, MakeRoot
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


def test_ids_without_a_customer_are_listed_until_they_have_one(
    make_root: MakeRoot, request: pytest.FixtureRequest
) -> None:
    root = make_root({"calls": METER}, {"old": DECLARED}, {"a.csv": ROWS})
    lookup = root.path / "customers.csv"
    lookup.write_text(CUSTOMERS)
    run(root, "old")

    def said(*command: str) -> str:
        ended: Ended = request.getfixturevalue("run")("sources", *command, data=root)
        assert ended.code == 0, ended.err
        return ended.out

    header = "source,meter,lookup,id,rows,first_partition,last_partition\n"
    assert said("unmapped", "old", "--csv") == (
        header
        + "old,calls,customers.csv,9,2,whole,whole\nold,calls,customers.csv,5,1,whole,whole\n"
    )
    assert "customers.csv" in said("unmapped")
    assert "lookup file changed" not in said("check")

    lookup.write_text(CUSTOMERS + "globex,9,\n")
    assert "the lookup file changed since ids were missing in whole" in said("check")
    assert "9,2" in said("unmapped", "--csv"), "they are listed until they are imported"
    run(root, "old")
    assert said("unmapped", "--csv") == header + "old,calls,customers.csv,5,1,whole,whole\n"
    assert "lookup file changed" not in said("check")


def test_an_imported_id_cannot_get_another_customer_unnoticed(
    make_root: MakeRoot, request: pytest.FixtureRequest
) -> None:
    """Its rows would count twice, once for each customer, whether their file changed or not."""
    root = make_root({"calls": METER}, {"old": DECLARED}, {"a.csv": ROWS})
    lookup = root.path / "customers.csv"
    lookup.write_text(CUSTOMERS)
    batch = run(root, "old")[0].record.batch
    moved = CUSTOMERS.replace("acme,7", "globex,7") + "globex,9,\n"
    lookup.write_text(moved)
    told = r"csv:2: customer: `7` is globex here, and was acme for 2 rows that were imported"
    for more in ("", "7,7,1,2024-01-01 00:00\n"):
        (root.path / "legacy" / "a.csv").write_text(ROWS + more)
        with pytest.raises(ConfigurationError, match=told):
            run(root, "old")
        assert events(root, "calls")["subject"].to_list() == ["acme"] * 3
    planned: Ended = request.getfixturevalue("run")("plan", "old", data=root)
    assert "`7` is globex here" in " ".join((planned.out + planned.err).split())
    (root.path / "legacy" / "a.csv").write_text(ROWS)
    revert(root, load_catalog(root), batch)
    assert run(root, "old")[0].totals.new.rows == 5
    assert sorted(events(root, "calls")["subject"]) == ["acme"] + ["globex"] * 4


@pytest.mark.parametrize("odd", ["", "%|:"])
def test_an_id_may_have_another_customer_from_now_on(make_root: MakeRoot, odd: str) -> None:
    """What was imported before stays with the former one, and cannot come again under the new."""
    declared = DECLARED | {
        "files": "legacy/{year}.csv",
        "partitions": {"grain": "year", "from": 2021, "to": 2023},
    }
    texts = {y: f"id,who,n,at\n{y}{odd},7,1,{y}-01-01 00:00\n" for y in ("2021", "2022", "2023")}
    files = {f"{year}.csv": text for year, text in texts.items()}
    root = make_root({"calls": METER}, {"old": declared}, files)
    lookup = root.path / "customers.csv"
    lookup.write_text("account_id,customer\n7,acme\n")
    run(root, "old", "2021")
    lookup.write_text("account_id,customer\n7,globex\n")
    run(root, "old", "2022")
    lookup.write_text("account_id,customer\n7,initech\n")
    run(root, "old", "2023")
    assert sorted(events(root, "calls")["subject"]) == ["acme", "globex", "initech"]
    for year, former in (("2021", "acme"), ("2022", "globex")):
        (root.path / "legacy" / f"{year}.csv").write_text(
            texts[year] + f"new,7,1,{year}-01-02 00:00\n"
        )
        with pytest.raises(ConfigurationError, match=rf"`7` is initech here, and was {former}"):
            run(root, "old", year)
    assert events(root, "calls").height == 3


def test_a_changed_lookup_file_makes_the_partitions_new_that_lacked_an_id(
    make_root: MakeRoot,
) -> None:
    """Others would say the same as before; what failed for it is tried again."""
    declared = DECLARED | {
        "files": "legacy/{year}.csv",
        "partitions": {"grain": "year", "from": 2021, "to": 2024},
        "max_rejected": "50%",
    }
    texts = {
        year: "id,who,n,at\n"
        + "".join(f"{year}-{n},{who},1,{year}-01-01 00:00\n" for n, who in enumerate(accounts))
        for year, accounts in (("2021", "777"), ("2022", "977"), ("2023", "9"))
    }
    root = make_root(
        {"calls": METER}, {"old": declared}, {f"{year}.csv": text for year, text in texts.items()}
    )
    lookup = root.path / "customers.csv"
    lookup.write_text(CUSTOMERS)
    old = load_catalog(root).sources["old"]
    keys = old.partition_keys(date(2030, 1, 1))
    memory = Memory()

    def arrived(*, after: int = 3600) -> list[str]:
        nonlocal memory
        found = look(root, old, keys, memory, datetime.now(UTC) + timedelta(seconds=after))
        memory = Memory.read(found.remember(found.arrived).spell())
        return list(found.arrived)

    def carry_out(*partitions: str) -> None:
        for partition in partitions:
            with suppress(TooManyRejectedError):
                run(root, "old", partition)

    assert arrived() == ["2021", "2022", "2023"]
    carry_out("2021", "2022", "2023")
    assert arrived() == []
    lookup.write_text(CUSTOMERS + "globex,9,\n")
    assert arrived(after=5) == [], "it may still be written"
    assert arrived() == ["2022", "2023"]
    assert arrived() == [], "it was asked for"
    carry_out("2022", "2023")
    assert arrived() == []
    assert sorted(events(root, "calls")["subject"]) == ["acme"] * 5 + ["globex"] * 2
    lookup.write_text(CUSTOMERS + "globex,9,other note\n")
    assert arrived() == [], "no id was missing"


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
