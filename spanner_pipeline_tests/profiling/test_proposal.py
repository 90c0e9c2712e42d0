"""The proposed source says what was found, asks what was not, and imports once it is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from spanner_pipeline.errors import ConfigurationError
from spanner_pipeline.profiling.examine import examine
from spanner_pipeline.profiling.proposal import propose, source_name
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.lake_reading import events, run
from spanner_pipeline_tests.profiling.choosing import METER, root_of, write

USAGE = (
    "record_id;customer;units;used_at\n"
    "r1;acme;1,200;31.12.2024 23:00\n"
    "r2;acme;3,400,000;01.01.2025 00:15\n"
    "r3;umbrella;12;01.01.2025 00:30\n"
)
CHOICES = {"zone": "Europe/Berlin"}


def problems(root: DataRoot) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        load_catalog(root)
    return [problem.key for problem in error.value.problems]


def test_loading_names_what_only_a_person_can_know(tmp_path: Path) -> None:
    found = examine(write(tmp_path / "legacy" / "usage.csv", USAGE))
    write(tmp_path / "meters" / "usage.yaml", METER)
    write(tmp_path / "sources" / "u.yaml", propose(found, "u", "legacy/usage.csv"))
    assert problems(DataRoot(tmp_path)) == ["zone"]
    root_of(tmp_path, found, CHOICES, "u")
    text = (tmp_path / "sources" / "u.yaml").read_text()
    write(tmp_path / "sources" / "u.yaml", text.replace("meter: usage", "meter: ???"))
    assert problems(DataRoot(tmp_path)) == ["usage[0].meter"]


def test_with_the_choices_made_it_loads_and_imports_every_row(tmp_path: Path) -> None:
    root = root_of(tmp_path, examine(write(tmp_path / "legacy" / "usage.csv", USAGE)), CHOICES)
    (done,) = run(root, "unknown", "whole")
    assert (done.totals.read.rows, done.totals.new.rows) == (3, 3)
    sums = events(root, "usage").group_by("subject").agg(quantity="quantity").sort("subject")
    assert [sum(row[1]) for row in sums.iter_rows()] == [3_401_200, 12]


def test_a_column_for_each_role_is_missing_where_none_is_clear(tmp_path: Path) -> None:
    found = examine(write(tmp_path / "legacy" / "f.csv", "a,b\n1,x\n2,y\n"))
    root = root_of(tmp_path, found, {})
    assert problems(root) == [f"usage[0].{key}" for key in ("quantity", "subject", "timestamp")]


def test_swapped_days_and_months_do_not_load_until_someone_chose(tmp_path: Path) -> None:
    text = "id,customer,quantity,time\na,x,1,01/02/2024\nb,x,1,03/04/2024\n"
    found = examine(write(tmp_path / "legacy" / "f.csv", text))
    assert problems(root_of(tmp_path, found, {"zone": "UTC"})) == ["usage[0].timestamp.format"]
    choices = {"zone": "UTC", "timestamp": '{column: time, format: "%m/%d/%Y"}'}
    (done,) = run(root_of(tmp_path, found, choices), "unknown", "whole")
    assert done.totals.new.rows == 2


def test_a_comma_that_may_be_either_does_not_load_until_someone_chose(tmp_path: Path) -> None:
    text = "id;customer;quantity;time\na;x;1,500;2024-01-01T00:00Z\nb;x;2,250;2024-01-01T00:00Z\n"
    found = examine(write(tmp_path / "legacy" / "f.csv", text))
    assert problems(root_of(tmp_path, found, {})) == ["usage[0].quantity.thousands"]


def test_spring_rules_out_clocks_that_skipped_hours_with_usage(tmp_path: Path) -> None:
    hours = [f"2024-03-{day} {hour:02}:30:00" for day in (10, 31) for hour in range(24)]
    hours.remove("2024-03-31 02:30:00")
    rows = "".join(f"{n},acme,1,{hour}\n" for n, hour in enumerate(hours))
    found = examine(write(tmp_path / "f.csv", "id,customer,quantity,time\n" + rows))
    ruled_out = {hours.zone: hours.ruled_out for hours in found.hours}
    assert ruled_out["America/New_York"]
    assert ruled_out["Europe/London"]
    assert not ruled_out["Europe/Berlin"]
    text = " ".join(propose(found, "x", "f.csv").replace("\n#", "").split())
    assert "Not America/New_York: it skipped hours such as 2024-03-10 02:00:00" in text
    assert "It may be Europe/Berlin" in text


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    names = ["customer", "q: {1}", "# time", "quantity", "null"]
    lines = [names, ["a", "1", "2024-01-01T00:00Z", "2", "k1"]]
    lines.append(["b", "2", "2024-01-01T00:00Z", "4", "k2"])
    text = "\n".join("\t".join(line) for line in lines) + "\n"
    found = examine(write(tmp_path / "legacy" / "f{x}[1].tsv", text))
    root = root_of(tmp_path, found, {})
    (done,) = run(root, "unknown", "whole")
    assert done.totals.new.rows == 2


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("green_tripdata_2023-12.parquet", "green_tripdata"),
        ("Usage Export (final).20240131.csv.gz", "usage_export_final"),
        ("2024-01.csv", "source"),
        ("9lives.csv", "source_9lives"),
    ],
)
def test_a_source_is_named_like_its_file(file: str, name: str) -> None:
    assert source_name(Path(file)) == name


class TestCommand:
    def test_it_prints_tables_and_yaml(self, run: Run, tmp_path: Path) -> None:
        file = write(tmp_path / "legacy" / "usage.csv", USAGE)
        ended = run("sources", "profile", str(file), data=DataRoot(tmp_path))
        assert ended.code == 0
        for text in ("delimited (separator ';')", "proposed", "time, %d.%m.%Y %H:%M", "zone: ???"):
            assert text in ended.out
        assert "\nfiles: legacy/usage.csv\n" in ended.out

    def test_out_is_written_once_and_never_over_a_file(self, run: Run, tmp_path: Path) -> None:
        file, out = write(tmp_path / "usage.csv", USAGE), tmp_path / "sources" / "mine.yaml"
        command = ("sources", "profile", str(file), "--out", str(out))
        assert run(*command).code == 0
        assert "\nsource: mine\n" in out.read_text()
        out.write_text("mine")
        ended = run(*command)
        assert (ended.code, out.read_text()) == (2, "mine")
        assert "is there already" in ended.err

    def test_two_exports(self, run: Run, tmp_path: Path) -> None:
        first = write(tmp_path / "a.csv", USAGE)
        second = write(tmp_path / "b.csv", USAGE.replace("r1;", "q1;").replace(";12;", ";13;"))
        ended = run("sources", "profile", str(first), str(second))
        assert ended.code == 0
        assert "1 record_id" in ended.out
        assert "1 units" in ended.out
        assert "changes between exports" in ended.out

    def test_a_file_that_cannot_be_read(self, run: Run, tmp_path: Path) -> None:
        ended = run("sources", "profile", str(tmp_path / "nowhere.csv"))
        assert ended.code == 2
        assert "is no file" in ended.err
