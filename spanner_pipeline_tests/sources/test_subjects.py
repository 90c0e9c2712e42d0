"""Accounts that Open Spanner takes for no subject are spelled so that it does, one to one."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spanner_pipeline.errors import ConfigurationError
from spanner_pipeline.root import load_catalog
from spanner_pipeline.sources.subjects import escape
from spanner_pipeline.validation import SUBJECT_PATTERN
from spanner_pipeline_tests.conftest import MakeRoot, Run
from spanner_pipeline_tests.lake.building import Row, TinyRoot

ESCAPED = {"subject": {"column": "subject", "spell": "escaped"}}


def test_odd_accounts_enter_under_subjects_that_the_service_takes(tmp_path: Path) -> None:
    accounts = ["ada@example.com", "acme/eu west", "plain-1.x", "a:b", "a:3Ab", "@x", "Zoë", ""]
    root = TinyRoot(tmp_path / "root", usage=ESCAPED)
    done = root.deliver([Row(str(n), account) for n, account in enumerate(accounts)])
    assert done.record.rejected == {"subject_missing": 1}
    assert set(root.events()["subject"]) == {
        "ada:40example.com",
        "acme:2Feu:20west",
        "plain-1.x",
        "a:3Ab",
        "a:3A3Ab",
        "x:-:40x",
        "Zo:C3:AB",
    }
    plain = TinyRoot(tmp_path / "plain")
    plain.deliver([Row("1", "ada@example.com")])
    [rejected] = plain.rejected()
    assert "spell: escaped" in rejected["hint"]


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=10))
@example("x:-@")
@example("x")
def test_every_account_can_be_read_back(account: str) -> None:
    subject = escape(account)
    assert re.fullmatch(SUBJECT_PATTERN, subject)
    assert unquote(subject.removeprefix("x:-").replace(":", "%")) == account


def test_an_old_bill_names_its_accounts_the_same_way(make_root: MakeRoot, run: Run) -> None:
    account = "{column: account, spell: escaped}"
    source = f"""\
source: old
format: {{family: delimited}}
files: legacy/usage.csv
partitions: {{grain: whole}}
identity: {{native: id}}
usage:
  - {{meter: calls, subject: {account}, quantity: n, timestamp: at}}
"""
    bill = f"""\
source: bill
format: {{family: delimited}}
files: legacy/bill.csv
partitions: {{grain: whole}}
billing_totals:
  - name: billed
    meter: calls
    subject: {account}
    quantity: n
    period: {{column: month, grain: month, zone: UTC}}
"""
    files = {
        "usage.csv": "id,account,n,at\n1,a@b.c,2,2024-01-01T00:00:00Z\n",
        "bill.csv": "account,n,month\na@b.c,2,2024-01\n",
    }
    meters = {"calls": "name: calls\nunit: call\n"}
    root = make_root(meters, {"old": source, "bill": bill}, files)
    assert run("backfill", data=root).code == 0
    ended = run("reconcile", data=root)
    assert ended.code == 0, ended.out
    both = source.replace("spell: escaped", "spell: escaped, lookup: {file: a, key: b, value: c}")
    wrong = make_root(meters, {"old": both}, name="wrong")
    with pytest.raises(ConfigurationError, match="`lookup` and `spell`"):
        load_catalog(wrong)
