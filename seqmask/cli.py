"""The command line: flags to an options object to one call. The only module that prints.

Nothing but typer and rich is imported at the top: `--help` and `--version` must not wait for torch.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from seqmask.config import ClassifierOptions, Compute, EvaluateOptions, ExplainerOptions, MaskOptions
from seqmask.errors import SeqmaskError
from seqmask.terminal import Reporter, Terminal, print_report

app = typer.Typer(
    name="seqmask",
    help="Which parts of a nucleotide sequence does its classification rest on? Honest masks, with the evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

T = TypeVar("T")

# One spelling of the shared options everywhere.
Device = Annotated[
    str, typer.Option("-x", "--device", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel="Computing")
]
Precision = Annotated[
    str,
    typer.Option(
        help="fp32, bf16 or fp16 (training also: auto). Half precision changes results with batch and GPU.",
        rich_help_panel="Computing",
    ),
]
BatchSize = Annotated[
    int,
    typer.Option("-b", "--batch-size", min=0, help="Sequences a batch at most; 0 = auto.", rich_help_panel="Computing"),
]
Threads = Annotated[
    int, typer.Option("-t", "--threads", min=0, help="CPU threads; 0 = all.", rich_help_panel="Computing")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.", rich_help_panel="Computing")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Errors only on stderr.", rich_help_panel="Common")]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="More on stderr.", rich_help_panel="Common")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Replace existing outputs.", rich_help_panel="Common")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the checkpoint of a stopped run.", rich_help_panel="Common")
]
ModelName = Annotated[
    str, typer.Option("-m", "--model", help="Model directory, or the name of a model that ships.", show_default=True)
]
TrainSequences = Annotated[
    list[Path], typer.Argument(metavar="SEQS...", help="FASTA or FASTQ files, plain or compressed.")
]


def _version(value: bool) -> None:
    if value:
        from seqmask.version import version as installed

        print(f"seqmask {installed()}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("-V", "--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


# The defaults that --help shows are those of `config`, their only home.
_CLASSIFIER, _EXPLAINER, _MASK, _EVALUATE = ClassifierOptions(), ExplainerOptions(), MaskOptions(), EvaluateOptions()
_RANKS = ",".join(_CLASSIFIER.ranks)


@app.command("train-classifier")
def train_classifier(
    sequences: TrainSequences,
    labels: Annotated[Path, typer.Option("-l", "--labels", help="Label table: TSV or CSV with a header.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Classifier directory to write.")],
    ranks: Annotated[str, typer.Option(help="Rank columns, coarse to fine, comma-separated.")] = _RANKS,
    size: Annotated[str, typer.Option(help="tiny, small or base.", rich_help_panel="Model")] = _CLASSIFIER.size,
    k: Annotated[int, typer.Option("-k", "--kmer", min=1, max=8, rich_help_panel="Model")] = _CLASSIFIER.k,
    stride: Annotated[
        int, typer.Option(min=1, help="nt between k-mers.", rich_help_panel="Model")
    ] = _CLASSIFIER.stride,
    max_tokens: Annotated[
        int, typer.Option(min=8, help="Longest window, tokens.", rich_help_panel="Model")
    ] = _CLASSIFIER.max_tokens,
    operator: Annotated[
        str, typer.Option(help="Masking operator to train for: scale, blend, gate.", rich_help_panel="Model")
    ] = _CLASSIFIER.operator,
    min_per_class: Annotated[
        int, typer.Option(min=1, help="Classes with fewer training sequences are unknown at that rank.")
    ] = _CLASSIFIER.min_per_class,
    min_crop: Annotated[
        int, typer.Option(min=8, help="Shortest random crop, nt.", rich_help_panel="Training")
    ] = _CLASSIFIER.min_crop,
    bag_epochs: Annotated[
        float, typer.Option(min=0, help="Epochs of the bag-of-k-mers start; 0 = none.", rich_help_panel="Training")
    ] = _CLASSIFIER.bag_epochs,
    steps: Annotated[int, typer.Option(min=0, rich_help_panel="Training")] = _CLASSIFIER.steps,
    batch_tokens: Annotated[
        int, typer.Option(min=256, help="Tokens a batch, padding included.", rich_help_panel="Training")
    ] = _CLASSIFIER.batch_tokens,
    learning_rate: Annotated[float, typer.Option(rich_help_panel="Training")] = _CLASSIFIER.learning_rate,
    bag_learning_rate: Annotated[float, typer.Option(rich_help_panel="Training")] = _CLASSIFIER.bag_learning_rate,
    weight_decay: Annotated[float, typer.Option(rich_help_panel="Training")] = _CLASSIFIER.weight_decay,
    masked_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of randomly masked batches.", rich_help_panel="Training")
    ] = _CLASSIFIER.masked_share,
    checkpoint_minutes: Annotated[float, typer.Option(rich_help_panel="Training")] = _CLASSIFIER.checkpoint_minutes,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
    seed: Seed = _CLASSIFIER.seed,
    resume: Resume = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Train a classifier from labelled sequences.

    The label table's column `split` is obeyed: `train` is trained on, `val` and every other split is scored at the end.

    Example: seqmask train-classifier genomes.fasta.gz -l genomes.tsv.gz --ranks superkingdom,phylum,genus -o classifier
    """
    options = ClassifierOptions(
        sequences=sequences,
        labels=labels,
        output=output,
        ranks=_names(ranks),
        size=size,
        k=k,
        stride=stride,
        max_tokens=max_tokens,
        operator=operator,
        min_per_class=min_per_class,
        min_crop=min_crop,
        bag_epochs=bag_epochs,
        steps=steps,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        bag_learning_rate=bag_learning_rate,
        weight_decay=weight_decay,
        masked_share=masked_share,
        checkpoint_minutes=checkpoint_minutes,
        resume=resume,
        force=force,
        seed=seed,
        compute=Compute(device, precision, 0, threads),
    )
    terminal = Terminal(quiet, verbose)

    def run() -> None:
        from seqmask.commands.train_classifier import train_classifier as command

        with Reporter(terminal) as reporter:
            report = command(options, reporter.progress, terminal.say)
        terminal.classifier_table(report)

    _call(run)


