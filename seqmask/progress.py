"""How far long work is: counts to a rate and the time left."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Progress:
    """Where one part of the work stands: `step` of `steps` are done, 0 = it begins.

    terms: figures to show. rate: units a second.
    """

    name: str
    step: int
    steps: int
    terms: dict[str, float]
    rate: float
    seconds_left: float
    unit: str = "sequences"


Report = Callable[[Progress], None]


def leave_terminal() -> None:
    """After SIGHUP: to write to a terminal that is gone is an error, and would end what is to end well."""
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def unheard(progress: Progress) -> None:
    """A report to nobody."""


@dataclass(slots=True)
class Watch:
    """Work in parts, one after the other, each a number of windows that networks read."""

    report: Report = unheard
    name: str = field(default="", init=False)
    total: int = field(default=0, init=False)
    read: int = field(default=0, init=False)
    began: float = field(default=0.0, init=False)

    def part(self, name: str, windows: int) -> None:
        """What comes now, and how many windows it will read."""
        self.name, self.total, self.read, self.began = name, windows, 0, time.monotonic()
        self.report(Progress(name, 0, windows, {}, 0.0, 0.0, "windows"))

    def done(self, windows: int) -> None:
        """So many more were read. The end of a part is told by the begin of the next."""
        self.read += windows
        if self.read < self.total:
            rate = self.read / max(time.monotonic() - self.began, 1e-9)
            left = (self.total - self.read) / rate
            self.report(Progress(self.name, self.read, self.total, {}, rate, left, "windows"))
