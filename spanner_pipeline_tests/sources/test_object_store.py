"""Files in a bucket are imported, watched and proved as files in a folder are."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spanner_pipeline.arrivals import Memory, look
from spanner_pipeline.cli import app
from spanner_pipeline.errors import ConfigurationError, SourceFileError
from spanner_pipeline.importing import UsageImport, import_partition
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.passing import may_pass
from spanner_pipeline.reconciliation.compare import reconcile
from spanner_pipeline.repairs.take import take_repairs
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline.sources import copies, object_store
from spanner_pipeline.sources.copies import Copies
from spanner_pipeline.sources.files import digest_now, find_files, list_files
from spanner_pipeline_tests.sources.bucket import (
    DAYS,
    SECRET,
    Bucket,
    bucket_root,
    new_bucket,
    s3_server,
)

BILL = "account,month,calls\nacme,2024-01,12.006\n"


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Bucket:
    made = new_bucket(f"b{abs(hash(request.node.name))}")
    for day in DAYS:
        made.put_calls(day)
    made.put("bill.csv", BILL)
    return made


@pytest.fixture
def root(tmp_path: Path, bucket: Bucket) -> DataRoot:
    return bucket_root(tmp_path / "root", bucket)


def take(root: DataRoot, day: str) -> UsageImport:
    catalog = load_catalog(root)
    [done] = import_partition(root, catalog, catalog.sources["switch"], day)
    return done


def count(root: DataRoot) -> int:
    return EventTable(root, load_catalog(root).meters["calls"]).count()


def kept_copies(root: DataRoot) -> list[Path]:
    return list((root.staging / "objects").glob("*"))


def test_two_days_are_imported_once_and_a_changed_object_again(
    root: DataRoot, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [take(root, day).totals.new.rows for day in DAYS] == [3, 3]
    assert kept_copies(root) == []
    downloads: list[str] = []
    real = object_store.download
    monkeypatch.setattr(copies, "download", lambda *a: downloads.append(a[0]) or real(*a))
    assert [take(root, day).unchanged for day in DAYS] == [True, True]
    assert downloads == []

    url = bucket.put_calls(DAYS[1], f"{DAYS[1]}/7,acme,1.000,{DAYS[1]}T09:00:00Z,eu")
    assert take(root, DAYS[0]).unchanged
    done = take(root, DAYS[1])
    assert (done.totals.new.rows, done.totals.present.rows) == (1, 3)
    assert downloads == [url]
    assert [file.name for file in done.record.files] == [url]
    assert count(root) == 7


def test_an_added_object_is_part_of_its_day(root: DataRoot, bucket: Bucket) -> None:
    take(root, DAYS[0])
    more = f"id,account,amount,at,region\nx,acme,1,{DAYS[0]}T09:00:00Z,eu\n"
    bucket.put(f"switch/{DAYS[0]}/calls-2 %41.csv", gzip.compress(more.encode()))
    bucket.put(f"switch/{DAYS[0]}/other.csv", "not asked for")
    bucket.put(f"switch/{DAYS[0]}/deeper/calls-3.csv", "not asked for")
    assert take(root, DAYS[0]).totals.new.rows == 1


def test_listing_all_days_gives_what_each_day_gives(root: DataRoot) -> None:
    switch = load_catalog(root).sources["switch"]
    listed = list_files(root, switch, set(DAYS))
    for day in DAYS:
        assert [f.name for f in listed[day]] == [f.name for f in find_files(root, switch, day)]
    assert sorted(listed) == list(DAYS)


def test_a_broken_object_is_named_with_its_line(root: DataRoot, bucket: Bucket) -> None:
    url = bucket.put(f"switch/{DAYS[0]}/calls-1.csv", "id,account,amount,at,region\n1,acme,2.0")
    with pytest.raises(SourceFileError, match=f"{url}:2: ends inside a row"):
        take(root, DAYS[0])
    bucket.put(f"switch/{DAYS[0]}/calls-1.csv", "")
    with pytest.raises(SourceFileError, match=f"{url}: is empty"):
        take(root, DAYS[0])
    assert count(root) == 0
    assert kept_copies(root) == []


def test_rejected_rows_are_mended_and_fed_again(root: DataRoot, bucket: Bucket) -> None:
    bucket.put_calls(DAYS[0], f"{DAYS[0]}/7,acme,much,{DAYS[0]}T09:00:00Z,eu")
    text = (root.path / "sources/switch.yaml").read_text().replace("20%", "50%")
    (root.path / "sources/switch.yaml").write_text(text)
    assert take(root, DAYS[0]).totals.rejected.rows == 1
    [repair] = (root.quarantine / "switch" / DAYS[0]).glob("*.repair.csv")
    repair.write_text(repair.read_text().replace("much", "4.004"))
    assert take_repairs(root, load_catalog(root).sources["switch"], repair).mended == {DAYS[0]: 1}
    assert take(root, DAYS[0]).totals.new.rows == 1
    assert count(root) == 4
    assert kept_copies(root) == []


def test_an_object_that_changes_between_digest_and_reading_is_named(
    root: DataRoot, bucket: Bucket
) -> None:
    switch = load_catalog(root).sources["switch"]
    files = find_files(root, switch, DAYS[0])
    files[0].path.unlink()
    bucket.put_calls(DAYS[0], "more")
    with Copies(root, files) as held, pytest.raises(SourceFileError) as told:
        held.fetch()
    assert f"{files[0].name}: changed between listing and reading" in str(told.value)
    assert may_pass(told.value)


def test_a_copy_that_another_process_reads_stays(root: DataRoot) -> None:
    files = find_files(root, load_catalog(root).sources["switch"], DAYS[0])
    with Copies(root, files) as mine:
        mine.fetch()
        with Copies(root, files) as other:
            other.fetch()
        assert files[0].path.read_bytes().startswith(b"id,")
    assert kept_copies(root) == []


def test_old_copies_and_too_many_are_deleted(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = load_catalog(root).sources["switch"]
    [first] = find_files(root, switch, DAYS[0])
    monkeypatch.setattr(copies, "UNUSED_BYTES", 0)
    [second] = find_files(root, switch, DAYS[1])
    assert kept_copies(root) == [second.path]
    assert first.path != second.path


def test_arrivals_are_told_by_digest(root: DataRoot, bucket: Bucket) -> None:
    switch = load_catalog(root).sources["switch"]
    later = datetime.now(UTC) + timedelta(minutes=5)
    now = datetime.now(UTC)
    assert look(root, switch, DAYS, Memory(), now).settling == list(DAYS)
    found = look(root, switch, DAYS, Memory(), later)
    assert list(found.arrived) == list(DAYS)
    for day in DAYS:
        take(root, day)
    assert look(root, switch, DAYS, Memory(), later).arrived == {}
    bucket.put_calls(DAYS[0])  # written again, and the same
    assert look(root, switch, DAYS, Memory(), later).arrived == {}
    bucket.put_calls(DAYS[0], f"{DAYS[0]}/8,acme,1,{DAYS[0]}T09:00:00Z,eu")
    assert list(look(root, switch, DAYS, Memory(), later).arrived) == [DAYS[0]]


def test_the_old_bill_and_the_proof_read_the_bucket(root: DataRoot, bucket: Bucket) -> None:
    for day in DAYS:
        take(root, day)
    catalog = load_catalog(root)
    bill = catalog.sources["bill"]
    done = reconcile(root, catalog, bill, bill.billing_totals[0])
    assert [file.name for file in done.old.files] == [f"s3://{bucket.name}/bill.csv"]
    assert done.old.rows == 1
    data = ["--data", str(root.path)]
    pack = root.path / "pack.zip"
    runner = CliRunner()
    number = ["--comparison", "billed_calls", "--subject", "acme", "--period", "2024-01"]
    explained = runner.invoke(app, ["explain", *number, *data])
    assert explained.exit_code == 0, explained.output
    assert f"s3://{bucket.name}/bill.csv:2" in explained.output.replace("\n", "")
    made = runner.invoke(app, ["evidence", "billed_calls", "--out", str(pack), *data])
    assert made.exit_code == 0, made.output
    assert runner.invoke(app, ["verify", str(pack), *data]).exit_code == 0
    bucket.put_calls(DAYS[0], "changed")
    told = runner.invoke(app, ["verify", str(pack), *data])
    assert told.exit_code != 0
    assert f"s3://{bucket.name}/switch/{DAYS[0]}/calls-1.csv" in told.output.replace("\n", "")
    assert digest_now(root, f"s3://{bucket.name}/nothing.csv", {}) is None


def test_the_command_line_says_what_is_missing(root: DataRoot, bucket: Bucket) -> None:
    check = ["sources", "check", "--data", str(root.path)]
    assert CliRunner().invoke(app, check).exit_code == 0
    bucket.delete(f"switch/{DAYS[1]}/calls-1.csv")
    told = CliRunner().invoke(app, check)
    assert told.exit_code == 1
    assert DAYS[1] in told.output


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://who:pass-word@bucket/a.csv", "holds a password or a signature"),
        ("s3://bucket/a.csv?X-Amz-Signature=pass-word", "holds a password or a signature"),
        ("abfss://box@account.dfs.core.windows.net/a.csv?sig=pass-word", "holds a password"),
        ("ftp://host/pass-word.csv", "no files are read by ftp://"),
        ("s3://pass-word-*/a.csv", "must name its bucket"),
        ("s3://pass-word", "names a bucket and no file"),
    ],
)
def test_a_url_that_cannot_be_is_refused_and_never_repeated(
    root: DataRoot, url: str, said: str
) -> None:
    path = root.path / "sources/bill.yaml"
    lines = path.read_text().splitlines()
    [line] = [n for n, text in enumerate(lines) if text.startswith("files:")]
    lines[line] = f"files: {url}"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError) as told:
        load_catalog(root)
    assert f"sources/bill.yaml:{line + 1}: files: {said}" in str(told.value)
    assert "pass-word" not in str(told.value)


def test_a_bucket_that_is_not_there_is_named(root: DataRoot, bucket: Bucket) -> None:
    for day in DAYS:
        bucket.delete(f"switch/{day}/calls-1.csv")
    with pytest.raises(SourceFileError, match=f"no file for partition {DAYS[0]}"):
        take(root, DAYS[0])
    bucket.delete("bill.csv")
    bucket.client.delete_bucket(Bucket=bucket.name)
    with pytest.raises(SourceFileError, match=f"there is no bucket {bucket.name}") as told:
        take(root, DAYS[0])
    assert not may_pass(told.value)


@pytest.fixture(scope="module")
def refusing() -> Iterator[type[http.server.BaseHTTPRequestHandler]]:
    """A server that answers everything with one error."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        url, status, code = "", 503, "SlowDown"

        def do_GET(self) -> None:
            body = f"<Error><Code>{self.code}</Code><Message>{SECRET}</Message></Error>".encode()
            self.send_response(self.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Stay silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        Refusing.url = f"http://127.0.0.1:{running.server_port}"
        yield Refusing
        running.shutdown()


@pytest.mark.parametrize(
    ("status", "code", "said", "passes"),
    [
        (503, "SlowDown", "gives no answer", True),
        (403, "AccessDenied", "check the credentials", False),
        (403, "SignatureDoesNotMatch", "check the credentials", False),
        (301, "PermanentRedirect", "set AWS_REGION", False),
    ],
)
def test_what_a_store_refuses_is_told_and_only_what_may_pass_is_tried_again(
    root: DataRoot,
    refusing: type[http.server.BaseHTTPRequestHandler],
    status: int,
    code: str,
    said: str,
    passes: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", refusing.url)  # type: ignore[attr-defined]
    refusing.status, refusing.code = status, code  # type: ignore[attr-defined]
    with pytest.raises(SourceFileError, match=said) as told:
        take(root, DAYS[0])
    assert may_pass(told.value) is passes
    assert "s3://" in str(told.value)
    assert SECRET not in str(told.value)
