"""How a command ends: exit codes, and what the log file keeps. And what it says while it runs."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from seqmask.cli.common import call, terminated
from seqmask.commands.mask import Tally
from seqmask.commands.portion import share_of
from seqmask.errors import InputError, UsageError
from seqmask.progress import Watch
from seqmask.results.shard import Shard
from seqmask.sequences.explanations import Status
from seqmask.sequences.meter import Meter
from seqmask.terminal import Reporter, Terminal

LESS = "try a smaller --batch-size, --device cpu, or shorter records"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log"
    Terminal(quiet=True, log_file=path)
    yield path
    Terminal()


def raising(error: BaseException) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("x", "bad", line=3), 1, "x, line 3: bad"),
        (UsageError("no"), 2, "no"),
        (OSError(28, "No space left on device", "x"), 1, "x: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError("Unable to allocate 9 GiB"), 1, f"out of memory: Unable to allocate 9 GiB; {LESS}"),
        (MemoryError(), 1, f"out of memory: no more to be had; {LESS}"),
        (torch.OutOfMemoryError("CUDA out of memory.\nMore."), 1, f"out of memory: CUDA out of memory.; {LESS}"),
        (RuntimeError("DefaultCPUAllocator: no"), 1, f"out of memory: DefaultCPUAllocator: no; {LESS}"),
    ],
)
def test_ends(log: Path, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str) -> None:
    with pytest.raises(typer.Exit) as stop:
        call(raising(error))
    assert stop.value.exit_code == code
    assert capsys.readouterr().err == f"seqmask: error: {message}\n"
    assert log.read_text().splitlines()[-1].endswith(f"ERROR error: {message}")


def test_a_terminated_run_is_143(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGTERM, terminated)
    try:
        with pytest.raises(typer.Exit) as stop:
            call(lambda: signal.raise_signal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (stop.value.exit_code, capsys.readouterr().err) == (143, "seqmask: error: terminated\n")


@pytest.mark.parametrize("ignored", [False, True], ids=["", "nohup"])
def test_a_closed_terminal_ends_a_run_unless_nohup_says_otherwise(ignored: bool) -> None:
    script = (
        "import os, pty, signal, sys\nfrom seqmask.cli.common import call\n"
        f"signal.signal(signal.SIGHUP, signal.{'SIG_IGN' if ignored else 'SIG_DFL'})\n"
        "here, there = pty.openpty()\nos.dup2(there, 2)\nos.close(there)\n"
        "def run():\n    os.close(here)\n    signal.raise_signal(signal.SIGHUP)\n    print('on')\n"
        "try:\n    call(run)\nexcept BaseException as error:\n    sys.exit(error.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == ((0, "on\n") if ignored else (129, ""))


@pytest.mark.parametrize(
    ("words", "found"),
    [("seqmask me", {"merge"}), ("seqmask mask --resu", {"--resume"}), ("seqmask mask -m geno", {"genomes"})],
)
def test_shells_complete(words: str, found: set[str]) -> None:
    """Commands, options, and the names of models that ship; what `--install-completion` puts into a shell asks so."""
    asked = {"_SEQMASK_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    main = "from seqmask.cli.app import app; app(prog_name='seqmask')"
    done = subprocess.run(
        [sys.executable, "-c", main], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    assert found <= set(done.stdout.split())
    assert done.stderr == ""


def test_a_bug_leaves_its_traceback_in_the_log(log: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        call(lambda: 1 // 0)
    assert "ERROR a bug in seqmask\nTraceback " in log.read_text()


def test_the_log_has_what_quiet_hides(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(quiet=True, log_file=log)
    terminal.say("going on")
    logging.getLogger("seqmask").debug("3 windows")
    logging.getLogger("seqmask").warning("out of memory")
    logging.getLogger("py.warnings").warning("deprecated")
    assert capsys.readouterr().err == ""
    said = [line.split(" ", 3)[2:] for line in log.read_text().splitlines() if " $ " not in line]
    assert said == [
        ["INFO", "going on"],
        ["DEBUG", "3 windows"],
        ["WARNING", "out of memory"],
        ["WARNING", "deprecated"],
    ]


@pytest.mark.parametrize(("verbose", "shown"), [(0, "out of memory\n"), (1, "3 windows\nout of memory\n")])
def test_warnings_are_on_stderr_once(capsys: pytest.CaptureFixture[str], verbose: int, shown: str) -> None:
    Terminal(verbose=verbose)
    logging.getLogger("seqmask").debug("3 windows")
    logging.getLogger("seqmask").warning("out of memory")
    assert capsys.readouterr().err == shown


def test_a_log_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as stop:
        call(lambda: Terminal(log_file=tmp_path / "none" / "log"))
    assert stop.value.exit_code == 1
    assert re.fullmatch(r"seqmask: error: .*none/log: No such file or directory\n", capsys.readouterr().err)


def tally(records: int, seconds: float, share: Any, since: float = 0.0) -> Tally:
    """Of a run of so many seconds, the last `since` of them without a record that was counted."""
    now = time.monotonic()
    return Tally({Status.ok: records}, 1000, share, now - seconds, last=now - since)  # type: ignore[arg-type]


def test_lines_say_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """A quarter after a minute: three minutes are left. Without a share there is no time left to tell."""
    line = tally(600, 60.0, lambda records: records / 2400).progress
    assert re.fullmatch(r"600 records \(ok 600\), 1000 nt in 60\.\d s: 10 records/s, 25%, 3\.0 min left", line)
    assert tally(600, 60.0, lambda records: None).progress.endswith("10 records/s")
    amid = tally(600, 120.0, lambda records: 0.25, since=60.0).progress  # the next pool is under way, for a minute
    assert amid.endswith("in 120.0 s: 10 records/s, 25%, 2.0 min left")
    assert tally(600, 600.0, lambda records: 0.25, since=540.0).progress.endswith("10 records/s, 25%, 0.0 min left")
    terminal = Terminal()
    with Reporter(terminal) as reporter:
        reporter.records(tally(1, 1.0, lambda records: None))  # the first one only starts the clock
        assert capsys.readouterr().err == ""
        reporter.last -= 60
        reporter.records(tally(600, 60.0, lambda records: 0.25))
        reporter.records(tally(700, 61.0, lambda records: 0.25))
    (shown,) = capsys.readouterr().err.splitlines()
    assert shown.startswith("600 records")
    assert shown.endswith("25%, 3.0 min left")


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither emoji nor markup, in lines and in the bar."""
    name = "A:1:1234:100:5 [red]x[/]"
    Terminal().say(name)
    assert capsys.readouterr().err == f"{name}\n"
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with Reporter(Terminal()) as reporter:
        Watch(reporter.progress).part(name, 10)
    assert capsys.readouterr().err.count(name) >= 2


