"""`seqmask evaluate`: flags to options to one call."""

from pathlib import Path
from typing import Annotated

import typer

from seqmask.cli.common import (
    BatchSize,
    Config,
    Device,
    Force,
    LogFile,
    ModelName,
    Overlap,
    Precision,
    Quiet,
    Seed,
    Taxonomy,
    Threads,
    Verbose,
    apart,
    build,
    call,
)
from seqmask.config import EvaluateOptions
from seqmask.errors import SeqmaskError

# The defaults that --help shows are those of `config`, their only home.
DEFAULTS = EvaluateOptions()


def evaluate(
    sequences: Annotated[list[str], typer.Argument(metavar="SEQS...", help="FASTA or FASTQ; - is stdin.")],
    model: ModelName = DEFAULTS.model,
    labels: Annotated[
        Path | None, typer.Option("-l", "--labels", help="Label table; without it the model's own predictions count.")
    ] = None,
    taxonomy: Taxonomy = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the label table.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="A random sample of this many; 0 = all.")] = DEFAULTS.limit,
    resample_by: Annotated[
        str | None,
        typer.Option(
            help="Column of the label table whose sequences intervals draw together; none = each by itself."
            " Default: species, where there is such a column.",
            metavar="COLUMN",
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="Sequences for the costly parts: curves, calibration, consistency; 0 = all.")
    ] = DEFAULTS.sample,
    judge: Annotated[
        str | None,
        typer.Option(help="An independent classifier of the same ranks: does it read the masks, too?", metavar="DIR"),
    ] = None,
    other: Annotated[
        str | None,
        typer.Option(help="Another Explainer of the same classifier: are its masks the same?", metavar="DIR"),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Planted truth (BED of `simulate`): do the masks find it?", metavar="BED")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Annotations: is importance higher inside, by kind (column 4)?", metavar="BED")
    ] = None,
    rivals: Annotated[
        str,
        typer.Option(
            help="Other attribution methods, comma-separated: saliency, gradxinput, ig, ig-odds, occlusion,"
            " occlusion-odds, rollout, lime, shap, random; ig-20, lime-5000, shap-200 set their effort.",
            metavar="NAMES",
        ),
    ] = DEFAULTS.rivals,
    rivals_limit: Annotated[
        int, typer.Option(min=0, help="Sequences for the rivals; 0 = all.")
    ] = DEFAULTS.rivals_limit,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Default: the model's own.")] = None,
    smallest: Annotated[
        bool, typer.Option("--smallest", help="The smallest masks that hold, as of `seqmask mask --smallest`.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write everything as JSON; - prints it instead of the tables.", metavar="F")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a red flag fires.")] = False,
    overlap: Overlap = DEFAULTS.overlap,
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
    """Should these masks be believed? Hard masks against same-area controls, on your own sequences.

    Example: seqmask evaluate test.fasta.gz -l labels.tsv --split test --json report.json
    """
    options = build(EvaluateOptions, locals())

    def run() -> None:
        from seqmask.cli.tables import print_report
        from seqmask.commands.evaluate import evaluate as command
        from seqmask.results.files import is_stdout
        from seqmask.terminal import Reporter, Terminal

        terminal = Terminal(quiet, verbose, apart(log_file, options))
        with Reporter(terminal) as reporter:
            report = command(options, terminal.say, reporter.progress)
        if not is_stdout(json):  # one kind of data on stdout
            print_report(report)
        if strict and report["red_flags"]:
            raise SeqmaskError(f"--strict: {len(report['red_flags'])} red flags")

    call(run)
