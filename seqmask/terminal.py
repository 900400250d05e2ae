"""What a person sees on stderr: lines, a progress bar on a terminal, tables. stdout is for data and belongs to `cli`."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

if TYPE_CHECKING:
    from seqmask.training.fit import Progress

LINE_SECONDS = 15.0  # between progress lines where stderr is not a terminal


class Terminal:
    """Lines and tables on stderr. quiet: only errors."""

    def __init__(self, quiet: bool = False, verbose: int = 0) -> None:
        self.quiet, self.verbose = quiet, verbose
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

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