@app.command("train-explainer")
def train_explainer(
    sequences: TrainSequences,
    classifier: Annotated[Path, typer.Option("-c", "--classifier", help="Classifier directory; it stays frozen.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model directory to write (classifier included).")],
    labels: Annotated[
        Path | None, typer.Option("-l", "--labels", help="Label table: its `split` column, and true classes.")
    ] = None,
    layers: Annotated[
        int, typer.Option(min=0, help="0 = all of the classifier's.", rich_help_panel="Model")
    ] = _EXPLAINER.layers,
    operator: Annotated[
        str, typer.Option(help="scale, blend or gate; empty = the classifier's own.", rich_help_panel="Model")
    ] = _EXPLAINER.operator,
    force_operator: Annotated[
        bool, typer.Option("--force-operator", help="Go on although the self-test refuses it.", rich_help_panel="Model")
    ] = False,
    mask_per_rank: Annotated[
        bool, typer.Option("--mask-per-rank", help="One mask a rank instead of one for all.", rich_help_panel="Model")
    ] = False,
    frames: Annotated[
        int,
        typer.Option(
            min=1, help="k-mer frames that `mask` reads and averages; more are slower.", rich_help_panel="Model"
        ),
    ] = _EXPLAINER.frames,
    target: Annotated[
        str, typer.Option(help="What the kept part must preserve: predicted, true or kl.", rich_help_panel="Objective")
    ] = _EXPLAINER.target,
    target_area: Annotated[
        float, typer.Option(min=0.01, max=1, help="Expected share of kept nucleotides.", rich_help_panel="Objective")
    ] = _EXPLAINER.target_area,
    area_weight: Annotated[float, typer.Option(rich_help_panel="Objective")] = _EXPLAINER.area_weight,
    entropy_weight: Annotated[float, typer.Option(rich_help_panel="Objective")] = _EXPLAINER.entropy_weight,
    variation_weight: Annotated[float, typer.Option(rich_help_panel="Objective")] = _EXPLAINER.variation_weight,
    bounds_weight: Annotated[float, typer.Option(rich_help_panel="Objective")] = _EXPLAINER.bounds_weight,
    soft: Annotated[
        bool, typer.Option("--soft", help="Soft products instead of sampled masks.", rich_help_panel="Objective")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, rich_help_panel="Training")] = _EXPLAINER.steps,
    validations: Annotated[int, typer.Option(min=1, rich_help_panel="Training")] = _EXPLAINER.validations,
    batch_tokens: Annotated[int, typer.Option(min=256, rich_help_panel="Training")] = _EXPLAINER.batch_tokens,
    learning_rate: Annotated[float, typer.Option(rich_help_panel="Training")] = _EXPLAINER.learning_rate,
    weight_decay: Annotated[float, typer.Option(rich_help_panel="Training")] = _EXPLAINER.weight_decay,
    min_crop: Annotated[int, typer.Option(min=8, rich_help_panel="Training")] = _EXPLAINER.min_crop,
    validation_limit: Annotated[int, typer.Option(min=1, rich_help_panel="Training")] = _EXPLAINER.validation_limit,
    min_agreement: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of accuracy that the threshold keeps.", rich_help_panel="Training"),
    ] = _EXPLAINER.min_agreement,
    checkpoint_minutes: Annotated[float, typer.Option(rich_help_panel="Training")] = _EXPLAINER.checkpoint_minutes,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
    seed: Seed = _EXPLAINER.seed,
    resume: Resume = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Train an Explainer for a frozen classifier.

    A self-test first refuses a masking operator that hides nothing.

    Example: seqmask train-explainer genomes.fasta.gz -l genomes.tsv.gz -c classifier -o model
    """
    options = ExplainerOptions(
        classifier=classifier,
        sequences=sequences,
        labels=labels,
        output=output,
        layers=layers,
        operator=operator,
        force_operator=force_operator,
        target=target,
        target_area=target_area,
        area_weight=area_weight,
        entropy_weight=entropy_weight,
        variation_weight=variation_weight,
        bounds_weight=bounds_weight,
        soft=soft,
        mask_per_rank=mask_per_rank,
        frames=frames,
        steps=steps,
        validations=validations,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        min_crop=min_crop,
        validation_limit=validation_limit,
        min_agreement=min_agreement,
        checkpoint_minutes=checkpoint_minutes,
        resume=resume,
        force=force,
        seed=seed,
        compute=Compute(device, precision, 0, threads),
    )
    terminal = Terminal(quiet, verbose)

    def run() -> None:
        from seqmask.commands.train_explainer import train_explainer as command

        with Reporter(terminal) as reporter:
            command(options, reporter.progress, terminal.say)

    _call(run)


@app.command("mask")
def mask(
    reads: Annotated[
        list[str] | None,
        typer.Argument(metavar="[READS]...", help="FASTA or FASTQ, plain or compressed; - or a pipe is stdin."),
    ] = None,
    model: ModelName = _MASK.model,
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
    overlap: Annotated[int, typer.Option(min=0, help="nt that windows of a long record share.")] = _MASK.overlap,
    frames: Annotated[
        int, typer.Option(min=0, help="k-mer frames to read and average; 0 = the model's own number.")
    ] = _MASK.frames,
    device: Device = "auto",
    precision: Precision = "fp32",
    batch_size: BatchSize = 0,
    threads: Threads = 0,
    seed: Seed = _MASK.seed,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Classify sequences and mark the parts that the classification rests on.

    Without an output option, annotated FASTA goes to stdout.

    Example: zcat reads.fastq.gz | seqmask mask - --bed kept.bed --tsv summary.tsv
    """
    named = {"fasta": fasta, "bed": bed, "tsv": tsv, "hdf5": hdf5}
    if prefix is not None:
        suffixes = {"fasta": "fasta", "bed": "bed", "tsv": "tsv", "hdf5": "h5"}
        named = {kind: path or f"{prefix}.{suffixes[kind]}" for kind, path in named.items()}
    if not any(named.values()):
        named["fasta"] = "-"
    options = MaskOptions(
        reads=_inputs(reads),
        model=model,
        **named,
        threshold=threshold,
        overlap=overlap,
        frames=frames,
        check=check,
        hard_mask=hard_mask,
        full_precision=full_precision,
        force=force,
        seed=seed,
        compute=Compute(device, precision, batch_size, threads),
    )
    terminal = Terminal(quiet, verbose)

    def run() -> None:
        from seqmask.commands.mask import mask as command

        with Reporter(terminal) as reporter:
            command(options, terminal.say, reporter.records)

    _call(run)


