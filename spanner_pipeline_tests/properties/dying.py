"""Processes that die in the middle of a change, without a process."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from spanner_pipeline import staging
from spanner_pipeline.lake import change
from spanner_pipeline_tests.faults import victim


class Death(BaseException):
    """The process is dead: nothing of it runs any more."""


@contextmanager
def dying(moment: str) -> Iterator[None]:
    """Die before or after a step, in this process; what would clean up is dead too."""
    when, name = moment.split(" ")
    owner, attribute = victim.STEPS[name]
    step: Callable[..., Any] = getattr(owner, attribute)

    @functools.wraps(step)
    def deadly(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            raise Death
        done = step(*arguments, **named)
        if inspect.isgenerator(done):
            list(done)
        raise Death

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, attribute, deadly)
        patch.setattr(change, "_delete_unless_committed", lambda change: None)
        patch.setattr(staging.WorkFolder, "__exit__", lambda *arguments: None)
        yield
