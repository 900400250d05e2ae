"""`seqmask convert`: flags to options to one call."""

from typing import Annotated

import typer

from seqmask.cli.common import Config, Force, LogFile, Quiet, apart, build, call, prefix_of
from seqmask.config import ConvertOptions

# The defaults that --help shows are those of `config`, their only home.
DEFAULTS = ConvertOptions()
OUTPUTS, SELECTION = "Outputs", "Selection"


def convert(
    source: Annotated[str, typer.Argument(metavar="FILE.h5", help="HDF5 file of seqmask mask.")],
    bedgraph: Annotated[
        str | None,
        typer.Option(
            help="Importance of each stretch of nucleotides; - is stdout.", metavar="F", rich_help_panel=OUTPUTS
        ),
    ] = None,
    bigwig: Annotated[
        str | None,
        typer.Option(
            help="The same as bigWig; needs pybigtools, the extra bigwig.", metavar="F", rich_help_panel=OUTPUTS
        ),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(help="TSV, a line a token.", metavar="F", rich_help_panel=OUTPUTS)
    ] = None,
    logo: Annotated[
        str | None,
        typer.Option(
            help="TSV for sequence logos: a line a nucleotide, its importance in the column A, C, G or T.",
            metavar="F",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    modisco: Annotated[
        str | None,
        typer.Option(
            help="PREFIX.ohe.npz and PREFIX.attributions.npz for TF-MoDISco.", metavar="PREFIX", rich_help_panel=OUTPUTS
        ),
    ] = None,
    sequences: Annotated[
        list[str],
        typer.Option(
            "-s",
            "--sequences",
            help="A file that was masked, for --logo and --modisco; again for each further one.",
            metavar="READS",
            rich_help_panel=SELECTION,
        ),
    ] = DEFAULTS.sequences,
    rank: Annotated[
        str | None,
        typer.Option(help="Whose mask, where each rank has one; default: the finest.", rich_help_panel=SELECTION),
    ] = None,
    records: Annotated[
        list[str],
        typer.Option("--record", help="Only the record of this name; may be repeated.", rich_help_panel=SELECTION),
    ] = DEFAULTS.records,
    length: Annotated[
        int, typer.Option(min=1, help="nt of a window for --modisco.", rich_help_panel=SELECTION)
    ] = DEFAULTS.length,
    force: Force = False,
    quiet: Quiet = False,
    log_file: LogFile = None,
    config: Config = None,
) -> None:
    """The HDF5 file as bedGraph, bigWig, tables or arrays for other tools.

    Example: seqmask convert reads.h5 --bedgraph reads.bedgraph --tokens tokens.tsv.gz
    """
    options = build(ConvertOptions, locals(), modisco=None if modisco is None else prefix_of(modisco, "--modisco"))

    def run() -> None:
        from seqmask.commands.convert import convert as command
        from seqmask.terminal import Terminal

        command(options, Terminal(quiet, log_file=apart(log_file, options)).say)

    call(run)
