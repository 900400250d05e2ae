"""`seqmask mask`: flags to options to one call."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from seqmask.cli.common import (
    BatchSize,
    Config,
    Device,
    Force,
    LogFile,
    ModelName,
    Precision,
    Quiet,
    Seed,
    Threads,
    Verbose,
    build,
    call,
)
from seqmask.config import MaskOptions

# The defaults that --help shows are those of `config`, their only home.
DEFAULTS = MaskOptions()
SUFFIXES = {"fasta": "fasta", "bed": "bed", "tsv": "tsv", "hdf5": "h5"}


def mask(
    reads: Annotated[
        list[str] | None,
        typer.Argument(metavar="[READS]...", help="FASTA or FASTQ, plain or compressed; - or a pipe is stdin."),
    ] = None,
    model: ModelName = DEFAULTS.model,
    prefix: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="PREFIX", help="Write all four: PREFIX.fasta, .bed, .tsv, .h5."),
    ] = None,
    fasta: Annotated[
        str | None, typer.Option(help="Annotated FASTA; lower case = not important. - is stdout.", metavar="F")
    ] = None,
    bed: Annotated[str | None, typer.Option(help="BED9, a line a kept stretch.", metavar="F")] = None,
    tsv: Annotated[str | None, typer.Option(help="Table, a line a record.", metavar="F")] = None,
    hdf5: Annotated[str | None, typer.Option(help="Masks and predictions (docs/schema.md).", metavar="F")] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Keep tokens with m at least this; default: the model's own.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Classify the masked and the inverse-masked sequence too: does it hold?")
    ] = False,
    hard_mask: Annotated[bool, typer.Option("--hard-mask", help="Write N instead of lower case.")] = False,
    full_precision: Annotated[
        bool, typer.Option("--full-precision", help="Do not round importance to 1/1024 in HDF5.")
    ] = False,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Print a class of less confidence as unclassified.")
    ] = DEFAULTS.min_confidence,
    overlap: Annotated[int, typer.Option(min=0, help="nt that windows of a long record share.")] = DEFAULTS.overlap,
    frames: Annotated[
        int, typer.Option(min=0, help="k-mer frames to read and average; 0 = the model's own number.")
    ] = DEFAULTS.frames,
    device: Device = DEFAULTS.compute.device,
    precision: Precision = DEFAULTS.compute.precision,
    batch_size: BatchSize = DEFAULTS.compute.batch_size,
    threads: Threads = DEFAULTS.compute.threads,
    seed: Seed = DEFAULTS.seed,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
    config: Config = None,
) -> None:
    """Classify sequences and mark the parts that the classification rests on.

    Without an output option, annotated FASTA goes to stdout.

    Example: zcat reads.fastq.gz | seqmask mask - --bed kept.bed --tsv summary.tsv
    """
    named = {"fasta": fasta, "bed": bed, "tsv": tsv, "hdf5": hdf5}
    if prefix is not None:
        named = {kind: path or f"{prefix}.{SUFFIXES[kind]}" for kind, path in named.items()}
    if not any(named.values()):
        named["fasta"] = "-"
    options = build(MaskOptions, locals(), reads=inputs(reads), **named)

    def run() -> None:
        from seqmask.commands.mask import mask as command
        from seqmask.terminal import Reporter, Terminal

        terminal = Terminal(quiet, verbose, log_file)
        with Reporter(terminal) as reporter:
            command(options, terminal.say, reporter.records)

    call(run)


def inputs(reads: list[str] | None) -> list[str]:
    """The files to read; stdin where none is named and it is not a terminal."""
    if reads:
        return reads
    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter("no input: name FASTA or FASTQ files, or pipe them in", param_hint="READS")
    return ["-"]
