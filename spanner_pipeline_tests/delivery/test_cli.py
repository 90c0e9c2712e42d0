"""`spanner-pipeline deliver`: the plan is shown, nothing is sent unasked, the outcome is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spanner_pipeline.delivery.target import API_KEY, BASE_URL, Target, TargetError
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.delivery.conftest import at, tiny
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> TinyRoot:
    rows = [Row("a", quantity="2.5", time=at(1)), Row("b", time=at(90_000))]
    return tiny(tmp_path_factory.mktemp("cli") / "root", rows)


@pytest.fixture
def variables(
    service: ContractServer, key: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv(BASE_URL, service.base_url + "/")
    monkeypatch.setenv(API_KEY, key)
    yield monkeypatch


def test_nothing_is_sent_before_the_plan_is_accepted(
    root: TinyRoot,
    service: ContractServer,
    workspace: str,
    key: str,
    variables: pytest.MonkeyPatch,
    run: Run,
) -> None:
    assert run("deliver", "calls", "--plan", data=root.root).code == 0
    refused = run("deliver", "calls", data=root.root)
    assert refused.code == 1
    assert "would be created" in refused.out
    assert service.count(workspace) == 0
    day = at(90_000)[:10]
    done = run("deliver", "calls", "--yes", "--from", day, data=root.root)
    assert done.code == 0, done.err
    assert [e["quantity"] for e in service.events(workspace)] == [1]
    said = run("deliver", "calls", "--yes", data=root.root)
    assert service.count(workspace) == 2
    again = run("deliver", "calls", "--yes", data=root.root)
    assert "There is nothing to send" in again.out
    for ended in (refused, done, said, again):
        assert key not in ended.out + ended.err


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (API_KEY, None, "OPEN_SPANNER_API_KEY is not set"),
        (BASE_URL, None, "OPEN_SPANNER_BASE_URL is not set"),
        (BASE_URL, "https://me:hidden@spanner.example", "more than an address"),
        (API_KEY, "two words", "characters that no key has"),
    ],
)
def test_a_variable_that_is_missing_or_wrong_is_named_and_not_shown(
    root: TinyRoot,
    variables: pytest.MonkeyPatch,
    run: Run,
    name: str,
    value: str | None,
    told: str,
) -> None:
    if value is None:
        variables.delenv(name)
    else:
        variables.setenv(name, value)
    ended = run("deliver", "calls", "--plan", data=root.root)
    assert ended.code == 2
    assert told in ended.err
    assert value is None or value not in ended.err


def test_a_target_does_not_tell_its_key() -> None:
    target = Target.build("https://spanner.example", "osp_sk_secret")
    assert "osp_sk_secret" not in f"{target!r} {target}"
    with pytest.raises(TargetError, match="same key"):
        Target.rehearsal(target.base_url, "osp_sk_secret", "osp_sk_secret")
