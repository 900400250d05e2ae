"""Three stages at once: the order is kept, whatever fails stops all, and nothing waits for ever."""

from __future__ import annotations

import gc
import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from seqmask.errors import InputError
from seqmask.inference.stages import DEPTH, SWITCH, Channel, Stages, Stopped
from seqmask.sequences.records import checked, read

ROOT = Path(__file__).resolve().parents[2]
READS = ROOT / "examples" / "reads.fasta.gz"


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("seqmask-")}


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert names() == set()


def nothing(_: object) -> None:
    pass


@pytest.mark.parametrize("slow", ["source", "compute", "write"])
def test_order_is_kept_whoever_is_slow(slow: str) -> None:
    def step(name: str, i: int) -> int:
        if name == slow:
            time.sleep(0.001 * (i % 3))
        return i

    written: list[int] = []
    stages = Stages((step("source", i) for i in range(50)), lambda i: step("compute", i) * 10)
    stages.run(lambda i: written.append(step("write", i)))
    assert written == [10 * i for i in range(50)]


@pytest.mark.parametrize("abreast", [1, 2, 5])
def test_nothing_to_do(abreast: int) -> None:
    Stages(iter(()), lambda i: i, abreast).run(nothing)


def test_order_is_kept_by_items_that_are_computed_abreast() -> None:
    """Every third one is overtaken; and no more are computed at a time than were allowed."""
    at_once, most, guard = 0, 0, threading.Lock()

    def compute(i: int) -> int:
        nonlocal at_once, most
        with guard:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.003 if i % 3 == 0 else 0)
        with guard:
            at_once -= 1
        return 10 * i

    written: list[int] = []
    Stages(iter(range(60)), compute, abreast=3).run(written.append)
    assert written == [10 * i for i in range(60)]
    assert most == 3


@pytest.mark.parametrize("failing", ["source", "compute", "write"])
def test_a_failure_stops_what_is_computed_abreast(failing: str) -> None:
    def step(name: str, i: int) -> int:
        if name == failing and i == 7:
            raise ValueError(name)
        return i

    written: list[int] = []
    stages = Stages((step("source", i) for i in range(10**6)), lambda i: step("compute", i), abreast=3)
    with pytest.raises(ValueError, match=failing):
        stages.run(lambda i: written.append(step("write", i)))
    assert written == list(range(len(written)))
    assert len(written) <= 7


def test_the_stages_run_at_the_same_time_on_threads_with_names() -> None:
    """Each waits for the others: one after the other would be a deadlock."""
    meeting, seen = threading.Barrier(3, timeout=20), set()

    def meet() -> None:
        seen.add(threading.current_thread().name)
        meeting.wait()

    def source() -> Iterator[int]:
        yield 0
        yield 1
        meet()  # asked for the third while the second is computed and the first is written
        yield 2

    stages = Stages(source(), lambda i: meet() if i == 1 else None)
    first = iter([True])
    stages.run(lambda _: meet() if next(first, False) else None)
    assert seen == {"seqmask-read", "seqmask-compute", "MainThread"}


def test_little_is_read_ahead() -> None:
    taken, written = [], []

    def source() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    def write(i: int) -> None:
        time.sleep(0.002)
        written.append(i)
        assert len(taken) - len(written) <= 2 * DEPTH + 4  # two queues, and one item in each hand

    Stages(source(), lambda i: i).run(write)
    assert len(written) == 100


class Broken(Exception):
    pass


