"""A signature holds for exactly what was signed, by two people; any change voids it visibly."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spanner_pipeline.cli import app
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.lake.maintenance import maintain
from spanner_pipeline.reconciliation.proof import fingerprint as bound
from spanner_pipeline.reconciliation.proof.signoff import (
    Role,
    Signoff,
    SignoffRefusedError,
    read_signoffs,
    sign,
    signoff_file,
    signoff_lines,
    signoffs,
)
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.reconciliation.proof_root import (
    BILL,
    JANUARY,
    OLD,
    ProofRoot,
    proof_root,
)

TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ProofRoot:
    return proof_root(tmp_path_factory.mktemp("signoff") / "root")


@pytest.fixture
def root(made: ProofRoot, tmp_path: Path) -> ProofRoot:
    shutil.copytree(made.path, tmp_path / "root")
    return ProofRoot(tmp_path / "root")


def _sign(
    root: ProofRoot, role: Role, name: str, note: str = "", period: str | None = None
) -> Signoff:
    return sign(root, load_catalog(root), root.compare(period), role, name, note)


def _lines(root: ProofRoot, period: str | None = None) -> list[str]:
    return signoff_lines(root, load_catalog(root), root.compare(period))


def _both(root: ProofRoot) -> None:
    _sign(root, "preparer", "Ann Lee")
    _sign(root, "reviewer", "Bo Chen")


def test_preparer_and_reviewer_are_named_with_day_and_note(root: ProofRoot) -> None:
    assert _lines(root) == []
    signed = _sign(root, "preparer", "  Ann   Lee ", "as agreed")
    assert _lines(root) == [
        f"Prepared by Ann Lee on {signed.at[:10]} (“as agreed”), not yet reviewed"
    ]
    second = _sign(root, "reviewer", "Bo Chen")
    (line,) = _lines(root)
    assert line.endswith(f", reviewed by Bo Chen on {second.at[:10]}")
    assert signed.at[:10] in (str(TODAY), str(TODAY + timedelta(days=1)))


def test_what_was_signed_is_on_record(root: ProofRoot) -> None:
    _both(root)
    comparison, catalog = root.compare(), load_catalog(root)
    entries = json.loads(signoff_file(root, comparison).read_text("utf-8"))
    assert [entry["role"] for entry in entries] == ["preparer", "reviewer"]
    first = entries[0]
    assert first["fingerprint"] == bound.fingerprint(root, catalog, comparison)
    told = (first["verdict"], first["difference"], first["unexplained"], first["period"])
    assert told == ("FAIL", "-3", str(comparison.unexplained.normalize()), None)


@pytest.mark.parametrize(
    "name", ["Ann Lee", "ANN LEE", "ann  lee", "Ann-Lee", "Änn Lee", "A\u0308nn Lee"]
)
@pytest.mark.parametrize("role", ["preparer", "reviewer"])
def test_nobody_signs_twice_however_the_name_is_spelled(
    root: ProofRoot, name: str, role: Role
) -> None:
    _sign(root, "preparer", "Ann Lee")
    with pytest.raises(SignoffRefusedError, match="Ann Lee has prepared this already"):
        _sign(root, role, name)
    assert len(read_signoffs(signoff_file(root, root.compare()))) == 1


def test_a_reviewer_cannot_prepare_what_he_reviewed(root: ProofRoot) -> None:
    _both(root)
    with pytest.raises(SignoffRefusedError, match="must be different people"):
        _sign(root, "preparer", "bo chen")


def test_a_reviewer_signs_only_what_a_preparer_signed_as_it_is_now(root: ProofRoot) -> None:
    with pytest.raises(SignoffRefusedError, match="preparer signs first"):
        _sign(root, "reviewer", "Bo Chen")
    _sign(root, "preparer", "Ann Lee")
    root.write("legacy/bill.csv", BILL.replace("19.5", "16.5"))
    with pytest.raises(SignoffRefusedError, match="preparer signs first"):
        _sign(root, "reviewer", "Bo Chen")


@pytest.mark.parametrize("name", ["", " ", "!?", "Ann\x1b[2J", "x" * 201])
def test_a_name_that_nobody_could_read_is_refused(root: ProofRoot, name: str) -> None:
    with pytest.raises(SignoffRefusedError):
        _sign(root, "preparer", name)
    assert not signoff_file(root, root.compare()).exists()


def test_a_line_break_in_a_name_forges_no_second_line(root: ProofRoot) -> None:
    _sign(root, "preparer", "Ann Lee\nreviewed by Bo", "a\nb")
    (line,) = _lines(root)
    assert "\n" not in line


def test_a_changed_bill_voids_and_says_what_changed(root: ProofRoot) -> None:
    _both(root)
    root.write("legacy/bill.csv", BILL.replace("19.5", "16.5"))
    (line,) = _lines(root)
    assert line.startswith("VOID since the inputs, the numbers")
    assert "prepared by Ann Lee" in line
    assert "reviewed by Bo Chen" in line
    root.write("legacy/bill.csv", BILL)
    assert _lines(root)[0].startswith("Prepared by Ann Lee")  # it is what they signed again


def test_changed_configuration_voids_even_where_no_number_changes(root: ProofRoot) -> None:
    _both(root)
    total = {**OLD["billing_totals"][0], "severity": "warn"}
    root.write("sources/old_bill.yaml", {**OLD, "billing_totals": [total]})
    assert _lines(root)[0].startswith("VOID since the configuration and the verdict changed")


def test_a_delivery_that_came_again_voids(root: ProofRoot) -> None:
    _both(root)
    root.bring("01", JANUARY + "9,globex,100,2026-01-10T08:00:00Z,live\n")
    assert _lines(root)[0].startswith("VOID since the inputs, the control totals")


def test_another_code_version_voids(root: ProofRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    _both(root)
    monkeypatch.setattr(bound, "MAPPING_VERSION", bound.MAPPING_VERSION + 1)
    assert _lines(root)[0].startswith("VOID since the code version changed")


def test_compaction_voids_nothing(root: ProofRoot) -> None:
    _both(root)
    before, files = _lines(root), maintain(root, load_catalog(root), timedelta()).files["calls"]
    assert files[1] < files[0]
    assert _lines(root) == before


def test_who_signs_anew_after_a_change_makes_it_valid_again(root: ProofRoot) -> None:
    _both(root)
    root.write("legacy/bill.csv", BILL.replace("19.5", "16.5"))
    _both(root)
    state = signoffs(root, load_catalog(root), root.compare())
    assert [state.void(s) for s in state.every] == [True, True, False, False]
    assert state.reviewed
    assert len(state.lines()) == 1
    assert state.lines()[0].startswith("Prepared by Ann Lee")


def test_a_signed_period_is_not_the_whole(root: ProofRoot) -> None:
    _sign(root, "preparer", "Ann Lee", period="2026-02")
    assert _lines(root) == []
    assert _lines(root, "2026-02")[0].startswith("Prepared by Ann Lee")


def test_two_who_sign_at_once_both_stand(root: ProofRoot) -> None:
    names = [f"{letter}{letter} Person" for letter in "ABCDEFGH"]
    comparison, catalog = root.compare(), load_catalog(root)
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: sign(root, catalog, comparison, "preparer", name), names))
    stored = read_signoffs(signoff_file(root, comparison))
    assert sorted(s.name for s in stored) == names


def test_a_damaged_file_of_signatures_is_said_not_skipped(root: ProofRoot) -> None:
    _both(root)
    path = signoff_file(root, root.compare())
    path.write_text(path.read_text()[:-20])
    with pytest.raises(PipelineError, match=r"bill/signoffs\.json is damaged"):
        _lines(root)
    with pytest.raises(PipelineError, match="damaged"):
        _sign(root, "preparer", "Cy Dor")


_SIGNS_FOR_EVER = """
import sys
from pathlib import Path
from spanner_pipeline.reconciliation.compare import reconcile
from spanner_pipeline.reconciliation.proof.signoff import sign
from spanner_pipeline.root import DataRoot, load_catalog
root = DataRoot(Path(sys.argv[1]))
catalog = load_catalog(root)
comparison = reconcile(root, catalog, *catalog.comparisons[0])
print("ready", flush=True)
for number in range(100_000):
    sign(root, catalog, comparison, "preparer", f"Person {number}")
