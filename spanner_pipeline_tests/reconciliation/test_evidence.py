"""An evidence pack tells of every change, of itself and of what it is evidence of."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spanner_pipeline.cli import app
from spanner_pipeline.lake.maintenance import maintain
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.reconciliation.proof.evidence import write_evidence
from spanner_pipeline.reconciliation.proof.fingerprint import PARTS, facts, fingerprint
from spanner_pipeline.reconciliation.proof.pack import NotAPackError, Pack, open_pack
from spanner_pipeline.reconciliation.proof.verify import Verification, verify
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.reconciliation.proof_root import (
    BILL,
    FEBRUARY,
    JANUARY,
    OLD,
    USAGE,
    ProofRoot,
    proof_root,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ProofRoot:
    root = proof_root(tmp_path_factory.mktemp("evidence") / "root")
    root.write("reports/bill/report.html", "<h1>The report</h1>")
    root.write("reports/bill/report.html.1.tmp", "half a repo")
    return root


@pytest.fixture
def root(made: ProofRoot, tmp_path: Path) -> ProofRoot:
    """A copy that a test may change, at another place."""
    shutil.copytree(made.path, tmp_path / "root")
    return ProofRoot(tmp_path / "root")


def _pack(root: ProofRoot, path: Path | None = None, period: str | None = None) -> Path:
    return write_evidence(root, load_catalog(root), root.compare(period), path)


def _verified(path: Path, root: ProofRoot) -> Verification:
    pack = open_pack(path)
    assert pack.damage == ()
    return verify(pack, root, load_catalog(root))


def _fingerprint(root: ProofRoot) -> str:
    return fingerprint(root, load_catalog(root), root.compare())


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_pack_verifies_where_it_was_made_and_in_a_copy(made: ProofRoot, root: ProofRoot) -> None:
    path = _pack(made)
    assert path == made.path / "reports/bill/evidence.zip"
    for place in (made, root):
        found = _verified(path, place)
        assert found == Verification((), (), open_pack(path).fingerprint)


def test_the_pack_holds_what_an_auditor_asks_for(made: ProofRoot) -> None:
    members = _members(_pack(made))
    assert set(members) == {
        *PARTS,
        *("manifest.json", "run.json", "README.txt", "versions.json"),
        *(f"configuration/{n}" for n in ("meters/calls.yaml", "sources/usage.yaml")),
        *("configuration/sources/old_bill.yaml", "report/report.html"),
    }
    yaml = (made.path / "sources/usage.yaml").read_bytes()
    assert members["configuration/sources/usage.yaml"] == yaml
    assert len(members["README.txt"].decode().splitlines()) <= 12
    inputs = json.loads(members["inputs.json"])
    assert list(inputs["old_export"]["files"]) == ["legacy/bill.csv"]
    files = [name for delivery in inputs["imported"].values() for name in delivery]
    assert files == ["legacy/usage-2026-01.csv", "legacy/usage-2026-02.csv"]
    january = inputs["imported"][min(inputs["imported"])]["legacy/usage-2026-01.csv"]
    assert (january["rows"], january["quantity"]) == (9, "45")
    numbers = members["numbers.csv"].decode().splitlines()
    assert "acme,2026-01,UTC" in numbers[1]
    assert ",19.5,16.5,-3," in numbers[1]


def test_nothing_in_the_fingerprint_tells_of_place_time_or_user(made: ProofRoot) -> None:
    known = facts(made, load_catalog(made), made.compare())
    text = b"\n".join(known.parts.values()).decode()
    for secret in (str(made.path), os.uname().nodename, "imported_at", "version_before"):
        assert secret not in text


def test_two_packs_of_the_same_differ_in_their_run_information_alone(
    made: ProofRoot, tmp_path: Path
) -> None:
    one, two = _pack(made, tmp_path / "1.zip"), _pack(made, tmp_path / "2.zip")
    first, second = _members(one), _members(two)
    assert {n for n in first if first[n] != second[n]} <= {"run.json"}
    with zipfile.ZipFile(one) as archive:
        assert archive.namelist() == sorted(archive.namelist())
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_same_inputs_in_another_order_give_the_same_fingerprint(tmp_path: Path) -> None:
    months = {"01": JANUARY, "02": FEBRUARY + JANUARY.splitlines(keepends=True)[0]}
    prints = []
    for order in (("01", "02"), ("02", "01")):  # who comes first brings the row of both
        root = proof_root(tmp_path / "".join(order), months=())
        for month in order:
            root.bring(month, months[month])
        prints.append(_fingerprint(root))
    assert prints[0] == prints[1]


def test_compaction_and_another_run_change_nothing(root: ProofRoot) -> None:
    path, before = _pack(root), _fingerprint(root)
    table = EventTable(root, root.compare().meter)
    done = maintain(root, load_catalog(root), timedelta())
    assert done.files["calls"] == (len(table.files()), len(table.files()) - 1)
    assert EventTable(root, root.compare().meter).version != table.version
    root.bring("01", JANUARY)
    assert _fingerprint(root) == before
    assert _verified(path, root).differences == ()


def test_a_delivery_that_was_read_again_and_found_present_changes_nothing(root: ProofRoot) -> None:
    before = _fingerprint(root)
    root.write("sources/usage.yaml", {**USAGE, "max_rejected": "90%"})
    root.bring("01", JANUARY)
    assert root.compare().imports[0].totals.new.rows == 0
    root.write("sources/usage.yaml", USAGE)
    assert _fingerprint(root) == before


def test_a_changed_byte_of_any_member_is_named(made: ProofRoot, tmp_path: Path) -> None:
    members = _members(_pack(made))
    for name, data in members.items():
        for place in (0, len(data) // 2, len(data) - 1):
            changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            path = _zipped(tmp_path / "changed.zip", {**members, name: changed})
            if name != "manifest.json":
                assert [line.split()[0] for line in open_pack(path).damage] == [name]
                continue
            try:  # a digest that it gives may be of a member, which then is not as it says
                assert open_pack(path).damage
            except NotAPackError as error:
                assert "manifest.json was changed" in str(error)


def test_a_changed_manifest_is_named_even_where_it_is_well_formed(
    made: ProofRoot, tmp_path: Path
) -> None:
    members = _members(_pack(made))
    manifest = json.loads(members["manifest.json"])
    digest = manifest["members"]["numbers.csv"]["sha256"]
    other = members["manifest.json"].replace(digest.encode(), b"0" * 64)
    path = _zipped(tmp_path / "x.zip", {**members, "manifest.json": other})
    damage = open_pack(path).damage
    assert "numbers.csv was changed: its digest is not that of the manifest" in damage
    assert "manifest.json was changed: the fingerprint is not that of the parts" in damage


@pytest.mark.parametrize("step", [97])
def test_any_changed_byte_of_the_zip_is_noticed_or_harmless(
    made: ProofRoot, tmp_path: Path, step: int
) -> None:
    path = _pack(made)
    data, members = path.read_bytes(), _members(path)
    target = tmp_path / "changed.zip"
    noticed = 0
    for place in range(0, len(data), step):
        target.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            pack = open_pack(target)
        except NotAPackError:
            noticed += 1
            continue
        if pack.damage:
            noticed += 1
        else:  # only what says when and how a member was packed
            assert {name: pack.read(name) for name in pack.names} == members
    assert noticed > 20


def test_a_member_too_many_or_too_few_is_named(made: ProofRoot, tmp_path: Path) -> None:
    members = _members(_pack(made))
    more = _zipped(tmp_path / "more.zip", {**members, "extra.txt": b"?"})
    assert open_pack(more).damage == ("extra.txt is not in the manifest",)
    for name in ("causes.csv", "run.json", "README.txt"):
        fewer = {n: data for n, data in members.items() if n != name}
        assert f"{name} is missing" in open_pack(_zipped(tmp_path / "few.zip", fewer)).damage


def _bomb(path: Path) -> None:
    _zipped(path, {"manifest.json": b"{}", "numbers.csv": bytes(300_000_000)})


def _named(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        _zipped(path, {"manifest.json": b"{}", name: b"?"})

    return write


def _twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", b"{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("manifest.json", b"{}")


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda path: None, "is not there"),
        (lambda path: path.write_bytes(b""), "no zip, or cut off"),
        (lambda path: path.write_bytes(b"not a zip at all"), "no zip, or cut off"),
        (lambda path: _zipped(path, {"a.txt": b"a"}), "no evidence pack"),
        (lambda path: _zipped(path, {"manifest.json": b"{"}), "something else"),
        (lambda path: _zipped(path, {"manifest.json": b"[" * 100_000}), "something else"),
        (lambda path: _zipped(path, {"manifest.json": b'{"kind": "x"}'}), "something else"),
        (_named("../outside.txt"), "unsafe name"),
        (_named("/etc/outside.txt"), "unsafe name"),
        (_named("report/../../outside.txt"), "unsafe name"),
        (_named("C:\\outside.txt"), "unsafe name"),
        (_named("a\nb"), "unsafe name"),
        (_twice, "twice"),
        (_bomb, "would unpack to"),
    ],
)
def test_what_is_no_pack_is_refused_and_nothing_is_unpacked(
    tmp_path: Path, write: Callable[[Path], object], why: str
) -> None:
    path = tmp_path / "in" / "x.zip"
    path.parent.mkdir()
    write(path)
    with pytest.raises(NotAPackError, match=why):
        open_pack(path)
    assert {p.name for p in tmp_path.rglob("*")} <= {"in", "x.zip"}
    result = CliRunner().invoke(app, ["verify", str(path), "--pack-only"])
    assert isinstance(result.exception, NotAPackError)


def test_a_pack_that_is_cut_off_is_refused(made: ProofRoot, tmp_path: Path) -> None:
    data = _pack(made).read_bytes()
    for kept in (10, len(data) // 2, len(data) - 1):
        path = tmp_path / "cut.zip"
        path.write_bytes(data[:kept])
        with pytest.raises(NotAPackError, match="cut off"):
            open_pack(path)


def test_a_forged_pack_of_our_own_making_is_read_without_a_crash(
    made: ProofRoot, tmp_path: Path
) -> None:
    from spanner_pipeline.reconciliation.proof.fingerprint import fingerprint_of
    from spanner_pipeline.reconciliation.proof.pack import write_pack

    known = facts(made, load_catalog(made), made.compare())
    for name in PARTS:
        parts = {**known.parts, name: b"[]\n"}
        digests = type(known)(parts).digests
        write_pack(tmp_path / "x.zip", fingerprint_of(digests), parts, {})
        if name == "verdict.json":
            with pytest.raises(NotAPackError, match="names no comparison"):
                _verified(tmp_path / "x.zip", made)
        else:
            assert _verified(tmp_path / "x.zip", made).differences


def test_changed_yaml_is_named_with_the_key_and_both_values(root: ProofRoot) -> None:
    path = _pack(root)
    total = {**OLD["billing_totals"][0], "tolerance": {"absolute": "5"}}
    root.write("sources/old_bill.yaml", {**OLD, "billing_totals": [total]})
    told = _verified(path, root).differences
    assert "YAML changed: sources/old_bill.yaml" in told
    assert "declaration: comparison.tolerance.absolute was 0, is 5" in told
    assert "number acme 2026-01 UTC: status was quantity differs, is within tolerance" in told
    assert "verdict: verdict was FAIL, is PASS" in told


def test_a_comment_in_the_yaml_is_noted_and_changes_nothing(root: ProofRoot) -> None:
    path = _pack(root)
    file = root.path / "sources/usage.yaml"
    file.write_text("# Ours.\n" + file.read_text())
    found = _verified(path, root)
    assert found.differences == ()
    assert found.notes == ("YAML changed, in nothing that decides: sources/usage.yaml",)


def test_another_comparison_of_the_same_bill_changes_nothing(root: ProofRoot) -> None:
    before = root.compare()
    catalog = load_catalog(root)
    known = fingerprint(root, catalog, before)
    other = {**OLD["billing_totals"][0], "name": "other"}
    root.write("sources/old_bill.yaml", {**OLD, "billing_totals": [*OLD["billing_totals"], other]})
    from spanner_pipeline.reconciliation.compare import reconcile

    changed = load_catalog(root)
    source, total = next(c for c in changed.comparisons if c[1].name == "bill")
    assert fingerprint(root, changed, reconcile(root, changed, source, total)) == known


def test_a_delivery_that_came_again_is_named_and_a_revert_makes_it_true_again(
    root: ProofRoot,
) -> None:
    path = _pack(root)
    root.bring("01", JANUARY + "9,acme,100,2026-01-10T08:00:00Z,live\n")
    told = _verified(path, root).differences
    name = "inputs: legacy/usage-2026-01.csv (usage/2026-01 into calls) was delivered again"
    assert any(line.startswith(name) for line in told)
    assert "number acme 2026-01 UTC: new was 16.5, is 116.5" in told
    assert "control totals: usage calls.read.rows was 11, is 12" in told
    batch = root.compare().imports[0].batch
    revert(root, load_catalog(root), batch)
    root.write("legacy/usage-2026-01.csv", (root.path / "legacy/usage-2026-02.csv").read_text())
    assert _verified(path, root).differences == (
        "file changed: legacy/usage-2026-01.csv lies there with other bytes than were imported",
    )
    (root.path / "legacy/usage-2026-01.csv").unlink()
    found = _verified(path, root)
    assert found.differences == ()
    assert found.notes == ("1 imported file does not lie there any more",)


def test_a_changed_bill_is_named(root: ProofRoot) -> None:
    path = _pack(root)
    root.write("legacy/bill.csv", BILL.replace("19.5", "16.5") + "initech,2026-01,1\n")
    told = _verified(path, root).differences
    assert any(
        line.startswith("inputs: old export: files.legacy/bill.csv.sha256 was ") for line in told
    )
    assert "number acme 2026-01 UTC: old was 19.5, is 16.5" in told
    assert "number initech 2026-01 UTC is new" in told
    (root.path / "legacy/bill.csv").unlink()
    (line,) = _verified(path, root).differences
    assert line.startswith("the comparison cannot be made anew: legacy/bill.csv: no file")


def test_a_comparison_that_is_gone_is_named(root: ProofRoot) -> None:
    path = _pack(root)
    total = {**OLD["billing_totals"][0], "name": "renamed"}
    root.write("sources/old_bill.yaml", {**OLD, "billing_totals": [total]})
    (line,) = _verified(path, root).differences
    assert line == "the data root declares no comparison `bill` (known: renamed)"


def test_a_source_that_feeds_the_meter_since_is_named(root: ProofRoot) -> None:
    path = _pack(root)
    root.write("sources/more.yaml", {**USAGE, "source": "more"})
    told = _verified(path, root).differences
    assert "YAML new: sources/more.yaml" in told


def test_a_pack_of_one_period_is_verified_for_that_period(root: ProofRoot) -> None:
    path = _pack(root, period="2026-02")
    assert path.parent == root.path / "reports/bill/2026-02"
    numbers = _members(path)["numbers.csv"].decode().splitlines()
    assert [line.split(",")[1] for line in numbers[1:]] == ["2026-02"] * (len(numbers) - 1)
    assert _verified(path, root).differences == ()


def test_the_commands_say_what_they_found_and_how_it_ended(root: ProofRoot) -> None:
    run = CliRunner().invoke
    data = ["--data", str(root.path)]
    made = run(app, ["evidence", "bill", "--out", str(root.path / "x.zip"), *data])
    assert made.exit_code == 0, made.output
    assert _fingerprint(root) in made.output
    assert "report/report.html" in _members(root.path / "x.zip")
    fine = run(app, ["verify", str(root.path / "x.zip"), *data])
    assert (fine.exit_code, _fingerprint(root) in fine.output) == (0, True)
    root.write("legacy/bill.csv", BILL.replace("19.5", "16.5"))
    broken = run(app, ["verify", str(root.path / "x.zip"), *data])
    assert broken.exit_code == 1
    assert "number acme 2026-01 UTC: old was 19.5, is 16.5" in broken.stderr
    alone = run(app, ["verify", str(root.path / "x.zip"), "--pack-only"])
    assert alone.exit_code == 0
    assert run(app, ["evidence", "nope", *data]).exit_code == 2
    assert run(app, ["evidence", "bill", "--period", "soon", *data]).exit_code == 2
    assert run(app, ["evidence", "bill", "--period", "2030", *data]).exit_code == 2


_WRITES_FOR_EVER = """
import sys
from pathlib import Path
from spanner_pipeline.reconciliation.proof.pack import write_pack
members = {f"{n}.bin": bytes(range(256)) * 4000 for n in range(20)}
print("ready", flush=True)
while True:
    write_pack(Path(sys.argv[1]), "0" * 64, members, {})
"""


@pytest.mark.parametrize("after", [5, 60, 150])
def test_who_is_killed_while_writing_leaves_a_whole_pack_or_none(
    tmp_path: Path, after: int
) -> None:
    path = tmp_path / "x.zip"
    command = [sys.executable, "-c", _WRITES_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(after / 1000)
        child.send_signal(signal.SIGKILL)
    if path.exists():
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            assert archive.testzip() is None
            assert len(archive.namelist()) == 22


def test_a_pack_is_read_member_by_member_from_where_it_lies(made: ProofRoot) -> None:
    pack = open_pack(_pack(made))
    assert isinstance(pack, Pack)
    assert (
        pack.read("numbers.csv")
        == facts(made, load_catalog(made), made.compare()).parts["numbers.csv"]
    )
