"""Kill -9 at random moments, with a service that fails at random: service = lake = ledger."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from spanner_pipeline_tests.delivery import victim
from spanner_pipeline_tests.delivery.conftest import assert_arrived, ledger
from spanner_pipeline_tests.delivery.victim import deliver_all
from spanner_pipeline_tests.lake.building import TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer

LONGEST = 1.5
"""Seconds after its first batch at which a delivery is killed at the latest; it takes as long."""

NEW_IMPORTS = ["pyarrow.pandas_compat", "pyarrow.compute", "httpcore", "h11", "certifi"]
"""What a delivery imports late; the fork server has it, so that a child begins at once."""


class Round:
    """A delivery of the same lake into a workspace of its own, begun again until it ends."""

    def __init__(self, lake: Path, folder: Path, service: ContractServer, number: int) -> None:
        self.service, self.workspace = service, f"kills-{folder.name}-{number}"
        self.key = service.new_key(self.workspace)
        self.root = TinyRoot(shutil.copytree(lake, folder / self.workspace))

    def start(self) -> BaseProcess:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([victim.__name__, *NEW_IMPORTS])
        arguments = (self.root.path, self.service.base_url, self.key)
        process = context.Process(target=deliver_all, args=arguments)
        process.start()
        return process

    def end(self) -> None:
        """Let it end in peace."""
        deliver_all(self.root.path, self.service.base_url, self.key)
        assert_arrived(self.root, self.service, self.workspace)


def wait_for_a_call(process: BaseProcess, service: ContractServer) -> None:
    calls = len(service.faults.happened)
    while process.is_alive() and len(service.faults.happened) == calls:
        time.sleep(0.005)


@pytest.mark.parametrize("kills", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_delivery_goes_on(
    imported: TinyRoot, tmp_path: Path, service: ContractServer, kills: int
) -> None:
    service.faults.add("latency", seconds=0.02, times=None, path="/v1/usages/bulk")
    service.faults.at_random(7, 0.02)
    chance = random.Random(7)  # noqa: S311
    rounds, killed, on_their_way = [Round(imported.path, tmp_path, service, 0)], 0, 0
    while killed < kills:
        process = rounds[-1].start()
        if killed % 4:  # and sometimes before anything was sent
            wait_for_a_call(process, service)
        process.join(chance.uniform(0, LONGEST))
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
            on_their_way += (ledger(rounds[-1].root)["status"] == "sent").any()
        else:
            assert process.exitcode == 0
            rounds.append(Round(imported.path, tmp_path, service, len(rounds)))
    service.faults.clear()
    for begun in rounds:
        begun.end()
    assert on_their_way > kills // 3
