"""`seqmask mask`: flags to options to one call."""

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
    apart,
    build,
    call,
    prefix_of,
)
from seqmask.cli.settings import effective
from seqmask.config import MaskOptions

# The defaults that --help shows are those of `config`, their only home.
DEFAULTS = MaskOptions()
OUTPUTS, MASKS, LONG_RUNS = "Outputs", "Masks", "Long runs"
SUFFIXES = {"fasta": "fasta", "bed": "bed", "tsv": "tsv", "hdf5": "h5"}


def mask(
    ctx: typer.Context,
    reads: Annotated[
        list[str] | None,
        typer.Argument(metavar="READS", help="FASTA or FASTQ, plain or compressed; - or a pipe is stdin."),
    ] = None,
    infile_list: Annotated[
        str | None, typer.Option(help="Read the files named in this file, too, one a line.", metavar="F")
    ] = None,
    model: ModelName = DEFAULTS.model,
    prefix: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PREFIX",
            help="Write PREFIX.fasta, .bed, .tsv and .h5, and the options as PREFIX.config.toml.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    fasta: Annotated[
        str | None,
        typer.Option(
            help="Annotated FASTA; lower case = not important. - is stdout.", metavar="F", rich_help_panel=OUTPUTS
        ),
    ] = None,
    bed: Annotated[
        str | None, typer.Option(help="BED9, a line a kept stretch.", metavar="F", rich_help_panel=OUTPUTS)
    ] = None,
    tsv: Annotated[
        str | None, typer.Option(help="Table, a line a record.", metavar="F", rich_help_panel=OUTPUTS)
    ] = None,
    hdf5: Annotated[
        str | None,
        typer.Option(help="Masks and predictions (docs/schema.md).", metavar="F", rich_help_panel=OUTPUTS),
    ] = None,
    json_report: Annotated[
        str | None,
        typer.Option(
            help="Counts, versions, parameters, throughput; as MultiQC reads it if the name ends in _mqc.json.",
            metavar="F",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    hard_mask: Annotated[
        bool, typer.Option("--hard-mask", help="FASTA: write N instead of lower case.", rich_help_panel=OUTPUTS)
    ] = False,
    full_precision: Annotated[
        bool,
        typer.Option("--full-precision", help="HDF5: do not round importance to 1/1024.", rich_help_panel=OUTPUTS),
    ] = False,
    min_confidence: Annotated[
        float,
        typer.Option(min=0, max=1, help="Print a class of less confidence as unclassified.", rich_help_panel=OUTPUTS),
    ] = DEFAULTS.min_confidence,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Keep what tokens with m of at least this cover; default: the model's own.",
            rich_help_panel=MASKS,
        ),
    ] = None,
    target: Annotated[
        list[str],
        typer.Option(
            metavar="RANK=CLASS",
            help="Explain this class, such as genus=Bacillus, not the predicted one; again for each further rank.",
            rich_help_panel=MASKS,
        ),
    ] = DEFAULTS.target,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Classify the masked and the inverse-masked sequence too: does it hold?",
            rich_help_panel=MASKS,
        ),
    ] = False,
    smallest: Annotated[
        bool,
        typer.Option(
            "--smallest",
            help="Of each record and rank the smallest mask that holds, up to half of it; --check and up to 15 more.",
            rich_help_panel=MASKS,
        ),
    ] = False,
    overlap: Annotated[
        int,
        typer.Option(
            min=0,
            help="nt that windows of a long record share; about half of one at most.",
            rich_help_panel=MASKS,
        ),
    ] = DEFAULTS.overlap,
    frames: Annotated[
        int,
        typer.Option(
            min=0, help="k-mer frames to read and average; 0 = the model's own number.", rich_help_panel=MASKS
        ),
    ] = DEFAULTS.frames,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Only part I, from 1, of N; `seqmask merge` joins them.", rich_help_panel=LONG_RUNS
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a stopped run ended.", rich_help_panel=LONG_RUNS)
    ] = False,
    checkpoint_minutes: Annotated[
        float,
        typer.Option(min=0, help="At most this much is lost when a run is stopped.", rich_help_panel=LONG_RUNS),
    ] = DEFAULTS.checkpoint_minutes,
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
    besides = {}
    if prefix is not None:
        prefix = prefix_of(prefix)
        named = {kind: path or f"{prefix}.{SUFFIXES[kind]}" for kind, path in named.items()}
        besides = {f"{prefix}.config.toml": effective(ctx).encode(errors="surrogateescape")}
    if not any(named.values()):
        named["fasta"] = "-"
    reads = [] if infile_list and not reads else inputs(reads)
    options = build(MaskOptions, locals(), **named)

    def run() -> None:
        from seqmask.commands.mask import mask as command
        from seqmask.terminal import Reporter, Terminal

        terminal = Terminal(quiet, verbose, apart(log_file, options))
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
