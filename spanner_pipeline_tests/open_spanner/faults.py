"""Failures on demand: a list of faults, each for the next calls that it fits."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

KINDS = (
    "latency",  # answers late (`seconds`)
    "status",  # answers `status` and does nothing
    "status_after_commit",  # does it, then answers `status`
    "drop_before_commit",  # closes the connection and does nothing
    "drop_after_commit",  # does it, then closes the connection without an answer
    "cut_answer",  # does it, then closes the connection in the middle of the answer
)


@dataclass
class Fault:
    """One failure.

    Attributes:
        kind: One of KINDS.
        times: How many calls it befalls; None is every call.
        path: It befalls calls whose path begins so.
        status: What a `status` fault answers: 401, 403, 413, 429, 500, 502, 503 ...
        seconds: How late, or (429) after how many seconds to come again.
        chance: With what probability it befalls a call that fits.
    """

    kind: str
    times: int | None = 1
    path: str = "/v1/usages"
    status: int = 500
    seconds: float = 0
    chance: float = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; known are {', '.join(KINDS)}")


@dataclass
class Faults:
    """The faults in force; safe to change from another thread while the server runs."""

    seed: int = 0
    happened: list[Fault] = field(default_factory=list)
    _faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 no secret comes of it

    def add(self, kind: str, **settings: object) -> Fault:
        """Put a fault in force; several act in the order they were added."""
        fault = Fault(kind, **settings)  # type: ignore[arg-type]
        with self._lock:
            self._faults.append(fault)
        return fault

    def at_random(self, seed: int, chance: float, *, path: str = "/v1/usages/bulk") -> None:
        """Every kind of passing failure, each with `chance`, until cleared."""
        self._random.seed(seed)
        for kind in KINDS[1:]:
            self.add(kind, times=None, chance=chance, path=path, status=503)
        self.add("status", times=None, chance=chance, path=path, status=429, seconds=0)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def next(self, path: str) -> list[Fault]:
        """The faults that befall a call now: at most one, and the latency beside it."""
        chosen: list[Fault] = []
        with self._lock:
            for fault in list(self._faults):
                late = fault.kind == "latency"
                taken = any((other.kind == "latency") == late for other in chosen)
                if taken or not path.startswith(fault.path):
                    continue
                if fault.chance < 1 and self._random.random() >= fault.chance:
                    continue
                chosen.append(fault)
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
            self.happened += chosen
        return chosen