def test_parts_of_an_evaluation(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is said as it begins; one that lasts says its rate and the time left, on a terminal in the one bar."""
    with Reporter(Terminal()) as reporter:
        watch = Watch(reporter.progress)
        watch.part("the judge", 400)
        watch.done(100)
        assert capsys.readouterr().err == "the judge\n"
        reporter.last -= 60
        watch.began -= 60
        watch.done(100)
        watch.done(200)
        watch.part("what ig keeps", 10)
    line, following = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"the judge 200/400  1\.0 min left  3 windows/s", line)
    assert following == "what ig keeps"

    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with Reporter(Terminal()) as reporter:
        assert reporter.bar is not None
        watch = Watch(reporter.progress)
        for name in ("the judge", "what ig keeps"):
            watch.part(name, 10)
            watch.done(9)
            (task,) = reporter.bar.tasks
            assert (task.description, task.completed, task.total) == (name, 9, 10)
    assert task.finished


def test_the_share_of_a_shard_and_of_what_is_left(tmp_path: Path) -> None:
    share = share_of(Meter(["-"]), Shard(2, 3, 100, 200, 300, ""), 50)
    assert [share(0), share(25), share(50)] == [0, 0.5, 1]
    meter = Meter(["-"])
    assert share_of(meter, None, 0)(10) is None
    meter.share = lambda records: records / 400  # type: ignore[method-assign]
    assert share_of(meter, None, 200)(100) == 0.5
