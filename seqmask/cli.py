"""The command line: flags to an options object to one call. The only module that prints.

Nothing but typer and rich is imported at the top: `--help` and `--version` must not wait for torch.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from seqmask.config import ClassifierOptions, Compute, EvaluateOptions, ExplainerOptions, MaskOptions
from seqmask.errors import SeqmaskError
from seqmask.terminal import Reporter, Terminal

DISTRIBUTION = "seqmask-xai"  # the name `seqmask` belongs to another project

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
        from importlib.metadata import version

        print(f"seqmask {version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("-V", "--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def default(options: type[Any], name: str) -> Any:
    """The default of one option, read from its only home in `config`."""
    for field in fields(options):
        if field.name == name:
            value = field.default_factory() if callable(field.default_factory) else field.default
            return ",".join(value) if isinstance(value, tuple) else value
    raise KeyError(name)


def _classifier(name: str) -> Any:
    return default(ClassifierOptions, name)


def _explainer(name: str) -> Any:
    return default(ExplainerOptions, name)


def _mask(name: str) -> Any:
    return default(MaskOptions, name)


def _evaluate(name: str) -> Any:
    return default(EvaluateOptions, name)


@app.command("train-classifier")
def train_classifier(
    sequences: TrainSequences,
    labels: Annotated[Path, typer.Option("-l", "--labels", help="Label table: TSV or CSV with a header.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Classifier directory to write.")],
    ranks: Annotated[str, typer.Option(help="Rank columns, coarse to fine, comma-separated.")] = _classifier("ranks"),
    size: Annotated[str, typer.Option(help="tiny, small or base.", rich_help_panel="Model")] = _classifier("size"),
    k: Annotated[int, typer.Option("-k", "--kmer", min=1, max=8, rich_help_panel="Model")] = _classifier("k"),
    stride: Annotated[int, typer.Option(min=1, help="nt between k-mers.", rich_help_panel="Model")] = _classifier(
        "stride"
    ),
    max_tokens: Annotated[
        int, typer.Option(min=8, help="Longest window, tokens.", rich_help_panel="Model")
    ] = _classifier("max_tokens"),
    operator: Annotated[
        str, typer.Option(help="Masking operator to train for: scale, blend, gate.", rich_help_panel="Model")
    ] = _classifier("operator"),
    min_per_class: Annotated[
        int, typer.Option(min=1, help="Classes with fewer training sequences are unknown at that rank.")
    ] = _classifier("min_per_class"),
    min_crop: Annotated[
        int, typer.Option(min=8, help="Shortest random crop, nt.", rich_help_panel="Training")
    ] = _classifier("min_crop"),
    bag_epochs: Annotated[
        float, typer.Option(min=0, help="Epochs of the bag-of-k-mers start; 0 = none.", rich_help_panel="Training")
    ] = _classifier("bag_epochs"),
    steps: Annotated[int, typer.Option(min=0, rich_help_panel="Training")] = _classifier("steps"),
    batch_tokens: Annotated[
        int, typer.Option(min=256, help="Tokens a batch, padding included.", rich_help_panel="Training")
    ] = _classifier("batch_tokens"),
    learning_rate: Annotated[float, typer.Option(rich_help_panel="Training")] = _classifier("learning_rate"),
    bag_learning_rate: Annotated[float, typer.Option(rich_help_panel="Training")] = _classifier("bag_learning_rate"),
    weight_decay: Annotated[float, typer.Option(rich_help_panel="Training")] = _classifier("weight_decay"),
    masked_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of randomly masked batches.", rich_help_panel="Training")
    ] = _classifier("masked_share"),
    checkpoint_minutes: Annotated[float, typer.Option(rich_help_panel="Training")] = _classifier("checkpoint_minutes"),
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
    seed: Seed = _classifier("seed"),
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
    layers: Annotated[int, typer.Option(min=1, rich_help_panel="Model")] = _explainer("layers"),
    operator: Annotated[
        str, typer.Option(help="scale, blend or gate; empty = the classifier's own.", rich_help_panel="Model")
    ] = _explainer("operator"),
    force_operator: Annotated[
        bool, typer.Option("--force-operator", help="Go on although the self-test refuses it.", rich_help_panel="Model")
    ] = False,
    mask_per_rank: Annotated[
        bool, typer.Option("--mask-per-rank", help="One mask a rank instead of one for all.", rich_help_panel="Model")
    ] = False,
    target: Annotated[
        str, typer.Option(help="What the kept part must preserve: predicted, true or kl.", rich_help_panel="Objective")
    ] = _explainer("target"),
    target_area: Annotated[
        float, typer.Option(min=0.01, max=1, help="Expected share of kept nucleotides.", rich_help_panel="Objective")
    ] = _explainer("target_area"),
    area_weight: Annotated[float, typer.Option(rich_help_panel="Objective")] = _explainer("area_weight"),
    entropy_weight: Annotated[float, typer.Option(rich_help_panel="Objective")] = _explainer("entropy_weight"),
    variation_weight: Annotated[float, typer.Option(rich_help_panel="Objective")] = _explainer("variation_weight"),
    bounds_weight: Annotated[float, typer.Option(rich_help_panel="Objective")] = _explainer("bounds_weight"),
    soft: Annotated[
        bool, typer.Option("--soft", help="Soft products instead of sampled masks.", rich_help_panel="Objective")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, rich_help_panel="Training")] = _explainer("steps"),
    validations: Annotated[int, typer.Option(min=1, rich_help_panel="Training")] = _explainer("validations"),
    batch_tokens: Annotated[int, typer.Option(min=256, rich_help_panel="Training")] = _explainer("batch_tokens"),
    learning_rate: Annotated[float, typer.Option(rich_help_panel="Training")] = _explainer("learning_rate"),
    weight_decay: Annotated[float, typer.Option(rich_help_panel="Training")] = _explainer("weight_decay"),
    min_crop: Annotated[int, typer.Option(min=8, rich_help_panel="Training")] = _explainer("min_crop"),
    validation_limit: Annotated[int, typer.Option(min=1, rich_help_panel="Training")] = _explainer("validation_limit"),
    min_agreement: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of accuracy that the threshold keeps.", rich_help_panel="Training"),
    ] = _explainer("min_agreement"),
    checkpoint_minutes: Annotated[float, typer.Option(rich_help_panel="Training")] = _explainer("checkpoint_minutes"),
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
    seed: Seed = _explainer("seed"),
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


def main() -> None:
    """Entry point of the command `seqmask`."""
    logging.captureWarnings(True)
    app()
