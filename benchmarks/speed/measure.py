"""Timings side by side: every round runs every variant once, and ratios are taken within a round."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds on the wall, and of CPU time of all threads."""

    wall: float
    cpu: float

    def by(self, clock: str) -> float:
        return self.wall if clock == "wall" else self.cpu


@dataclass(frozen=True, slots=True)
class Settings:
    """What the rows are run with. clock: wall or cpu, which ratios are taken of; quick: small enough for a test;
    sequences: of the row gpu, 0 = all.
    """

    clock: str
    rounds: int
    threads: int
    quick: bool
    device: str
    folder: Path
    sequences: int = 0

    def of(self, usual: int, quick: int) -> int:
        return quick if self.quick else usual


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. value: the median of the rounds, low and high: their range. bar: None where there is none.

    least: whether the bar is the least value that will do, or the most.
    """

    name: str
    value: float
    low: float
    high: float
    bar: float | None = None
    least: bool = True
    unit: str = "x"
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        if self.bar is None:
            return None
        return self.value >= self.bar if self.least else self.value <= self.bar

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def figure(
    name: str, values: Sequence[float], bar: float | None = None, least: bool = True, unit: str = "x", **detail: Any
) -> Figure:
    return Figure(name, statistics.median(values), min(values), max(values), bar, least, unit, detail)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """This thread, and those that it starts, on one core, where the system can do that: a thread that moves to another
    core takes its caches anew, which CPU time counts.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def timed(run: Callable[[], Any]) -> Timing:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu)


def side_by_side(variants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[Timing]]:
    """Each variant once a round, after a round that warms up and does not count; every other round in reverse order."""
    found: dict[str, list[Timing]] = {name: [] for name in variants}
    for run in variants.values():
        run()
    for i in range(rounds):
        for name in list(variants)[:: 1 if i % 2 == 0 else -1]:
            found[name].append(timed(variants[name]))
    return found


def ratios(slow: Sequence[Timing], fast: Sequence[Timing], clock: str) -> list[float]:
    """How many times longer the slow one took, round by round."""
    return [a.by(clock) / b.by(clock) for a, b in zip(slow, fast, strict=True)]


@dataclass(frozen=True, slots=True)
class Child:
    """What a finished process used: seconds on the wall and of CPU time, most memory in bytes."""

    wall: float
    cpu: float
    memory: int


def child(command: Sequence[str], threads: int = 1) -> Child:
    """Run a process to its end; CalledProcessError with what it said on stderr where it fails."""
    # Byte code is kept as for an installed package, but away from the working tree
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / f"seqmask-bench-{os.getuid()}"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, stderr=said.read().decode())
    unit = 1 if sys.platform == "darwin" else 1024
    return Child(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)
