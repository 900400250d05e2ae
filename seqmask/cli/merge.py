"""`seqmask merge`: flags to options to one call."""

from typing import Annotated

import typer

from seqmask.cli.common import Config, Force, LogFile, Quiet, apart, build, call
from seqmask.config import MergeOptions


def merge(
    shards: Annotated[
        list[str], typer.Argument(metavar="SHARD...", help="Outputs of one kind of all shards, in any order.")
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="F", help="The file to write; - is stdout (not for HDF5).")
    ],
    force: Force = False,
    quiet: Quiet = False,
    log_file: LogFile = None,
    config: Config = None,
) -> None:
    """Join the outputs of `mask --shard 1/N` to `N/N`: HDF5, FASTA, BED or TSV.

    The file is the one that a single run would have written. A text needs the FILE.shard.json beside each shard.

    Example: seqmask merge shard1.h5 shard2.h5 shard3.h5 -o reads.h5
    """
    options = build(MergeOptions, locals())

    def run() -> None:
        from seqmask.commands.merge import merge as command
        from seqmask.terminal import Terminal

        command(options, Terminal(quiet, log_file=apart(log_file, options)).say)

    call(run)
