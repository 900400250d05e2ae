"""Reading, computing and writing at the same time: three stages, with small queues between them."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")

DEPTH = 2  # items that wait between two stages: enough to keep both busy, and little to hold in memory
SWITCH = 1e-4  # seconds that a thread in Python code keeps the interpreter from one that waits for it
PATIENCE = 1.0  # seconds that a reader gets to stop; one that waits for a silent pipe is left behind


class Stopped(Exception):  # noqa: N818 - nothing is wrong with who gets it
    """Another stage has failed, or nobody wants the rest."""


class Channel(Generic[T]):
    """A bounded queue that can be stopped from any side: nobody waits for what will never come."""

    def __init__(self, depth: int = DEPTH) -> None:
        self._items: deque[T] = deque()
        self._depth, self._changed, self._count = depth, threading.Condition(), 0
        self._ended = self.stopped = False

    def put(self, item: T, turn: int = -1) -> None:
        """Add an item; waits for room, and until so many were put before it (-1: any number). Raises Stopped."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.stopped or (len(self._items) < self._depth and turn in (-1, self._count))
            )
            if self.stopped:
                raise Stopped
            self._items.append(item)
            self._count += 1
            self._changed.notify_all()

    def end(self) -> None:
        """No item follows those that are there."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Whoever waits, or comes, gets Stopped; what is there is dropped."""
        with self._changed:
            self.stopped = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Items in order until the end; waits for each. Raises Stopped."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.stopped or self._ended or self._items)
                if self.stopped:
                    raise Stopped
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


class Stages(Generic[A, B]):
    """Every item of a source, computed and written, in order.

    Reading has a thread, `seqmask-read`, and computing has `abreast`, all named `seqmask-compute`; writing is done by
    the caller of `run`, whom Ctrl-C and a closed pipe reach. What any of them raises stops the others, at the next item
    or `pulse`, and is raised by `run` as it is.

    abreast: items that are computed at the same time: a GPU is busy with one while the host makes ready the next.
    `compute` must allow it.
    """

    def __init__(self, source: Iterable[A], compute: Callable[[A], B], abreast: int = 1) -> None:
        self._source, self._compute, self._abreast = source, compute, abreast
        self._taking, self._finished = threading.Lock(), 0
        self._read: Channel[A] = Channel()
        self._computed: Channel[B] = Channel()
        self._failure: BaseException | None = None

    def run(self, write: Callable[[B], None]) -> None:
        """Run to the end. Raises what a stage raised."""
        items = enumerate(self._read)
        stages = [("read", self._reading), *[("compute", lambda: self._computing(items))] * self._abreast]
        reader, *computers = (
            threading.Thread(target=self._guarded, args=(stage,), name=f"seqmask-{name}", daemon=True)
            for name, stage in stages
        )
        with _interpreter_for_threads():
            for thread in (reader, *computers):
                thread.start()
            try:
                for item in self._computed:
                    write(item)
            except Stopped:
                pass  # the failure of another stage, which is raised below
            finally:
                self._stop()
                for computer in computers:
                    computer.join()
                reader.join(PATIENCE)
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                # Its traceback leads here: in a circle the source, and with it its file, would stay open for a while
                del failure

    def pulse(self) -> None:
        """For the computing stage to call now and then within an item. Raises Stopped."""
        if self._computed.stopped:
            raise Stopped

    def _reading(self) -> None:
        for item in self._source:
            self._read.put(item)
        self._read.end()

    def _computing(self, items: Iterator[tuple[int, A]]) -> None:
        while True:
            with self._taking:
                turn, item = next(items, (-1, None))
            if turn < 0:
                break
            self._computed.put(self._compute(item), turn)  # type: ignore[arg-type]
        with self._taking:
            self._finished += 1
            if self._finished == self._abreast:
                self._computed.end()

    def _guarded(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except Stopped:
            pass
        except BaseException as error:
            self._failure = self._failure or error
            self._stop()

    def _stop(self) -> None:
        self._read.stop()
        self._computed.stop()


@contextlib.contextmanager
def _interpreter_for_threads() -> Iterator[None]:
    """What is loaded by now is no garbage: looking through it again and again takes a fifth of the time of the host.

    And every torch operation lets go of the interpreter and wants it back, 150 times in a forward pass: beside a thread
    in Python code each waits for 5 ms as Python is set, which starves a GPU (docs/decisions/0022).
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
