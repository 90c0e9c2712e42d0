"""The limits of 0.1.13: bytes a request, events a minute and workspace."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from spanner_pipeline_tests.open_spanner.wire import RefusalError


@dataclass
class Limits:
    """Both can be set; None is no limit (as 0.1.12 has none).

    Attributes:
        body_bytes: Largest body of a write.
        events: Events a workspace may send in one window, duplicates and bad ones included.
        window_seconds: Length of a window; windows are aligned to the clock.
        clock: Seconds since 1970.
    """

    body_bytes: int | None = None
    events: int | None = None
    window_seconds: float = 60
    clock: Callable[[], float] = time.time
    _spent: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, version: str) -> Limits:
        """The defaults of a version."""
        return cls() if version == "0.1.12" else cls(body_bytes=1_048_576, events=10_000)

    def check_body(self, size: int) -> None:
        if self.body_bytes is not None and size > self.body_bytes:
            raise RefusalError(413, "request_too_large", "request body is too large")

    def charge(self, workspace: str, events: int) -> None:
        """Charge a whole batch before it is looked at; a refused one is not charged."""
        if self.events is None:
            return
        now = self.clock()
        window = int(now // self.window_seconds)
        before, spent = self._spent.get(workspace, (window, 0))
        spent = spent if before == window else 0
        if spent + events > self.events:
            left = math.ceil((window + 1) * self.window_seconds - now)
            raise RefusalError(
                429, "rate_limited", "ingestion rate limit exceeded", Retry_After=str(max(left, 1))
            )
        self._spent[workspace] = (window, spent + events)
