"""The command `seqmask`: its commands, `--version` and the entry point.

Nothing but typer and rich is imported at the top of any module here: `--help` and `--version` must not wait for torch.
Nor are annotations kept as text, as elsewhere: typer would evaluate hundreds of them at each start.
"""

import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from seqmask.cli.common import call
from seqmask.cli.convert import convert
from seqmask.cli.evaluate import evaluate
from seqmask.cli.group import Group
from seqmask.cli.info import doctor, info, models
from seqmask.cli.mask import mask
from seqmask.cli.merge import merge
from seqmask.cli.profile import profile
from seqmask.cli.simulate import simulate
from seqmask.cli.train_classifier import train_classifier
from seqmask.cli.train_explainer import train_explainer

app = typer.Typer(
    name="seqmask",
    cls=Group,
    help="Which parts of a nucleotide sequence does its classification rest on? Honest masks, with the evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from seqmask.version import version as installed

        call(lambda: print(f"seqmask {installed()}"))
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("-V", "--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Explain": (mask, evaluate, profile),
    "Train": (train_classifier, train_explainer, simulate),
    "Outputs": (merge, convert, info),
    "Installation": (models, doctor),
}
for _panel, _functions in PANELS.items():
    for _function in _functions:
        app.command(_function.__name__.replace("_", "-"), rich_help_panel=_panel)(_function)


class _Stderr(io.FileIO):
    """Standard error on a full disk, or whose reader has gone: what cannot be said is not, and all else goes on."""

    def write(self, data: Any, /) -> int:
        """Take all of `data`, or a part of it as `io.FileIO` does."""
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


def main() -> None:
    """Entry point of the command `seqmask`."""
    if sys.stderr is None:  # closed by `2>&-`, which is not told either
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    else:
        buffer = io.BufferedWriter(_Stderr(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(buffer, sys.stderr.encoding, "backslashreplace", line_buffering=True)
    logging.captureWarnings(True)
    app()
