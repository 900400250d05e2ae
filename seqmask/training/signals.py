"""Signals that end a training so that it can go on: SIGTERM and SIGUSR1 (by SLURM, when time is up), SIGHUP (a terminal
that is closed), Ctrl-C.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from typing import Any

from seqmask.errors import StoppedError
from seqmask.progress import leave_terminal

log = logging.getLogger("seqmask")


class StopSignal:
    """Within the block signals ask the loop to write a checkpoint and end; `by` names the one that did."""

    def __enter__(self) -> StopSignal:
        self.by = ""
        self.previous: dict[int, Any] = {}
        with contextlib.suppress(ValueError):  # not the main thread
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as of a job in the background, or by nohup
                    self.previous[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, _: object) -> None:
        self.by = signal.Signals(number).name
        if number == signal.SIGHUP:
            leave_terminal()
        if number == signal.SIGINT:  # a second one does not wait for the step to end
            signal.signal(number, self.previous[number])
            log.warning("stopping after this step, with a checkpoint; once more Ctrl-C stops now, without")

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)


class _Asked(KeyboardInterrupt):
    """SIGUSR1, of which Python knows no exception."""

    @classmethod
    def now(cls, *_: object) -> None:
        raise cls


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Around a whole training: a signal between its steps, while it reads or scores, is a StoppedError, too.

    KeyboardInterrupt is Ctrl-C; a subclass of it another signal.
    """
    previous: Any = None
    with contextlib.suppress(ValueError):  # not the main thread
        if signal.getsignal(signal.SIGUSR1) is not signal.SIG_IGN:
            previous = signal.signal(signal.SIGUSR1, _Asked.now)
    try:
        yield
    except KeyboardInterrupt as error:
        raise StoppedError("training: stopped", type(error) is KeyboardInterrupt) from error
    finally:
        if previous is not None:
            signal.signal(signal.SIGUSR1, previous)
