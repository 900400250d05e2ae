"""`seqmask train-classifier`: flags to options to one call."""

from pathlib import Path
from typing import Annotated

import typer

from seqmask.cli.common import (
    Config,
    Device,
    Force,
    LogFile,
    Precision,
    Quiet,
    Resume,
    Seed,
    Taxonomy,
    Threads,
    TrainSequences,
    Verbose,
    apart,
    build,
    call,
)
from seqmask.cli.settings import keep
from seqmask.config import ClassifierOptions

# The defaults that --help shows are those of `config`, their only home.
DEFAULTS = ClassifierOptions()
RANKS = ",".join(DEFAULTS.ranks)


def train_classifier(
    ctx: typer.Context,
    sequences: TrainSequences,
    labels: Annotated[Path, typer.Option("-l", "--labels", help="Label table: TSV or CSV with a header.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Classifier directory to write.")],
    ranks: Annotated[str, typer.Option(help="Rank columns, coarse to fine, comma-separated.")] = RANKS,
    taxonomy: Taxonomy = None,
    size: Annotated[
        str, typer.Option(help="tiny, mini, wide, small or base.", rich_help_panel="Model")
    ] = DEFAULTS.size,
    tokenizer: Annotated[
        str, typer.Option(help="kmer, or bpe: learned from the training sequences.", rich_help_panel="Model")
    ] = DEFAULTS.tokenizer,
    vocabulary: Annotated[
        int, typer.Option(min=9, help="Ids of BPE tokens, at most.", rich_help_panel="Model")
    ] = DEFAULTS.vocabulary,
    k: Annotated[
        int, typer.Option("-k", "--kmer", min=1, max=8, help="nt of a k-mer.", rich_help_panel="Model")
    ] = DEFAULTS.k,
    stride: Annotated[int, typer.Option(min=1, help="nt between k-mers.", rich_help_panel="Model")] = DEFAULTS.stride,
    crossing: Annotated[
        bool,
        typer.Option(
            help="Tokens also read the k-mers that cross into their neighbours; only where --stride = --kmer > 1.",
            rich_help_panel="Model",
        ),
    ] = DEFAULTS.crossing,
    phases: Annotated[
        int,
        typer.Option(
            min=1, max=3, help="3: crossing k-mers are told apart by codon position.", rich_help_panel="Model"
        ),
    ] = DEFAULTS.phases,
    canonical: Annotated[
        bool,
        typer.Option(
            help="A crossing k-mer and its reverse complement have one embedding.",
            rich_help_panel="Model",
        ),
    ] = DEFAULTS.canonical,
    pooler: Annotated[
        int,
        typer.Option(
            min=0, help="Inner size of the block between pooling and the heads; 0 = none.", rich_help_panel="Model"
        ),
    ] = DEFAULTS.pooler,
    lineages: Annotated[
        bool,
        typer.Option(
            help="Join the ranks: one distribution over the training labels' lineages, fitted on val.",
            rich_help_panel="Model",
        ),
    ] = DEFAULTS.lineages,
    max_tokens: Annotated[
        int, typer.Option(min=8, help="Longest window, tokens.", rich_help_panel="Model")
    ] = DEFAULTS.max_tokens,
    operator: Annotated[
        str, typer.Option(help="Masking operator to train for: scale, blend, gate.", rich_help_panel="Model")
    ] = DEFAULTS.operator,
    min_per_class: Annotated[
        int, typer.Option(min=1, help="Classes with fewer training sequences are unknown at that rank.")
    ] = DEFAULTS.min_per_class,
    min_crop: Annotated[
        int, typer.Option(min=8, help="Shortest random crop, nt.", rich_help_panel="Training")
    ] = DEFAULTS.min_crop,
    mutated: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Bases of crops change at rates up to this.", rich_help_panel="Training"),
    ] = DEFAULTS.mutated,
    whole_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of crops as long as a window allows.", rich_help_panel="Training"),
    ] = DEFAULTS.whole_share,
    bag_epochs: Annotated[
        float,
        typer.Option(
            min=0, max=10_000, help="Epochs of the bag-of-k-mers start; 0 = none.", rich_help_panel="Training"
        ),
    ] = DEFAULTS.bag_epochs,
    steps: Annotated[
        int, typer.Option(min=0, help="Batches of the transformer, after the bag start.", rich_help_panel="Training")
    ] = DEFAULTS.steps,
    batch_tokens: Annotated[
        int, typer.Option(min=256, help="Tokens a batch, padding included.", rich_help_panel="Training")
    ] = DEFAULTS.batch_tokens,
    learning_rate: Annotated[
        float, typer.Option(min=0, max=10, help="Highest one, of the transformer.", rich_help_panel="Training")
    ] = DEFAULTS.learning_rate,
    bag_learning_rate: Annotated[
        float, typer.Option(min=0, max=10, help="Highest one, of the bag start.", rich_help_panel="Training")
    ] = DEFAULTS.bag_learning_rate,
    weight_decay: Annotated[
        float, typer.Option(min=0, max=10, help="Of AdamW.", rich_help_panel="Training")
    ] = DEFAULTS.weight_decay,
    label_smoothing: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Share of each target spread over all classes.", rich_help_panel="Training"),
    ] = DEFAULTS.label_smoothing,
    balanced_ranks: Annotated[
        str,
        typer.Option(
            help="Ranks whose classes count alike, however many training sequences each has, comma-separated.",
            rich_help_panel="Training",
        ),
    ] = ",".join(DEFAULTS.balanced_ranks),
    masked_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of randomly masked batches.", rich_help_panel="Training")
    ] = DEFAULTS.masked_share,
    checkpoint_minutes: Annotated[
        float, typer.Option(help="At most this much is lost when a run is stopped.", rich_help_panel="Training")
    ] = DEFAULTS.checkpoint_minutes,
    device: Device = DEFAULTS.compute.device,
    precision: Precision = DEFAULTS.compute.precision,
    threads: Threads = DEFAULTS.compute.threads,
    seed: Seed = DEFAULTS.seed,
    resume: Resume = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    log_file: LogFile = None,
    config: Config = None,
) -> None:
    """Train a classifier from labelled sequences.

    The label table's column `split` is obeyed: `train` is trained on, `val` and every other split is scored at the end.

    Example: seqmask train-classifier genomes.fasta.gz -l genomes.tsv.gz --ranks superkingdom,phylum,genus -o classifier
    """
    options = build(
        ClassifierOptions,
        locals(),
        ranks=names(ranks),
        balanced_ranks=names(balanced_ranks) if balanced_ranks else (),
    )

    def run() -> None:
        from seqmask.commands.train_classifier import train_classifier as command
        from seqmask.terminal import Reporter, Terminal

        terminal = Terminal(quiet, verbose, apart(log_file, options))
        with Reporter(terminal) as reporter:
            report = command(options, reporter.progress, terminal.say)
        if report:  # of several processes the first one has it
            keep(ctx, output)
            if report["splits"]:
                terminal.classifier_table(report)

    call(run)


def names(text: str) -> tuple[str, ...]:
    """The words of a comma-separated list; a usage error where there is none."""
    found = tuple(name.strip().casefold() for name in text.split(",") if name.strip())  # as columns of a table are
    if not found:
        raise typer.BadParameter("no rank given")
    return found
