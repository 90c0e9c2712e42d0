"""The two processes that all races share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spanner_pipeline_tests.faults.pairs import Pair, pair_of_processes


@pytest.fixture(scope="package")
def pair() -> Iterator[Pair]:
    with pair_of_processes() as pair:
        yield pair