"""


@pytest.mark.parametrize("after", [20, 150, 400])
def test_who_is_killed_while_signing_leaves_whole_signatures(root: ProofRoot, after: int) -> None:
    command = [sys.executable, "-c", _SIGNS_FOR_EVER, str(root.path)]
    path = signoff_file(root, root.compare())
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        until = time.monotonic() + after / 1000
        try:
            while time.monotonic() < until:
                read_signoffs(path)  # whoever looks meanwhile sees no half file either
        finally:
            child.send_signal(signal.SIGKILL)
    stored = read_signoffs(path)
    assert [s.name for s in stored] == [f"Person {n}" for n in range(len(stored))]
    _sign(root, "preparer", "Ann Lee")  # nobody is locked out
    assert len(read_signoffs(path)) == len(stored) + 1


def test_the_command_signs_lists_and_refuses(root: ProofRoot) -> None:
    run = CliRunner().invoke
    data = ["--data", str(root.path)]
    assert "Nobody has signed it." in run(app, ["sign", "bill", *data]).output
    early = run(app, ["sign", "bill", "--as", "reviewer", "--name", "Bo Chen", *data])
    assert (early.exit_code, "preparer signs first" in early.stderr) == (1, True)
    signed = run(app, ["sign", "bill", "--as", "preparer", "--name", "Ann [red]Lee", *data])
    assert signed.exit_code == 0
    assert "Prepared by Ann [red]Lee on" in signed.output
    root.write("legacy/bill.csv", BILL.replace("19.5", "16.5"))
    listed = run(app, ["sign", "bill", *data])
    assert listed.exit_code == 0
    assert "VOID" in listed.output
    for wrong in (["--as", "preparer"], ["--name", "Ann Lee"], ["--as", "boss", "--name", "A"]):
        assert run(app, ["sign", "bill", *wrong, *data]).exit_code == 2
