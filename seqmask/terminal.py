"""What a person sees: lines and a progress bar on stderr, the tables of `evaluate` on stdout."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

if TYPE_CHECKING:
    from seqmask.commands.mask import Tally
    from seqmask.training.fit import Progress

WIDTH = 140  # of tables that go to a file or a pipe, where nothing may be cut off
LINE_SECONDS = 15.0  # between progress lines where stderr is not a terminal


class Terminal:
    """Lines and tables on stderr. quiet: only errors; verbose: what the engine does, too."""

    def __init__(self, quiet: bool = False, verbose: int = 0) -> None:
        self.quiet, self.verbose = quiet, verbose
        self.console = Console(
            stderr=True, quiet=quiet, highlight=False, soft_wrap=True, width=_width(sys.stderr.isatty())
        )
        logging.getLogger("seqmask").setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING)
        if verbose:
            logging.basicConfig(stream=sys.stderr, format="%(message)s")

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False)

    def classifier_table(self, report: dict[str, Any]) -> None:
        """Accuracy of each split and rank."""
        table = Table(title="accuracy on whole sequences", title_justify="left")
        for name in ("split", "rank", "accuracy", "balanced", "majority", "known classes", "all labelled"):
            table.add_column(name, justify="left" if name in ("split", "rank") else "right")
        for split, ranks in report["splits"].items():
            for rank, row in ranks.items():
                table.add_row(
                    split,
                    rank,
                    *(f"{row[key]:.3f}" for key in ("accuracy", "balanced_accuracy", "majority_rate")),
                    f"{row['known']} of {row['labelled']}",
                    f"{row['accuracy_all']:.3f}",
                )
        self.console.print(table)


class Reporter:
    """Training progress: a bar where stderr is a terminal, otherwise a line every few seconds."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.live = terminal.console.is_terminal and not terminal.quiet
        self.bar: Bar | None = None
        self.task: TaskID | None = None
        self.name = ""
        self.last = 0.0

    def __enter__(self) -> Reporter:
        if self.live:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
            )
            self.bar = Bar(*columns, console=self.terminal.console)
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def progress(self, progress: Progress) -> None:
        """Show where training stands."""
        now = time.monotonic()
        terms = " ".join(f"{k} {v:.3f}" for k, v in progress.terms.items() if k != "step")
        note = f"{progress.rate:.0f} sequences/s  {terms}"
        if self.bar is not None:
            if self.task is None or self.name != progress.name:
                self.task = self.bar.add_task(progress.name, total=progress.steps, note="")
                self.name = progress.name
            self.bar.update(self.task, completed=progress.step, note=note)
        elif now - self.last > LINE_SECONDS or progress.step == progress.steps:
            self.last = now
            left = f"{progress.seconds_left / 60:.1f} min left"
            self.terminal.say(f"{progress.name} {progress.step}/{progress.steps}  {left}  {note}")

    def records(self, tally: Tally) -> None:
        """Show how many records are done."""
        now = time.monotonic()
        if now - self.last < (0.2 if self.live else LINE_SECONDS):
            return
        first, self.last = self.last == 0.0, now
        if self.bar is not None:
            if self.task is None:
                self.task = self.bar.add_task("mask", total=None, note="")
            self.bar.update(self.task, note=tally.summary)
        elif not first:
            self.terminal.say(tally.summary)


def print_report(report: dict[str, Any]) -> None:
    """The tables of `evaluate`, to stdout: they are its data."""
    console = Console(highlight=False, width=_width(sys.stdout.isatty()))
    console.print(
        f"model {report['model']}, {report['sequences']} sequences, against {report['against']}, "
        f"hard masks at tau {report['threshold']:.3f}",
        markup=False,
        soft_wrap=True,
    )
    for table in (_headline(report), _controls(report, soft=False), _fractions(report), _controls(report, soft=True)):
        console.print(table)
    if "mask" in report:
        shape = report["mask"]
        console.print(
            f"masks: area {shape['area']['mean']:.3f} (median {shape['area']['median']:.3f}, 5-95 % "
            f"{shape['area']['p5']:.3f}-{shape['area']['p95']:.3f}), soft area {shape['soft_area']['mean']:.3f}, "
            f"binarity {shape['binarity']:.3f}, {shape['segments']:.1f} segments a sequence, "
            f"median {shape['median_segment_nt']:.0f} nt",
            markup=False,
            soft_wrap=True,
        )
    for flag in report["red_flags"]:
        console.print(f"RED FLAG {flag}", markup=False, soft_wrap=True)
    if not report["red_flags"]:
        console.print("no red flag")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(columns):
        # Never cut off: where the width does not do, a cell goes on below
        table.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    return table


def _headline(report: dict[str, Any]) -> Table:
    """Hard masks: what is kept, what is left without them, and what a mask of the same size would keep."""
    table = _table(
        "hard masks, accuracy (95 % interval)", "rank", "full", "masked", "inverse", "majority", "best control", "gap"
    )
    for name, rank in report["ranks"].items():
        row, best = rank["rows"]["seqmask"], rank["best_control"]
        table.add_row(
            name,
            *(
                f"{part['accuracy']:.3f} ({part['interval'][0]:.3f}-{part['interval'][1]:.3f})"
                for part in (rank["full"], row["masked"], row["inverse"])
            ),
            f"{rank['majority_rate']:.3f}",
            f"{best['accuracy']:.3f} {best['name']}",
            f"{best['gap']:+.3f}",
        )
    return table


def _controls(report: dict[str, Any], soft: bool) -> Table:
    """Masked / inverse accuracy of mask and controls; soft figures never without the constant mask beside them."""
    title = "soft masks" if soft else "hard masks and controls of the same area"
    table = _table(f"{title}, accuracy masked / inverse", "mask", *report["ranks"])
    names = next(iter(report["ranks"].values()))["rows"]
    for name in names:
        if name.endswith("(soft)") is soft:
            rows = [rank["rows"][name] for rank in report["ranks"].values()]
            table.add_row(name, *(f"{r['masked']['accuracy']:.3f} / {r['inverse']['accuracy']:.3f}" for r in rows))
    return table


def _fractions(report: dict[str, Any]) -> Table:
    """Accuracy when only the top share of each sequence is kept / when it is removed."""
    names = list(report["ranks"])
    table = _table(
        "top share of each sequence, accuracy kept / removed", "rank and order", "5 %", "10 %", "20 %", "40 %"
    )
    for name in names:
        for order, of in report["ranks"][name]["fractions"].items():
            cells = [f"{point['kept']:.3f} / {point['removed']:.3f}" for point in of.values()]
            table.add_row(f"{name} {order}", *cells)
    return table


def _width(terminal: bool) -> int | None:
    return None if terminal else WIDTH