@pytest.mark.parametrize("kind", [Broken, BrokenPipeError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("where", ["source", "compute", "write"])
@pytest.mark.parametrize("at", [0, 1, 20])
def test_a_failure_anywhere_stops_all_and_is_raised_as_it_is(kind: type[BaseException], where: str, at: int) -> None:
    error = kind("this one")

    def maybe(name: str, i: int) -> int:
        if (name, i) == (where, at):
            raise error
        return i

    stages = Stages((maybe("source", i) for i in range(10**6)), lambda i: maybe("compute", i))
    with pytest.raises(kind, match="this one") as raised:
        stages.run(lambda i: nothing(maybe("write", i)))
    assert raised.value is error


@pytest.mark.parametrize("where", ["source", "write"])
def test_a_failure_elsewhere_reaches_a_long_computation(where: str) -> None:
    """It is asked for at every pulse: an item of minutes does not have to be finished for nobody."""
    started = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        yield 1
        started.wait(20)
        if where == "source":
            raise Broken("of the reader")
        yield from range(2, 100)

    def compute(i: int) -> int:
        if i == 1:
            started.set()
            while True:
                stages.pulse()
                time.sleep(0.001)
        return i

    def write(_: int) -> None:
        started.wait(20)
        if where == "write":
            raise Broken("of the writer")

    stages: Stages[int, int] = Stages(source(), compute)
    with pytest.raises(Broken, match="of the "):
        stages.run(write)


def test_the_first_failure_is_told() -> None:
    def source() -> Iterator[int]:
        yield 0
        raise Broken("the first")

    def compute(_: int) -> int:
        while not stages._computed.stopped:
            time.sleep(0.001)
        raise Broken("the second")

    stages: Stages[int, int] = Stages(source(), compute)
    with pytest.raises(Broken, match="the first"):
        stages.run(nothing)


def test_a_failure_leaves_no_file_open(tmp_path: Path) -> None:
    """Not even until the garbage is collected next: where is in the middle of a file, as where records are checked."""
    path = tmp_path / "in.fasta"
    path.write_text(">r\nACGTX\n>s\nACGT\n")
    files: list[BinaryIO] = []
    gc.disable()
    try:
        with pytest.raises(InputError, match="'X' in record 'r'"):
            Stages(checked(read([path], files.append)), lambda record: record).run(nothing)
        assert [file.closed for file in files] == [True]
    finally:
        gc.enable()


def test_a_reader_that_waits_for_ever_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqmask.inference.stages.PATIENCE", 0.05)
    release = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        release.wait(20)

    def write(_: int) -> None:
        raise Broken("closed early")

    try:
        with pytest.raises(Broken, match="closed early"):
            Stages(source(), lambda i: i).run(write)
        assert names() == {"seqmask-read"}
    finally:
        release.set()
        while names():
            time.sleep(0.001)


def test_a_stopped_channel_lets_everybody_go() -> None:
    full, empty = Channel[int](1), Channel[int](1)
    full.put(1)
    freed: list[str] = []

    def wait(act: Callable[[], object], name: str) -> None:
        with pytest.raises(Stopped):
            act()
        freed.append(name)

    threads = [
        threading.Thread(target=wait, args=(lambda: full.put(2), "put")),
        threading.Thread(target=wait, args=(lambda: next(iter(empty)), "get")),
    ]
    for thread in threads:
        thread.start()
    full.stop()
    empty.stop()
    for thread in threads:
        thread.join(20)
    assert sorted(freed) == ["get", "put"]
    with pytest.raises(Stopped):
        full.put(3)


@pytest.mark.parametrize("waits_for", ["input", "computing", "reader"])
def test_an_interrupt_from_outside(tiny_model: Path, waits_for: str) -> None:
    """SIGINT while stdin is silent, while the model computes, and while nobody takes the output: out within seconds."""
    script = {
        "input": "",
        "computing": "import seqmask.inference.engine as e; e.Engine._plan = lambda s, l, r, c: [r[:1]] * 10**9",
        "reader": "",
    }[waits_for]
    program = f"""
import sys, threading
{script}
from seqmask.cli.app import main
sys.argv = ["seqmask", "mask", "-", "-x", "cpu", "-m", {str(tiny_model)!r}]
main()
"""
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(gzip.decompress(READS.read_bytes()))
        process.stdin.flush()
        if waits_for != "input":
            process.stdin.close()
        assert b"tokens a batch" in process.stderr.readline()
        time.sleep(1.5 if waits_for == "reader" else 0.5)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=120) == 130
        finally:
            process.kill()  # one that did not listen would never end
        rest = process.stderr.read()
        assert b"Traceback" not in rest
        assert b"Fatal" not in rest


def test_threads_give_way_while_stages_run() -> None:
    """A torch operation wants the interpreter back: 150 waits of 5 ms a forward pass would starve a GPU."""
    before, seen = sys.getswitchinterval(), []

    def compute(item: int) -> int:
        seen.append(sys.getswitchinterval())
        return item

    Stages(range(3), compute).run(lambda item: None)
    assert seen == [pytest.approx(SWITCH)] * 3
    assert sys.getswitchinterval() == before

    def failing(item: int) -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Stages(range(3), failing).run(lambda item: None)
    assert sys.getswitchinterval() == before