@app.command("evaluate")
def evaluate(
    sequences: Annotated[list[str], typer.Argument(metavar="SEQS...", help="FASTA or FASTQ; - is stdin.")],
    model: ModelName = _EVALUATE.model,
    labels: Annotated[
        Path | None, typer.Option("-l", "--labels", help="Label table; without it the model's own predictions count.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the label table.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="A random sample of this many; 0 = all.")] = _EVALUATE.limit,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Default: the model's own.")] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write everything as JSON; - prints it instead of the tables.", metavar="F")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a red flag fires.")] = False,
    overlap: Annotated[int, typer.Option(min=0, help="nt that windows of a long record share.")] = _EVALUATE.overlap,
    frames: Annotated[
        int, typer.Option(min=0, help="k-mer frames to read and average; 0 = the model's own number.")
    ] = _EVALUATE.frames,
    device: Device = "auto",
    precision: Precision = "fp32",
    batch_size: BatchSize = 0,
    threads: Threads = 0,
    seed: Seed = _EVALUATE.seed,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Should these masks be believed? Hard masks against same-area controls, on your own sequences.

    Example: seqmask evaluate test.fasta.gz -l labels.tsv --split test --json report.json
    """
    options = EvaluateOptions(
        sequences=sequences,
        model=model,
        labels=labels,
        split=split,
        limit=limit,
        threshold=threshold,
        json=json,
        overlap=overlap,
        frames=frames,
        force=force,
        seed=seed,
        compute=Compute(device, precision, batch_size, threads),
    )
    terminal = Terminal(quiet, verbose)

    def run() -> None:
        from seqmask.commands.evaluate import evaluate as command

        report = command(options, terminal.say)
        if str(json) != "-":  # one kind of data on stdout
            print_report(report)
        if strict and report["red_flags"]:
            raise SeqmaskError(f"--strict: {len(report['red_flags'])} red flags")

    _call(run)


def _inputs(reads: list[str] | None) -> list[str]:
    """The files to read; stdin where none is named and it is not a terminal."""
    if reads:
        return reads
    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter("no input: name FASTA or FASTQ files, or pipe them in", param_hint="READS")
    return ["-"]


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise typer.BadParameter("no rank given")
    return names


def _call(run: Callable[[], T]) -> T:
    """Run a command; an expected error is one line on stderr and its exit code."""
    try:
        return run()
    except SeqmaskError as error:
        print(f"seqmask: error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    except BrokenPipeError as error:
        # The reader has gone (`| head`): no message, and none from Python's own flush of stdout at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from error
    except OSError as error:
        print(f"seqmask: error: {error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of the command `seqmask`."""
    logging.captureWarnings(True)
    app()
