"""What a person sees on stderr: lines and a progress bar."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

if TYPE_CHECKING:
    from seqmask.commands.mask import Tally
    from seqmask.progress import Progress

WIDTH = 140  # of tables that go to a file or a pipe, where nothing may be cut off
LINE_SECONDS = 15.0  # between progress lines where stderr is not a terminal


class Terminal:
    """Lines and tables on stderr. quiet: only errors; verbose: what the engine does, too.

    log_file: what is said, the engine's part and warnings included, is appended to it with times. Raises OSError.
    """

    def __init__(self, quiet: bool = False, verbose: int = 0, log_file: Path | None = None) -> None:
        self.quiet, self.verbose = quiet, verbose
        width = _width(sys.stderr.isatty())
        # Names of users may look like markup, or hold a code of an emoji, as `:100:` does
        self.console = Console(
            stderr=True, quiet=quiet, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width
        )
        level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING
        shown = logging.StreamHandler(sys.stderr)
        shown.setLevel(level)
        kept = [] if log_file is None else [_file_handler(log_file)]
        _handle("seqmask", logging.DEBUG if kept else level, shown, *kept)
        _handle("py.warnings", logging.DEBUG, *kept)
        self.said = _handle("seqmask.said", logging.DEBUG, *kept)
        self.said.info("$ %s", shlex.join(sys.argv))

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text)
        self.said.info(text)

    def classifier_table(self, report: dict[str, Any]) -> None:
        """Accuracy of each split and rank."""
        table = Table(title="accuracy on whole sequences", title_justify="left")
        shown = ("accuracy", "balanced_accuracy", "majority_rate", "ece", "ece_by_chance")
        titles = ("accuracy", "balanced", "majority", "ECE", "by chance")
        for name in ("split", "rank", *titles, "sure by .5 (share)", "known classes", "all labelled"):
            table.add_column(name, justify="left" if name in ("split", "rank") else "right")
        for split, ranks in report["splits"].items():
            for rank, row in ranks.items():
                table.add_row(
                    split,
                    rank,
                    *(f"{row[key]:.3f}" for key in shown),
                    sure_by_half(row["at_least"]),
                    f"{row['known']} of {row['labelled']}",
                    f"{row['accuracy_all']:.3f}",
                )
        self.console.print(table)


def sure_by_half(at_least: list[dict[str, Any]]) -> str:
    """Accuracy of predictions of a confidence of at least .5, and their share of the sequences: `0.912 (0.34)`."""
    of = next(of for of in at_least if of["confidence"] == 0.5)
    return f"{of['accuracy']['mean']:.3f} ({of['share']:.2f})"


class _LogFile(logging.FileHandler):
    """A log that cannot be written any more is told once, and the run goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Called where a line could not be written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        assert self.stream is not None  # it is what failed
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        print(f"seqmask: {self.baseFilename}: {error.strerror}; nothing more is logged", file=sys.stderr)


def _file_handler(path: Path) -> logging.Handler:
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


def _handle(name: str, level: int, *handlers: logging.Handler) -> logging.Logger:
    """These handlers for a logger, instead of those of an earlier `Terminal` in the same process."""
    logger = logging.getLogger(name)
    for old in [handler for handler in logger.handlers if type(handler) in (logging.StreamHandler, _LogFile)]:
        logger.removeHandler(old)
        old.close()
    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(level)
    return logger


class Reporter:
    """Progress: a bar where stderr is a terminal, otherwise a line every few seconds."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.live = terminal.console.is_terminal and not terminal.quiet
        self.bar: Bar | None = None
        self.task: TaskID | None = None
        self.name = ""
        self.last = 0.0
        self.telling = threading.Lock()  # `records` is called by the thread that computes and by the one that writes

    def __enter__(self) -> Reporter:
        if self.live:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                TimeRemainingColumn(),
            )
            # Not stdout: what rich puts in its place has a flush that does not reach the file
            self.bar = Bar(*columns, console=self.terminal.console, redirect_stdout=False)
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            if kind is None and self.task is not None:  # what is over is whole, whatever was foreseen
                self.bar.update(self.task, completed=self.bar.tasks[-1].total)
            self.bar.stop()

    def progress(self, progress: Progress) -> None:
        """Show where a part of the work stands. One that begins is said, and its bar takes the place of the last."""
        now = time.monotonic()
        if progress.step == 0:
            self.last = now
            self.terminal.say(progress.name)
            if self.bar is not None and self.task is not None:
                self.bar.remove_task(self.task)
        terms = " ".join(f"{k} {v:.3f}" for k, v in progress.terms.items() if k != "step")
        note = f"{progress.rate:.0f} {progress.unit}/s  {terms}".rstrip()
        if self.bar is not None:
            if self.task is None or progress.step == 0 or self.name != progress.name:
                self.task = self.bar.add_task(progress.name, total=progress.steps, note="")
                self.name = progress.name
            self.bar.update(self.task, completed=progress.step, note=note)
        elif now - self.last > LINE_SECONDS or progress.step == progress.steps:
            self.last = now
            left = f"{progress.seconds_left / 60:.1f} min left"
            self.terminal.say(f"{progress.name} {progress.step}/{progress.steps}  {left}  {note}")

    def records(self, tally: Tally) -> None:
        """Show how many records are done; the first call starts the clock."""
        with self.telling:
            now = time.monotonic()
            if now - self.last < (0.2 if self.live else LINE_SECONDS):
                return
            first, self.last = self.last == 0.0, now
            if self.bar is not None:
                if self.task is None:
                    self.task = self.bar.add_task("mask", total=None, note="")
                self.bar.update(self.task, note=tally.progress)
            elif not first:
                self.terminal.say(tally.progress)


def _width(terminal: bool) -> int | None:
    return None if terminal else WIDTH
