"""`seqmask info`, `seqmask models` and `seqmask doctor`: what there is, and whether it works."""

from typing import Annotated

import typer

from seqmask.cli.common import call

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def info(
    what: Annotated[
        str, typer.Argument(metavar="FILE|MODEL", help="HDF5 file of mask, model directory, or a model that ships.")
    ],
    json: AsJson = False,
) -> None:
    """What a file or a model is: ranks, classes, counts, digests, threshold, area.

    Example: seqmask info reads.h5
    """

    def run() -> None:
        from seqmask.cli.show import show
        from seqmask.commands.info import info as command

        show(command(what), json)

    call(run)


def models(json: AsJson = False) -> None:
    """The models that ship: ranks, classes, data, licence, accuracy, size.

    Example: seqmask models --json
    """

    def run() -> None:
        from seqmask.cli.show import show
        from seqmask.commands.info import models as command

        show(command(), json)

    call(run)


def doctor(json: AsJson = False) -> None:
    """Is this installation sound? Versions, devices, and a small run on each of them.

    Exits with 1 if a device fails.

    Example: seqmask doctor
    """

    def run() -> None:
        from seqmask.cli.show import show
        from seqmask.commands.doctor import doctor as command

        report = command()
        show(report, json)
        if any(found != "ok" for found in report["devices"].values()):
            raise typer.Exit(1)

    call(run)
